"""The decisions, without any I/O: a hand-driven run against scripted answers."""

from collections.abc import Callable, Sequence
from random import Random

import pytest

from mailsluice.dispatch.attempts import Attempts
from mailsluice.dispatch.backlog import FRESH_RECIPIENTS_MAX, LINGER_S
from mailsluice.dispatch.breaker import DOUBTS_IN_A_ROW_MAX
from mailsluice.dispatch.daily_quota import DailyQuota
from mailsluice.dispatch.dispatcher import (
    Dispatcher,
    Done,
    Send,
    Wait,
)
from mailsluice.dispatch.gate import Gate
from mailsluice.dispatch.pacer import Pacer
from mailsluice.feedback import fate
from mailsluice.feedback.brake import Brake
from mailsluice.feedback.ramp import Limits
from mailsluice.model import Answer, Batch, Entry, EntryResult, InDoubt, Outcome, State, codes
from mailsluice.model.rolling_window import DAY_S, STEPS, RollingDay
from mailsluice.model.wait_reason import Reason
from mailsluice.ses import statuses

OK = EntryResult("SUCCESS", "id")
LOST = Answer(code=codes.NO_ANSWER, error="closed")
REFUSED = Answer(code=codes.NOT_SENT, error="connection refused")


def entry(seq: int, weight: int = 1, size: int = 2) -> Entry:
    return Entry(seq, weight, (f"{seq}@example.com",), (), (), None, b"x" * size)


def dispatcher(
    *,
    rate: float = 1e6,
    in_doubt: InDoubt = "hold",
    max_attempts: int = 3,
    in_flight: int = 4,
    brake: Brake | None = None,
) -> Dispatcher:
    gate = Gate(Pacer(rate, 0.0), DailyQuota(RollingDay()), in_flight)
    attempts = Attempts(attempts_max=max_attempts, in_doubt=in_doubt)
    return Dispatcher(gate, attempts, random=Random(1), brake=brake)


def loaded(count: int, **options: object) -> Dispatcher:
    made = dispatcher(**options)  # type: ignore[arg-type]  # the options above
    made.backlog.offer([entry(n) for n in range(1, count + 1)], 0.0)
    made.backlog.source_ended()
    return made


def answer_to(made: Dispatcher, batch: Batch, answer: Answer, now: float) -> list[Outcome]:
    verdicts = statuses.classify(answer, len(batch.entries))
    outcomes = made.judge(batch, verdicts, now)
    if made.absorb(batch, verdicts, outcomes, now):
        made.blames_recorded()
    return outcomes


def drive(
    made: Dispatcher, respond: Callable[[Batch], Answer], until: float = 1e6
) -> dict[int, list[Outcome]]:
    """Answer each batch at once until nothing is left; outcomes by row."""
    history: dict[int, list[Outcome]] = {}
    now = 0.0
    while now < until:
        match made.decide(now):
            case Send(batch):
                for each, outcome in zip(
                    batch.entries, answer_to(made, batch, respond(batch), now), strict=True
                ):
                    history.setdefault(each.seq, []).append(outcome)
            case Wait(None, _):
                break
            case Wait(float(moment), _):
                now = moment
            case Done():
                break
    return history


def results(*each: EntryResult) -> Answer:
    return Answer(results=each)


def states(history: dict[int, list[Outcome]]) -> dict[int, list[State]]:
    return {seq: [outcome.state for outcome in outcomes] for seq, outcomes in history.items()}


def test_a_batch_is_never_more_than_fifty_and_in_order() -> None:
    seen: list[Sequence[int]] = []

    def respond(batch: Batch) -> Answer:
        seen.append([each.seq for each in batch.entries])
        return results(*[OK] * len(batch.entries))

    drive(loaded(120), respond)
    assert [list(range(1, 51)), list(range(51, 101)), list(range(101, 121))] == seen


def test_a_slow_account_gets_batches_of_half_a_seconds_worth_at_most() -> None:
    made = loaded(30, rate=14)
    first = made.decide(0.0)
    assert isinstance(first, Send)
    assert len(first.batch.entries) == 7
    # The next one is worth waiting for from 5 on; the rest is for waking up late.
    assert Wait(5 / 14, Reason.RATE) == made.decide(0.0)
    late = made.decide(6 / 14)
    assert isinstance(late, Send)
    assert len(late.batch.entries) == 6


