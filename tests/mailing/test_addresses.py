"""Addresses as SES takes them: by table, and against email-validator."""

from __future__ import annotations

from email.header import decode_header, make_header
from email.utils import parseaddr
from unittest import mock

import email_validator
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailsluice.mailing import addresses
from mailsluice.mailing.addresses import AddressError, normalise

ACCEPTED = {
    "a@example.com": ("a@example.com", "a@example.com"),
    "Ann.Lee+news@Mail.Example.COM": (
        "Ann.Lee+news@Mail.Example.COM",
        "ann.lee+news@mail.example.com",
    ),
    " \ta@example.com\r\n": ("a@example.com", "a@example.com"),
    "<a@example.com>": ("a@example.com", "a@example.com"),
    "o'neil@example.com": ("o'neil@example.com", "o'neil@example.com"),
    '"\'q"@example.com': ("'q@example.com", "'q@example.com"),
    "Ann Lee <A@example.com>": ("Ann Lee <A@example.com>", "a@example.com"),
    '"Lee, Ann" <a@example.com>': ('"Lee, Ann" <a@example.com>', "a@example.com"),
    '"The \\"boss\\"" <a@example.com>': ('"The \\"boss\\"" <a@example.com>', "a@example.com"),
    "Dr. Lee <a@example.com>": ('"Dr. Lee" <a@example.com>', "a@example.com"),
    "a@example.com <a@example.com>": ('"a@example.com" <a@example.com>', "a@example.com"),
    "Änne <a@example.com>": ("=?utf-8?b?w4RubmU=?= <a@example.com>", "a@example.com"),
    "a@münchen.de": ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
    "a@MÜNCHEN.de": ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
    "a@xn--mnchen-3ya.de": ("a@xn--mnchen-3ya.de", "a@xn--mnchen-3ya.de"),
    "a@faß.de": ("a@xn--fa-hia.de", "a@xn--fa-hia.de"),
    "a@日本。jp": ("a@xn--wgv71a.jp", "a@xn--wgv71a.jp"),
    '"a b"@example.com': ('"a b"@example.com', '"a b"@example.com'),
    '"plain"@example.com': ("plain@example.com", "plain@example.com"),
    "a@localhost": ("a@localhost", "a@localhost"),
    "a@mail.test": ("a@mail.test", "a@mail.test"),
    "a@test": ("a@test", "a@test"),
    "a@host.local": ("a@host.local", "a@host.local"),
    "a@тест.invalid": ("a@xn--e1aybc.invalid", "a@xn--e1aybc.invalid"),
    "x" * 64 + "@example.com": ("x" * 64 + "@example.com",) * 2,
    # IDNA 2008 knows no such labels; the DNS does, and mail is delivered there.
    "a@ab--example.com": ("a@ab--example.com",) * 2,
    "Ann@ab--cd.Example.com": ("Ann@ab--cd.Example.com", "ann@ab--cd.example.com"),
    "ann@xn--ls8h.la": ("ann@xn--ls8h.la",) * 2,
    '"a b"@ab--cd.example.com': ('"a b"@ab--cd.example.com',) * 2,
}

ASCII_ONLY = "the part before @ has characters outside ASCII; SES has no SMTPUTF8"
DOTS = "the part before @ has a dot at its start, at its end or twice in a row"
CONTROL = "it has a line break or another control character"
APOSTROPHE = (
    "it begins with an apostrophe, as text cells of a spreadsheet do; remove it, or put the part "
    "before @ into double quotes if it belongs there"
)
GOOGLE = "it has several addresses, as Google Contacts joins them; give each a row of its own"
SEVERAL = "there is more than one address in it; give each a row of its own"
MAILTO = 'it begins with "mailto:"; remove that'
NAME_SYNTAX = 'a display name with , ; < or > must be in double quotes ("Lee, Ann")'

REFUSED = {
    "": "it is empty",
    " \n ": "it is empty",
    "example.com": "there is no @",
    "a\uff20example.com": "there is no @",
    "@example.com": "there is nothing before @",
    "a@": "there is nothing after @",
    "ä@example.com": ASCII_ONLY,
    "\u200ba@example.com": "it has an invisible character: U+200B at position 1",
    " ann@example.com\u200b": "it has an invisible character: U+200B at position 17",
    "Ann\xa0Lee <ann\xad@example.com>": "it has an invisible character: U+00AD at position 13",
    "ann\xa0lee@example.com": "it has an invisible character: U+00A0 at position 4",
    "x" * 65 + "@example.com": "the part before @ has more than 64 characters",
    "a@" + "x." * 125 + "com": "it has more than 254 characters",
    "a" * 1_000_000: "it has more than 254 characters",
    "a b@example.com": "there is a space inside it",
    "a@example.com, b@example.com": SEVERAL,
    "a@example.com,b@example.com": SEVERAL,
    "a@example.com b@example.com": SEVERAL,
    "a@example.com ::: b@example.com": GOOGLE,
    "'q@example.com": APOSTROPHE,
    "'q@example.com'": APOSTROPHE,
    "Ann <'q@example.com>": APOSTROPHE,
    "a@b@example.com": "there is more than one @",
    "mailto:a@example.com": MAILTO,
    "Ann <MAILTO:a@example.com>": MAILTO,
    ".a@example.com": DOTS,
    "a.@example.com": DOTS,
    "a..b@example.com": DOTS,
    "a(b)@example.com": "the part before @ has a character that may not be there",
    "a@[192.0.2.1]": "an IP address cannot stand for the domain",
    "a@192.0.2.1": "the domain is not a host name",
    "a@example_.com": "the domain is not a host name",
    "a@-example.com": "the domain is not a host name",
    "a@example.com.": "the domain is not a host name",
    "a@example..com": "the domain is not a host name",
    "a@" + "x" * 64 + ".com": "the domain is not a host name",
    "a@ab--.com": "the domain is not a host name",
    "a@-b--c.com": "the domain is not a host name",
    "a@" + "x" * 62 + "--y.com": "the domain is not a host name",
    "a..b@ab--cd.com": DOTS,
    "a@☃.com": "the domain is not valid IDNA",
    "a@xn--zzzzzzzz.com": "the domain is not valid IDNA",
    "a@" + "ü" * 63 + ".de": "the domain is not valid IDNA",
    "a@example": "the domain has no dot",
    "a@example.com\r\nBcc: b@example.com": f"{CONTROL}: U+000D at position 14",
    "Ann\n <a@example.com>": f"{CONTROL}: U+000A at position 4",
    "Ann\0 <a@example.com>": f"{CONTROL}: U+0000 at position 4",
    "Ann \ud800 <a@example.com>": "it has half of a character (a lone surrogate)",
    "a@example.com>": "it has > without <",
    "Lee, Ann <a@example.com>": NAME_SYNTAX,
    "b@example.com; Ann <a@example.com>": NAME_SYNTAX,
    "Ann <b@example.com> <a@example.com>": NAME_SYNTAX,
    "x" * 321 + " <a@example.com>": "the display name has more than 320 characters",
}


