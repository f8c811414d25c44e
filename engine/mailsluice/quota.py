"""What the account allows: GetAccount, asked now and then, into rate and daily room."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio

from mailsluice.config import ASK_INTERVAL_S, QuotaSettings
from mailsluice.dispatcher import Dispatcher
from mailsluice.model import Account
from mailsluice.ses import AccountUnavailableError, Transport
from mailsluice.statuses import Action, classify

logger = logging.getLogger(__name__)

ASK_ATTEMPTS_MAX = 5
"""Times that GetAccount is asked at the start while it is throttled."""


def rate_per_s(settings: QuotaSettings, account: Account | None) -> float:
    """Recipients per second that this run may send."""
    if account is None:
        if settings.rate == "account":
            raise ValueError("the account's rate is not known")
        return settings.rate
    allowed = account.rate_per_s * settings.share
    return allowed if settings.rate == "account" else min(settings.rate, allowed)


def obstacle(account: Account) -> str | None:
    """Why the account sends nothing at present; None where it does."""
    if account.enforcement == "SHUTDOWN":
        return "ACCOUNT_SUSPENDED: SES has shut the account's sending down (EnforcementStatus)"
    if not account.rate_per_s > 0:
        return "ACCOUNT_SENDING_PAUSED: the account's sending rate is 0 (MaxSendRate)"
    if not account.sending_enabled:
        return "ACCOUNT_SENDING_PAUSED: sending is disabled for the account (SendingEnabled)"
    return None


async def ask(transport: Transport) -> Account:
    """GetAccount, asked again while it is throttled. Raises AccountUnavailableError."""
    for _ in range(ASK_ATTEMPTS_MAX - 1):
        try:
            return await transport.get_account()
        except AccountUnavailableError as error:
            if classify(error.answer, 1)[0].rule.action is not Action.THROTTLE:
                raise
        await anyio.sleep(ASK_INTERVAL_S)
    return await transport.get_account()


class QuotaKeeper:
    """Keeps a run's pacer and daily room in step with the account."""

    def __init__(
        self,
        transport: Transport,
        settings: QuotaSettings,
        dispatcher: Dispatcher,
        changed: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._dispatcher = dispatcher
        self._changed = changed
        self._on_probation = False

    def apply(self, account: Account) -> None:
        """Act on what GetAccount said."""
        self._dispatcher.hold = self._dispatcher.hold or obstacle(account)
        now = anyio.current_time()
        if account.rate_per_s > 0:
            self._dispatcher.pacer.set_ceiling(rate_per_s(self._settings, account), now)
        self._dispatcher.daily.learn(account.daily_max, account.daily_sent, now)
        if account.enforcement == "PROBATION" and not self._on_probation:
            logger.warning(
                "SES has put the account under review (EnforcementStatus PROBATION) and may stop "
                "all sending; look into bounces and complaints now"
            )
        self._on_probation = account.enforcement == "PROBATION"
        self._changed()

    async def run(self) -> None:
        """Ask at every interval, for ever."""
        answering = True
        while True:
            await anyio.sleep(self._settings.refresh_s)
            try:
                account = await self._transport.get_account()
            except AccountUnavailableError as error:
                if answering:
                    logger.warning("%s; the last known quota stays in force", error)
                answering = False
            else:
                answering = True
                self.apply(account)
