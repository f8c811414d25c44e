"""Templates of the emulated account, as aioboto3 sees them."""

from __future__ import annotations

import email
import json
from collections import Counter
from email import policy
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from mailsluice.emulator import EmulatorOptions
from mailsluice.emulator.resources import parse
from mailsluice.mailing.rendering import Source, Template, Verdict, merged
from mailsluice.model.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.emulator.conftest import Pair

    Start = Callable[..., Awaitable[Pair]]

CONTENT = {"Subject": "Welcome, {{name}}", "Text": "Dear {{name}}", "Html": "<p>{{name}}</p>"}
MISSING = "Attribute 'name' is not present in the rendering data."


async def refusal(call: Awaitable[Any]) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        await call
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def entry(number: int, data: dict[str, Any]) -> dict[str, Any]:
    replacement = {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(data)}}
    return {
        "Destination": {"ToAddresses": [f"person.{number}@example.com"]},
        "ReplacementEmailContent": replacement,
    }


async def test_a_template_is_created_read_changed_listed_and_deleted(start: Start) -> None:
    client = (await start()).client
    await client.create_email_template(TemplateName="hello", TemplateContent=CONTENT)
    assert (await client.get_email_template(TemplateName="hello"))["TemplateContent"] == CONTENT
    twice = client.create_email_template(TemplateName="hello", TemplateContent=CONTENT)
    assert (await refusal(twice))[0] == "AlreadyExistsException"
    await client.update_email_template(TemplateName="hello", TemplateContent={"Text": "{{a}}"})
    found = await client.get_email_template(TemplateName="hello")
    assert found["TemplateContent"] == {"Text": "{{a}}"}
    listed = await client.list_email_templates()
    assert [each["TemplateName"] for each in listed["TemplatesMetadata"]] == ["hello"]
    await client.delete_email_template(TemplateName="hello")
    for call in (client.get_email_template, client.delete_email_template):
        assert (await refusal(call(TemplateName="hello")))[0] == "NotFoundException"


async def test_a_template_that_the_emulator_cannot_render_is_refused(start: Start) -> None:
    client = (await start()).client
    for html in ("{{#if a}}", "{{lookup a 'b'}}", "{{#each a}}{{/if}}"):
        call = client.create_email_template(TemplateName="x", TemplateContent={"Html": html})
        assert (await refusal(call))[0] == "BadRequestException"
    with pytest.raises(ConfigurationError, match=r"resources: templates\.x"):
        parse({"templates": {"x": {"html": "{{#if a}}"}}}, "resources")


async def test_a_test_rendering_is_a_message_or_names_what_is_missing(start: Start) -> None:
    client = (await start(resources={"templates": {"hello": _parts(CONTENT)}})).client
    data = json.dumps({"name": "Ann"})
    found = await client.test_render_email_template(TemplateName="hello", TemplateData=data)
    message = email.message_from_string(found["RenderedTemplate"], policy=policy.default)
    assert message["Subject"] == "Welcome, Ann"
    text, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert text.get_content() == "Dear Ann\n"
    assert html.get_content() == "<p>Ann</p>\n"
    failed = client.test_render_email_template(TemplateName="hello", TemplateData="{}")
    assert await refusal(failed) == ("BadRequestException", MISSING)


async def test_what_cannot_be_rendered_is_accepted_and_recorded_as_a_failure(start: Start) -> None:
    pair = await start(resources={"templates": {"welcome": _parts(CONTENT)}})
    entries = [entry(1, {"name": "Ann"}), entry(2, {"nmae": "Bo"}), entry(3, {"name": None})]
    assert await pair.statuses(BulkEmailEntries=entries) == ["SUCCESS"] * 3
    first, second, third = pair.emulator.ledger.entries()
    assert (first.event, first.error) == ("Delivery", None)
    assert (second.event, second.error) == ("Rendering Failure", MISSING)
    assert (third.event, third.error) == ("Rendering Failure", MISSING)
    assert pair.emulator.statistics().rendering_failures == 2
    lines = b"".join(pair.emulator.ledger.lines()).splitlines()
    assert json.loads(lines[1])["error"] == MISSING


async def test_the_default_data_fill_in_what_an_entry_lacks(start: Start) -> None:
    pair = await start(resources={"templates": {"welcome": {"html": "{{a}}{{o.b}}{{o.c}}"}}})
    template = {"TemplateName": "welcome", "TemplateData": '{"a":"1","o":{"b":"2"}}'}
    request = {
        "DefaultContent": {"Template": template},
        "BulkEmailEntries": [entry(1, {"o": {"c": "3"}}), entry(2, {"o": "4"}), entry(3, {})],
    }
    await pair.send(**request)
    events = [accepted.event for accepted in pair.emulator.ledger.entries()]
    assert events == ["Delivery", "Rendering Failure", "Rendering Failure"]


