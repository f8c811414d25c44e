"""What looks wrong with a list as a whole: warnings, and never a reason not to send. Pure.

A list is folded in chunks, in memory that does not grow with it: domains are counted up to a bound,
and each set of known names is intersected with a chunk's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from mailsluice.checking.findings import Finding, finding
from mailsluice.checking.misspelt import MISSPELT
from mailsluice.model import Recipient
from mailsluice.sources import Row

DOMAINS_MAX = 10_000
"""Domains that are counted: those that come first. One with half of a list is among them."""

COLUMNS_MAX = 1_000
"""Names of data that are remembered."""

EMPTY_SHARE = 0.05
"""Of rows without an address: beyond it the column is the wrong one, or the list is broken."""

DOMAIN_SHARE = 0.6
"""Of one domain: beyond it that domain's limits are the mailing's."""

DOMAIN_ROWS_MIN = 100
"""Rows that a list must have for shares of it to mean anything."""

SHOWN_MAX = 5

ROLES = frozenset(
    {
        # RFC 2142, and what else is read by several people or by none.
        *("info", "marketing", "sales", "support", "abuse", "noc", "security", "postmaster"),
        *("hostmaster", "webmaster", "www", "news", "admin", "administrator", "root", "office"),
        *("contact", "help", "billing", "all", "team", "staff", "noreply", "no-reply", "spam"),
        *("donotreply", "do-not-reply", "mailer-daemon", "mailerdaemon", "newsletter", "privacy"),
    }
)


def disposable_domains() -> frozenset[str]:
    """Domains of throw-away mailboxes. Few processes need them."""
    from disposable_email_domains import blocklist  # noqa: PLC0415  # 220 KB of source

    return frozenset(blocklist)


class Impression(NamedTuple):
    """What was seen of a list."""

    rows: int
    addresses: int
    """To addresses that are one text with an @."""
    empty: int
    roles: int
    columns: tuple[str, ...]
    """Names of the data, in the order in which they first came."""
    top: tuple[str, int] | None
    """The most frequent domain, and how often it came."""
    misspelt: Mapping[str, int]
    disposable: Mapping[str, int]


class Impressions:
    """Folds a list. `disposable` are domains of throw-away mailboxes."""

    def __init__(self, disposable: Collection[str] = frozenset()) -> None:
        # Nobody who writes gmial.com meant to throw anything away.
        self._disposable = frozenset(disposable) - MISSPELT.keys()
        self._rows = self._addresses = self._empty = self._roles = 0
        self._columns: dict[str, None] = {}
        self._domains: Counter[str] = Counter()
        self._suspects = {"misspelt": Counter[str](), "disposable": Counter[str]()}

    def add(self, rows: Sequence[Row]) -> None:
        """Take the next rows."""
        recipients = [row.recipient for row in rows if row.recipient is not None]
        to = [_address(recipient) for recipient in recipients]
        given = [address for address in to if address]
        split = [address.lower().rstrip("> ").rpartition("@") for address in given]
        domains = [domain for _, at, domain in split if at]
        locals_ = [local for local, at, _ in split if at]
        self._rows += len(rows)
        self._addresses += len(domains)
        self._empty += len(to) - len(given)
        self._count(domains)
        if not ROLES.isdisjoint(locals_):
            self._roles += sum(local in ROLES for local in locals_)
        self._see_columns(recipients)

    def _count(self, domains: list[str]) -> None:
        counted = Counter(domains)
        for name, known in (("misspelt", MISSPELT.keys()), ("disposable", self._disposable)):
            for domain in known & counted.keys():
                self._suspects[name][domain] += counted[domain]
        room = DOMAINS_MAX - len(self._domains)
        if len(counted) > room:
            fresh = list(counted.keys() - self._domains.keys())
            for domain in fresh[room:]:
                del counted[domain]
        self._domains.update(counted)

    def _see_columns(self, recipients: Iterable[Recipient]) -> None:
        before = None
        for recipient in recipients:
            data = recipient.data
            names = None if data is None else data.keys()
            if names and names != before and len(self._columns) < COLUMNS_MAX:
                self._columns.update(dict.fromkeys(map(str, names)))
            before = names

    def impression(self) -> Impression:
        """Return what was seen so far."""
        top = self._domains.most_common(1)
        return Impression(
            rows=self._rows,
            addresses=self._addresses,
            empty=self._empty,
            roles=self._roles,
            columns=tuple(self._columns),
            top=top[0] if top else None,
            misspelt=dict(self._suspects["misspelt"].most_common()),
            disposable=dict(self._suspects["disposable"].most_common()),
        )


def _address(recipient: Recipient) -> str:
    """Return the first To address; empty if there is none, or if it is no text."""
    to = recipient.to
    if not isinstance(to, str):
        to = to[0] if isinstance(to, list | tuple) and to else ""
    return to.strip() if isinstance(to, str) else ""


def judge(seen: Impression, refused: int) -> Iterator[Finding]:
    """Find what is odd about the list; `refused` rows cannot be sent as they are."""
    if not seen.rows:
        yield finding("LIST_EMPTY", "the list has no rows")
        return
    if refused:
        yield finding(
            "ROWS_REFUSED", f"{refused:,} of {seen.rows:,} rows cannot be sent as they stand"
        )
    if seen.empty and seen.empty >= EMPTY_SHARE * seen.rows:
        yield finding(
            "ADDRESSES_EMPTY", f"{_share(seen.empty, seen.rows)} of the rows have no address"
        )
    if seen.roles:
        yield finding(
            "ROLE_ADDRESSES",
            f"{_addresses(seen.roles)} of no person (info@, postmaster@, noreply@, ...): such "
            "complain more often",
        )
    if seen.top and seen.addresses >= DOMAIN_ROWS_MIN:
        domain, times = seen.top
        if times >= DOMAIN_SHARE * seen.addresses:
            share = _share(times, seen.addresses)
            yield finding("ONE_DOMAIN", f"{share} of the addresses are at {domain}")
    if seen.misspelt:
        told = [f"{wrong} ({MISSPELT[wrong]}?)" for wrong in seen.misspelt]
        yield finding(
            "DOMAINS_MISSPELT",
            f"{_addresses(sum(seen.misspelt.values()))} at domains that look misspelt: "
            f"{_listed(told)}",
        )
    if seen.disposable:
        yield finding(
            "DOMAINS_DISPOSABLE",
            f"{_addresses(sum(seen.disposable.values()))} at domains of throw-away mailboxes: "
            f"{_listed(list(seen.disposable))}",
        )


def judge_columns(seen: Impression, used: Collection[str]) -> Iterator[Finding]:
    """Columns that no template uses. `used` are the names that it looks up in the data."""
    unused = [column for column in seen.columns if column not in used]
    if unused:
        yield finding("COLUMN_UNUSED", f"the template does not use {_listed(unused)}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_MAX
    return ", ".join(names[:SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _addresses(count: int) -> str:
    return f"{count:,} addresses are" if count > 1 else "1 address is"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g} %"
