"""The data that SES renders an entry with: the mailing's, under its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def merged(default: Mapping[str, Any], replacement: Mapping[str, Any]) -> dict[str, Any]:
    """Merge TemplateData with ReplacementTemplateData as SES v2 does.

    Key by key, and objects within objects likewise; anything else, a list or null too, replaces
    what was there as a whole (established on SES by the author of aws-ses-v2-local, #102, #103).
    """
    both = {**default, **replacement}
    for key, value in default.items():
        if value.__class__ is dict and (own := both[key]) is not value and own.__class__ is dict:
            both[key] = merged(value, own)
    return both
