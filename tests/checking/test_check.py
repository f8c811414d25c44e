"""Each finding of a check: provoked on the emulated SES, and gone when its remedy is followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mailsluice import (
    ArgumentError,
    ArgumentTypeError,
    Checked,
    CheckFailedError,
    Content,
    Engine,
    Finding,
    Level,
    Mailing,
    QuotaSettings,
    Recipient,
    RecipientsSettings,
    Settings,
)
from mailsluice.checking.checked import Depth
from mailsluice.checking.findings import KINDS
from mailsluice.config.settings import SesSettings
from mailsluice.emulator import CallFault, Emulator
from mailsluice.ses import control_plane

ONE_CLICK = {
    "List-Unsubscribe": "<https://u.example.com/7>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
}
MAILING = Mailing(
    from_address="News <news@example.com>",
    template="welcome",
    configuration_set="main",
    tenant="acme",
    headers=ONE_CLICK,
)
WELCOME = {"subject": "Welcome, {{name}}", "html": "<p>Dear {{name}}</p>"}
RESOURCES = {
    "identities": {"example.com": {}},
    "configuration_sets": {"main": {}},
    "templates": {"welcome": WELCOME},
    "tenants": {"acme": {}},
    "recommendations": (),
    "denied": frozenset(),
}
ACCOUNT = {"production": True, "enforcement": "HEALTHY", "sending_enabled": True, "daily_max": -1.0}
LIST = tuple(Recipient(f"{name}@example.org", data={"name": name}) for name in ("ann", "bob"))


@dataclass(frozen=True)
class World:
    """A mailing, its list and its account. As it is by default, nothing is wrong with it."""

    resources: Mapping[str, Any] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)
    mailing: Mapping[str, Any] = field(default_factory=dict)
    recipients: Sequence[Recipient] = LIST
    settings: Settings = field(default_factory=Settings)


def identity(**fields: Any) -> World:
    return World({"identities": {"example.com": fields}})


def events(**fields: Any) -> World:
    return World({"configuration_sets": {"main": fields}})


def template(text: str, recipients: Sequence[Recipient] = LIST, **mailing: Any) -> World:
    return World({"templates": {"welcome": {"html": text}}}, {}, mailing, recipients)


def rows(*data: Mapping[str, Any]) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(f"user{number}@example.org", data=each) for number, each in enumerate(data)
    )


def named(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(each, data={"name": "Ann"}) for each in addresses)


MANY = [f"a{n}@one.example" for n in range(80)] + [f"a{n}@b{n}.example" for n in range(40)]
DESTINATION = {"name": "events", "events": ["SEND", "BOUNCE"]}

CASES: dict[str, tuple[World, str, World]] = {
    # By code: how it comes about, a part of its text, and the world when somebody has followed the
    # remedy.
    "ACCOUNT_SUSPENDED": (World(account={"enforcement": "SHUTDOWN"}), "shut", World()),
    "ACCOUNT_SENDING_PAUSED": (World(account={"sending_enabled": False}), "disabled", World()),
    "ACCOUNT_ON_PROBATION": (World(account={"enforcement": "PROBATION"}), "review", World()),
    "SANDBOX": (
        World(
            {"identities": {"example.com": {}, "example.org": {}}},
            {"production": False, "daily_max": 200},
        ),
        "200 recipients a day",
        World(),
    ),
    "SANDBOX_RECIPIENTS": (
        World(account={"production": False, "daily_max": 200}),
        "2 of the recipients that were looked up are not verified, the first in row 1",
        World({"identities": {"example.com": {}, "ann@example.org": {}, "bob@example.org": {}}}),
    ),
    "QUOTA_TOO_SMALL": (
        World(account={"daily_max": 100}, settings=Settings(quota=QuotaSettings(reserve=100))),
        "leave none",
        World(account={"daily_max": 100}, settings=Settings(quota=QuotaSettings(reserve=10))),
    ),
    "IDENTITY_MISSING": (
        World({"identities": {}}),
        "knows no identity example.com",
        World({"identities": {"news@example.com": {}}}),
    ),
    "IDENTITY_NOT_VERIFIED": (identity(verified=False), "identity example.com is not", World()),
    "DKIM_OFF": (identity(dkim_signing=False), "does not sign", World()),
    "DKIM_FAILED": (identity(dkim_status="FAILED"), "FAILED", identity(dkim_status="SUCCESS")),
    "DKIM_KEY_SHORT": (identity(dkim_key="RSA_1024_BIT"), "1024 bits", World()),
    "MAIL_FROM_REFUSES": (
        identity(
            mail_from="m.example.com", mail_from_status="FAILED", on_mx_failure="REJECT_MESSAGE"
        ),
        "m.example.com",
        identity(mail_from="m.example.com", on_mx_failure="REJECT_MESSAGE"),
    ),
    "MAIL_FROM_FAILED": (
        identity(mail_from="m.example.com", mail_from_status="PENDING"),
        "(PENDING)",
        identity(mail_from="m.example.com"),
    ),
    "CONFIGURATION_SET_NOT_FOUND": (World({"configuration_sets": {}}), "set main", World()),
    "CONFIGURATION_SET_SENDING_PAUSED": (events(sending_enabled=False), "is paused", World()),
    "CONFIGURATION_SET_NONE": (
        World(mailing={"configuration_set": None}),
        "no configuration set",
        World(
            {"identities": {"example.com": {"configuration_set": "main"}}},
            mailing={"configuration_set": None},
        ),
    ),
    "SUPPRESSION_OFF": (events(suppressed_reasons=["BOUNCE"]), "after a complaint", World()),
    "DELIVERY_SHORT": (events(max_delivery_s=300), "300 s", events(max_delivery_s=50_400)),
    "AUTO_VALIDATION": (events(auto_validation=True), "itself suppresses", World()),
    "EVENTS_NONE": (
        events(destinations=[{**DESTINATION, "enabled": False}]),
        "publishes no events (there is one, which is disabled)",
        World(),
    ),
    "EVENTS_MISSING": (
        events(destinations=[DESTINATION]),
        "does not publish DELIVERY, COMPLAINT, REJECT, RENDERING_FAILURE",
        events(
            destinations=[
                DESTINATION,
                {
                    "name": "more",
                    "events": ["DELIVERY", "COMPLAINT", "REJECT", "RENDERING_FAILURE"],
                },
            ]
        ),
    ),
    "TENANT_NOT_FOUND": (World({"tenants": {}}), "no tenant acme", World()),
    "TENANT_DISABLED": (World({"tenants": {"acme": {"status": "DISABLED"}}}), "acme", World()),
    "REPUTATION": (
        World(
            {
                "recommendations": [
                    {
                        "type": "BOUNCE",
                        "resource": "arn:aws:ses:us-east-1:1:identity/example.com",
                        "description": "Too many bounces.",
                    }
                ]
            }
        ),
        "SES on BOUNCE of identity/example.com: Too many bounces",
        World(
            {
                "recommendations": [
                    {"type": "BOUNCE", "resource": "arn:aws:ses:us-east-1:1:x", "status": "FIXED"}
                ]
            }
        ),
    ),
    "TEMPLATE_NOT_FOUND": (World({"templates": {"other": WELCOME}}), "welcome", World()),
    "TEMPLATE_BROKEN": (
        World(
            mailing={
                "template": None,
                "content": Content(subject="Hi", text="{{#if name}}{{name}}{{/if}}"),
            }
        ),
        "text, line 1",
        World(mailing={"template": None, "content": Content(subject="Hi", text="Hi {{name}}")}),
    ),
    "TEMPLATE_UNJUDGED": (
        World(
            mailing={"template": None, "content": Content(subject="Hi", text="{{first_name}}")},
            recipients=rows({"first_name": "Ann"}),
        ),
        "first_name",
        World(
            mailing={"template": None, "content": Content(subject="Hi", text="{{firstname}}")},
            recipients=rows({"firstname": "Ann"}),
        ),
    ),
    "VARIABLE_MISSING": (
        template("{{firstname}}", rows({"fistname": "Ann"}, {"firstname": "Bob"})),
        '"firstname", which is missing in 1 row (row 1; html line 1); did you mean "fistname"?',
        template("{{firstname}}", rows({}, {"firstname": "Bob"}), data={"firstname": "friend"}),
    ),
    "VARIABLE_NULL": (
        template("{{name}}", rows({"name": None}, {"name": "Bob"})),
        'prints "name", which is null in 1 row (row 1;',
        template("{{#if name}}{{name}}{{/if}}", rows({"name": None}, {"name": "Bob"})),
    ),
    "BLOCK_TAG_WRONG": (
        template("{{#IF name}}{{name}}{{/IF}}"),
        'no block "IF": 2 rows would not be rendered (rows 1, 2; html line 1); did you mean "if"?',
        template("{{#if name}}{{name}}{{/if}}"),
    ),
    "PARTIAL_UNDEFINED": (
        template("{{name}}{{> foot}}"),
        "partial",
        template('{{#* inline "foot"}}bye{{/inline}}{{name}}{{> foot}}'),
    ),
    "VALUE_FORM": (
        template("{{name}}", rows({"name": 1.5})),
        '"name" in 1 row',
        template("{{name}}", rows({"name": "1.5"})),
    ),
    "MESSAGE_TOO_LARGE": (
        template(
            "{{#each n}}" + "{{../text}}" * 200 + "{{/each}}",
            rows({"n": ["1"] * 2, "text": "x" * 80_000}),
        ),
        "the message of row 1",
        template("{{#each n}}{{../text}}{{/each}}", rows({"n": ["1"] * 2, "text": "x" * 80_000})),
    ),
    "SUBJECT_TOO_LONG": (
        World(
            {"templates": {"welcome": {"subject": "{{name}}", "html": "x"}}},
            recipients=rows({"name": "é" * 500}),
        ),
        "row 1 has 1,000 bytes",
        World(recipients=rows({"name": "é" * 400})),
    ),
    "ONE_CLICK_MISSING": (World(mailing={"headers": {}}), "List-Unsubscribe and", World()),
    "ONE_CLICK_BROKEN": (
        World(mailing={"headers": ONE_CLICK | {"List-Unsubscribe": "<https://u/{{id}}>"}}),
        "no <https://...> link",
        World(),
    ),
    "ROWS_REFUSED": (World(recipients=(*LIST, *named("no-at"))), "1 of 3 rows", World()),
    "LIST_EMPTY": (World(recipients=()), "no rows", World()),
    "ADDRESSES_EMPTY": (
        World(recipients=named("", "ann@example.org", "bob@example.org")),
        "33.3 % of the rows have no address",
        World(),
    ),
    "COLUMN_UNUSED": (
        World(recipients=rows({"name": "Ann", "plan": "x"})),
        "does not use plan",
        World(recipients=rows({"name": "Ann"})),
    ),
    "ROLE_ADDRESSES": (World(recipients=named("info@example.org")), "1 address is", World()),
    "ONE_DOMAIN": (
        World(recipients=named(*MANY)),
        "66.7 % of the addresses are at one.example",
        World(recipients=named(*MANY[60:])),
    ),
    "DOMAINS_MISSPELT": (
        World(recipients=named("ann@gmial.com", "bob@gmial.com", "cat@yahoo.con")),
        "3 addresses are at domains that look misspelt: gmial.com (gmail.com?), yahoo.con",
        World(recipients=named("ann@gmail.com")),
    ),
    "DOMAINS_DISPOSABLE": (
        World(recipients=named("ann@mailinator.com")),
        "throw-away mailboxes: mailinator.com",
        World(),
    ),
    "NOT_PERMITTED": (
        World({"denied": frozenset({"GetTenant", "GetEmailIdentity"})}),
        "may not call GetEmailIdentity, GetTenant: not checked",
        World(),
    ),
}

ELSEWHERE = {
    "RENDERING_FAILS": "below",
    "ROWS_UNREAD": "below",
    "LIVE_SENT": "below",
    "LIVE_FAILED": "below",
    "NOT_ANSWERED": "below",
}

AT_ONCE = frozenset({"COLUMN_UNUSED", "ROWS_REFUSED", "SANDBOX"})
"""Codes that come with some others, as the same cause has several signs."""


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulated SES takes reading calls at any rate."""
    monkeypatch.setattr(control_plane, "CALLS_PER_S", 1000.0)


