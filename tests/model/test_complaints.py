"""Every complaint about a setting is a plain sentence, without a word of pydantic's."""

from __future__ import annotations

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from mailsluice.config.settings import (
    DeliverySettings,
    LaneSettings,
    MessageSettings,
    QuotaSettings,
    RecipientsSettings,
    SesSettings,
)
from mailsluice.config.worker import FolderSettings, HttpSettings, LogSettings, QueueSettings
from mailsluice.mailing.mailing import Attachment, Content, Mailing, Tracking
from mailsluice.model.complaints import complaints, keys_of
from mailsluice.worker.queue.messages import FromList, Many, One, QueueAttachment, QueueRecipient

MODELS: list[type[BaseModel]] = [
    *(Mailing, Content, Attachment, Tracking),
    *(RecipientsSettings, QuotaSettings, DeliverySettings, MessageSettings, LaneSettings),
    *(SesSettings, FolderSettings, QueueSettings, HttpSettings, LogSettings),
    *(One, Many, FromList, QueueAttachment, QueueRecipient),
]

BAD: list[Any] = [
    *(None, True, "", "x", "a\nb", "x" * 5_000, "ä" * 5_000),
    *(0, -1, 5, 1.5, 1e9, 10**30, float("nan"), float("inf"), Decimal("1.5")),
    *([], ["x"], [5], [[]], {}, {"a": 5}, {"a": "x"}, {"content": "ä"}),
    dt.date(2026, 1, 1),
]

NOT_PLAIN = re.compile(
    r"\b(?:Input|String|Value|Field|should|valid|dictionary|tuple|instance|parse)\b|class|pattern"
)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_whatever_is_given_the_complaint_is_a_plain_sentence(model: type[BaseModel]) -> None:
    told = set()
    for key in keys_of(model):
        for value in BAD:
            try:
                model.model_validate({key: value})
            except ValidationError as error:
                told |= {each.text for each in complaints(error, model)}
    assert told
    assert [text for text in told if NOT_PLAIN.search(text) or text[:1].isupper()] == []


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        (LogSettings, {"level": "loud"}, 'level: it must be "debug", "info", "warning" or "error"'),
        (QuotaSettings, {"share": "x"}, "share: it must be a number"),
        (QuotaSettings, {"share": 0}, "share: it must be above 0"),
        (QueueSettings, {"url": "x"}, 'url: it must look like "https://sqs.REGION.amazonaws.com/'),
        (QueueSettings, {"visibility_s": 10**6}, "visibility_s: it must be 43,200 or less"),
        (DeliverySettings, {"in_flight": 1.5}, "in_flight: it must be a whole number"),
        (HttpSettings, {"host": "example"}, "host: it must be an IP address of this machine"),
        (HttpSettings, {"token": "short"}, "token: it must have 16 characters or more"),
        (RecipientsSettings, {"data": "name"}, 'data: it must be a list, as in ["a", "b"]'),
        (RecipientsSettings, {"tags": ["a"]}, "tags: it must be a table of keys and values"),
        (QueueRecipient, {"to": 5}, "to: it must be an address, or a list of addresses"),
        (QueueAttachment, {"content": "ä"}, "content: it must be base64"),
        (QueueAttachment, {"content": "YQ==\nYQ=="}, "content: it must be base64"),
    ],
)
def test_a_complaint_says_what_would_do(
    model: type[BaseModel], given: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(given)
    assert any(str(each).startswith(told) for each in complaints(raised.value, model)), [
        *map(str, complaints(raised.value, model))
    ]


def test_base64_may_be_broken_into_lines() -> None:
    assert QueueAttachment(content=b"YWJj\r\nZA==\n", file_name="a").content == b"abcd"
