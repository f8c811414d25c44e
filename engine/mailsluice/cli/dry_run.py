"""`mailsluice send --dry-run`: everything but the sending."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import orjson

from mailsluice.checking import recipients
from mailsluice.checking import template as templates
from mailsluice.checking.findings import Finding, finding
from mailsluice.checking.rows import Quick
from mailsluice.cli import forecast_text, list_text, output
from mailsluice.config.settings import QuotaSettings, Settings
from mailsluice.dispatch.daily_quota import DailyQuota, Outlook
from mailsluice.engine import account as quotas
from mailsluice.engine import excepted, provenance
from mailsluice.journal import Journal, recovery
from mailsluice.journal.memory import MemoryJournal
from mailsluice.journal.recovery import Scope
from mailsluice.journal.sqlite import SqliteJournal
from mailsluice.journal.standing import Standing
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import Mailing
from mailsluice.mailing.recognition import DifferentRowError, Recogniser
from mailsluice.mailing.rendering.template import Template
from mailsluice.mailing.rendering.template_error import TemplateError
from mailsluice.model import Account
from mailsluice.model.errors import ConfigurationError
from mailsluice.model.rolling_window import DAY_S, RollingDay
from mailsluice.reports import forecast, remedies
from mailsluice.reports import plan as plans
from mailsluice.reports.report import ExitCode
from mailsluice.ses import AccountUnavailableError
from mailsluice.ses.client import Client
from mailsluice.sources import Row, Source

ENTRIES_SHOWN = 2
"""Recipients shown of the first request: fifty would fill several screens."""

RUN_ID_SHOWN = "dryrun"
"""Placeholder for a run's id in the first request."""


async def show(
    mailing: Mailing, settings: Settings, source: Source, journal: Path, scope: Scope
) -> ExitCode:
    """Print the plan. Return 1 if some rows would not be sent."""
    account = await _account(settings)
    dedupe = settings.recipients.dedupe
    left_out = excepted.read(scope.excepted, dedupe, SqliteJournal.read, str(journal))
    known = account is not None or settings.quota.rate != "account"
    with closing(_journal(journal)) as opened:
        standing, rows = await _standing(
            opened, settings, source, mailing.prefix(), scope, left_out.runs
        )
        intake = Intake(
            mailing,
            RUN_ID_SHOWN,
            dedupe,
            standing.settled,
            standing.remarked,
            left_out.mailed,
            rows,
            known_only=scope.only is not None and not scope.again,
        )
        impressions = recipients.Impressions(recipients.disposable_domains())
        template, broken = _template(mailing)
        judged = Quick(mailing, template)

        def see(rows: Sequence[Row]) -> None:
            impressions.add(rows)
            judged.add(rows)

        try:
            plan = await plans.build_plan(
                mailing.prefix(),
                source,
                intake,
                rate_per_s=quotas.rate_per_s(settings.quota, account) if known else None,
                calls_per_s=settings.quota.calls_per_second,
                account=account,
                price_per_1000=settings.quota.price_per_1000,
                see=see,
            )
        except DifferentRowError as error:
            what = provenance.difference(opened, error)
            now_given = await source.identify()
            raise provenance.changed(opened, standing, now_given, what) from error
        if standing.finished and plan.recipients and not scope.revises:
            what, now_given = "it has rows that the run never had", await source.identify()
            raise provenance.changed(opened, standing, now_given, what, provenance.AGAIN)
    now = time.time()
    seen = impressions.impression()
    if seen.columns:
        output.write(list_text.columns_line(seen, settings.recipients))
    outlook = _outlook(settings.quota, account, standing.sends.day(now, now, DAY_S), now)
    found = (*broken, *templates.judge(judged.end()), *recipients.judge(seen, 0))
    odd = [f"{each.text}; {each.remedy}" for each in found]
    _print(plan, outlook, now, odd if plan.read else [remedies.NO_RECIPIENTS])
    return ExitCode.SOME_NOT_SENT if plan.refused else ExitCode.FINISHED


def _template(mailing: Mailing) -> tuple[Template | None, list[Finding]]:
    """Compile inline content; None for a template in SES, whose text a dry run does not fetch."""
    source = templates.source_of(mailing, None)
    if source is None:
        return None, []
    try:
        return templates.compiled(mailing, source), []
    except TemplateError as error:
        return None, [finding("TEMPLATE_BROKEN", f"the template cannot be parsed: {error}")]


