"""All private names of the SDK and of aiohttp that mailsluice uses, each behind a plain one.

The SDK has no public way to a request that is not sent, to the credentials of a client, or to the
HTTP of its metadata services. A version of the SDK may rename any of these: then a test names what
is missing (tests/ses/test_private_names.py), and this module is the only one to change.
"""

# ruff: noqa: SLF001  # this module is the one place for them

from __future__ import annotations

from typing import Any

import aiohttp
from aiobotocore.configprovider import AioSmartDefaultsConfigStoreFactory
from aiobotocore.credentials import AioContainerProvider, AioInstanceMetadataProvider
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from aiobotocore.utils import AioContainerMetadataFetcher, AioIMDSRegionProvider
from botocore.credentials import ReadOnlyCredentials, RefreshableCredentials
from botocore.utils import get_environ_proxies


def credentials_in(client: Any) -> Any:
    """Return what the client signs with."""
    return client._request_signer._credentials


def http_of(client: Any) -> Any:
    """Return the HTTP session of the client: an instance of its `http_session_cls`."""
    return client._endpoint.http_session


async def prepared(client: Any, operation_name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the request that the client would sign and send, as the SDK's dictionary."""
    operation = client.meta.service_model.operation_model(operation_name)
    context = {
        "client_region": client.meta.region_name,
        "client_config": client.meta.config,
        "has_streaming_input": operation.has_streaming_input,
        "auth_type": operation.resolved_auth_type,
        "unsigned_payload": operation.unsigned_payload,
        "auth_options": client.meta.service_model.metadata.get("auth"),
    }
    resolved = await client._resolve_endpoint_ruleset(operation, parameters, context)
    url, headers, context["endpoint_properties"] = resolved
    request: dict[str, Any] = await client._convert_to_request_dict(
        api_params=parameters,
        operation_model=operation,
        endpoint_url=url,
        context=context,
        headers=headers,
    )
    return request


async def sign(client: Any, operation_name: str, request: Any) -> None:
    """Sign a botocore `AWSRequest` in place, as the client would."""
    await client._request_signer.sign(operation_name, request)


def at_hand(credentials: RefreshableCredentials) -> ReadOnlyCredentials | None:
    """Return what `credentials` hold, without a refresh."""
    frozen: ReadOnlyCredentials | None = credentials._frozen_credentials
    return frozen


def body_of(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the body that has been read; None before that."""
    return response._body


def set_body(response: aiohttp.ClientResponse, body: bytes) -> None:
    """Take `body` as what has been read."""
    response._body = body


class HttpBase(AIOHTTPSession):  # type: ignore[misc]  # it is untyped
    """The SDK's HTTP session: it makes requests with what `http_through` returns."""

    @property
    def proxies(self) -> Any:
        """The SDK's `ProxyConfiguration`: which proxy is for which URL."""
        return self._proxy_config

    async def http_through(self, proxy_url: str | None) -> Any:
        """Return what has the `request` method of an aiohttp session."""
        raise NotImplementedError

    async def _get_session(self, proxy_url: str | None) -> Any:
        return await self.http_through(proxy_url)


class SessionBase(AioSession):  # type: ignore[misc]  # as above
    """The SDK's session, with hooks for its clients and for the HTTP of its metadata services."""

    def metadata_http(self, **options: Any) -> Any:
        """Return an object whose `acquire()` is an async context with an HTTP session."""
        raise NotImplementedError

    def check(self, client: Any) -> None:
        """Raise ConfigurationError if a new client cannot be used."""
        raise NotImplementedError

    async def _create_client(self, *arguments: Any, **options: Any) -> Any:
        client = await super()._create_client(*arguments, **options)
        self.check(client)
        return client

    def _create_credential_resolver(self) -> Any:
        resolver = super()._create_credential_resolver()
        for provider in resolver.providers:
            if isinstance(provider, AioContainerProvider):
                timeout_s = AioContainerMetadataFetcher.TIMEOUT_SECONDS
                http = self.metadata_http(timeout=timeout_s)
                provider._fetcher = AioContainerMetadataFetcher(session=http)
            elif isinstance(provider, AioInstanceMetadataProvider):
                self.redirect(provider._role_fetcher)
        return resolver

    def _register_smart_defaults_factory(self) -> None:
        def factory() -> Any:
            resolver = self._get_internal_component("default_config_resolver")
            return AioSmartDefaultsConfigStoreFactory(resolver, _RegionProvider(session=self))

        self._internal_components.lazy_register_component("smart_defaults_factory", factory)

    def redirect(self, fetcher: Any) -> Any:
        """Have a fetcher of an instance's metadata use `metadata_http`, set up as its own HTTP."""
        fetcher._session = self.metadata_http(
            timeout=fetcher._timeout, proxies=get_environ_proxies(fetcher._base_url)
        )
        return fetcher


class _RegionProvider(AioIMDSRegionProvider):  # type: ignore[misc]  # as above
    def __init__(self, session: SessionBase) -> None:
        super().__init__(session=session)
        self.session = session

    def _create_fetcher(self) -> Any:
        return self.session.redirect(super()._create_fetcher())
