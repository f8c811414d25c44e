"""SES events as AWS documents and publishes them, and their wrappings, with made-up names."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import orjson

RUN, ROW = "abcdefghijklmnop", 17
TAG = f"{RUN}-{ROW}"
MESSAGE_ID = "0102018f4a3c2b1d-5e6f7a8b-9c0d-4e1f-8a2b-3c4d5e6f7a8b-000000"
SENT_AT = "2026-11-26T09:00:00.250Z"
AT = "2026-11-26T09:00:07.500Z"
TO = "ann@example.com"

AUTO_TAGS = {
    "ses:operation": ["SendBulkEmail"],
    "ses:configuration-set": ["events"],
    "ses:source-ip": ["192.0.2.7"],
    "ses:from-domain": ["example.org"],
    "ses:caller-identity": ["sender"],
    "ses:source-tls-version": ["TLSv1.3"],
}


def mail(*, headers: bool = True, **more: Any) -> dict[str, Any]:
    """The part that all events share. Rendering failures and delays have no headers."""
    found: dict[str, Any] = {
        "timestamp": SENT_AT,
        "messageId": MESSAGE_ID,
        "source": "News <news@Example.org>",
        "sourceArn": "arn:aws:ses:eu-west-1:123456789012:identity/example.org",
        "sendingAccountId": "123456789012",
        "destination": [TO],
        "tags": AUTO_TAGS | {"mailsluice-id": [TAG]},
    }
    if headers:
        found |= {
            "headersTruncated": False,
            "headers": [{"name": "From", "value": "News <news@example.org>"}],
            "commonHeaders": {"from": ["news@example.org"], "to": [TO], "messageId": MESSAGE_ID},
        }
    return found | more


def record(kind: str, section: str, told: dict[str, Any], **of_mail: Any) -> dict[str, Any]:
    return {"eventType": kind, "mail": mail(**of_mail), section: told}


SEND = record("Send", "send", {})
DELIVERY = record(
    "Delivery",
    "delivery",
    {
        "timestamp": AT,
        "processingTimeMillis": 7250,
        "recipients": [TO],
        "smtpResponse": "250 2.6.0 Message received",
        "remoteMtaIp": "192.0.2.25",
        "reportingMTA": "mta.example.net",
    },
)
BOUNCE = record(
    "Bounce",
    "bounce",
    {
        "bounceType": "Permanent",
        "bounceSubType": "NoEmail",
        "bouncedRecipients": [
            {
                "emailAddress": "forwarded@example.net",
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "smtp; 550 5.1.1 <forwarded@example.net>: user unknown",
            }
        ],
        "timestamp": AT,
        "feedbackId": "0102018f4a3c3000-bounce-000000",
        "remoteMtaIp": "192.0.2.25",
        "reportingMTA": "dsn; a1-2.smtp-out.eu-west-1.amazonses.com",
    },
)
SOFT_BOUNCE = record(
    "Bounce",
    "bounce",
    {  # no status, no diagnostic: both are optional
        "bounceType": "Transient",
        "bounceSubType": "MailboxFull",
        "bouncedRecipients": [{"emailAddress": TO}],
        "timestamp": AT,
        "feedbackId": "0102018f4a3c3001-bounce-000000",
    },
)
SUPPRESSED = record(
    "Bounce",
    "bounce",
    {
        "bounceType": "Permanent",
        "bounceSubType": "OnAccountSuppressionList",
        "bouncedRecipients": [
            {
                "emailAddress": TO,
                "action": "failed",
                "status": "5.1.1",
                "diagnosticCode": "Amazon SES did not send the message to this address because it "
                "is on the suppression list for your account.",
            }
        ],
        "timestamp": AT,
        "feedbackId": "0102018f4a3c3002-bounce-000000",
    },
)
COMPLAINT = record(
    "Complaint",
    "complaint",
    {
        "complainedRecipients": [{"emailAddress": TO}],
        "timestamp": AT,
        "feedbackId": "0102018f4a3c3003-complaint-000000",
        "complaintSubType": None,
        "userAgent": "Yahoo!-Mail-Feedback/2.0",
        "complaintFeedbackType": "abuse",
        "arrivalDate": AT,
    },
)
NOT_SPAM = record(
    "Complaint",
    "complaint",
    {
        "complainedRecipients": [{"emailAddress": TO}],
        "timestamp": AT,
        "complaintFeedbackType": "not-spam",
    },
)
REJECT = record("Reject", "reject", {"reason": "Bad content"})
RENDERING_FAILURE = record(
    "Rendering Failure",
    "failure",
    {
        "errorMessage": "Attribute 'name' is not present in the rendering data.",
        "templateName": "welcome",
    },
    headers=False,
)
DELAY = record(
    "DeliveryDelay",
    "deliveryDelay",
    {
        "timestamp": AT,
        "delayType": "TransientCommunicationFailure",
        "expirationTime": "2026-11-26T23:00:00.250Z",
        "delayedRecipients": [
            {"emailAddress": TO, "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 no answer"}
        ],
    },
    headers=False,
)
OPEN = record(
    "Open",
    "open",
    {"ipAddress": "192.0.2.1", "timestamp": AT, "userAgent": "Mozilla", "isBotEvent": "Likely"},
)
CLICK = record(
    "Click",
    "click",
    {
        "ipAddress": "192.0.2.1",
        "timestamp": AT,
        "userAgent": "Mozilla",
        "link": "https://example.org/",
        "linkTags": {"a": ["b"]},
    },
)
SUBSCRIPTION = record(
    "Subscription",
    "subscription",
    {
        "contactList": "all",
        "timestamp": AT,
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {"unsubscribeAll": True},
        "oldTopicPreferences": {"unsubscribeAll": False},
    },
)

ALL = {
    "Send": SEND,
    "Delivery": DELIVERY,
    "Bounce": BOUNCE,
    "Complaint": COMPLAINT,
    "Reject": REJECT,
    "Rendering Failure": RENDERING_FAILURE,
    "DeliveryDelay": DELAY,
    "Open": OPEN,
    "Click": CLICK,
    "Subscription": SUBSCRIPTION,
}
"""One of each of the ten types."""

NOTIFICATION = {
    "notificationType": "Bounce",
    "bounce": BOUNCE["bounce"],
    "mail": {key: value for key, value in mail().items() if key != "tags"},
}
"""An identity's own notification: other key, no tags."""

