"""The control plane: operations that read and change the account's resources. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, cast, get_args
from urllib.parse import unquote

import orjson
from pydantic import ValidationError

from mailsluice.emulator import shapes, submission, suppressed, templates
from mailsluice.emulator.exchange import RefusedError
from mailsluice.emulator.handlebars import RenderingFailure
from mailsluice.emulator.resources import Writing
from mailsluice.emulator.windows import Bucket

if TYPE_CHECKING:
    from mailsluice.emulator.exchange import Request
    from mailsluice.emulator.resources import Reading, Resources
    from mailsluice.emulator.templates import Template

_NAME = r"([^/?]+)"
_TEMPLATE = re.compile(rf"/v2/email/templates/{_NAME}")
_TEMPLATES = re.compile(r"/v2/email/templates")
_SUPPRESSED = re.compile(rf"/v2/email/suppression/addresses/{_NAME}")
_SUPPRESSIONS = re.compile(r"/v2/email/suppression/addresses")
_PATHS: dict[tuple[str, re.Pattern[str]], Reading | Writing] = {
    ("GET", re.compile(rf"/v2/email/identities/{_NAME}")): "GetEmailIdentity",
    ("GET", re.compile(rf"/v2/email/configuration-sets/{_NAME}")): "GetConfigurationSet",
    ("GET", re.compile(rf"/v2/email/configuration-sets/{_NAME}/event-destinations")): (
        "GetConfigurationSetEventDestinations"
    ),
    ("POST", re.compile(r"/v2/email/tenants/get")): "GetTenant",
    ("POST", re.compile(r"/v2/email/vdm/recommendations")): "ListRecommendations",
    ("GET", _TEMPLATE): "GetEmailTemplate",
    ("GET", _TEMPLATES): "ListEmailTemplates",
    ("POST", re.compile(rf"{_TEMPLATE.pattern}/render")): "TestRenderEmailTemplate",
    ("POST", _TEMPLATES): "CreateEmailTemplate",
    ("PUT", _TEMPLATE): "UpdateEmailTemplate",
    ("DELETE", _TEMPLATE): "DeleteEmailTemplate",
    ("GET", _SUPPRESSIONS): "ListSuppressedDestinations",
    ("PUT", _SUPPRESSIONS): "PutSuppressedDestination",
    ("GET", _SUPPRESSED): "GetSuppressedDestination",
    ("DELETE", _SUPPRESSED): "DeleteSuppressedDestination",
}

_WHAT = {
    "GetEmailIdentity": "Email identity",
    "GetConfigurationSet": "Configuration set",
    "GetConfigurationSetEventDestinations": "Configuration set",
    "GetTenant": "Tenant",
    "GetEmailTemplate": "Template",
    "GetSuppressedDestination": "Suppressed destination",
}
_WRITING = frozenset(get_args(Writing))


class Asked(NamedTuple):
    """A call of a control-plane operation."""

    operation: Reading | Writing
    name: str
    """The name that the call asks about; empty if it lists."""
    body: bytes
    query: str = ""

    @property
    def is_writing(self) -> bool:
        """True if it changes something."""
        return self.operation in _WRITING


def asked(request: Request) -> Asked | None:
    """Parse a request; return None if it is no control-plane call. Raises RefusedError."""
    path, _, query = request.target.partition("?")
    for (method, pattern), operation in _PATHS.items():
        match = pattern.fullmatch(path) if method == request.method else None
        if match is None:
            continue
        if operation == "GetTenant":
            return Asked(operation, _text(request.body, "TenantName"), request.body)
        if operation == "CreateEmailTemplate":
            return Asked(operation, _text(request.body, "TemplateName"), request.body)
        name = unquote(match[1]) if match.groups() else ""
        return Asked(operation, name, request.body, query)
    return None


def answered(asked: Asked, resources: Resources) -> dict[str, Any]:
    """Return the document that answers a call. Raises RefusedError if the name is unknown."""
    if asked.operation == "TestRenderEmailTemplate":
        return _rendered(asked, resources)
    if asked.operation == "ListSuppressedDestinations":
        return suppressed.page(resources.suppressed, asked.query)
    assert not asked.is_writing
    found = resources.described(cast("Reading", asked.operation), asked.name)
    if found is None:
        what = _WHAT[asked.operation]
        raise RefusedError("NotFoundException", f"{what} <{asked.name}> does not exist.")
    return found


def changed(asked: Asked, resources: Resources, wall: float) -> dict[str, Any]:
    """Return the fields of the resources that a writing call changes. Raises RefusedError."""
    if asked.operation == "PutSuppressedDestination":
        return {"suppressed": suppressed.put(resources.suppressed, asked.body, wall)}
    if asked.operation == "DeleteSuppressedDestination":
        return {"suppressed": suppressed.without(resources.suppressed, asked.name)}
    found = {**(resources.templates or {})}
    if asked.operation == "CreateEmailTemplate":
        if asked.name in found:
            raise RefusedError("AlreadyExistsException", f"Template {asked.name} already exists.")
    elif asked.name not in found:
        raise _no_template(asked)
    if asked.operation == "DeleteEmailTemplate":
        del found[asked.name]
    else:
        found[asked.name] = _template(asked.body)
    return {"templates": found}


def _rendered(asked: Asked, resources: Resources) -> dict[str, Any]:
    template = resources.template(asked.name)
    if template is None:
        raise _no_template(asked)
    data = submission.data_of(_text(asked.body, "TemplateData"))
    try:
        return {"RenderedTemplate": template.message(data)}
    except RenderingFailure as failure:
        raise RefusedError("BadRequestException", str(failure)) from None


def _template(body: bytes) -> Template:
    """Read the template of a CreateEmailTemplate or UpdateEmailTemplate. Raises RefusedError."""
    content = _member(body, "TemplateContent")
    wrong = shapes.problem(shapes.TEMPLATE_CONTENT, content, "templateContent")
    if wrong is not None:
        raise RefusedError("BadRequestException", wrong)
    try:
        return templates.of(content)
    except ValidationError as error:
        raise RefusedError("BadRequestException", error.errors()[0]["msg"]) from None


def _no_template(asked: Asked) -> RefusedError:
    return RefusedError("NotFoundException", f"Template {asked.name} does not exist.")


class Guard:
    """Refuses operations that the credentials may not call, and calls that come too fast."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def admit(self, operation: Reading | Writing, resources: Resources, now: float) -> None:
        """Admit a call. Raises RefusedError."""
        if operation in resources.denied:
            raise RefusedError(
                "AccessDeniedException",
                f"User: arn:aws:iam::123456789012:user/mailer is not authorized to perform: "
                f"ses:{operation}",
            )
        if not resources.control_calls_per_s:
            return
        bucket = self._buckets.setdefault(operation, Bucket())
        bucket.change(now, resources.control_calls_per_s)
        bucket.refill(now)
        if not bucket.admits(1):
            raise RefusedError("TooManyRequestsException", "Rate exceeded")
        bucket.take(1)


def _member(body: bytes, name: str) -> Any:
    try:
        return orjson.loads(body)[name]
    except (ValueError, KeyError, TypeError):
        raise RefusedError("BadRequestException", f"{name} must not be null") from None


def _text(body: bytes, name: str) -> str:
    text = _member(body, name)
    if not isinstance(text, str) or not text:
        raise RefusedError("BadRequestException", f"{name} must be a text that is not empty")
    return text
