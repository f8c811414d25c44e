"""Addresses: checks destinations and senders, and writes them in the form that SES takes. Pure.

The common ASCII address is recognised by one compiled pattern (0.4 µs); email-validator (27 µs)
judges whatever the pattern does not accept. The pattern accepts nothing that the library refuses.
"""

from __future__ import annotations

import re
import unicodedata
from email.header import Header
from typing import NamedTuple

from email_validator import EmailNotValidError, validate_email

from mailsluice.model.errors import MailsluiceError

LOCAL_CHARACTERS_MAX = 64
"""RFC 5321, 4.5.3.1.1."""

ADDRESS_CHARACTERS_MAX = 254
"""RFC 5321, 4.5.3.1.3 with erratum 1690 of RFC 3696."""

DISPLAY_NAME_CHARACTERS_MAX = 320
"""Our limit: the encoded name must fit into a header line that any mail server takes."""

SENDER_BYTES_MAX = 320
"""A From or Reply-To address with its encoded display name (SES refuses longer ones)."""

ENCODED_WORD_CHARACTERS_MAX = 75
"""RFC 2047, 2."""

LABEL_CHARACTERS_MAX = 63
"""RFC 1035, 2.3.4."""

_ATOM = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]++"
_LABEL = r"[A-Za-z0-9]++(?:-[A-Za-z0-9]++)*+"

_PLAIN_CHARACTERS_MAX = 64
"""Up to this length neither local part, label nor address can exceed its own limit."""

# No label here holds two hyphens together, so all of punycode is left to the library.
_plain = re.compile(rf"(?!'){_ATOM}(?:\.{_ATOM})*+@(?:{_LABEL}\.)+[A-Za-z]++").fullmatch

_host_label = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.IGNORECASE | re.ASCII).fullmatch
_top_label = re.compile(r"[a-z]+|xn--[a-z0-9-]+", re.IGNORECASE | re.ASCII).fullmatch

_dot_atom = re.compile(rf"{_ATOM}(?:\.{_ATOM})*+").fullmatch
_phrase = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+").fullmatch
_quoted = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL).fullmatch

_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]").search
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Zl", "Zp", "Zs"})
"""Unicode's control, format and private characters, and all spaces but the common one."""

_surrogate = re.compile(r"[\ud800-\udfff]").search
_list_syntax = re.compile(r"[<>,;]").search
_between = re.compile(r"@[^@]*[,;/|\s][^@]*@").search
"""Matches two addresses in one cell."""

# The library refuses these whatever its flags; SES takes them, and they are what tests use.
_special_use = re.compile(
    r"[@.](?:arpa|invalid|local|localhost|onion|test)\Z", re.ASCII | re.IGNORECASE
).search
_NEUTRAL_SUFFIX = ".example"
_NEUTRAL_DOMAIN = "example.com"


class AddressError(MailsluiceError, ValueError):
    """An address that SES would refuse, or that cannot exist. The message says why, without it."""


class Address(NamedTuple):
    """An address that SES takes."""

    text: str
    """The address as sent: ASCII, domain in punycode, display name (if any) encoded by RFC 2047."""
    key: str
    """The key for duplicates: lower case, domain in punycode, no display name."""


def plain_key(text: str) -> str | None:
    """Return the key of a common address, which is sent as it stands; None: use `normalise`."""
    return text.lower() if len(text) <= _PLAIN_CHARACTERS_MAX and _plain(text) else None


def normalise(text: str) -> Address:
    """Return an address, `a@example.com` or `Ann <a@example.com>`, in the form that SES takes.

    White space around it is dropped. Local parts must be ASCII, since SES has no SMTPUTF8 (API
    reference, Destination); an international domain becomes punycode (IDNA 2008, UTS 46).
    Special-use domains (`localhost`, `.test`) are taken. Raises AddressError.
    """
    if (key := plain_key(text)) is not None:
        return Address(text, key)
    given, text = text, text.strip()
    _check_characters(given, text)
    name, bare = _split(text)
    if bare.startswith("'"):
        # Allowed by RFC 5321, and still nobody's: a spreadsheet marks text so, and lists keep it.
        raise AddressError(
            "it begins with an apostrophe, as text cells of a spreadsheet do; remove it, or put "
            "the part before @ into double quotes if it belongs there"
        )
    if len(bare) > _PLAIN_CHARACTERS_MAX or not _plain(bare):
        bare = _judged(bare, given)
    return Address(f"{_encoded(name)} <{bare}>" if name else bare, bare.lower())