DETAIL_TYPES = {
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


def raw(event: dict[str, Any]) -> bytes:
    return orjson.dumps(event)


def envelope(event: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "5a1b2c3d-0000-5000-8000-000000000000",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:ses-events",
        "Subject": "Amazon SES Email Event Notification",
        "Message": orjson.dumps(event).decode() + "\n",
        "Timestamp": AT,
        "SignatureVersion": "1",
        "Signature": "c2lnbmF0dXJl",
        "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    }


def sns(event: dict[str, Any]) -> bytes:
    return orjson.dumps(envelope(event))


def eventbridge(event: dict[str, Any]) -> bytes:
    name = event.get("eventType") or event["notificationType"]
    return orjson.dumps(
        {
            "version": "0",
            "id": "12345678-1234-1234-1234-123456789012",
            "detail-type": DETAIL_TYPES.get(name, f"Email {name}"),
            "source": "aws.ses",
            "account": "123456789012",
            "time": AT,
            "region": "eu-west-1",
            "resources": ["arn:aws:ses:eu-west-1:123456789012:configuration-set/events"],
            "detail": event,
        }
    )


def firehose(event: dict[str, Any]) -> bytes:
    return orjson.dumps(event) + b"\n"


def firehose_packed(event: dict[str, Any]) -> bytes:
    return gzip.compress(firehose(event), mtime=0)


def lambda_of_sns(event: dict[str, Any]) -> bytes:
    source = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": envelope(event)}
    return orjson.dumps({"Records": [source]})


def lambda_of_sqs(event: dict[str, Any]) -> bytes:
    source = {"messageId": "1", "eventSource": "aws:sqs", "body": sns(event).decode()}
    return orjson.dumps({"Records": [source]})


WRAPPINGS: list[Callable[[dict[str, Any]], bytes]] = [
    raw,
    sns,
    eventbridge,
    firehose,
    firehose_packed,
    lambda_of_sns,
    lambda_of_sqs,
]

CONFIRMATION = {
    "Type": "SubscriptionConfirmation",
    "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
    "Token": "2336412f37f",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:ses-events",
    "Message": "You have chosen to subscribe to the topic. To confirm the subscription, visit the "
    "SubscribeURL included in this message.",
    "SubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f",
    "Timestamp": AT,
    "SignatureVersion": "1",
    "Signature": "c2lnbmF0dXJl",
    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem",
}

VALIDATED = b"Successfully validated SNS topic for Amazon SES event publishing."
