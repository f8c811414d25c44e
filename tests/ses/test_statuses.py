"""The table of docs/guarantees.md, row by row."""

import pytest

from mailsluice.model import Answer, EntryResult, codes, hold
from mailsluice.ses import statuses
from mailsluice.ses.statuses import Action, classify

# SendBulkEmail's enum in the SES v2 service model, and the names of its documentation page.
ENTRY_STATUSES = {
    "SUCCESS": Action.SENT,
    "MESSAGE_REJECTED": Action.REJECT,
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": Action.HOLD,
    "CONFIGURATION_SET_NOT_FOUND": Action.HOLD,
    "CONFIGURATION_SET_DOES_NOT_EXIST": Action.HOLD,
    "TEMPLATE_NOT_FOUND": Action.HOLD,
    "TEMPLATE_DOES_NOT_EXIST": Action.HOLD,
    "ACCOUNT_SUSPENDED": Action.HOLD,
    "ACCOUNT_THROTTLED": Action.THROTTLE,
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": Action.WAIT_DAILY,
    "INVALID_SENDING_POOL_NAME": Action.HOLD,
    "ACCOUNT_SENDING_PAUSED": Action.HOLD,
    "CONFIGURATION_SET_SENDING_PAUSED": Action.HOLD,
    "INVALID_PARAMETER": Action.REJECT,
    "INVALID_PARAMETER_VALUE": Action.REJECT,
    "TRANSIENT_FAILURE": Action.DEFER,
    "FAILED": Action.DEFER,
}

CALL_ERRORS = [
    ("TooManyRequestsException", 429, "Maximum sending rate exceeded.", Action.THROTTLE),
    ("ThrottlingException", 400, "Maximum sending rate exceeded", Action.THROTTLE),
    ("ThrottlingException", 400, "Daily message quota exceeded", Action.WAIT_DAILY),
    ("TooManyRequestsException", 429, "Daily message quota exceeded.", Action.WAIT_DAILY),
    ("BadRequestException", 400, "x", Action.BISECT),
    ("MessageRejected", 400, "x", Action.BISECT),
    ("LimitExceededException", 400, "x", Action.BISECT),
    ("AccountSuspendedException", 400, "x", Action.HOLD),
    ("SendingPausedException", 400, "x", Action.HOLD),
    ("MailFromDomainNotVerifiedException", 400, "x", Action.HOLD),
    ("NotFoundException", 404, "x", Action.HOLD),
    ("ExpiredTokenException", 403, "x", Action.HOLD),
    ("AccessDeniedException", 403, "x", Action.HOLD),
    ("SignatureDoesNotMatch", 403, "x", Action.HOLD),
    ("UnrecognizedClientException", 403, "x", Action.HOLD),
    ("InternalFailure", 500, "x", Action.DOUBT),
    ("InternalServiceErrorException", 500, "x", Action.DOUBT),
    ("ServiceUnavailable", 503, "x", Action.RECONNECT),
    (codes.NOT_SENT, None, "refused", Action.RECONNECT),
    (codes.NO_ANSWER, None, "closed", Action.DOUBT),
    (codes.BROKEN_ANSWER, None, "no JSON", Action.DOUBT),
    (codes.NO_CREDENTIALS, None, "none", Action.HOLD),
    # Codes that nobody has described: the HTTP status alone decides.
    ("Unheard", 400, "x", Action.BISECT),
    ("Unheard", 413, "x", Action.BISECT),
    ("400", 400, "x", Action.BISECT),
    ("404", 404, "x", Action.HOLD),
    ("Unheard", 403, "x", Action.HOLD),
    ("Unheard", 429, "x", Action.THROTTLE),
    ("Unheard", 502, "x", Action.DOUBT),
    ("Unheard", 503, "x", Action.RECONNECT),
    ("301", 301, "x", Action.HOLD),
    ("Unheard", None, "x", Action.DOUBT),
]


@pytest.mark.parametrize(("status", "action"), ENTRY_STATUSES.items())
def test_every_status_has_its_row(status: str, action: Action) -> None:
    answer = Answer(results=(EntryResult(status, "id" if status == "SUCCESS" else None, "text"),))
    [verdict] = classify(answer, 1)
    assert action is verdict.rule.action
    assert status == verdict.status


