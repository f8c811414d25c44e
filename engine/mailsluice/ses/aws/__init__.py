"""The border to the AWS SDK: sessions whose every HTTP exchange is ours.

The exchanges include those that the SDK makes by itself to obtain credentials: STS, SSO, containers
and instances. SES, SQS and S3 clients come from `session` and from nowhere else. `http` checks who
answers, and bounds what is read; `connection` is its pool; `credentials` obtains what to sign with;
`secrets` keeps passwords out of texts, `proxy` refuses an unusable proxy, `deadline` limits time
without losing what has arrived (docs/adr/0009, 0017).
"""

# ruff: noqa: SLF001  # the SDK has no public way to its credentials and metadata services

from __future__ import annotations

from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.configprovider import AioSmartDefaultsConfigStoreFactory
from aiobotocore.credentials import AioContainerProvider, AioInstanceMetadataProvider
from aiobotocore.session import AioSession
from aiobotocore.utils import (
    AioContainerMetadataFetcher,
    AioIMDSFetcher,
    AioIMDSRegionProvider,
)
from botocore.loaders import Loader, create_loader
from botocore.utils import get_environ_proxies

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses.aws.connection import PacedConnector
from mailsluice.ses.aws.credentials import Credentials
from mailsluice.ses.aws.http import ANSWER_BYTES_MAX, HttpSession, Response, SharedHttpSession

CONNECT_TIMEOUT_S = 10.0
"""Default for each phase of a connection (`http.CONNECT_PHASES`), seconds."""

READ_TIMEOUT_S = 30.0
"""Default, seconds. The SDK has 60 s for both, and five attempts at credentials."""

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
    """Make a session for this profile and region; None leaves the choice to the SDK.

    Raises botocore's ProfileNotFound. Sessions share the parsed service models: the SDK parses
    them anew for each session, which is half of the CPU of opening an engine. The clients of a
    session share its `Credentials`, which are obtained when the first of them signs.
    """
    made = _with_credentials_of_the_sdk(profile, region)
    # They are looked up in a session of their own each time: a session reads its files once.
    made._session._credentials = Credentials(
        lambda: _with_credentials_of_the_sdk(profile, region).get_credentials()
    )
    return made


def _with_credentials_of_the_sdk(profile: str | None, region: str | None) -> aioboto3.Session:
    core = _Session()
    if profile is not None:
        core.set_config_variable("profile", profile)
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return aioboto3.Session(botocore_session=core, region_name=region)


@cache
def _loader(data_path: str | None) -> Loader:
    """Return the models on this search path (AWS_DATA_PATH), each parsed once per process."""
    return create_loader(data_path)


class _Session(AioSession):  # type: ignore[misc]  # it is untyped
    """The SDK's session: all its HTTP goes through ours."""

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

    async def _create_client(self, *arguments: Any, **options: Any) -> Any:
        client = await super()._create_client(*arguments, **options)
        _require_no_password(client.meta.endpoint_url)
        return client

    def _create_credential_resolver(self) -> Any:
        resolver = super()._create_credential_resolver()
        for provider in resolver.providers:
            if isinstance(provider, AioContainerProvider):
                timeout_s = AioContainerMetadataFetcher.TIMEOUT_SECONDS
                provider._fetcher = AioContainerMetadataFetcher(
                    session=SharedHttpSession(timeout=timeout_s)
                )
            elif isinstance(provider, AioInstanceMetadataProvider):
                _use_ours(provider._role_fetcher)
        return resolver

    def _register_smart_defaults_factory(self) -> None:
        def factory() -> Any:
            resolver = self._get_internal_component("default_config_resolver")
            return AioSmartDefaultsConfigStoreFactory(resolver, _RegionProvider(session=self))

        self._internal_components.lazy_register_component("smart_defaults_factory", factory)


def _require_no_password(endpoint_url: str) -> None:
    """Raise ConfigurationError if an endpoint's URL has a user: AWS signs, and takes none."""
    _, at, host = urlsplit(endpoint_url).netloc.rpartition("@")
    if at:
        raise ConfigurationError(
            f"the endpoint URL of {host} has a user or password, and AWS takes none; remove them "
            "from `endpoint_url` in the [ses] table, or from AWS_ENDPOINT_URL"
        )


class _RegionProvider(AioIMDSRegionProvider):  # type: ignore[misc]  # as above
    def _create_fetcher(self) -> Any:
        return _use_ours(super()._create_fetcher())


def _use_ours(fetcher: AioIMDSFetcher) -> AioIMDSFetcher:
    """Fetch an instance's metadata through our HTTP session, set up like the SDK's."""
    fetcher._session = SharedHttpSession(
        timeout=fetcher._timeout, proxies=get_environ_proxies(fetcher._base_url)
    )
    return fetcher