def test_no_more_calls_than_the_limit_are_in_flight() -> None:
    made = loaded(1000, in_flight=4)
    assert all(isinstance(made.decide(1.0 + n), Send) for n in range(4))
    assert Wait(None, Reason.JOURNAL) == made.decide(10.0)


def test_a_full_house_says_why() -> None:
    made = loaded(1000, in_flight=2)
    batches = [each.batch for n in range(2) if isinstance(each := made.decide(1.0 + n), Send)]
    assert Wait(None, Reason.JOURNAL) == made.decide(3.0)
    for batch, at in zip(batches, (3.0, 4.0), strict=True):
        made.calls.ready(batch, at)
        assert made.calls.leave(batch, at) == at
        made.calls.written(batch, at)
    assert Wait(None, Reason.IN_FLIGHT) == made.decide(4.0)
    answer_to(made, batches[0], results(*[OK] * 50), 9.0)
    assert made.statistics(9.0).latency_s == 6.0
    assert isinstance(made.decide(9.0), Send)
    assert Wait(None, Reason.LATENCY) == made.decide(9.0)


def test_what_waited_for_the_disk_leaves_no_faster_than_the_rate() -> None:
    made = loaded(1000, rate=100, in_flight=8)
    batches = [each.batch for n in range(4) if isinstance(each := made.decide(n / 2), Send)]
    assert [len(batch.entries) for batch in batches] == [50] * 4
    for batch in batches:
        made.calls.ready(batch, 2.0)
    # The first one finds one batch in the bucket; the others follow at the rate.
    assert [made.calls.leave(batch, 2.0) for batch in batches] == [2.0, 2.5, 3.0, 3.5]
    made.calls.written(batches[0], 2.0)
    # They have missed their turns together: one leaves, and the others have new turns.
    assert [made.calls.leave(batch, 9.0) for batch in batches[1:]] == [9.0, 9.5, 10.0]
    made.calls.written(batches[1], 9.0)
    made.calls.stay(batches[2])
    assert made.calls.leave(batches[3], 9.0) == 9.5
    assert [made.calls.has_left(batch.number) for batch in batches] == [True, True, False, False]


def test_what_waits_for_its_turn_is_no_time_of_ses() -> None:
    made = loaded(1000, rate=100, in_flight=8)
    batches = [each.batch for n in range(2) if isinstance(each := made.decide(n / 2), Send)]
    for batch in batches:
        made.calls.ready(batch, 1.0)
    assert [made.calls.leave(batch, 2.0) for batch in batches] == [2.0, 2.5]
    made.calls.written(batches[0], 2.0)
    assert made.calls.leave(batches[1], 2.5) == 2.5
    answer_to(made, batches[1], results(*[OK] * 50), 3.0)
    assert made.statistics(3.0).latency_s == 1.5  # a second to connect, half a second to answer


def test_nothing_is_started_while_what_is_ready_would_have_to_wait() -> None:
    made = loaded(1000, rate=100, in_flight=8)
    batches = [each.batch for n in range(5) if isinstance(each := made.decide(n / 2), Send)]
    for batch in batches:
        made.calls.leave(batch, 2.5)
    made.calls.written(batches[0], 2.5)
    # Four batches are two seconds of the rate; one second of it may wait.
    assert made.decide(2.5) == Wait(3.5, Reason.RATE)


def test_less_than_a_batch_waits_for_the_source_only_so_long() -> None:
    made = dispatcher()
    made.backlog.offer([entry(1)], 5.0)
    assert Wait(5.0 + LINGER_S, Reason.SOURCE) == made.decide(5.0)
    assert isinstance(made.decide(5.0 + LINGER_S), Send)


def test_intake_is_told_to_wait_by_count_and_by_bytes() -> None:
    by_count, by_bytes = dispatcher(), dispatcher()
    by_count.backlog.offer([entry(n) for n in range(FRESH_RECIPIENTS_MAX)], 0.0)
    by_bytes.backlog.offer([entry(1, size=64 * 1024 * 1024)], 0.0)
    assert not by_count.backlog.wants_more
    assert not by_bytes.backlog.wants_more