@pytest.mark.parametrize(("code", "http_status", "text", "action"), CALL_ERRORS)
def test_every_call_error_has_its_row(
    code: str, http_status: int | None, text: str, action: Action
) -> None:
    verdicts = classify(Answer(code=code, http_status=http_status, error=text), 3)
    assert [action] * 3 == [verdict.rule.action for verdict in verdicts]
    assert [text] * 3 == [verdict.error for verdict in verdicts]


def test_a_throttled_entry_with_the_daily_text_waits_for_the_day() -> None:
    result = EntryResult("ACCOUNT_THROTTLED", None, "Daily message quota exceeded")
    [verdict] = classify(Answer(results=(result,)), 1)
    assert Action.WAIT_DAILY is verdict.rule.action


def test_an_unknown_status_is_sent_with_a_message_id_and_given_up_without_one() -> None:
    answer = Answer(results=(EntryResult("NOVEL", "id-1"), EntryResult("NOVEL", None, "why")))
    sent, failed = classify(answer, 2)
    assert (sent.rule.action, sent.rule.warn, sent.message_id) == (Action.SENT, True, "id-1")
    assert (failed.rule.action, failed.rule.warn, failed.error) == (Action.FAIL, True, "why")


def test_a_success_without_a_message_id_is_in_doubt() -> None:
    [verdict] = classify(Answer(results=(EntryResult("SUCCESS"),)), 1)
    assert Action.DOUBT is verdict.rule.action


@pytest.mark.parametrize("results", [0, 1, 3])
def test_another_number_of_results_leaves_the_whole_batch_in_doubt(results: int) -> None:
    answer = Answer(results=(EntryResult("SUCCESS", "id"),) * results)
    assert [verdict.rule.action for verdict in classify(answer, 2)] == [Action.DOUBT] * 2


def test_results_are_matched_by_position() -> None:
    answer = Answer(results=(EntryResult("SUCCESS", "a"), EntryResult("FAILED", None, "b")))
    assert [verdict.message_id for verdict in classify(answer, 2)] == ["a", None]


@pytest.mark.parametrize(
    "address",
    [
        "ann@example.com",
        '"john doe"@example.com',
        "a(b)@x.org",
        "o'brien@example.com",
        "ü@bücher.example",
        "ann\uff20example.com",
        "ann\ufe6bexample.com",
        "ann%40example.com",
        "ann%2540example.com",
        "ann(at)example.com",
        "ann [AT] example.com",
        "ann&#64;example.com",
        "ann\\u0040example.com",
    ],
)
def test_a_hold_never_quotes_an_address(address: str) -> None:
    told = str(hold.Hold.answered("X", f"Address {address} is bad"))
    assert told == "X: Address <address> is bad"


def test_a_text_without_an_end_is_looked_at_once() -> None:
    said = "a" * 300_000 + " " * 300_000  # takes hours where each letter is a beginning
    assert hold.without_addresses(said) == said


def test_a_hold_is_text_and_no_order_to_a_terminal() -> None:
    assert str(hold.Hold.answered("X", "a\x1b[2J\nb")) == r"X: a\x1b[2J\nb"


def test_a_hold_is_of_one_mailing_or_of_the_account() -> None:
    for status in ("TEMPLATE_DOES_NOT_EXIST", "AccessDeniedException", "NotFoundException"):
        assert statuses.holds_mailing(status)
    for status in ("ACCOUNT_SUSPENDED", "SendingPausedException", "ExpiredToken", "never heard of"):
        assert not statuses.holds_mailing(status)


def test_a_result_that_says_nothing_is_a_doubt_of_that_entry_alone() -> None:
    answer = Answer(results=(EntryResult("", None, None), EntryResult("SUCCESS", "id")))
    nothing, sent = classify(answer, 2)
    assert (nothing.rule.action, nothing.rule.warn) == (Action.DOUBT, True)
    assert sent.rule.action is Action.SENT
