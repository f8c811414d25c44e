"""Finds values that an inline template needs and a request lacks. Pure.

SES accepts a mail whose template asks for a value that is missing, and never delivers it: it only
publishes a Rendering Failure event (developer guide, "send personalized email").
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

_placeholder = re.compile(r"\{\{\{?\s*([^{}#/>!&^~\s][^{}]*?)\s*\}?\}\}").finditer
_path = re.compile(r"\[([^\]]+)\]|([^\s.\[\]]+)").match
_has_blocks = re.compile(r"\{\{~?\s*[#>^]").search
_NOT_VALUES = frozenset({"this", "else", ".", ".."})


def missing(request: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Names that a SendBulkEmail request's content uses but its first entry lacks, and its names.

    Blocks (`{{#each}}`) change what a name means: of a template with blocks, or one that is stored
    in SES, nothing is said.
    """
    template = request["DefaultContent"]["Template"]
    content = template.get("TemplateContent")
    if not content or any(map(_has_blocks, content.values())):
        return [], []
    entry = request["BulkEmailEntries"][0].get("ReplacementEmailContent", {})
    own = entry.get("ReplacementTemplate", {}).get("ReplacementTemplateData", "{}")
    given = {**json.loads(template.get("TemplateData", "{}")), **json.loads(own)}
    return [name for name in _names(content.values()) if name not in given], sorted(given)


def _names(texts: Iterable[str]) -> Iterable[str]:
    """Return each name once, in the order of use."""
    found: dict[str, None] = {}
    for text in texts:
        for match in _placeholder(text):
            path = _path(match[1])
            name = path and (path[1] or path[2])
            if name and name not in _NOT_VALUES and not name.startswith("@"):
                found[name] = None
    return found