async def check(
    emulator: Emulator, world: World, depth: Depth = "thorough", **options: Any
) -> Checked:
    emulator.change_resources(**{**RESOURCES, **world.resources})
    emulator.change_account(**{**ACCOUNT, **world.account})
    mailing = Mailing.model_validate({**MAILING.model_dump(exclude_none=True), **world.mailing})
    settings = world.settings.model_copy(update={"ses": SesSettings(endpoint_url=emulator.url)})
    async with Engine.open(settings) as engine:
        return await engine.check(mailing, list(world.recipients), depth=depth, **options)


def codes(checked: Checked) -> set[str]:
    return {each.code for each in checked.findings}


def test_every_finding_has_a_case() -> None:
    assert {*CASES, *ELSEWHERE} == set(KINDS)


@pytest.mark.parametrize("code", CASES)
async def test_a_finding_is_gone_when_its_remedy_is_followed(
    ses_emulator: Emulator, code: str
) -> None:
    world, text, mended = CASES[code]
    checked = await check(ses_emulator, world)
    found = [each for each in checked.findings if each.code == code]
    assert [each for each in found if text in each.text], checked.findings
    assert found[0].remedy
    assert found[0].level is KINDS[code].level
    assert codes(checked) - AT_ONCE == {code} - AT_ONCE
    assert (await check(ses_emulator, mended)).findings == ()
    assert not len(ses_emulator.ledger)  # it sends nothing


