"""What a check has found, and whether a mailing may begin. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from mailsluice.checking.digest import differences
from mailsluice.checking.facts import Facts
from mailsluice.checking.findings import Finding, errors
from mailsluice.checking.rows import Seen
from mailsluice.model.errors import CheckFailedError

Depth = Literal["quick", "thorough"]
"""quick: what a mailing must not begin with. thorough: all that somebody may want to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check has found."""

    findings: tuple[Finding, ...] = ()
    """Errors first."""
    facts: Facts = field(default_factory=Facts)
    seen: Seen | None = None
    """Of the rows; None if they were not read."""
    digest: str | None = None
    """By which `send --approved` recognises all this; None if not all of it was read."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Because of these nothing should be sent."""
        return tuple(errors(self.findings))

    def require(self, approved: str | None = None) -> None:
        """Raise CheckFailedError for an error, and for anything that is not as it was approved."""
        if found := self.errors:
            raise CheckFailedError("\n".join(map(str, found)))
        if approved is None or approved == self.digest:
            return
        if self.digest is None:
            raise CheckFailedError(
                "nobody can tell whether this is what was approved: that needs the template's text "
                "(ses:GetEmailTemplate) and a list that is a file"
            )
        changed = " and ".join(differences(approved, self.digest))
        raise CheckFailedError(
            f"this is not what was approved: {changed} changed since; look at it, and have it "
            "approved again: mailsluice check --digest"
        )
