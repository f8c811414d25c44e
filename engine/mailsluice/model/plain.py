"""Foreign texts, made safe for terminals and logs. Pure.

Names of files and columns, cells of a list and SES's texts may hold control characters. These move
a terminal's cursor, change its title, or begin a line that looks like one of ours.
"""

from __future__ import annotations

import re

_CONTROLS = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u200e\u200f\u2028-\u202e\u2066-\u2069"  # separators of lines, and of directions
)
_in_text = re.compile(f"[{_CONTROLS}\ud800-\udfff]")
_in_json = re.compile(f"[{_CONTROLS}]")


def plain(text: str, keep: str = "") -> str:
    r"""Replace each control character, except those in `keep`, by its Python escape (`\x1b`).

    Lone surrogates, which stand for bytes of a file name, become escapes as well.
    """
    if text.isprintable():
        return text
    return _in_text.sub(lambda found: _escaped(found, keep), text)


def plain_json(text: str) -> str:
    r"""Escape the control characters that JSON allows in strings.

    Line ends between values stay.
    """
    return _in_json.sub(_escaped_in_json, text)


def _escaped(found: re.Match[str], keep: str) -> str:
    return found[0] if found[0] in keep else found[0].encode("unicode_escape").decode()


def _escaped_in_json(found: re.Match[str]) -> str:
    return found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}"