async def test_inline_content_is_rendered_too(start: Start) -> None:
    pair = await start()
    inline = {"TemplateContent": {"Subject": "{{name}}", "Text": "x"}, "TemplateData": "{}"}
    entries = [entry(1, {"name": "Ann"}), entry(2, {})]
    await pair.send(DefaultContent={"Template": inline}, BulkEmailEntries=entries)
    events = [accepted.event for accepted in pair.emulator.ledger.entries()]
    assert events == ["Delivery", "Rendering Failure"]


async def test_a_template_is_found_by_its_arn(start: Start) -> None:
    pair = await start(resources={"templates": {"welcome": _parts(CONTENT)}})
    arn = "arn:aws:ses:eu-west-1:123456789012:template/welcome"
    template = {"Template": {"TemplateArn": arn, "TemplateData": "{}"}}
    assert await pair.statuses("ann@example.com", DefaultContent=template) == ["SUCCESS"]
    [accepted] = pair.emulator.ledger.entries()
    assert accepted.error == MISSING


async def test_a_file_keeps_failures(start: Start, tmp_path: Any) -> None:
    pair = await start(
        resources={"templates": {"welcome": _parts(CONTENT)}}, ledger=tmp_path / "ledger.ndjson"
    )
    await pair.send(BulkEmailEntries=[entry(1, {}), entry(2, {"name": "x"})])
    assert [each.error for each in pair.emulator.ledger.entries()] == [MISSING, None]


def test_options_with_templates_go_to_another_process_and_back() -> None:
    from pydantic import TypeAdapter  # noqa: PLC0415

    options = EmulatorOptions(resources={"templates": {"hello": _parts(CONTENT)}})  # type: ignore[arg-type]
    adapter = TypeAdapter(EmulatorOptions)
    assert adapter.validate_json(adapter.dump_json(options)) == options


HTML = """\
<p>Dear {{contact.first}} {{last}}</p>
{{#if coupon}}<p>{{coupon.code}}</p>{{else}}<p>{{hint}}</p>{{/if}}
{{#each items}}{{@index}} {{title}}{{#unless @last}},{{/unless}} {{../currency}}{{/each}}
{{#* inline "sign"}}{{sender}}{{#if phone}}, {{phone}}{{/if}}{{/inline}}
{{> sign}}
"""
DEFAULTS: dict[str, Any] = {"contact": {"first": "customer"}, "currency": "EUR", "sender": "Shop"}
DEFECTS: list[dict[str, Any]] = [
    {},
    {},
    {},
    {"last": None},
    {"contact": {"first": None}},
    {"contact": "Ann"},
    {"coupon": {}},
    {"coupon": {"code": "SAVE"}, "hint": None},
    {"coupon": []},
    {"hint": None, "coupon": ""},
    {"items": []},
    {"items": None},
    {"items": [{"title": "a"}, {"tilte": "b"}]},
    {"items": [{"title": "a"}, {"title": None}]},
    {"items": ["a"]},
    {"currency": None},
    {"sender": None},
    {"phone": None},
    {"phone": "1"},
    {"items": {"x": {"title": "a"}}},
]
"""What a row has instead of, or beside, what is right."""


async def test_the_judge_and_the_emulator_agree_on_each_of_10_000_rows(start: Start) -> None:
    pair = await start(resources={"templates": {"welcome": {"html": HTML}}})
    template = Template.stored(Source(html=HTML))
    rows = [_row(number) for number in range(10_000)]
    for first in range(0, len(rows), 50):
        entries = [entry(first + n, row) for n, row in enumerate(rows[first : first + 50])]
        named = {"TemplateName": "welcome", "TemplateData": json.dumps(DEFAULTS)}
        await pair.send(DefaultContent={"Template": named}, BulkEmailEntries=entries)
    judged = [template.render(merged(DEFAULTS, row)).verdict is Verdict.FAILS for row in rows]
    failed = [accepted.error is not None for accepted in pair.emulator.ledger.entries()]
    assert failed == judged
    assert min(Counter(judged).values()) > 3_000


def _row(number: int) -> dict[str, Any]:
    right: dict[str, Any] = {
        "last": f"L{number}",
        "hint": "Look again",
        "items": [{"title": "a"}, {"title": "b"}],
    }
    row = right | DEFECTS[number % len(DEFECTS)]
    if number % 7 == 0:
        del row[list(right)[number // 7 % 3]]
    return row


def _parts(content: dict[str, str]) -> dict[str, str]:
    return {name.lower(): part for name, part in content.items()}