def normalise_sender(text: str) -> str:
    """Do as `normalise` for From, Reply-To and the like: at most `SENDER_BYTES_MAX` as sent."""
    sent = normalise(text).text
    if len(sent) > SENDER_BYTES_MAX:
        raise AddressError(
            f"it has {len(sent)} bytes with its display name encoded; SES takes "
            f"{SENDER_BYTES_MAX}: shorten the name"
        )
    return sent


def encode_words(text: str) -> str:
    """Encode text as ASCII: itself, or RFC 2047 encoded words of at most 75 characters."""
    if text.isascii():
        return text
    return Header(text, "utf-8", maxlinelen=ENCODED_WORD_CHARACTERS_MAX).encode(linesep="")


def _check_characters(given: str, text: str) -> None:
    if not text:
        raise AddressError("it is empty")
    if found := _control(text):
        where = _named_character(given, given.index(text) + found.start())
        raise AddressError(f"it has a line break or another control character: {where}")
    if _surrogate(text):
        raise AddressError("it has half of a character (a lone surrogate)")


def _split(text: str) -> tuple[str, str]:
    """Split into display name (empty if there is none) and bare address."""
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
        return encode_words(name)
    if _phrase(name):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _judged(bare: str, given: str) -> str:
    """Return an address without display name, found in `given`, in the form that SES takes."""
    # The library's time grows with the length, so what is too long must not reach it.
    if len(bare) > ADDRESS_CHARACTERS_MAX:
        raise AddressError(f"it has more than {ADDRESS_CHARACTERS_MAX} characters")
    local, at, domain = bare.rpartition("@")
    if at and "--" in domain and _is_host_name(domain):
        # IDNA 2008 forbids labels such as ab--cd and xn--ls8h; the DNS has them all the same.
        return (
            f"{_judged_by_library(f'{local}@{_NEUTRAL_DOMAIN}', given).rpartition('@')[0]}@{domain}"
        )
    return _judged_by_library(bare, given)


def _is_host_name(domain: str) -> bool:
    """Return True if the DNS can hold the name: letters, digits, hyphens, valid punycode."""
    labels = domain.split(".")
    top = labels[-1]
    return (
        (len(labels) > 1 or bool(_special_use(f"@{domain}")))
        and _top_label(top) is not None
        and all(len(label) <= LABEL_CHARACTERS_MAX and _is_host_label(label) for label in labels)
    )


def _is_host_label(label: str) -> bool:
    if _host_label(label) is None:
        return False
    if not label.lower().startswith("xn--"):
        return True
    try:
        return not label[4:].encode().decode("punycode").isascii()
    except UnicodeError:
        return False


def _judged_by_library(bare: str, given: str) -> str:
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
        raise AddressError(_invisible(given) or _fault(bare)) from None
    return str(valid.ascii_email).removesuffix(suffix)


def _invisible(given: str) -> str | None:
    """Name the first invisible character in the address; None if there is none."""
    begin = given.rfind("<") + 1
    shown = given.rstrip()
    for place in range(begin + len(given[begin:]) - len(given[begin:].lstrip()), len(shown)):
        char = given[place]
        if char != " " and unicodedata.category(char) in _INVISIBLE_CATEGORIES:
            return f"it has an invisible character: {_named_character(given, place)}"
    return None


def _named_character(given: str, place: int) -> str:
    return f"U+{ord(given[place]):04X} at position {place + 1}"


def _fault(bare: str) -> str:
    """Return why the library refused it."""
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
        (bare.lower().startswith("mailto:"), 'it begins with "mailto:"; remove that'),
        (
            " ::: " in bare,
            "it has several addresses, as Google Contacts joins them; give each a row of its own",
        ),
        (
            "@" in local and not quoted and _between(bare) is not None,
            "there is more than one address in it; give each a row of its own",
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
