"""What the account allows: keeps the rate and the daily quota in step with GetAccount."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from mailsluice.config.settings import ASK_INTERVAL_S, LaneSettings, QuotaSettings
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.gate import Gate
from mailsluice.dispatch.pacer import Pacer, PacerStatistics
from mailsluice.journal.standing import Standing
from mailsluice.model import Account
from mailsluice.model.codes import NO_CREDENTIALS, NOT_SENT
from mailsluice.model.errors import ConfigurationError, MailsluiceError
from mailsluice.model.hold import Hold
from mailsluice.model.rolling_window import RollingDay
from mailsluice.ses import AccountUnavailableError, Transport
from mailsluice.ses.statuses import Action, classify

logger = logging.getLogger(__name__)


class AccountRefusedError(ConfigurationError):
    """GetAccount may not be called, or no credentials can sign it."""


class AccountHeldError(MailsluiceError):
    """Nothing can be sent at present: the account is paused, or SES cannot be reached."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(str(hold))
        self.hold = hold


ASK_ATTEMPTS_MAX = 5
"""Attempts at GetAccount at the start, while it is throttled."""


def rate_per_s(settings: QuotaSettings, account: Account | None) -> float:
    """Return the recipients per second that this run may send."""
    if account is None:
        if settings.rate == "account":
            raise ValueError("the account's rate is not known")
        return settings.rate
    allowed = account.rate_per_s * settings.share
    return allowed if settings.rate == "account" else min(settings.rate, allowed)


def obstacle(account: Account) -> Hold | None:
    """Return why the account sends nothing at present; None if it sends."""
    if account.enforcement == "SHUTDOWN":
        return Hold(
            "ACCOUNT_SUSPENDED", "SES has shut the account's sending down (EnforcementStatus)"
        )
    if not account.rate_per_s > 0:
        return Hold("ACCOUNT_SENDING_PAUSED", "the account's sending rate is 0 (MaxSendRate)")
    if not account.sending_enabled:
        return Hold(
            "ACCOUNT_SENDING_PAUSED", "sending is disabled for the account (SendingEnabled)"
        )
    return None


async def ask(transport: Transport) -> Account:
    """Call GetAccount, again while it is throttled. Raises AccountUnavailableError."""
    for _ in range(ASK_ATTEMPTS_MAX - 1):
        try:
            return await transport.get_account()
        except AccountUnavailableError as error:
            if classify(error.answer, 1)[0].rule.action is not Action.THROTTLE:
                raise
        await anyio.sleep(ASK_INTERVAL_S)
    return await transport.get_account()


class QuotaKeeper:
    """Keeps the rate and the daily quota in step with the account."""

    def __init__(
        self,
        transport: Transport,
        settings: QuotaSettings,
        gate: Gate,
    ) -> None:
        self.settings = settings
        """The settings in force. Call `apply_again` after a change."""
        self._transport = transport
        self._gate = gate
        self._account: Account | None = None
        """The last answer of GetAccount."""
        self._on_probation = False

    def apply_again(self) -> None:
        """Apply changed settings."""
        if self._account is not None:
            self.apply(self._account)
        elif self.settings.rate != "account":
            self._gate.pacer.set_ceiling(self.settings.rate, anyio.current_time())
            self._gate.wake()

    def apply(self, account: Account) -> None:
        """Apply an answer of GetAccount."""
        self._account = account
        self._gate.hold = obstacle(account)
        self._gate.refusal = None
        now = anyio.current_time()
        if account.rate_per_s > 0:
            self._gate.pacer.set_ceiling(rate_per_s(self.settings, account), now)
        self._gate.daily.learn(account.daily_max, account.daily_sent, now)
        if account.enforcement == "PROBATION" and not self._on_probation:
            logger.warning(
                "SES has put the account under review (EnforcementStatus PROBATION) and may stop "
                "all sending; look into bounces and complaints now"
            )
        self._on_probation = account.enforcement == "PROBATION"
        self._gate.wake()

    async def run(self) -> None:
        """Call GetAccount at every interval, until cancelled."""
        answering = True
        while True:
            await anyio.sleep(self.settings.refresh_s)
            try:
                self.apply(await self._transport.get_account())
            except (AccountUnavailableError, ConfigurationError) as error:
                if answering:
                    logger.warning("%s; the last known quota stays in force", error)
                answering = False
                self._note_refusal(error)
            except Exception:
                # A caller's own transport may raise anything; sending goes on without GetAccount.
                logger.exception("GetAccount has failed; the last known quota stays in force")
                answering = False
            else:
                if not answering:
                    logger.info("GetAccount answers again")
                answering = True

    def _note_refusal(self, error: AccountUnavailableError | ConfigurationError) -> None:
        """Take note of a refusal: failing credentials hold the account, a denial does not."""
        if isinstance(error, ConfigurationError):
            self._gate.refusal = Hold.answered(NO_CREDENTIALS, str(error))
            return
        rule = classify(error.answer, 1)[0].rule
        if rule.action is Action.HOLD and not rule.of_mailing:
            self._gate.refusal = Hold.answered(error.answer.code, error.answer.error)


