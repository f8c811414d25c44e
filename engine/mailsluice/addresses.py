"""Addresses: what SES takes as a destination or a sender, in the form in which it takes it. Pure.

The common ASCII address is recognised by one compiled pattern (0.4 µs); email-validator (27 µs)
judges whatever the pattern does not accept. The pattern accepts nothing that the library refuses.
"""

from __future__ import annotations

import re
from email.header import Header
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from mailsluice.errors import MailsluiceError

LOCAL_CHARACTERS_MAX = 64
"""RFC 5321, 4.5.3.1.1."""

ADDRESS_CHARACTERS_MAX = 254
"""RFC 5321, 4.5.3.1.3 with erratum 1690 of RFC 3696."""

DISPLAY_NAME_CHARACTERS_MAX = 320
"""Ours: so that the encoded name stays in a header line that any mail server takes."""

_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++"
_LABEL = r"[A-Za-z0-9]++(?:-[A-Za-z0-9]++)*+"

_PLAIN_CHARACTERS_MAX = 64
"""At most so long neither local part, label nor address can exceed its own limit."""

# No label here holds two hyphens together, so all of punycode is left to the library.
_plain = re.compile(rf"{_ATOM}(?:\.{_ATOM})*+@(?:{_LABEL}\.)+[A-Za-z]++").fullmatch

_dot_atom = re.compile(rf"{_ATOM}(?:\.{_ATOM})*+").fullmatch
_phrase = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+").fullmatch
_quoted = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).fullmatch

_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]").search
_surrogate = re.compile(r"[\ud800-\udfff]").search
_list_syntax = re.compile(r"[<>,;]").search

# The library refuses these whatever its flags; SES takes them, and they are what tests use.
_special_use = re.compile(
    r"[@.](?:arpa|invalid|local|localhost|onion|test)\Z", re.ASCII | re.IGNORECASE
).search
_NEUTRAL_SUFFIX = ".example"


class AddressError(MailsluiceError, ValueError):
    """An address that SES would not take. The message says why, without the address."""


class Address(NamedTuple):
    """An address that SES takes."""

    text: str
    """As it is sent: all ASCII, domain in punycode, display name (if any) encoded by RFC 2047."""
    key: str
    """By which duplicates are recognised: lower case, domain in punycode, no display name."""


def plain_key(text: str) -> str | None:
    """The key of a common address, which is sent as it stands; None: see `normalise`."""
    return text.lower() if len(text) <= _PLAIN_CHARACTERS_MAX and _plain(text) else None


def normalise(text: str) -> Address:
    """The form in which SES takes an address, `a@example.com` or `Ann <a@example.com>`.

    White space around it is dropped. Local parts must be ASCII, since SES has no SMTPUTF8 (API
    reference, Destination); an international domain becomes punycode (IDNA 2008, UTS 46).
    Special-use domains (`localhost`, `.test`) are taken. Raises AddressError.
    """
    if (key := plain_key(text)) is not None:
        return Address(text, key)
    text = text.strip()
    _check_characters(text)
    name, bare = _split(text)
    if len(bare) > _PLAIN_CHARACTERS_MAX or not _plain(bare):
        bare = _judged_by_library(bare)
    return Address(f"{_encoded(name)} <{bare}>" if name else bare, bare.lower())


def _check_characters(text: str) -> None:
    if not text:
        raise AddressError("it is empty")
    if _control(text):
        raise AddressError("it has a line break or another control character")
    if _surrogate(text):
        raise AddressError("it has half of a character (a lone surrogate)")


def _split(text: str) -> tuple[str, str]:
    """Display name (empty where there is none) and address proper."""
    if not text.endswith(">"):
        return "", text
    before, bracket, bare = text[:-1].rpartition("<")
    if not bracket:
        raise AddressError("it has > without <")
    name = " ".join(before.split())
    if quoted := _quoted(name):
        name = re.sub(r"\\(.)", r"\1", quoted[1])
    elif _list_syntax(name):
        raise AddressError('a display name with , ; < or > must be in double quotes ("Lee, Ann")')
    if len(name) > DISPLAY_NAME_CHARACTERS_MAX:
        raise AddressError(
            f"the display name has more than {DISPLAY_NAME_CHARACTERS_MAX} characters"
        )
    return name, bare.strip()


def _encoded(name: str) -> str:
    if not name.isascii():
        return Header(name, "utf-8").encode(linesep="")
    if _phrase(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _judged_by_library(bare: str) -> str:
    # The library's time grows with the length, so what is too long must not reach it.
    if len(bare) > ADDRESS_CHARACTERS_MAX:
        raise AddressError(f"it has more than {ADDRESS_CHARACTERS_MAX} characters")
    suffix = _NEUTRAL_SUFFIX if _special_use(bare) else ""
    try:
        valid = validate_email(
            bare + suffix,
            allow_smtputf8=False,
            allow_empty_local=False,
            allow_quoted_local=True,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=True,
            check_deliverability=False,
            test_environment=False,
            globally_deliverable=True,
        )
    except EmailNotValidError:
        # The library's own text can quote what the address holds.
        raise AddressError(_fault(bare)) from None
    return str(valid.ascii_email).removesuffix(suffix)


def _fault(bare: str) -> str:
    """Why the library refused it."""
    local, at, domain = bare.rpartition("@")
    quoted = local.startswith('"')
    faults = (
        (not at, "there is no @"),
        (not local, "there is nothing before @"),
        (not domain, "there is nothing after @"),
        (
            not local.isascii(),
            "the part before @ has characters outside ASCII; SES has no SMTPUTF8",
        ),
        (
            len(local) > LOCAL_CHARACTERS_MAX,
            f"the part before @ has more than {LOCAL_CHARACTERS_MAX} characters",
        ),
        (" " in bare and not quoted, "there is a space inside it"),
        ("@" in local and not quoted, "there is more than one @"),
        (
            local.startswith(".") or local.endswith(".") or (".." in local and not quoted),
            "the part before @ has a dot at its start, at its end or twice in a row",
        ),
        (not _dot_atom(local), "the part before @ has a character that may not be there"),
        (domain.startswith("["), "an IP address cannot stand for the domain"),
        (not domain.isascii() or "xn--" in domain.lower(), "the domain is not valid IDNA"),
        ("." not in domain, "the domain has no dot"),
    )
    return next((reason for found, reason in faults if found), "the domain is not a host name")
