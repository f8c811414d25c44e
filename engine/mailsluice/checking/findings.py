"""What a check may find: every code with its level and its remedy. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


class Level(enum.StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Some mail would not arrive, or none: nothing is sent."""
    WARNING = "warning"
    """It is sent, and somebody should look."""
    INFO = "info"
    """What could not be checked, or is worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    code: str
    level: Level
    text: str
    """One sentence: what is the case. It holds no address and no recipient's data."""
    remedy: str
    """What to do about it."""

    def __str__(self) -> str:
        return f"{self.code}: {self.text}; {self.remedy}"


class _Kind(NamedTuple):
    level: Level
    remedy: str


_ERROR, _WARNING, _INFO = Level

_IDENTITY = "aws sesv2 get-email-identity --email-identity DOMAIN shows what SES waits for"
_EVENTS = (
    "aws sesv2 update-configuration-set-event-destination, or add one with "
    "create-configuration-set-event-destination: SEND, BOUNCE, COMPLAINT, DELIVERY, REJECT and "
    "RENDERING_FAILURE"
)
_LIST = "look at these rows, and correct the list or leave it as it is"

KINDS = {
    "ACCOUNT_SUSPENDED": _Kind(
        _ERROR, "answer AWS's case about the account; SES sends again when they lift the suspension"
    ),
    "ACCOUNT_SENDING_PAUSED": _Kind(
        _ERROR,
        "find out who paused sending and why, then: "
        "aws sesv2 put-account-sending-attributes --sending-enabled",
    ),
    "ACCOUNT_ON_PROBATION": _Kind(
        _WARNING, "look into bounces and complaints, and answer AWS's case, before the next mailing"
    ),
    "SANDBOX": _Kind(
        _WARNING,
        "ask AWS to move the account out of the sandbox (aws sesv2 put-account-details "
        "--production-access-enabled), or mail verified addresses only",
    ),
    "SANDBOX_RECIPIENTS": _Kind(
        _ERROR,
        "verify them (aws sesv2 create-email-identity), take them out of the list, or ask AWS to "
        "move the account out of the sandbox (aws sesv2 put-account-details)",
    ),
    "QUOTA_TOO_SMALL": _Kind(
        _ERROR, "lower [quota] reserve, raise share, or ask AWS for a higher daily quota"
    ),
    "IDENTITY_MISSING": _Kind(
        _ERROR,
        "verify the sender's domain in this region (aws sesv2 create-email-identity), or correct "
        "[mailing] from",
    ),
    "IDENTITY_NOT_VERIFIED": _Kind(_ERROR, f"publish the records that it needs: {_IDENTITY}"),
    "DKIM_OFF": _Kind(
        _WARNING,
        "switch signing on: aws sesv2 put-email-identity-dkim-attributes --signing-enabled",
    ),
    "DKIM_FAILED": _Kind(_WARNING, f"publish the DKIM records: {_IDENTITY}"),
    "DKIM_KEY_SHORT": _Kind(
        _WARNING,
        "take a key of 2048 bits: aws sesv2 put-email-identity-dkim-signing-attributes "
        "--signing-attributes NextSigningKeyLength=RSA_2048_BIT",
    ),
    "MAIL_FROM_REFUSES": _Kind(
        _ERROR,
        "publish the MX record of the MAIL FROM domain, or let SES use its own: aws sesv2 "
        "put-email-identity-mail-from-attributes --behavior-on-mx-failure USE_DEFAULT_VALUE",
    ),
    "MAIL_FROM_FAILED": _Kind(
        _WARNING, "publish the MX and SPF records of the MAIL FROM domain, or remove it"
    ),
    "CONFIGURATION_SET_NOT_FOUND": _Kind(
        _ERROR,
        "create it in this region (aws sesv2 create-configuration-set), or correct "
        "[mailing] configuration_set",
    ),
    "CONFIGURATION_SET_SENDING_PAUSED": _Kind(
        _ERROR,
        "find out who paused it and why, then: aws sesv2 put-configuration-set-sending-options "
        "--configuration-set-name NAME --sending-enabled",
    ),
    "CONFIGURATION_SET_NONE": _Kind(
        _WARNING,
        "name one in [mailing] configuration_set whose events you read: without events nobody "
        "learns of bounces, complaints and rendering failures",
    ),
    "SUPPRESSION_OFF": _Kind(
        _WARNING,
        "suppress both: aws sesv2 put-configuration-set-suppression-options "
        "--configuration-set-name NAME --suppressed-reasons BOUNCE COMPLAINT",
    ),
    "DELIVERY_SHORT": _Kind(
        _WARNING,
        "give SES more time to retry: aws sesv2 put-configuration-set-delivery-options "
        "--configuration-set-name NAME --max-delivery-seconds 50400",
    ),
    "AUTO_VALIDATION": _Kind(
        _INFO,
        "expect bounces that no mail server has sent, or switch it off in the configuration set's "
        "suppression options",
    ),
    "EVENTS_NONE": _Kind(_WARNING, _EVENTS),
    "EVENTS_MISSING": _Kind(_WARNING, _EVENTS),
    "TENANT_NOT_FOUND": _Kind(
        _ERROR, "create it (aws sesv2 create-tenant), or correct [mailing] tenant"
    ),
    "TENANT_DISABLED": _Kind(
        _ERROR,
        "look into its bounces and complaints, then reinstate it: aws sesv2 "
        "update-reputation-entity-customer-managed-status",
    ),
    "REPUTATION": _Kind(
        _WARNING, "follow it up: aws sesv2 list-recommendations shows all, the console the remedies"
    ),
    "TEMPLATE_NOT_FOUND": _Kind(
        _ERROR,
        "create it in this region (aws sesv2 create-email-template), or correct [mailing] template",
    ),
    "TEMPLATE_BROKEN": _Kind(
        _ERROR, "mend the template, and store it again: aws sesv2 update-email-template"
    ),
    "TEMPLATE_UNJUDGED": _Kind(
        _WARNING,
        "write it with what SES documents (if, unless, each, with, inline partials), or look at "
        "some rows with `mailsluice preview --via-ses`",
    ),
    "VARIABLE_MISSING": _Kind(
        _ERROR,
        "fill the column, give a default in [mailing] data, map a column by [recipients] rename, "
        "or guard it in the template with {{#if}}; --no-check sends all the same",
    ),
    "VARIABLE_NULL": _Kind(
        _ERROR,
        "give these rows a value, if only an empty text, or guard it in the template with {{#if}}; "
        "--no-check sends all the same",
    ),
    "BLOCK_TAG_WRONG": _Kind(
        _ERROR,
        "write block tags in lower case (an HTML editor may have changed them), and store the "
        "template again: aws sesv2 update-email-template",
    ),
    "PARTIAL_UNDEFINED": _Kind(
        _ERROR,
        'define it in the same part of the template: {{#* inline "name"}}...{{/inline}}',
    ),
    "VALUE_FORM": _Kind(
        _WARNING,
        "give texts instead: how SES writes objects, lists and fractions is not documented; "
        "`mailsluice preview --via-ses` shows it",
    ),
    "RENDERING_FAILS": _Kind(
        _ERROR, "correct the template or the data: aws sesv2 test-render-email-template shows more"
    ),
    "MESSAGE_TOO_LARGE": _Kind(
        _ERROR, "shorten the template, the data or the attachments: SES takes 40 MB in base64"
    ),
    "SUBJECT_TOO_LONG": _Kind(
        _WARNING, "shorten the subject: a header line may have 998 bytes (RFC 5322, 2.1.1)"
    ),
    "ONE_CLICK_MISSING": _Kind(
        _WARNING,
        "add the headers List-Unsubscribe (a column with <https://...>, by [recipients] headers) "
        'and List-Unsubscribe-Post = "List-Unsubscribe=One-Click" (RFC 8058)',
    ),
    "ONE_CLICK_BROKEN": _Kind(
        _WARNING,
        "write List-Unsubscribe as <https://...>, with the recipient's own link, and "
        "List-Unsubscribe-Post as List-Unsubscribe=One-Click; SES fills no {{...}} in headers",
    ),
    "ROWS_REFUSED": _Kind(_WARNING, "correct them; `mailsluice send --dry-run` shows the first"),
    "ROWS_UNREAD": _Kind(
        _INFO, "check a file with the same rows: mailsluice check MAILING --recipients FILE"
    ),
    "LIST_EMPTY": _Kind(_WARNING, "give a list with rows, or correct [recipients] path"),
    "ADDRESSES_EMPTY": _Kind(
        _WARNING, "see whether [recipients] address names the right column, and correct the list"
    ),
    "COLUMN_UNUSED": _Kind(
        _INFO, "name the columns to use in [recipients] data, or leave it: SES ignores the others"
    ),
    "ROLE_ADDRESSES": _Kind(_WARNING, _LIST),
    "ONE_DOMAIN": _Kind(
        _WARNING, "expect this domain to slow the mail down, or to block it; send more slowly"
    ),
    "DOMAINS_MISSPELT": _Kind(_WARNING, _LIST),
    "DOMAINS_DISPOSABLE": _Kind(_WARNING, _LIST),
    "LIVE_SENT": _Kind(
        _INFO, "look for its events where you read them: its tag mailsluice-id begins with check-"
    ),
    "LIVE_FAILED": _Kind(
        _ERROR, "remove the cause that SES names; `mailsluice send` would meet it, too"
    ),
    "NOT_PERMITTED": _Kind(
        _INFO,
        "allow the action to these credentials to have it checked (configs/iam-policy-check.json); "
        "sending does not need it",
    ),
    "NOT_ANSWERED": _Kind(_INFO, "check again"),
}
"""By code. The level is the usual one."""


def finding(code: str, text: str, level: Level | None = None) -> Finding:
    """Make a finding of a kind in `KINDS`."""
    kind = KINDS[code]
    return Finding(code, level or kind.level, text, kind.remedy)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Those because of which nothing is sent."""
    return [each for each in findings if each.level is Level.ERROR]
