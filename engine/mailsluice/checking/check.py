"""One check of a mailing: asks SES, reads the list, and says what it found."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace

import orjson
from anyio import to_thread

from mailsluice.checking import account as accounts
from mailsluice.checking import events, headers, recipients, sender
from mailsluice.checking import template as templates
from mailsluice.checking.checked import Checked
from mailsluice.checking.digest import Approved
from mailsluice.checking.facts import Facts
from mailsluice.checking.findings import Finding, Level, errors, finding
from mailsluice.checking.gathering import gather, sender_of, template_name
from mailsluice.checking.recipients import disposable_domains
from mailsluice.checking.rows import RUN_ID, Quick, Sample, Seen, Thorough
from mailsluice.config.settings import QuotaSettings, RecipientsSettings
from mailsluice.mailing.fields import encode_data
from mailsluice.mailing.intake import Intake
from mailsluice.mailing.mailing import Mailing, assemble
from mailsluice.mailing.rendering.template import Source as Parts
from mailsluice.mailing.rendering.template import Template
from mailsluice.mailing.rendering.template_error import TemplateError
from mailsluice.model import Account, Recipient, SourceIdentity
from mailsluice.model.errors import ConfigurationError
from mailsluice.model.hold import Hold, without_addresses
from mailsluice.ses import AccountUnavailableError, Transport, at_once, inspector
from mailsluice.ses.inspector import Identity, Inspector, Unread, Why
from mailsluice.ses.statuses import Action, classify
from mailsluice.sources import Row, Source

_LEVELS = list(Level)

SIMULATOR = "success+mailsluice-check@simulator.amazonses.com"
"""Delivered to nobody (SES developer guide, "Using the mailbox simulator")."""

KNOWN_MAX = 100
"""Lists whose findings are remembered, of a few kilobytes each at most."""

_UNREAD = "the list can be read only once, so nobody has checked that its rows have every variable"


class Checker:
    """Checks mailings on one account, for which `ask` asks SES. `inspector` None: nobody asks SES.

    It remembers what the rows of a list have shown, so that a worker that tries a held mailing
    again does not read the same list again.
    """

    def __init__(
        self,
        transport: Transport,
        inspector: Inspector | None,
        quota: QuotaSettings,
        ask: Callable[[], Awaitable[Account]],
    ) -> None:
        self._transport = transport
        self._ask = ask
        self._inspector = inspector
        self._quota = quota
        self._known: dict[str, tuple[Finding, ...]] = {}

    async def quick(
        self, mailing: Mailing, source: Source, recipients: RecipientsSettings
    ) -> Checked:
        """Find what a mailing must not begin with, in the 3 s that SES is given for its answers.

        It reads the list only if the template has variables and nothing else is wrong, and judges
        each row by the template alone. Raises SourceError if the list cannot be read.
        """
        facts = await self._facts(mailing, thorough=False)
        findings = list(self._on_facts(mailing, facts, thorough=False))
        parts, template = _template(mailing, facts, findings)
        if parts and template and templates.has_tags(parts) and not errors(findings):
            if getattr(source, "can_be_read_again", True):
                findings += await self._rows_quickly(mailing, source, recipients, parts, template)
            else:
                findings.append(finding("ROWS_UNREAD", _UNREAD))
        return Checked(findings=_sorted(findings), facts=facts)

    async def thorough(  # noqa: PLR0913  # each once, by name
        self,
        mailing: Mailing,
        source: Source,
        recipients: RecipientsSettings,
        *,
        rows_max: int | None = None,
        offline: bool = False,
        live: bool = False,
    ) -> Checked:
        """Find what is worth knowing. Reads at most `rows_max` rows, and uses up a pipe.

        Raises SourceError if the list cannot be read, ConfigurationError if the mailing's files or
        the AWS configuration cannot.
        """
        facts = Facts() if offline else await self._facts(mailing, thorough=True)
        findings = list(self._on_facts(mailing, facts, thorough=True))
        parts, template = _template(mailing, facts, findings)
        seen = await self._rows(mailing, source, template, rows_max)
        findings += _on_rows(mailing, seen, parts, recipients)
        findings += await self._asked_about_rows(mailing, facts, seen, offline=offline)
        if live and not errors(findings):
            findings += await self._tried(mailing, seen)
        digest = await _digest(mailing, parts, seen, recipients)
        return Checked(findings=_sorted(findings), facts=facts, seen=seen, digest=digest)

    async def _facts(self, mailing: Mailing, *, thorough: bool) -> Facts:
        if self._inspector is None:
            return Facts()
        account, trouble = None, None
        if thorough:
            try:
                account = await self._ask()
            except (AccountUnavailableError, ConfigurationError) as error:
                trouble = f"{error}: the account is not checked"
        return replace(
            await gather(self._inspector, mailing, thorough=thorough),
            account=account,
            trouble=trouble,
        )

    def _on_facts(self, mailing: Mailing, facts: Facts, *, thorough: bool) -> Iterator[Finding]:
        if facts.account is not None:
            yield from accounts.judge(facts.account)
        is_foreign = mailing.from_arn is not None
        yield from sender.judge(facts, sender_of(mailing), is_foreign=is_foreign)
        if thorough or facts.configuration_set is not None:
            yield from events.judge(facts, mailing.configuration_set)
        yield from sender.judge_tenant(facts.tenant_status, mailing.tenant)
        yield from sender.judge_reputation(facts.recommendations)
        if mailing.template is not None:  # an ARN may be another account's
            yield from templates.judge_stored(facts.template, mailing.template)
        yield from events.judge_unread(facts)

    async def _rows_quickly(
        self,
        mailing: Mailing,
        source: Source,
        recipients: RecipientsSettings,
        parts: Parts,
        template: Template,
    ) -> tuple[Finding, ...]:
        identity = await source.identify()
        key = None if identity is None else await _key(identity, mailing, parts, recipients)
        if key is not None and key in self._known:
            return self._known[key]
        seen = await _read(source, Quick(mailing, template))
        found = tuple(templates.judge(seen))
        if key is not None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[key] = found
        return found

    async def _rows(
        self, mailing: Mailing, source: Source, template: Template | None, rows_max: int | None
    ) -> Seen:
        await source.identify()
        return await _read(
            source,
            Thorough(
                mailing,
                template,
                disposable=await to_thread.run_sync(disposable_domains),
                attachment_bytes=sum(attachment.size for attachment in mailing.attachments),
            ),
            rows_max,
        )

    async def _asked_about_rows(
        self, mailing: Mailing, facts: Facts, seen: Seen, *, offline: bool
    ) -> list[Finding]:
        """Find what only SES knows about some rows."""
        if self._inspector is None or offline:
            return []
        found: list[Finding] = []
        name = template_name(mailing)
        if name is not None:
            for sample in seen.unknown:
                found += await self._rendered(self._inspector, name, sample)
        if facts.account is not None:
            found += accounts.judge_quota(
                facts.account, seen.weight, share=self._quota.share, reserve=self._quota.reserve
            )
            if not facts.account.production:
                found += await self._in_sandbox(self._inspector, seen)
        return found

    @staticmethod
    async def _rendered(asked: Inspector, name: str, sample: Sample) -> Iterator[Finding]:
        """Whether SES renders a row that cannot be judged here."""
        rendered = await asked.test_render(name, encode_data(sample.data))
        if isinstance(rendered, Unread) and rendered.why is Why.MISSING:
            told = f"SES cannot render row {sample.row:,}: {without_addresses(rendered.text)}"
            return iter([finding("RENDERING_FAILS", told)])
        return iter(())

    @staticmethod
    async def _in_sandbox(asked: Inspector, seen: Seen) -> Iterator[Finding]:
        unverified = []
        for address, row in seen.to_look_up.items():
            for name in (address.rpartition("@")[2], address):
                identity = await asked.identity(name)
                if isinstance(identity, Unread) and identity.why is not Why.MISSING:
                    return iter(())  # it may not be known
                if isinstance(identity, Identity) and identity.verified:
                    break
            else:
                unverified.append(row)
        return accounts.judge_sandbox(len(unverified), min(unverified, default=0))

    async def _tried(self, mailing: Mailing, seen: Seen | None) -> Iterator[Finding]:
        """Send the first row's mail to the mailbox simulator, and see what SES says."""
        first = seen.first if seen is not None else None
        recipient = Recipient(SIMULATOR, data=first.data if first else None)
        chunk = Intake(mailing, RUN_ID, "none").number([Row(0, recipient)], 1)
        if not chunk.entries:  # the row's data and the mailing's may be too long together
            return iter([finding("LIVE_FAILED", chunk.remarks[0].reason)])
        prefix = await to_thread.run_sync(mailing.prefix)
        answer = await self._transport.send_bulk_email(
            assemble(prefix, chunk.entries), mailing.endpoint_id, at_once
        )
        (verdict,) = classify(answer, 1)
        if verdict.rule.action is Action.SENT:
            return iter([finding("LIVE_SENT", "SES has taken a mail to its mailbox simulator")])
        return iter([finding("LIVE_FAILED", str(Hold.answered(verdict.status, verdict.error)))])


