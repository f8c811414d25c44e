"""What `ses.aws.private` takes for granted of the SDK and of aiohttp is there, name by name."""

from __future__ import annotations

import ast
import datetime as dt
from pathlib import Path
from typing import Any

import aiobotocore
import aiohttp
import pytest
from aiobotocore.client import AioBaseClient
from aiobotocore.credentials import AioContainerProvider, AioInstanceMetadataProvider
from aiobotocore.credentials import AioRefreshableCredentials as Refreshable
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from aiobotocore.utils import AioIMDSRegionProvider

from mailsluice.ses import aws
from mailsluice.ses.aws import private
from mailsluice.ses.client import Client

OF_CLASSES: list[tuple[type, str]] = [
    (AioSession, "_create_client"),
    (AioSession, "_create_credential_resolver"),
    (AioSession, "_register_smart_defaults_factory"),
    (AioSession, "_get_internal_component"),
    (AioBaseClient, "_resolve_endpoint_ruleset"),
    (AioBaseClient, "_convert_to_request_dict"),
    (AIOHTTPSession, "_get_session"),
    (AioIMDSRegionProvider, "_create_fetcher"),
    (aiohttp.ClientResponse, "_body"),
]

OF_INSTANCES = {
    "AioSession": ("_internal_components",),
    "AioBaseClient": ("_endpoint", "_request_signer"),
    "AioRequestSigner": ("_credentials",),
    "AIOHTTPSession": ("_proxy_config",),
    "AioContainerProvider": ("_fetcher",),
    "AioInstanceMetadataProvider": ("_role_fetcher",),
    "AioInstanceMetadataFetcher": ("_session", "_timeout", "_base_url"),
    "AioRefreshableCredentials": ("_frozen_credentials",),
}


def require(owner: Any, kind: str, name: str) -> None:
    assert hasattr(owner, name), (
        f"{kind} of aiobotocore {aiobotocore.__version__}, aiohttp {aiohttp.__version__} has no "
        f"{name} any more: find its successor, and change engine/mailsluice/ses/aws/private.py"
    )


@pytest.fixture
async def instances(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    session = AioSession()
    resolver = session.get_component("credential_provider")
    providers = {type(each): each for each in resolver.providers}
    metadata = providers[AioInstanceMetadataProvider]
    fixed = Refreshable("key", "secret", "token", dt.datetime.now(dt.UTC), None, "test")
    found: dict[str, Any] = {
        "AioSession": session,
        "AioContainerProvider": providers[AioContainerProvider],
        "AioInstanceMetadataProvider": metadata,
        "AioRefreshableCredentials": fixed,
        "AIOHTTPSession": AIOHTTPSession(),
    }
    found["AioInstanceMetadataFetcher"] = getattr(metadata, "_role_fetcher", metadata)
    client = Client(
        region="us-east-1", profile=None, endpoint_url=None, in_flight_max=1, timeout_s=1.0
    )
    async with client:
        found["AioBaseClient"] = client.sdk
        found["AioRequestSigner"] = getattr(client.sdk, "_request_signer", None)
    return found


@pytest.mark.parametrize(("owner", "name"), OF_CLASSES)
def test_a_class_has_it(owner: type, name: str) -> None:
    require(owner, owner.__name__, name)


@pytest.mark.parametrize("kind", OF_INSTANCES)
async def test_an_instance_has_it(kind: str, instances: dict[str, Any]) -> None:
    for name in OF_INSTANCES[kind]:
        require(instances[kind], kind, name)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(AssertionError, match=r"AioSession of aiobotocore [\d.]+.* has no _nothing"):
        require(AioSession, "AioSession", "_nothing")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_names(path: Path) -> set[str]:
    """Private attributes that a module reads or sets, methods it overrides, names it imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr=name) if is_private(name):
                found.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.FunctionDef(name=name) if is_private(name):
                found.add(name)
            case ast.alias(name=name) if is_private(name):
                found.add(name)
            case _:
                pass
    return found


def test_every_name_of_the_module_is_looked_for() -> None:
    listed = {name for _, name in OF_CLASSES} | {n for each in OF_INSTANCES.values() for n in each}
    assert private_names(Path(private.__file__)) == listed


def overridden(path: Path) -> set[str]:
    """Private methods of classes in a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    methods = [each for one in classes for each in ast.walk(one)]
    kinds = ast.AsyncFunctionDef | ast.FunctionDef
    return {each.name for each in methods if isinstance(each, kinds) and is_private(each.name)}


def test_no_other_module_of_the_border_has_private_names() -> None:
    """Of others: ruff's SLF001 finds what is read; a private method may override one."""
    theirs: set[str] = set()
    for owner in (AioSession, AIOHTTPSession, aiohttp.TCPConnector, aiohttp.ClientResponse):
        theirs |= {name for name in dir(owner) if is_private(name)}
    theirs |= {name for names in OF_INSTANCES.values() for name in names}
    for path in Path(aws.__file__).parent.parent.rglob("*.py"):
        if path != Path(private.__file__):
            assert "SLF001" not in path.read_text(encoding="utf-8"), path
            assert not theirs & overridden(path), path
