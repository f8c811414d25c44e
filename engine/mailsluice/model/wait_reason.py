"""Why a run does not send faster: what `status` and the progress display answer. Pure."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """What the dispatcher waits for."""

    SOURCE = "the source"
    """Recipients come more slowly than they could be sent."""
    RATE = "the rate"
    """The account's, or the configured one: as it should be."""
    CALLS = "the limit on calls"
    """`quota.calls_per_second`."""
    THROTTLED = "throttles"
    """SES has throttled: something else uses the account's rate, or the rate has been cut."""
    DAILY = "the daily quota"
    """The rolling 24 hours have no room."""
    TURN = "another's turn"
    """Others share the quota, and are due."""
    PAUSED = "it is paused"
    LATENCY = "latency"
    """SES takes long to answer, and `delivery.in_flight` calls are under way."""
    IN_FLIGHT = "the in-flight limit"
    """`delivery.in_flight` calls are under way."""
    JOURNAL = "the journal"
    """The calls under way wait for their intents to become durable."""
    SILENCE = "SES does not answer"
    BACKOFF = "back-off"
    """Only recipients are left that SES deferred a moment ago."""
    ANSWERS = "the last answers"
    STOPPING = "the calls in flight end"
    MACHINE = "this machine"
    """It has waited for nothing else most of the time."""