def _template(
    mailing: Mailing, facts: Facts, findings: list[Finding]
) -> tuple[Parts | None, Template | None]:
    """Return the template as text and compiled, as far as it is known; add its findings."""
    stored = facts.template if isinstance(facts.template, inspector.Template) else None
    parts = templates.source_of(mailing, stored)
    if parts is None:
        return None, None
    try:
        return parts, templates.compiled(mailing, parts)
    except TemplateError as error:
        findings.append(finding("TEMPLATE_BROKEN", f"the template cannot be parsed: {error}"))
        return parts, None


async def _read(source: Source, rows: Quick, rows_max: int | None = None) -> Seen:
    """Fold the first `rows_max` rows of a list, or all."""
    left = rows_max
    async with aclosing(source.rows()) as chunks:
        async for chunk in chunks:
            rows.add(chunk if left is None else chunk[:left])
            if left is not None:
                left -= len(chunk)
                if left <= 0:
                    break
    seen = rows.end()
    if source.head is not None and (left is None or left > 0):
        seen.digest = source.head.digest
    return seen


def _on_rows(
    mailing: Mailing, seen: Seen, parts: Parts | None, settings: RecipientsSettings
) -> Iterator[Finding]:
    yield from templates.judge(seen)
    yield from headers.judge(mailing.headers, settings.headers, seen.bad_links, seen.bad_link_row)
    assert seen.impression is not None
    yield from recipients.judge(seen.impression, seen.refused)
    if parts is not None:
        yield from recipients.judge_columns(seen.impression, templates.names_in(parts))


async def _key(
    identity: SourceIdentity, mailing: Mailing, parts: Parts, settings: RecipientsSettings
) -> str | None:
    """Return what the findings about a list's rows depend on; None if that is unknown."""
    if identity.tag is None and identity.modified is None:
        return None
    prefix = await to_thread.run_sync(mailing.prefix)
    told = hashlib.sha256(prefix)
    for part in (identity, parts, settings.model_dump_json()):
        told.update(repr(part).encode(errors="replace"))
    return told.hexdigest()


async def _digest(
    mailing: Mailing, parts: Parts | None, seen: Seen, settings: RecipientsSettings
) -> str | None:
    if parts is None or seen.digest is None:
        return None
    prefix = await to_thread.run_sync(mailing.prefix)
    reading = settings.model_dump(mode="json", exclude={"path"})
    told = orjson.dumps(reading, option=orjson.OPT_SORT_KEYS)
    counts = {"read": seen.read, "accepted": seen.accepted, "weight": seen.weight}
    return Approved(prefix + told, parts, seen.digest, counts).digest


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda each: _LEVELS.index(each.level)))