def _journal(path: Path) -> Journal:
    """Open the run's journal; an empty one if the run has not started."""
    return SqliteJournal.read(path) if path.is_file() else MemoryJournal()


async def _account(settings: Settings) -> Account | None:
    """Return what GetAccount says, if credentials and network allow the call."""
    try:
        async with Client(
            region=settings.ses.region,
            profile=settings.ses.profile,
            endpoint_url=settings.ses.endpoint_url,
            in_flight_max=1,
            timeout_s=settings.delivery.timeout_s,
        ) as client:
            return await quotas.ask(client)
    except (AccountUnavailableError, ConfigurationError) as error:
        output.warn(f"the account was not asked: {error}")
        return None


def _outlook(
    settings: QuotaSettings, account: Account | None, own: RollingDay, now: float
) -> Outlook:
    """Return the room of the coming days; `own` is what earlier processes of the run have sent."""
    daily = DailyQuota(own, share=settings.share, reserve=settings.reserve)
    if account is not None:
        daily.learn(account.daily_max, account.daily_sent, now)
    return daily.outlook(now)


async def _standing(  # noqa: PLR0913, PLR0917  # what `send` goes by
    journal: Journal,
    settings: Settings,
    source: Source,
    prefix: bytes,
    scope: Scope,
    excepting: Mapping[str, str],
) -> tuple[Standing, Recogniser]:
    """Return the state in which `send` would carry on."""
    by_key = settings.recipients.dedupe == "key"
    standing, rows = provenance.read_back(journal, by_key=by_key)
    await provenance.identified(journal, standing, source, rows)
    if not scope.revises:
        recovery.require_same_mailing(journal, standing, recovery.digest_of(prefix))
    recovery.require_same_exceptions(journal, standing, excepting)
    standing.apply_all(recovery.recovered(standing, settings.delivery.in_doubt, standing.last_at))
    if scope.only:
        standing.settled.discard(recovery.chosen(journal, standing, scope.only))
    return standing, rows


def _print(plan: plans.Plan, outlook: Outlook, now: float, warnings: Sequence[str]) -> None:
    say = _say
    say("recipients", f"{plan.read:,} read, {plan.recipients:,} to be sent")
    say("not sent", f"{plan.refused:,} refused, {plan.duplicate:,} duplicate")
    if plan.suppressed:
        say("left out", f"{plan.suppressed:,} whom an excepted run has mailed, or may have")
    if plan.settled:
        say("settled", f"{plan.settled:,} by an earlier run of this journal")
    say("addresses", f"{plan.weight:,} (what the quota counts)")
    say("calls", f"about {plan.calls:,} of SendBulkEmail")
    if plan.account is not None:
        _print_account(plan.account)
    if plan.account is not None and (why := quotas.obstacle(plan.account)):
        say("held", str(why))
    elif plan.rate_per_s is not None:
        say("rate", f"{plan.rate_per_s:,.6g} recipients/s")
        if plan.weight:
            made = forecast.build_forecast(plan.weight, plan.rate_per_s, outlook, now)
            say("time", forecast_text.done(made, now))
    say("cost", f"${plan.price:,.2f}")
    for text in warnings:
        say("warning", text)
    for remark in plan.remarks:
        say(f"row {remark.seq}", f"{remark.state.value}: {remark.reason}")
    if plan.first_body is not None:
        request = orjson.loads(plan.first_body)
        output.write("")
        entries = request["BulkEmailEntries"]
        shown = request["BulkEmailEntries"] = entries[:ENTRIES_SHOWN]
        left_out = len(entries) - len(shown)
        more = f", without {left_out} of its {len(entries)} recipients" if left_out else ""
        output.write(f"the first request{more}:")
        output.write_json(orjson.dumps(request, option=orjson.OPT_INDENT_2))


def _print_account(account: Account) -> None:
    daily = "unlimited" if account.daily_max < 0 else f"{account.daily_max:,.0f} per 24 h"
    sandbox = "" if account.production else ", in the sandbox"
    _say(
        "account", f"{account.rate_per_s:,.6g}/s, {daily}, {account.daily_sent:,.0f} used{sandbox}"
    )


def _say(name: str, text: str) -> None:
    output.write(f"{name:<12}{text}")
