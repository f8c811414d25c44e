"""What SES will make of a row's data: a template that judges and renders each. Pure.

SES accepts an entry whose data lack a variable of its template, gives a MessageId, and never sends
it. So each row is judged before the first call. What is not documented of SES is "cannot judge",
and never fine.
"""

from mailsluice.mailing.rendering.findings import (
    FAILING,
    Defect,
    Defects,
    Fault,
    Finding,
    Place,
    Verdict,
    verdict_of,
)
from mailsluice.mailing.rendering.merging import merged
from mailsluice.mailing.rendering.template import Rendering, Source, Template
from mailsluice.mailing.rendering.template_error import TemplateError

__all__ = (
    "FAILING",
    "Defect",
    "Defects",
    "Fault",
    "Finding",
    "Place",
    "Rendering",
    "Source",
    "Template",
    "TemplateError",
    "Verdict",
    "merged",
    "verdict_of",
)
