"""AWS sessions share what is dear, and nothing that belongs to one configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import AioSession
from botocore.exceptions import ParamValidationError, ProfileNotFound

from mailsluice.ses import aws


def model(service: str) -> Any:
    """A service's model, as a new session has it."""
    return (
        aws.session(None, None)
        ._session.get_component("data_loader")
        .load_service_model(service, "service-2")
    )


def test_a_model_is_parsed_once_per_process() -> None:
    assert model("sesv2") is model("sesv2")


async def test_each_session_has_the_sdk_s_handlers_and_keeps_its_own() -> None:
    one, other = (aws.session(None, None)._session for _ in range(2))
    told: list[str] = []
    one.register("ours", lambda event_name, **_: told.append(event_name))
    for session in (one, other):
        await session.get_component("event_emitter").emit("ours")
    assert told == ["ours"]
    fresh = AioSession()
    for session in (one, fresh):
        emit = session.get_component("event_emitter").emit
        with pytest.raises(ParamValidationError, match="a/b"):
            await emit("before-parameter-build.s3.PutObject", params={"Bucket": "a/b"})


def test_models_of_another_search_path_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model("sesv2")
    folder = tmp_path / "mine" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text('{"version": "2.0"}')
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    assert model("mine") == {"version": "2.0"}


def test_each_session_has_a_region_and_a_profile_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("[profile north]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    asked = [("north", None), ("north", "us-east-1"), (None, "us-west-2")]
    assert [aws.session(*each).region_name for each in asked] == [
        "eu-north-1",
        "us-east-1",
        "us-west-2",
    ]
    with pytest.raises(ProfileNotFound):
        aws.session("south", None)