def test_a_transient_failure_is_tried_again_until_its_attempts_are_exhausted() -> None:
    history = drive(loaded(1), lambda _: results(EntryResult("TRANSIENT_FAILURE", None, "later")))
    assert states(history) == {1: [State.PENDING, State.PENDING, State.FAILED]}


def test_failed_gets_few_attempts_however_many_are_allowed() -> None:
    history = drive(loaded(1, max_attempts=10), lambda _: results(EntryResult("FAILED")))
    assert len(history[1]) == statuses.FAILED_ATTEMPTS_MAX


def test_throttling_burns_no_attempt_and_slows_the_pacer() -> None:
    made = loaded(1, rate=10)
    count = 0

    def respond(_: Batch) -> Answer:
        nonlocal count
        count += 1
        return results(EntryResult("ACCOUNT_THROTTLED") if count < 20 else OK)

    history = drive(made, respond)
    assert State.SENT is history[1][-1].state
    assert len(history[1]) == 20
    assert made.pacer.statistics(0.0).throttles > 0


def test_the_daily_quota_stops_sending_until_there_is_room() -> None:
    made = loaded(60)
    exceeded = EntryResult("ACCOUNT_DAILY_QUOTA_EXCEEDED")
    drive(made, lambda b: results(*[exceeded] * len(b.entries)), until=30.0)
    waiting = made.decide(30.0)
    assert isinstance(waiting, Wait)
    assert (waiting.reason, waiting.until) == (Reason.DAILY, DAY_S / STEPS)
    made.backlog.offer([], 1000.0)
    for now, size in ((1000.0, 50), (1001.0, 10)):
        decision = made.decide(now)
        assert isinstance(decision, Send)
        answer_to(made, decision.batch, results(*[OK] * size), now)
    assert isinstance(made.decide(1002.0), Done)


@pytest.mark.parametrize("in_doubt", ["hold", "resend"])
def test_doubt_is_held_or_resent_as_configured(in_doubt: InDoubt) -> None:
    answers = iter([LOST, results(OK)])
    history = drive(loaded(1, in_doubt=in_doubt), lambda _: next(answers))
    expected = {"hold": [State.IN_DOUBT], "resend": [State.PENDING, State.SENT]}
    assert {1: expected[in_doubt]} == states(history)


def test_resending_ends_in_doubt_and_not_as_failed() -> None:
    history = drive(loaded(1, in_doubt="resend"), lambda _: LOST)
    assert states(history) == {1: [State.PENDING, State.PENDING, State.IN_DOUBT]}


def test_a_storm_of_doubt_narrows_to_one_call_at_a_time_until_one_is_answered() -> None:
    made = loaded(5000, in_flight=8)
    first = [made.decide(float(n)) for n in range(8)]
    batches = [decision.batch for decision in first if isinstance(decision, Send)]
    for batch in batches[:DOUBTS_IN_A_ROW_MAX]:
        answer_to(made, batch, LOST, 10.0)
    assert Wait(None, Reason.SILENCE) == made.decide(10.0)
    for batch in batches[DOUBTS_IN_A_ROW_MAX:]:
        answer_to(made, batch, LOST, 10.0)
    waiting = made.decide(10.0)
    assert isinstance(waiting, Wait)
    assert waiting.until is not None
    # All eight left before the narrowing: one outage, so the first back-off and not the eighth.
    assert waiting.until - 10.0 <= 0.5
    probe = made.decide(waiting.until)
    assert isinstance(probe, Send)
    assert Wait(None, Reason.SILENCE) == made.decide(waiting.until)
    answer_to(made, probe.batch, results(*[OK] * len(probe.batch.entries)), 20.0)
    assert all(isinstance(made.decide(20.0 + n), Send) for n in range(8))


def test_an_unreachable_endpoint_loses_nobody_and_burns_nothing() -> None:
    made = loaded(10)
    answers = iter([REFUSED] * 20)
    history = drive(made, lambda b: next(answers, results(*[OK] * len(b.entries))))
    assert all(State.SENT is outcomes[-1].state for outcomes in history.values())
    assert not any(outcome.burned for outcomes in history.values() for outcome in outcomes[:-1])


