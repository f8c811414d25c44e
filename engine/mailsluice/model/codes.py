"""The statuses that mailsluice gives itself, beside those of SES.

A code says why a recipient was not sent, why a call has no answer of SES, or why a run is held.
`reports.remedies` has what to do about each hold.
"""

from __future__ import annotations

NOT_SENT = "NOT_SENT"
"""Code of an answer that never was: nothing reached SES (refused, DNS, connect timeout, TLS)."""

EXCEPTED = "EXCEPTED"
"""An earlier run has mailed it, or may have, which this run was told to leave out."""

NO_ANSWER = "NO_ANSWER"
"""Code of an answer that never came: the request may have reached SES."""

BROKEN_ANSWER = "BROKEN_ANSWER"
"""Code of an answer that cannot be read, or that has another number of results than entries."""

NO_CREDENTIALS = "NO_CREDENTIALS"
"""Code of a call that the SDK could not sign: nothing left this machine."""

NOT_SES = "NOT_SES"
"""Code of an error answer without SES's error type: a proxy, firewall or portal has answered."""

SOURCE_BROKEN = "SOURCE_BROKEN"
"""Code of a hold: the recipients broke off in the middle."""

SOURCE_CHANGED = "SOURCE_CHANGED"
"""Code of a hold: the recipients are not those that they were, or change while they are read."""

SOURCE_SHORTER = "SOURCE_SHORTER"
"""Code of a hold: recipients that were accepted before have not come again."""

GONE = "GONE"
"""Status of a recipient that was read, and whose key the source no longer gives."""

QUOTA_TOO_SMALL = "QUOTA_TOO_SMALL"
"""Code of a hold: the day's quota, as far as this run may use it, has never room for a
recipient."""

RESOLVED = "RESOLVED"
"""The status of a recipient upon which an operator has decided."""

WITHDRAWN = "WITHDRAWN"
"""The status of a single message that was given up before it was sent."""

REFUSED = "REFUSED"
"""The status of a message that mailsluice did not accept."""

CLOSED = "CLOSED"
"""The status of a message that was not sent because the engine was closed."""

CLOSED_TEXT = "the engine was closed"

BOUNCES_TOO_MANY = "BOUNCES_TOO_MANY"
"""Code of a hold: more addresses do not work than AWS tolerates."""

COMPLAINTS_TOO_MANY = "COMPLAINTS_TOO_MANY"
"""Code of a hold: more recipients call it spam than AWS tolerates."""

RENDERING_FAILS = "RENDERING_FAILS"
"""Code of a hold: SES accepts the mails, and then cannot render or refuses them."""

FEEDBACK_BLIND = "FEEDBACK_BLIND"
"""Code of a hold: nothing is heard of the first recipients, so nobody knows how it goes."""
