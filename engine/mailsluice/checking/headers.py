"""Whether recipients can unsubscribe with one click (RFC 8058). Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from mailsluice.checking.findings import Finding, finding

LINK = "list-unsubscribe"
POST = "list-unsubscribe-post"
ONE_CLICK = "List-Unsubscribe=One-Click"

_has_https = re.compile(r"<https://[^<>\s]+>", re.IGNORECASE).search


def judge(
    shared: Mapping[str, str], per_row: Collection[str], bad_links: int, first_bad: int
) -> Iterator[Finding]:
    """`shared` are the mailing's headers, `per_row` names of those that rows have of their own.

    `bad_links` rows have a link of their own that is none, the first of them in row `first_bad`.
    """
    given = {name.lower(): value for name, value in shared.items()}
    own = {name.lower() for name in per_row}
    lacking = [name for name in (LINK, POST) if name not in given and name not in own]
    if lacking:
        told = " and ".join("-".join(map(str.capitalize, name.split("-"))) for name in lacking)
        yield finding("ONE_CLICK_MISSING", f"the mailing has no header {told}")
        return
    if LINK in given and LINK not in own and not is_link(given[LINK]):
        yield finding(
            "ONE_CLICK_BROKEN", "List-Unsubscribe of the mailing is no <https://...> link"
        )
    if POST in given and POST not in own and given[POST].strip() != ONE_CLICK:
        yield finding(
            "ONE_CLICK_BROKEN", f"List-Unsubscribe-Post of the mailing is not {ONE_CLICK}"
        )
    if bad_links:
        yield finding(
            "ONE_CLICK_BROKEN",
            f"List-Unsubscribe is no <https://...> link in {bad_links:,} "
            f"row{'s'[: bad_links > 1]}, the first of them row {first_bad:,}",
        )


def is_link(value: str) -> bool:
    """Whether a mail program finds an https link in it, with nothing left to be filled in."""
    return _has_https(value) is not None and "{{" not in value
