"""Checks the proxy that the environment names, before anything is sent through it."""

from __future__ import annotations

from typing import Any

from yarl import URL

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses.aws.private import http_of
from mailsluice.ses.aws.secrets import masked


def require_usable_proxy(client: Any) -> None:
    """Raise ConfigurationError if the SDK client would go through a proxy that it cannot use."""
    proxy = http_of(client).proxies.proxy_url_for(client.meta.endpoint_url)
    if not proxy:
        return
    why = _unusable(proxy)
    if why is not None:
        raise ConfigurationError(
            f"the proxy {masked(proxy)} cannot be used: {why}; "
            "mend HTTPS_PROXY, HTTP_PROXY or NO_PROXY"
        )


def _unusable(proxy: str) -> str | None:
    # The SDK puts http:// before any scheme but http and https.
    scheme, separator, _ = proxy.removeprefix("http://").partition("://")
    if separator and scheme not in {"http", "https"}:
        return f"{scheme}:// is not supported, only http:// and https://"
    try:
        url = URL(proxy)
        host, port = url.host, url.port
    except ValueError as error:
        return masked(str(error))
    if not host:
        return "it names no host"
    if not port:
        return "its port is none"
    return None
