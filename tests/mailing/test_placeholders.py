"""Which values an inline template asks for that the first recipient does not have."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from mailsluice.mailing.placeholders import missing


def request(text: str, default: dict[str, Any], own: dict[str, Any] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"Destination": {"ToAddresses": ["ann@example.com"]}}
    if own is not None:
        data = orjson.dumps(own).decode()
        entry["ReplacementEmailContent"] = {
            "ReplacementTemplate": {"ReplacementTemplateData": data}
        }
    template = {
        "TemplateContent": {"Subject": "x", "Text": text},
        "TemplateData": orjson.dumps(default).decode(),
    }
    return {"DefaultContent": {"Template": template}, "BulkEmailEntries": [entry]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Hello", []),
        ("Hello {{name}} of {{ city }}", []),
        ("{{nam}}, {{ Name }}, {{{town}}}, {{nam}}", ["nam", "Name", "town"]),
        ("{{[First Name]}} {{[Last Name]}}", ["Last Name"]),
        ("{{place.street}} {{pace.street}}", ["pace"]),
        ("{{! a comment }}{{this}}{{else}}", []),
        ("{{#if x}}{{y}}{{/if}} {{z}}", []),
        ("{{}} {{ }} {name} {{name", []),
    ],
)
def test_names_that_neither_the_mailing_nor_the_recipient_has_are_missing(
    text: str, names: list[str]
) -> None:
    own = {"name": "Ann", "First Name": "Ann", "place": {"street": "x"}}
    assert missing(request(text, {"city": "Lisbon"}, own))[0] == names


def test_the_names_that_there_are_come_with_them() -> None:
    assert missing(request("{{x}}", {"b": 1}, {"a": 2})) == (["x"], ["a", "b"])
    assert missing(request("{{x}}", {}, None)) == (["x"], [])


def test_of_a_stored_template_nothing_is_said() -> None:
    stored = request("", {}, None)
    stored["DefaultContent"]["Template"] = {"TemplateName": "welcome", "TemplateData": "{}"}
    assert missing(stored) == ([], [])