@pytest.mark.parametrize(
    ("code", "stops"),
    [
        ("IDENTITY_MISSING", True),
        ("MAIL_FROM_REFUSES", True),
        ("CONFIGURATION_SET_SENDING_PAUSED", True),
        ("TENANT_DISABLED", True),
        ("TEMPLATE_NOT_FOUND", True),
        ("TEMPLATE_BROKEN", True),
        ("VARIABLE_MISSING", True),
        ("VARIABLE_NULL", True),
        ("BLOCK_TAG_WRONG", True),
        ("PARTIAL_UNDEFINED", True),
        ("TEMPLATE_UNJUDGED", False),
        ("DKIM_FAILED", False),
        ("EVENTS_MISSING", False),
        ("NOT_PERMITTED", False),
    ],
)
async def test_a_quick_check_finds_what_a_mailing_must_not_begin_with(
    ses_emulator: Emulator, code: str, *, stops: bool
) -> None:
    world, text, mended = CASES[code]
    checked = await check(ses_emulator, world, "quick")
    assert codes(checked) == {code}
    assert text in checked.findings[0].text
    if stops:
        with pytest.raises(CheckFailedError, match=f"^{code}: .*; "):
            checked.require()
    else:
        checked.require()
    assert (await check(ses_emulator, mended, "quick")).findings == ()


