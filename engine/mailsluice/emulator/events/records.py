"""SES's event records (developer guide, "Contents of event data that SES publishes"). Pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mailsluice.emulator import mailboxes

if TYPE_CHECKING:
    from collections.abc import Callable

    from mailsluice.emulator.events.plan import Event, Mail

ACCOUNT = "123456789012"
REGION = "us-east-1"
RETRIES_S = 50_400
"""How long SES tries to deliver (MaxDeliverySeconds, its longest and default)."""

_MTA = "a8-50.smtp-out.amazonses.com"
_REMOTE = "203.0.113.25"
_AGENT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"
_WITHOUT_HEADERS = {"Rendering Failure", "DeliveryDelay"}


def record(event: Event) -> dict[str, Any]:
    """Return the record of an event."""
    section, describe = _SECTIONS[event.kind]
    return {
        "eventType": event.kind,
        "mail": _mail(event),
        section: describe(event),
    }


def identity(event: Event) -> str:
    """Return 32 hexadecimal digits that copies of an event share, and no other event has."""
    text = f"{event.kind}/{event.mail.message_id}/{event.address}/{event.at}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def time(at: float) -> str:
    """Format it as SES does, with milliseconds."""
    text = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _mail(event: Event) -> dict[str, Any]:
    mail = event.mail
    domain = mailboxes.bare(mail.source).rpartition("@")[2].lower()
    found: dict[str, Any] = {
        "timestamp": time(mail.at),
        "source": mail.source,
        "sourceArn": f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/{domain}",
        "sendingAccountId": ACCOUNT,
        "messageId": mail.message_id,
        "destination": list(mail.addresses),
    }
    if event.kind not in _WITHOUT_HEADERS:
        found |= _headers(mail)
    found["tags"] = {
        "ses:operation": ["SendBulkEmail"],
        "ses:configuration-set": [mail.configuration_set],
        "ses:source-ip": ["127.0.0.1"],
        "ses:from-domain": [domain],
        "ses:caller-identity": ["emulator"],
        "ses:source-tls-version": ["TLSv1.3"],
        **({"ses:outgoing-ip": ["192.0.2.50"]} if event.kind == "Delivery" else {}),
        **{name: [value] for name, value in mail.tags.items()},
    }
    return found


def _headers(mail: Mail) -> dict[str, Any]:
    to = ", ".join(mail.to)
    return {
        "headersTruncated": False,
        "headers": [
            {"name": "From", "value": mail.source},
            {"name": "To", "value": to},
            {"name": "MIME-Version", "value": "1.0"},
        ],
        # Of mail with a template there is no subject.
        "commonHeaders": {
            "from": [mail.source],
            "to": list(mail.to),
            "messageId": mail.message_id,
        },
    }


def _delivery(event: Event) -> dict[str, Any]:
    return {
        "timestamp": time(event.at),
        "processingTimeMillis": round((event.at - event.mail.at) * 1000),
        "recipients": [event.address],
        "smtpResponse": "250 2.6.0 Message received",
        "remoteMtaIp": _REMOTE,
        "reportingMTA": _MTA,
    }


_SUPPRESSED = "OnAccountSuppressionList"
_SUPPRESSED_TEXT = (
    "Amazon SES did not send the message to this address because it is on the suppression list for "
    "your account. For more information about removing addresses from the suppression list, see "
    "the Amazon SES Developer Guide at https://docs.aws.amazon.com/ses/latest/DeveloperGuide/"
    "sending-email-suppression-list.html"
)
_DIAGNOSTICS = {
    "MailboxFull": ("4.2.2", "smtp; 452 4.2.2 The email account is over quota"),
    "MessageTooLarge": ("5.3.4", "smtp; 552 5.3.4 Message size exceeds fixed limit"),
    "ContentRejected": ("5.7.1", "smtp; 554 5.7.1 Message rejected because of its content"),
    "AttachmentRejected": ("5.7.1", "smtp; 552 5.7.0 The attachment is not allowed"),
    _SUPPRESSED: ("5.1.1", _SUPPRESSED_TEXT),
}


def _bounce(event: Event) -> dict[str, Any]:
    unknown = f"smtp; 550 5.1.1 <{event.address}>: user unknown"
    status, diagnostic = _DIAGNOSTICS.get(event.sub_type, ("5.1.1", unknown))
    remote = {} if event.sub_type == _SUPPRESSED else {"remoteMtaIp": _REMOTE}
    return {
        "feedbackId": _feedback_id(event),
        "bounceType": event.type,
        "bounceSubType": event.sub_type,
        "bouncedRecipients": [
            {
                "emailAddress": event.address,
                "action": "failed",
                "status": status,
                "diagnosticCode": diagnostic,
            }
        ],
        "timestamp": time(event.at),
        "reportingMTA": f"dsn; {_MTA}",
        **remote,
    }


def _complaint(event: Event) -> dict[str, Any]:
    return {
        "feedbackId": _feedback_id(event),
        "complaintSubType": None,
        "complainedRecipients": [{"emailAddress": event.address}],
        "timestamp": time(event.at),
        "userAgent": "Yahoo!-Mail-Feedback/2.0",
        "complaintFeedbackType": event.type,
        "arrivalDate": time(event.mail.at),
    }


def _delay(event: Event) -> dict[str, Any]:
    return {
        "timestamp": time(event.at),
        "delayType": "TransientCommunicationFailure",
        "expirationTime": time(event.mail.at + RETRIES_S),
        "delayedRecipients": [
            {
                "emailAddress": event.address,
                "status": "4.4.1",
                "diagnosticCode": "smtp; 421 4.4.1 Unable to connect to remote host",
            }
        ],
        "reportingMTA": _MTA,
    }


def _failure(event: Event) -> dict[str, Any]:
    return {"errorMessage": event.mail.error, "templateName": event.mail.template}


def _seen(event: Event) -> dict[str, Any]:
    return {
        "ipAddress": "203.0.113.7",
        "timestamp": time(event.at),
        "userAgent": _AGENT,
        "isBotEvent": "Unlikely",
    }


def _click(event: Event) -> dict[str, Any]:
    return {**_seen(event), "link": "https://example.com/", "linkTags": None}


def _subscription(event: Event) -> dict[str, Any]:
    return {
        "contactList": "emulated",
        "timestamp": time(event.at),
        "source": "UnsubscribeHeader",
        "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": []},
        "oldTopicPreferences": {"unsubscribeAll": False, "topicSubscriptionStatus": []},
    }


def _feedback_id(event: Event) -> str:
    digits = identity(event)
    uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return f"0100{int(event.at * 1000):012x}-{uuid[:35]}-000000"


_SECTIONS: dict[str, tuple[str, Callable[[Event], dict[str, Any]]]] = {
    "Send": ("send", lambda _: {}),
    "Delivery": ("delivery", _delivery),
    "Bounce": ("bounce", _bounce),
    "Complaint": ("complaint", _complaint),
    "Reject": ("reject", lambda _: {"reason": "Bad content"}),
    "Rendering Failure": ("failure", _failure),
    "DeliveryDelay": ("deliveryDelay", _delay),
    "Open": ("open", _seen),
    "Click": ("click", _click),
    "Subscription": ("subscription", _subscription),
}

KINDS = frozenset(_SECTIONS)
"""All of them."""
