"""Only SES speaks for SES, and what it says is checked field by field before it is believed."""

import re
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailsluice.model import Answer
from mailsluice.model.hold import Hold
from mailsluice.reports.remedies import remedy
from mailsluice.ses import AccountUnavailableError
from mailsluice.ses.answers import account, bulk_answer
from mailsluice.ses.exchange import Response
from mailsluice.ses.statuses import Action, classify

PAGE = b"<html><head><title>Sorry</title></head><body>Access <b>denied</b></body></html>"
TYPE = "x-amzn-errortype"


def answered(body: Any, status: int = 200, code: str | None = None) -> Response:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status, {TYPE: code} if code else {}, content)


def action_of(answer: Answer) -> Action:
    return classify(answer, 1)[0].rule.action


# --- who has answered ----------------------------------------------------------------------------

STRANGERS = [
    PAGE,
    b"",
    b"\xff\xfe",
    b"[]",
    b'"no"',
    b"null",
    b'{"message": "blocked by policy"}',
    b'{"code": 403, "message": "blocked"}',
    b'{"code": "blocked"}',
    b'{"type": "about:blank", "title": "Bad Request", "status": 400}',
    b'{"errors": [{"code": 1020}]}',
]


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 407, 410, 413, 414, 431, 451])
@pytest.mark.parametrize("body", STRANGERS)
def test_a_4xx_of_somebody_else_is_a_hold_and_nobodys_rejection(status: int, body: bytes) -> None:
    answer = bulk_answer(answered(body, status))
    assert (answer.code, action_of(answer)) == ("NOT_SES", Action.HOLD)
    said = Hold.answered("NOT_SES", answer.error)
    assert f"HTTP {status} without SES's error type" in said.text
    assert "<b>" not in said.text
    assert "proxy or firewall" in remedy(said.code)


@pytest.mark.parametrize(
    ("status", "action"),
    [
        (300, Action.HOLD),
        (302, Action.HOLD),
        (408, Action.DOUBT),
        (429, Action.RECONNECT),
        (500, Action.DOUBT),
        (502, Action.DOUBT),
        (503, Action.DOUBT),
        (504, Action.DOUBT),
    ],
)
def test_what_somebody_else_answers_says_nothing_about_the_rate(
    status: int, action: Action
) -> None:
    assert action_of(bulk_answer(answered(PAGE, status))) is action


def test_a_page_is_told_as_text() -> None:
    answer = bulk_answer(answered(PAGE, 403))
    assert answer.error == "HTTP 403 without SES's error type: Access denied"


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b'{"message": "no"}', "BadRequestException"),
        (b'{"message": "no"}', "BadRequestException:http://internal.amazon.com/coral/"),
        (b'{"message": "no"}', "aws.ses#BadRequestException"),
        (b'{"Message": "no", "code": "BadRequestException"}', None),
        (b'{"message": "no", "Code": "BadRequestException"}', None),
        (b'{"message": "no", "__type": "com.amazonaws.ses#BadRequestException"}', None),
    ],
)
def test_an_error_of_ses_is_one_by_its_type(body: bytes, header: str | None) -> None:
    answer = bulk_answer(answered(body, 400, header))
    assert (answer.code, answer.http_status, answer.error) == ("BadRequestException", 400, "no")


def test_a_type_that_nobody_has_described_is_ses_s_in_the_header_only() -> None:
    assert bulk_answer(answered({"message": "x"}, 400, "NovelException")).code == "NovelException"
    assert bulk_answer(answered({"code": "NovelException"}, 400)).code == "NOT_SES"


# --- what it says --------------------------------------------------------------------------------

GOOD = {"Status": "SUCCESS", "MessageId": "id-1"}

BROKEN_RESULTS = [
    ({}, "BulkEmailEntryResults is missing"),
    ({"BulkEmailEntryResults": None}, "BulkEmailEntryResults is missing"),
    ({"BulkEmailEntryResults": {"0": GOOD}}, "BulkEmailEntryResults is an object"),
    ({"BulkEmailEntryResults": "none"}, "BulkEmailEntryResults is a string"),
    ([GOOD], "it is a list, and not an object"),
    (b"<html>Log in</html>", "it is no JSON .*: Log in"),
    (b"", "it is no JSON .*: nothing"),
]

BROKEN_ENTRIES = [
    (None, "is null"),
    ("SUCCESS", "is a string"),
    ([GOOD], "is a list"),
    ({**GOOD, "Error": ["a list"]}, ".Error is a list"),
    ({**GOOD, "Error": {"a": "dict"}}, ".Error is an object"),
    ({**GOOD, "Error": 5}, ".Error is a number"),
    ({**GOOD, "Error": 0}, ".Error is a number"),
    ({**GOOD, "Error": False}, ".Error is a boolean"),
    ({**GOOD, "MessageId": 7}, ".MessageId is a number"),
    ({**GOOD, "MessageId": {"id": "x"}}, ".MessageId is an object"),
    ({**GOOD, "MessageId": ["x"]}, ".MessageId is a list"),
    ({**GOOD, "MessageId": True}, ".MessageId is a boolean"),
    ({**GOOD, "MessageId": "x" * 10_000}, ".MessageId has 10,000 characters"),
    ({**GOOD, "MessageId": "a\nb"}, ".MessageId has characters"),
    ({**GOOD, "MessageId": "a\u009b2J"}, ".MessageId has characters"),
    ({**GOOD, "Status": ["SUCCESS"]}, ".Status is a list"),
    ({**GOOD, "Status": 200}, ".Status is a number"),
    ({**GOOD, "Status": "S" * 1000}, ".Status has 1,000 characters"),
]