async def test_nothing_is_wrong_with_the_emulated_account_as_it_is(ses_emulator: Emulator) -> None:
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        assert (await engine.check(MAILING, ["ann@example.org"])).findings == ()


async def test_ses_is_asked_about_rows_that_cannot_be_judged_here(ses_emulator: Emulator) -> None:
    odd = template("{{name}}: {{items.length}}", rows({"name": "Ann", "items": ["a"]}))
    assert codes(await check(ses_emulator, odd)) == {"TEMPLATE_UNJUDGED"}
    refused = CallFault(
        fault="error", code="BadRequestException", operation="TestRenderEmailTemplate"
    )
    ses_emulator.faults.add(refused)
    checked = await check(ses_emulator, odd)
    assert codes(checked) == {"TEMPLATE_UNJUDGED", "RENDERING_FAILS"}
    [error] = checked.errors
    assert error.text.startswith("SES cannot render row 1: ")
    mended = template("{{name}}: {{count}}", rows({"name": "Ann", "count": "1"}))
    assert (await check(ses_emulator, mended)).findings == ()


async def test_an_iterator_is_used_up_by_a_thorough_check_and_left_alone_by_a_quick_one(
    ses_emulator: Emulator,
) -> None:
    ses_emulator.change_resources(**RESOURCES)
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        once = iter(LIST)
        checked = await engine.check(MAILING, once, depth="quick")
        assert [each.code for each in checked.findings] == ["ROWS_UNREAD"]
        checked.require()
        assert len(list(once)) == 2
        checked = await engine.check(MAILING, iter(LIST))
        assert checked.findings == ()
        assert checked.seen is not None
        assert checked.seen.read == 2
        assert checked.digest is None