@pytest.mark.parametrize(("given", "expected"), ACCEPTED.items())
def test_what_ses_takes_is_brought_into_its_form(given: str, expected: tuple[str, str]) -> None:
    assert tuple(normalise(given)) == expected


@pytest.mark.parametrize(("given", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_ses_does_not_take_is_refused_with_a_reason(given: str, reason: str) -> None:
    with pytest.raises(AddressError) as raised:
        normalise(given)
    assert str(raised.value) == reason


def library(text: str) -> str | None:
    """What email-validator makes of it, with no domain set aside as special."""
    with mock.patch.object(email_validator, "SPECIAL_USE_DOMAIN_NAMES", []):
        try:
            return email_validator.validate_email(
                text,
                allow_smtputf8=False,
                allow_quoted_local=True,
                strict=True,
                check_deliverability=False,
            ).ascii_email
        except email_validator.EmailNotValidError:
            return None


ANY = st.characters(codec="utf-8") | st.sampled_from("aZ09.-_@+\"'\u0131\u017f\u212axn. ")
LABELS = st.text(st.sampled_from("abXYxn019-_.é"), max_size=12) | st.sampled_from(
    ["xn--mnchen-3ya", "xn--a", "com", "COM", "c0m", "0", "test", "local", "a" * 63, "a" * 64]
)
LOCALS = st.text(st.sampled_from("aZ0.+-_'!#$%&*/=?^`{|}~\"( é"), max_size=70)
NEAR_ADDRESSES = st.one_of(
    st.builds(
        lambda local, labels: f"{local}@{'.'.join(labels)}",
        LOCALS,
        st.lists(LABELS, min_size=1, max_size=5),
    ),
    st.text(ANY, max_size=20).map(lambda text: text + "@example.com"),
    st.text(ANY, max_size=20).map(lambda text: "a@" + text + ".com"),
)


ATOMS = st.text(st.sampled_from("aZ0!#$%&'*+-/=?^_`{|}~"), min_size=1, max_size=6)
HOST_LABELS = st.text(st.sampled_from("xnXN-a0"), min_size=1, max_size=8)
NEARLY_PLAIN = st.builds(
    lambda atoms, labels, top: f"{'.'.join(atoms)}@{'.'.join([*labels, top])}",
    st.lists(ATOMS, min_size=1, max_size=4),
    st.lists(HOST_LABELS, min_size=1, max_size=4),
    st.sampled_from(["com", "COM", "x", "xn", "test", "local", "c0m", "0"]),
)


@given(NEARLY_PLAIN | NEAR_ADDRESSES)
def test_the_fast_pattern_accepts_nothing_that_the_library_refuses(text: str) -> None:
    if len(text) <= addresses._PLAIN_CHARACTERS_MAX and addresses._plain(text):
        expected = library(text)
        assert expected is not None
        assert normalise(text) == (text, expected.lower())


@given(NEAR_ADDRESSES)
def test_whatever_the_library_accepts_is_accepted_in_the_same_form(text: str) -> None:
    text = text.strip()
    expected = library(text)
    try:
        found = normalise(text).key
    except AddressError:
        found = None
    # The library leaves the neutral suffix's length out of its own limit.
    assume(len(text) < 240)
    if expected is not None:
        # An apostrophe at the beginning is a spreadsheet's, if it is not quoted.
        assert found == (None if text.startswith("'") else expected.lower())
    elif found is not None:
        special = ("@localhost", "@test", "@local", "@invalid", "@onion", "@arpa")
        assert found.endswith(special) or "--" in found.rpartition("@")[2]


@given(st.text(max_size=60), st.sampled_from(["", '"']))
def test_a_display_name_is_sent_as_ascii_that_reads_the_same(name: str, quote: str) -> None:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"') if quote else name
    try:
        sent = normalise(f"{quote}{escaped}{quote} <a@example.com>").text
    except AddressError:
        return
    assert sent.isascii()
    assert "\n" not in sent
    if quote:
        shown, bare = parseaddr(sent)
        assert bare == "a@example.com"
        if "=?" not in name and '"' not in name and "\\" not in name:
            assert str(make_header(decode_header(shown))).split() == name.split()


@given(st.text() | NEAR_ADDRESSES)
def test_nothing_but_an_address_error_comes_out_and_no_reason_holds_the_address(text: str) -> None:
    try:
        normalise(text)
    except AddressError as error:
        reason = str(error)
    else:
        return
    assert len(text.strip()) < 12 or text.strip() not in reason
