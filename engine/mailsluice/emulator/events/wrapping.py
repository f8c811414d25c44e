"""What a record is wrapped in on its way: nothing, SNS's envelope, EventBridge's event. Pure."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import orjson

from mailsluice.emulator.events import records

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailsluice.emulator.events.plan import Event, Planned
    from mailsluice.emulator.events.script import Wrapping

TOPIC = f"arn:aws:sns:{records.REGION}:{records.ACCOUNT}:mailsluice-events"

_DETAIL_TYPES = {
    "Send": "Email Sent",
    "Delivery": "Email Delivered",
    "Bounce": "Email Bounced",
    "Complaint": "Email Complaint Received",
    "Reject": "Email Rejected",
    "Rendering Failure": "Email Rendering Failed",
    "DeliveryDelay": "Email Delivery Delayed",
    "Open": "Email Opened",
    "Click": "Email Clicked",
    "Subscription": "Email Subscribed",
}

_PEM = f"https://sns.{records.REGION}.amazonaws.com/SimpleNotificationService-emulated.pem"


def wrapped(planned: Planned, wrapping: Wrapping) -> bytes:
    """Return the body of a message, or a line of a file: JSON without line ends."""
    event = planned.event
    record = records.record(event)
    return orjson.dumps(_WRAPPINGS[wrapping](event, record, planned.arrives_at))


def _sns(event: Event, record: dict[str, Any], at: float) -> dict[str, Any]:
    return {
        "Type": "Notification",
        # Copies that SNS makes have one id.
        "MessageId": str(uuid.UUID(records.identity(event))),
        "TopicArn": TOPIC,
        "Subject": "Amazon SES Email Event Notification",
        "Message": orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE).decode(),
        "Timestamp": records.time(at),
        "SignatureVersion": "1",
        "Signature": "ZW11bGF0ZWQ=",
        "SigningCertURL": _PEM,
        "UnsubscribeURL": f"https://sns.{records.REGION}.amazonaws.com/?Action=Unsubscribe",
    }


def _eventbridge(event: Event, record: dict[str, Any], at: float) -> dict[str, Any]:
    of_set = f"configuration-set/{event.mail.configuration_set}"
    return {
        "version": "0",
        "id": str(uuid.UUID(records.identity(event))),
        "detail-type": _DETAIL_TYPES[event.kind],
        "source": "aws.ses",
        "account": records.ACCOUNT,
        "time": records.time(at)[:-5] + "Z",
        "region": records.REGION,
        "resources": [f"arn:aws:ses:{records.REGION}:{records.ACCOUNT}:{of_set}"],
        "detail": record,
    }


_WRAPPINGS: dict[Wrapping, Callable[[Event, dict[str, Any], float], dict[str, Any]]] = {
    "raw": lambda _, record, __: record,
    "sns": _sns,
    "eventbridge": _eventbridge,
}