async def test_offline_asks_ses_for_nothing(ses_emulator: Emulator) -> None:
    ses_emulator.change_resources(**RESOURCES)
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        inline = MAILING.model_copy(
            update={"template": None, "content": Content(subject="Hi", text="{{nmae}}")}
        )
        checked = await engine.check(inline, LIST, offline=True)
    assert not ses_emulator.statistics().reading_calls
    assert not ses_emulator.statistics().get_account_calls
    [found] = [each for each in checked.findings if each.level is Level.ERROR]
    assert isinstance(found, Finding)
    assert 'did you mean "name"' in found.text


async def test_live_sends_one_mail_to_the_mailbox_simulator(ses_emulator: Emulator) -> None:
    checked = await check(ses_emulator, World(), live=True)
    assert codes(checked) == {"LIVE_SENT"}
    [sent] = ses_emulator.ledger.entries()
    assert sent.to == ("success+mailsluice-check@simulator.amazonses.com",)
    assert sent.event == "Delivery"
    assert sent.tags["mailsluice-id"].startswith("check-")


async def test_live_says_what_ses_refuses(ses_emulator: Emulator) -> None:
    ses_emulator.faults.add(
        CallFault(fault="error", code="MessageRejected", operation="SendBulkEmail")
    )
    checked = await check(ses_emulator, World(), live=True)
    assert codes(checked) == {"LIVE_FAILED"}


async def test_live_sends_nothing_if_something_is_wrong(ses_emulator: Emulator) -> None:
    await check(ses_emulator, CASES["VARIABLE_MISSING"][0], live=True)
    assert not len(ses_emulator.ledger)


async def test_no_answer_is_said_and_nothing_is_concluded_from_it(ses_emulator: Emulator) -> None:
    ses_emulator.faults.add(
        CallFault(fault="error", code="InternalFailure", operation="GetEmailTemplate")
    )
    checked = await check(ses_emulator, CASES["VARIABLE_MISSING"][0])
    assert codes(checked) >= {"NOT_ANSWERED"}
    assert not checked.errors


async def test_only_so_many_rows_are_read(ses_emulator: Emulator) -> None:
    later = rows({"name": "Ann"}, {"name": "Bob"}, {})
    checked = await check(ses_emulator, World(recipients=later), rows=2)
    assert checked.findings == ()
    assert checked.seen is not None
    assert (checked.seen.read, checked.digest) == (2, None)


async def test_rows_that_are_refused_are_not_blamed_for_what_they_lack(
    ses_emulator: Emulator,
) -> None:
    refused = (*LIST, Recipient("no-at", data={}))
    checked = await check(ses_emulator, World(recipients=refused), "quick")
    assert checked.findings == ()


async def test_an_argument_of_another_type_is_refused(ses_emulator: Emulator) -> None:
    async with Engine.open(Settings(ses=SesSettings(endpoint_url=ses_emulator.url))) as engine:
        with pytest.raises(ArgumentTypeError):
            await engine.check("welcome", LIST)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="depth"):
            await engine.check(MAILING, LIST, depth="deep")  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="rows"):
            await engine.check(MAILING, LIST, rows=0)
        with pytest.raises(ArgumentTypeError, match="live"):
            await engine.check(MAILING, LIST, live="yes")  # type: ignore[arg-type]


async def test_per_row_headers_are_looked_at(ses_emulator: Emulator) -> None:
    post = {"List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    own = [
        Recipient("ann@example.org", data={"name": "A"}, headers={"List-Unsubscribe": link})
        for link in ("<https://u.example.com/1>", "mailto:stop")
    ]
    headers = RecipientsSettings(headers={"List-Unsubscribe": "link"})
    world = World(mailing={"headers": post}, recipients=own, settings=Settings(recipients=headers))
    checked = await check(ses_emulator, world)
    assert codes(checked) == {"ONE_CLICK_BROKEN"}
    assert "in 1 row, the first of them row 2" in checked.findings[0].text
