"""What SES says about a mailing's sender: identity, DKIM, MAIL FROM, tenant, reputation. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from mailsluice.checking.facts import Facts
from mailsluice.checking.findings import Finding, Level, finding
from mailsluice.ses.inspector import Identity, Recommendation, Unread, Why

WORKS = "SUCCESS"
"""The status of DKIM, or of a MAIL FROM domain, for which SES has found the records."""

REPUTATION_KINDS = ("BOUNCE", "COMPLAINT", "DKIM", "DMARC", "SPF", "FEEDBACK_3P", "IP_LISTING")
"""Of SES's recommendations: those that say something about whether mail arrives."""


def judge(facts: Facts, sender: str, *, is_foreign: bool) -> Iterator[Finding]:
    """Whether SES sends mail from this address. `is_foreign`: by another account's identity."""
    if is_foreign:
        return
    if facts.identity is None:
        if _is_missing(facts.domain) and _is_missing(facts.address):
            domain = sender.rpartition("@")[2]
            yield finding(
                "IDENTITY_MISSING", f"SES knows no identity {domain} in this region, nor the sender"
            )
        return
    yield from _judge_identity(facts.identity)


def _is_missing(found: object) -> bool:
    return isinstance(found, Unread) and found.why is Why.MISSING


def _judge_identity(identity: Identity) -> Iterator[Finding]:
    # Its name may be an address, which is told to nobody.
    name = identity.name if "@" not in identity.name else "of the sender's address"
    if not identity.verified:
        yield finding("IDENTITY_NOT_VERIFIED", f"the identity {name} is not verified for sending")
        return
    yield from _judge_dkim(identity, name)
    if identity.mail_from and identity.mail_from_status != WORKS:
        what = (
            f"the MAIL FROM domain {identity.mail_from} does not work "
            f"({identity.mail_from_status or 'no status'})"
        )
        if identity.on_mx_failure == "REJECT_MESSAGE":
            yield finding("MAIL_FROM_REFUSES", f"{what}, and SES is told to refuse all mail then")
        else:
            yield finding("MAIL_FROM_FAILED", f"{what}; SES takes its own, and SPF is not aligned")


def _judge_dkim(identity: Identity, name: str) -> Iterator[Finding]:
    if not identity.dkim_signing:
        yield finding("DKIM_OFF", f"SES does not sign mail of the identity {name}")
    elif identity.dkim_status != WORKS:
        status = identity.dkim_status or "no status"
        yield finding(
            "DKIM_FAILED",
            f"DKIM of the identity {name} does not work ({status}): nothing is signed",
        )
    elif identity.dkim_key == "RSA_1024_BIT":
        yield finding("DKIM_KEY_SHORT", f"the DKIM key of the identity {name} has 1024 bits")


def judge_tenant(status: str | Unread | None, name: str | None) -> Iterator[Finding]:
    """Whether SES sends for the mailing's tenant."""
    if isinstance(status, Unread):
        if status.why is Why.MISSING:
            yield finding("TENANT_NOT_FOUND", f"there is no tenant {name} in this region")
    elif status == "DISABLED":
        yield finding("TENANT_DISABLED", f"sending is disabled for the tenant {name}")


def judge_reputation(found: tuple[Recommendation, ...] | Unread | None) -> Iterator[Finding]:
    """SES's own open findings about this account."""
    if not isinstance(found, tuple):
        return
    for each in found:
        if each.kind in REPUTATION_KINDS:
            what = each.resource.rpartition(":")[2] or "the account"
            told = each.description.rstrip(". ") or "it says no more"
            level = Level.WARNING if each.impact == "HIGH" else Level.INFO
            yield finding("REPUTATION", f"SES on {each.kind} of {what}: {told}", level)