def test_a_hold_lets_calls_in_flight_end_and_starts_nothing() -> None:
    made = loaded(200)
    one, two = made.decide(0.0), made.decide(1.0)
    assert isinstance(one, Send)
    assert isinstance(two, Send)
    held = results(*[EntryResult("ACCOUNT_SENDING_PAUSED", None, "paused")] * 50)
    outcomes = answer_to(made, one.batch, held, 2.0)
    assert {State.PENDING} == {outcome.state for outcome in outcomes}
    assert str(made.hold) == "ACCOUNT_SENDING_PAUSED: paused"
    assert isinstance(made.decide(3.0), Wait)
    answer_to(made, two.batch, results(*[OK] * 50), 4.0)
    assert Done() == made.decide(5.0)
    assert not made.complete


def test_a_heavy_recipient_goes_alone_and_pays_for_its_addresses() -> None:
    made = dispatcher(rate=10)
    made.backlog.offer([entry(1), entry(2, weight=50), entry(3)], 0.0)
    made.backlog.source_ended()
    sizes = []

    def respond(batch: Batch) -> Answer:
        sizes.append([each.seq for each in batch.entries])
        return results(*[OK] * len(batch.entries))

    drive(made, respond)
    assert sizes == [[1], [2], [3]]


def test_one_bad_entry_is_rejected_alone_and_the_rest_is_sent() -> None:
    made = loaded(120)
    rejected: list[int] = []

    def respond(batch: Batch) -> Answer:
        if any(each.seq == 17 for each in batch.entries):
            return Answer(code="BadRequestException", http_status=400, error="bad entry")
        return results(*[OK] * len(batch.entries))

    now = 0.0
    while not isinstance(decision := made.decide(now), Done):
        if isinstance(decision, Wait):
            assert decision.until is not None
            now = decision.until
            continue
        batch = decision.batch
        verdicts = statuses.classify(respond(batch), len(batch.entries))
        outcomes = made.judge(batch, verdicts, now)
        if blames := made.absorb(batch, verdicts, outcomes, now):
            made.blames_recorded()
        rejected += [seq for seq, _ in blames]
    assert rejected == [17]
    assert made.complete
    assert made.hold is None


def test_a_hold_does_not_quote_addresses() -> None:
    made = loaded(1)
    text = "Email address is not verified: <News@Example.com>, region us-east-1"
    drive(made, lambda _: Answer(code="MailFromDomainNotVerifiedException", error=text))
    assert made.hold is not None
    assert "@" not in str(made.hold)
    assert "us-east-1" in made.hold.text


def test_suspects_do_not_keep_intake_waiting_for_the_evidence_it_would_bring() -> None:
    made = dispatcher(rate=1.0)
    refused = Answer(code="BadRequestException", http_status=400, error="too large")
    for seq in range(1, 5):
        made.backlog.offer([entry(seq, size=10 * 1024 * 1024)], 0.0)
        decision = made.decide(seq * 10.0)
        assert isinstance(decision, Send)
        answer_to(made, decision.batch, refused, seq * 10.0)
    assert made.backlog.wants_more


def test_an_answered_call_is_never_taken_for_a_silent_one() -> None:
    made = loaded(DOUBTS_IN_A_ROW_MAX + 3, rate=1.0)
    drive(made, lambda _: results(EntryResult("SUCCESS", None)), until=DOUBTS_IN_A_ROW_MAX)
    decisions = [made.decide(100.0 + 2 * n) for n in range(2)]
    assert all(isinstance(each, Send) for each in decisions), decisions


@pytest.mark.parametrize("then", ["MESSAGE_REJECTED", "TRANSIENT_FAILURE", "NOVEL"])
def test_what_ses_may_have_taken_before_is_never_called_rejected_or_failed(then: str) -> None:
    answers = iter([LOST])
    made = loaded(1, in_doubt="resend")
    history = drive(made, lambda _: next(answers, results(EntryResult(then, None, "no"))))
    last = history[1][-1]
    assert (last.state, last.status) == (State.IN_DOUBT, then)


def test_a_suspect_that_ses_may_have_taken_before_ends_in_doubt() -> None:
    made = loaded(2, in_doubt="resend", rate=1.0)
    refused = Answer(code="BadRequestException", http_status=400, error="no")
    answers = {1: iter([LOST, refused]), 2: iter([LOST, results(OK)])}
    blames = []
    now = 0.0
    while not isinstance(decision := made.decide(now), Done):
        if isinstance(decision, Wait):
            assert decision.until is not None
            now = decision.until
            continue
        [each] = decision.batch.entries
        verdicts = statuses.classify(next(answers[each.seq]), 1)
        outcomes = made.judge(decision.batch, verdicts, now)
        if found := made.absorb(decision.batch, verdicts, outcomes, now):
            made.blames_recorded()
        blames += found
    blames += made.settle_suspects()
    assert [(seq, outcome.state) for seq, outcome in blames] == [(1, State.IN_DOUBT)]


