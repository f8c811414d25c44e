"""The statuses that mailsluice gives itself, beside those of SES.

A code says why a recipient was not sent, why a call has no answer of SES, or why a run is held.
`reports.remedies` has what to do about each hold.
"""

from __future__ import annotations

NOT_SENT = "NOT_SENT"
"""Code in place of an answer: nothing reached SES (refused, DNS, connect timeout, TLS)."""

EXCEPTED = "EXCEPTED"
"""Status of a recipient left out by `--except`: another run has sent it mail, or may have."""

EXCEPTED_TEXT = "a run that is excepted has mailed it, or may have"

SUPPRESSED = "SUPPRESSED"
"""Status of a recipient of whom an address is on the suppression list."""

SUPPRESSIONS_UNREADABLE = "SUPPRESSIONS_UNREADABLE"
"""Code of a hold: the suppression list cannot be read."""

NO_ANSWER = "NO_ANSWER"
"""Code in place of an answer that did not come: the request may have reached SES."""

BROKEN_ANSWER = "BROKEN_ANSWER"
"""Code of an answer that cannot be read, or that has another number of results than entries."""

NO_CREDENTIALS = "NO_CREDENTIALS"
"""Code of a call that the SDK could not sign: nothing left this machine."""

NOT_SES = "NOT_SES"
"""Code of an error answer without SES's error type: a proxy, firewall or portal answered."""

SOURCE_BROKEN = "SOURCE_BROKEN"
"""Code of a hold: the source broke off in the middle."""

SOURCE_CHANGED = "SOURCE_CHANGED"
"""Code of a hold: the source has changed since the run began, or changes while it is read."""

SOURCE_SHORTER = "SOURCE_SHORTER"
"""Code of a hold: the source no longer gives recipients that were accepted before."""

GONE = "GONE"
"""Status of a recipient whose key the source no longer gives."""

QUOTA_TOO_SMALL = "QUOTA_TOO_SMALL"
"""Code of a hold: a recipient has more addresses than this run's part of the daily quota."""

RESOLVED = "RESOLVED"
"""Status of a recipient that an operator has decided on."""

WITHDRAWN = "WITHDRAWN"
"""Status of a single message that its caller withdrew before it was sent."""

REFUSED = "REFUSED"
"""Status of a message that mailsluice did not accept."""

CLOSED = "CLOSED"
"""Status of a message that was not sent because the engine was closed."""

CLOSED_TEXT = "the engine was closed"

BOUNCES_TOO_MANY = "BOUNCES_TOO_MANY"
"""Code of a hold: more mail bounces than AWS tolerates."""

COMPLAINTS_TOO_MANY = "COMPLAINTS_TOO_MANY"
"""Code of a hold: more recipients complain of spam than AWS tolerates."""

RENDERING_FAILS = "RENDERING_FAILS"
"""Code of a hold: SES accepts the mail, and then fails to render it or refuses it."""

FEEDBACK_BLIND = "FEEDBACK_BLIND"
"""Code of a hold: no events have come for the first recipients, so the brake is blind."""
