"""Why a run does not send faster, for `status` and the progress display. Pure."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """What the dispatcher waits for."""

    SOURCE = "the source"
    """The source gives recipients more slowly than they could be sent."""
    RATE = "the rate"
    """The rate of the account, or the configured one: as it should be."""
    CALLS = "the limit on calls"
    """`quota.calls_per_second`."""
    THROTTLED = "throttles"
    """SES has throttled: something else uses the account's rate, or the rate has been cut."""
    DAILY = "the daily quota"
    """The daily quota of the rolling 24 hours is used up."""
    TURN = "another's turn"
    """Another run or lane of the same quota is due first."""
    PAUSED = "it is paused"
    LATENCY = "latency"
    """SES takes long to answer, and `delivery.in_flight` calls are under way."""
    IN_FLIGHT = "the in-flight limit"
    """`delivery.in_flight` calls are under way."""
    JOURNAL = "the journal"
    """The calls under way wait for their intents to become durable."""
    FEEDBACK = "events"
    """The ramp of the brake: too little is known of what was sent to send more."""
    SILENCE = "SES does not answer"
    BACKOFF = "back-off"
    """All recipients that are left were deferred by SES a moment ago."""
    ANSWERS = "the last answers"
    STOPPING = "the calls in flight end"
    MACHINE = "this machine"
    """Most of the time it waited for nothing else: this machine is the limit."""
