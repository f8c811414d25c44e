"""The known name that an unknown one is most like. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` most likely stands for; None if none is like it.

    Upper and lower case make no difference: `FirstName` is as near to `firstname` as can be.
    """
    folded = {each.casefold(): each for each in sorted(known)}
    close = get_close_matches(name.casefold(), folded, n=1)
    return folded[close[0]] if close else None
