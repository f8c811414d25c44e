"""The border to the AWS SDK: sessions whose every HTTP exchange is ours.

The exchanges include those that the SDK makes by itself to obtain credentials: STS, SSO, containers
and instances. SES, SQS and S3 clients come from `session` and from nowhere else. `http` checks who
answers, and bounds what is read; `connection` is its pool; `credentials` obtains what to sign with;
`secrets` keeps passwords out of texts, `proxy` refuses an unusable proxy, `deadline` limits time
without losing what has arrived (docs/adr/0009, 0017). `private` has all private names of the SDK.
`sqs` is the client of a queue.
"""

from __future__ import annotations

from copy import copy
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.hooks import AioHierarchicalEmitter
from aiobotocore.session import AioSession
from botocore.loaders import Loader, create_loader

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses.aws.connection import PacedConnector
from mailsluice.ses.aws.credentials import Credentials
from mailsluice.ses.aws.http import ANSWER_BYTES_MAX, HttpSession, MetadataHttp, Response
from mailsluice.ses.aws.private import SessionBase

CONNECT_TIMEOUT_S = 10.0
"""Default for each phase of a connection (`http.CONNECT_PHASES`), seconds."""

READ_TIMEOUT_S = 30.0
"""Default for reading, seconds. The SDK's defaults are 60 s and five attempts at credentials."""

QUEUE_ANSWER_BYTES_MAX = 10 * 6 * 1024 * 1024 + ANSWER_BYTES_MAX
"""Longest answer of SQS: ten messages of 1 MiB each with their attributes (SQS service model,
ReceiveMessage and SendMessageBatch), each byte written as `\\uXXXX`, and what goes with them."""


TEMPLATE_ANSWER_BYTES_MAX = 6 * 500 * 1000 + ANSWER_BYTES_MAX
"""Longest answer with a template of 500 KB (SES quotas page), each byte written as `\\uXXXX`."""


class _QueueResponse(Response):
    @property
    def bytes_max(self) -> int:
        return QUEUE_ANSWER_BYTES_MAX


class _SesResponse(Response):
    @property
    def bytes_max(self) -> int:
        is_template = self.url.path.startswith("/v2/email/templates/")
        return TEMPLATE_ANSWER_BYTES_MAX if is_template else super().bytes_max


_SESSIONS = {
    "sqs": partial(HttpSession, response_class=_QueueResponse),
    # A request may have megabytes, so that its time limit is the caller's: `ses.client`.
    "sesv2": partial(
        HttpSession, total=False, connector_class=PacedConnector, response_class=_SesResponse
    ),
}


def session(profile: str | None, region: str | None) -> aioboto3.Session:
    """Return a session for this profile and region; None leaves the choice to the SDK.

    Raises botocore's ProfileNotFound. Sessions share the parsed service models: the SDK parses
    them anew for each session, which is half of the CPU of opening an engine. The clients of a
    session share its `Credentials`, which are obtained when the first of them signs.
    """
    # They are looked up in a session of their own each time: a session reads its files once.
    credentials = Credentials(lambda: _set_up(_Session(), profile, region).get_credentials())
    return _set_up(_SigningSession(credentials), profile, region)


def _set_up(core: _Session, profile: str | None, region: str | None) -> aioboto3.Session:
    if profile is not None:
        core.set_config_variable("profile", profile)
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return aioboto3.Session(botocore_session=core, region_name=region)


@cache
def _loader(data_path: str | None) -> Loader:
    """Return the models on this search path (AWS_DATA_PATH), each parsed once per process."""
    return create_loader(data_path)


@cache
def _handlers() -> AioHierarchicalEmitter:
    """Return what the SDK does at its events; to register that is most of making a session."""
    handlers = AioHierarchicalEmitter()
    AioSession(event_hooks=handlers)
    return handlers


class _Session(SessionBase):
    """The SDK's session: all its HTTP goes through ours."""

    def __init__(self) -> None:
        super().__init__(event_hooks=copy(_handlers()), include_builtin_handlers=False)

    def create_client(self, service_name: str, **options: Any) -> Any:
        """Make a client as the SDK does. Credential providers make theirs here, too."""
        given = options.pop("config", None) or AioConfig()
        config = AioConfig(
            getattr(given, "connector_args", None),  # the SSO provider's is botocore's Config
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
        ).merge(given)
        config.http_session_cls = _SESSIONS.get(service_name, HttpSession)
        return super().create_client(service_name, config=config, **options)

    def metadata_http(self, **options: Any) -> MetadataHttp:
        """See `SessionBase.metadata_http`."""
        return MetadataHttp(**options)

    def check(self, client: Any) -> None:
        """See `SessionBase.check`."""
        _require_no_password(client.meta.endpoint_url)


class _SigningSession(_Session):
    """A session whose clients sign with `Credentials`."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._obtained_later = credentials

    async def get_credentials(self) -> Credentials:
        """Return what obtains them; the SDK would obtain them now."""
        return self._obtained_later


def _require_no_password(endpoint_url: str) -> None:
    """Raise ConfigurationError if an endpoint's URL has a user: AWS signs, and takes none."""
    _, at, host = urlsplit(endpoint_url).netloc.rpartition("@")
    if at:
        raise ConfigurationError(
            f"the endpoint URL of {host} has a user or password, and AWS takes none; remove them "
            "from `endpoint_url` in the [ses] table, or from AWS_ENDPOINT_URL"
        )