def test_a_recipient_heavier_than_the_rate_is_given_up_when_it_is_throttled_for_ever() -> None:
    made = dispatcher(rate=1.0)
    made.backlog.offer([entry(1)._replace(weight=2, to=("a@e.org", "b@e.org"))], 0.0)
    made.backlog.source_ended()
    history = drive(made, lambda _: Answer(results=(EntryResult("ACCOUNT_THROTTLED"),)))
    assert [each.state for each in history[1]] == [State.PENDING, State.PENDING, State.FAILED]
    assert history[1][-1].error == "ACCOUNT_THROTTLED (2 addresses at once, at 1 a second)"
    assert made.complete


def test_a_throttle_burns_no_attempt() -> None:
    made = loaded(1, max_attempts=2)
    answers = iter(["ACCOUNT_THROTTLED"] * 3 + ["TRANSIENT_FAILURE"] + ["ACCOUNT_THROTTLED"] * 3)
    sent = EntryResult("SUCCESS", "id")
    history = drive(
        made,
        lambda _: Answer(results=(EntryResult(status) if (status := next(answers, "")) else sent,)),
    )
    assert [each.state for each in history[1]] == [State.PENDING] * 7 + [State.SENT]


def accepting(batch: Batch) -> Answer:
    return results(*[OK] * len(batch.entries))


def test_only_the_canary_is_sent_until_something_is_heard() -> None:
    made = loaded(320, brake=Brake(Limits(exposed=70)))
    history = drive(made, accepting, until=119.0)
    assert list(history) == list(range(1, 71))
    waiting = made.decide(119.0)
    assert isinstance(waiting, Wait)
    assert waiting.reason is Reason.FEEDBACK
    assert waiting.until is not None, "time alone may settle what was sent"
    drive(made, accepting)
    assert made.hold is not None
    assert made.hold.code == codes.FEEDBACK_BLIND
    assert made.backlog.fresh == 250


def test_a_mailing_goes_on_when_its_canary_has_settled() -> None:
    brake = Brake(Limits())
    made = loaded(320, brake=brake)
    drive(made, accepting, until=10.0)
    brake.hear(1, fate.SENT, fate.SENT)
    history = drive(made, accepting, until=31.0)
    assert list(history) == list(range(101, 321))
    assert made.complete
    assert made.hold is None


def test_too_many_bounces_hold_a_mailing_when_its_calls_have_ended() -> None:
    brake = Brake(Limits())
    made = loaded(320, brake=brake)
    first, second = made.decide(0.0), made.decide(1.0)
    assert isinstance(first, Send)
    assert isinstance(second, Send)
    for each in first.batch.entries:
        brake.hear(each.seq, fate.HARD, fate.HARD)
    assert made.decide(2.0) == Wait(None, Reason.STOPPING)
    assert made.hold is not None
    assert made.hold.code == codes.BOUNCES_TOO_MANY
    for call in (first, second):
        answer_to(made, call.batch, accepting(call.batch), 2.0)
    assert made.decide(3.0) == Done()


def test_what_is_heard_when_all_is_sent_holds_nothing() -> None:
    brake = Brake(Limits())
    made = loaded(50, brake=brake)
    drive(made, accepting)
    for seq in range(1, 51):
        brake.hear(seq, fate.HARD, fate.HARD)
    assert made.decide(1.0) == Done()
    assert made.complete
    assert made.hold is None


def test_a_recipient_that_is_attempted_again_is_one_send() -> None:
    brake = Brake(Limits())
    made = loaded(40, brake=brake)
    answers = iter([results(*[EntryResult("TRANSIENT_FAILURE")] * 40)])
    history = drive(made, lambda batch: next(answers, None) or accepting(batch))
    assert {len(each) for each in history.values()} == {2}
    assert brake.gauges()[codes.BOUNCES_TOO_MANY].estimate.sends == 40