class AccountGate:
    """The gate of one engine; it exists as long as a run or message uses it."""

    def __init__(  # noqa: PLR0913  # as the engine
        self,
        transport: Transport,
        settings: QuotaSettings,
        in_flight_max: int,
        *,
        lanes: LaneSettings | None = None,
        wall: Callable[[], float],
        day_s: float,
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._lanes = lanes or LaneSettings()
        self._in_flight_max = in_flight_max
        self._wall = wall
        self._day_s = day_s
        self._gate: Gate | None = None
        self._reopened = False
        """True if there was a gate before, through which a batch may have left just now."""
        self._users = 0
        self._known: dict[str, float] = {}
        """Journals whose sends this gate counts, and until when after they are closed."""
        self._lock = asyncio.Lock()

    def change(self, settings: QuotaSettings, lanes: LaneSettings) -> None:
        """Change the part of the account that is used from now on."""
        calls_before = self._settings.calls_per_second
        self._settings, self._lanes = settings, lanes
        gate = self._gate
        if gate is None:
            return
        gate.lane_shares = lanes.shares()
        gate.daily.change(share=settings.share, reserve=settings.reserve)
        if settings.calls_per_second != calls_before:
            gate.pacer.set_calls(settings.calls_per_second, anyio.current_time())
        self._keeper.settings = settings
        self._keeper.apply_again()

    @property
    def hold(self) -> Hold | None:
        """Why the account sends nothing, by GetAccount or the last call; None if it sends."""
        return None if self._gate is None else self._gate.hold or self._gate.refusal

    def statistics(self) -> PacerStatistics | None:
        """Return the pace at this moment; None while nothing uses the gate."""
        return None if self._gate is None else self._gate.pacer.statistics(anyio.current_time())

    @asynccontextmanager
    async def open(
        self, journal: str, standing: Standing, *, resumed: bool = False
    ) -> AsyncIterator[Gate]:
        """Join the account's gate; the first user calls GetAccount. `journal` is a name.

        `resumed`: another process may have sent something just now.

        Raises AccountHeldError if the account sends nothing at present, ConfigurationError if
        GetAccount cannot be called.
        """
        async with self._lock:
            if self._gate is None:
                account = await self._account()
                self._gate = gate = self._new_gate(
                    standing, account, resumed=resumed or self._reopened or standing.calls > 0
                )
                self._reopened = True
                self._keeper = QuotaKeeper(self._transport, self._settings, gate)
                if account is not None:
                    self._keeper.apply(account)
                self._keeping = asyncio.create_task(self._keeper.run(), name="mailsluice quota")
            else:
                gate = self._gate
                self._forget()
                if journal not in self._known:
                    gate.daily.adopt(self._day(standing), anyio.current_time())
            self._known[journal] = float("inf")
            gate.number = max(gate.number, standing.last_batch)
            self._users += 1
        try:
            yield gate
        finally:
            self._known[journal] = anyio.current_time() + self._day_s
            self._users -= 1
            if not self._users:
                self._gate = None
                self._known.clear()
                self._keeping.cancel()
                await asyncio.wait([self._keeping])

    def _forget(self) -> None:
        now = anyio.current_time()
        self._known = {journal: until for journal, until in self._known.items() if until > now}

    def _new_gate(self, standing: Standing, account: Account | None, *, resumed: bool) -> Gate:
        pacer = Pacer(
            rate_per_s(self._settings, account),
            anyio.current_time(),
            calls_per_s=self._settings.calls_per_second,
            resumed=resumed,
        )
        daily = DailyQuota(
            self._day(standing), share=self._settings.share, reserve=self._settings.reserve
        )
        return Gate(pacer, daily, self._in_flight_max, self._lanes.shares())

    def _day(self, standing: Standing) -> RollingDay:
        """Return the sends of the day by earlier processes of that journal."""
        return standing.sends.day(self._wall(), anyio.current_time(), self._day_s)

    async def _account(self) -> Account | None:
        """Call GetAccount; return None if it may not be called and need not be."""
        try:
            account = await ask(self._transport)
        except ConfigurationError as error:
            raise AccountRefusedError(str(error)) from error
        except AccountUnavailableError as error:
            self._require_account(error)
            logger.warning("%s; sending at the configured rate, blind to the daily quota", error)
            return None
        if (why := obstacle(account)) is not None:
            raise AccountHeldError(why)
        return account

    def _require_account(self, error: AccountUnavailableError) -> None:
        """Return if the run can do without an answer from GetAccount; raise otherwise."""
        answer = error.answer
        if answer.code == NO_CREDENTIALS:
            raise AccountHeldError(Hold.answered(NO_CREDENTIALS, answer.error)) from error
        rejected = answer.http_status == 403 and "AccessDenied" not in (answer.code or "")  # noqa: PLR2004  # HTTP's Forbidden
        if rejected:
            raise AccountHeldError(Hold.answered(answer.code, answer.error)) from error
        if answer.code == NOT_SENT:
            raise AccountHeldError(
                Hold(NOT_SENT, f"SES cannot be reached: {answer.error}")
            ) from error
        if self._settings.rate == "account" and answer.http_status != 403:  # noqa: PLR2004  # as above
            raise AccountHeldError(Hold.answered(answer.code, answer.error)) from error
        if self._settings.rate == "account":
            raise AccountRefusedError(
                f"{error}; allow ses:GetAccount, or give the rate, as in --set quota.rate=14"
            ) from error
