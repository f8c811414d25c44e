"""Make AWS sessions: the SDK's own resolution of credentials, region and endpoint."""

from __future__ import annotations

from functools import cache

import aioboto3
import aiobotocore.session
from botocore.loaders import Loader, create_loader


def session(profile: str | None, region: str | None) -> aioboto3.Session:
    """A session for this profile and region; None leaves the choice to the SDK.

    Raises botocore's ProfileNotFound. Sessions share the parsed service models: the SDK parses
    them anew for each session, which is half of the CPU of opening an engine.
    """
    core = aiobotocore.session.get_session()
    if profile is not None:
        core.set_config_variable("profile", profile)
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return aioboto3.Session(botocore_session=core, region_name=region)


@cache
def _loader(data_path: str | None) -> Loader:
    """The models on this search path (AWS_DATA_PATH), each parsed once per process."""
    return create_loader(data_path)