@pytest.mark.parametrize(("body", "said"), BROKEN_RESULTS)
def test_an_answer_of_another_shape_is_in_doubt_and_says_why(body: Any, said: str) -> None:
    answer = bulk_answer(answered(body))
    assert (answer.code, action_of(answer)) == ("BROKEN_ANSWER", Action.DOUBT)
    assert answer.error is not None
    assert re.search(said, answer.error)


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize(("entry", "said"), BROKEN_ENTRIES)
def test_one_wrong_field_leaves_the_call_in_doubt_and_is_named(
    entry: Any, said: str, where: int
) -> None:
    results: list[Any] = [GOOD, GOOD, GOOD]
    results[where] = entry
    answer = bulk_answer(answered({"BulkEmailEntryResults": results}))
    assert (answer.code, action_of(answer)) == ("BROKEN_ANSWER", Action.DOUBT)
    assert answer.error is not None
    assert f"BulkEmailEntryResults[{where}]{said if said[0] == '.' else ' ' + said}" in answer.error


@pytest.mark.parametrize("status", [None, ""])
def test_a_status_that_is_not_there_is_an_unknown_one(status: str | None) -> None:
    answer = bulk_answer(answered({"BulkEmailEntryResults": [{"Status": status}]}))
    assert answer.results[0].status == ""


words = st.text(max_size=5)
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | words
json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
entries = st.fixed_dictionaries({}, optional={"Status": json, "MessageId": json, "Error": json})


@given(st.lists(entries | json, max_size=4))
@example([{"MessageId": []}])
@example([{"Status": 0, "MessageId": "id"}])
def test_whatever_comes_back_is_strings_or_in_doubt(results: list[Any]) -> None:
    answer = bulk_answer(answered({"BulkEmailEntryResults": results}))
    if answer.code is None:
        assert len(answer.results) == len(results)
        for result in answer.results:
            assert {type(each) for each in result} <= {str, type(None)}
    else:
        assert answer.code == "BROKEN_ANSWER"


QUOTA = {"MaxSendRate": 14.0, "Max24HourSend": 50000.0, "SentLast24Hours": 3.0}

BROKEN_ACCOUNTS = [
    ({}, "SendQuota is missing"),
    ({"SendQuota": None}, "SendQuota is missing"),
    ({"SendQuota": [QUOTA]}, "SendQuota is a list"),
    ({"SendQuota": {}}, "SendQuota.MaxSendRate is missing"),
    ({"SendQuota": {**QUOTA, "MaxSendRate": None}}, "SendQuota.MaxSendRate is missing"),
    ({"SendQuota": {**QUOTA, "MaxSendRate": "14"}}, "SendQuota.MaxSendRate is a string"),
    ({"SendQuota": {**QUOTA, "MaxSendRate": True}}, "SendQuota.MaxSendRate is a boolean"),
    ({"SendQuota": {**QUOTA, "MaxSendRate": -1}}, "SendQuota.MaxSendRate is -1"),
    ({"SendQuota": {**QUOTA, "Max24HourSend": "-1"}}, "SendQuota.Max24HourSend is a string"),
    ({"SendQuota": {**QUOTA, "Max24HourSend": -2}}, "SendQuota.Max24HourSend is -2"),
    ({"SendQuota": {**QUOTA, "SentLast24Hours": [0]}}, "SendQuota.SentLast24Hours is a list"),
    ({"SendQuota": QUOTA, "SendingEnabled": "false"}, "SendingEnabled is a string"),
    ({"SendQuota": QUOTA, "SendingEnabled": 0}, "SendingEnabled is a number"),
    ({"SendQuota": QUOTA, "EnforcementStatus": ["HEALTHY"]}, "EnforcementStatus is a list"),
    ({"SendQuota": QUOTA, "ProductionAccessEnabled": {}}, "ProductionAccessEnabled is an object"),
    (b'{"SendQuota": {"MaxSendRate": NaN}}', "it is no JSON"),
    (b'{"SendQuota": {"MaxSendRate": 1e999}}', "SendQuota.MaxSendRate is inf|it is no JSON"),
    (b"<html>Log in</html>", "it is no JSON"),
]


@pytest.mark.parametrize(("body", "said"), BROKEN_ACCOUNTS)
def test_an_account_of_another_shape_is_none_and_says_why(body: Any, said: str) -> None:
    with pytest.raises(AccountUnavailableError, match=said) as raised:
        account(answered(body))
    assert raised.value.answer.code == "BROKEN_ANSWER"


def test_an_account_that_says_little_is_one() -> None:
    found = account(answered({"SendQuota": {"MaxSendRate": 14}}))
    assert (found.rate_per_s, found.daily_max, found.sending_enabled) == (14.0, -1.0, True)


def test_no_secret_stands_in_what_an_answer_quotes() -> None:
    text = "The canonical request was 'POST x-amz-security-token:hush' by hidden"
    answer = bulk_answer(answered({"message": text}, 403, "SignatureDoesNotMatch"), ["hidden"])
    assert answer.error is not None
    assert "hush" not in answer.error
    assert "hidden" not in answer.error
