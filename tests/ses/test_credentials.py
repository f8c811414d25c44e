"""Whatever fails while credentials are obtained is one of two errors; the valid ones are used."""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.credentials import AioCredentials, AioRefreshableCredentials
from botocore import exceptions as botocore_errors

from mailsluice.model.errors import ConfigurationError
from mailsluice.ses import aws
from mailsluice.ses.aws import credentials as module
from mailsluice.ses.aws.credentials import Credentials, CredentialsUnavailableError, credentials_of
from mailsluice.ses.aws.proxy import require_usable_proxy

FAILURES = [
    botocore_errors.ClientError(
        {"Error": {"Code": "InvalidIdentityToken", "Message": "no key"}},
        "AssumeRoleWithWebIdentity",
    ),
    botocore_errors.ClientError({"Error": {"Code": "Throttling"}}, "AssumeRole"),
    botocore_errors.CredentialRetrievalError(provider="custom-process", error_msg="no"),
    botocore_errors.TokenRetrievalError(provider="sso", error_msg="no"),
    botocore_errors.UnauthorizedSSOTokenError(),
    json.JSONDecodeError("Expecting value", "", 0),
    RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
    OSError(24, "Too many open files"),
    KeyError("Expiration"),
    AttributeError("'list' object has no attribute 'get'"),
]


def failing(error: Exception) -> Callable[[], Awaitable[Any]]:
    async def load() -> Any:
        raise error

    return load


def giving(holder: Any) -> Callable[[], Awaitable[Any]]:
    async def load() -> Any:
        return holder

    return load


class Provider:
    """Gives credentials that end after a while, until it is told to fail."""

    def __init__(self, valid_s: float) -> None:
        self.error: Exception | None = None
        self.asked = 0
        self.valid_s = valid_s
        self.holder = AioRefreshableCredentials.create_from_metadata(
            self._metadata("first"), self.refresh, "test"
        )

    async def refresh(self) -> dict[str, str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self._metadata(f"refreshed{self.asked}")

    def _metadata(self, key: str) -> dict[str, str]:
        ends = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.valid_s)
        return {
            "access_key": key,
            "secret_key": "secret",
            "token": "token",
            "expiry_time": ends.isoformat(),
        }


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_provider_that_fails_is_no_answer_of_the_service(error: Exception) -> None:
    with pytest.raises(CredentialsUnavailableError, match=type(error).__name__):
        await Credentials(failing(error)).get_frozen_credentials()


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
async def test_a_refresh_that_fails_is_no_answer_of_the_service(error: Exception) -> None:
    provider = Provider(valid_s=30)
    provider.error = error
    with pytest.raises(CredentialsUnavailableError, match=type(error).__name__):
        await Credentials(giving(provider.holder)).get_frozen_credentials()


@pytest.mark.parametrize(
    "error",
    [
        botocore_errors.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        botocore_errors.InvalidConfigError(error_msg="role_arn without a source"),
        FileNotFoundError(2, "No such file or directory", "/nonexistent"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_configuration_that_cannot_work_is_a_configuration_error(error: Exception) -> None:
    with pytest.raises(ConfigurationError, match="no AWS credentials: "):
        await Credentials(failing(error)).get_frozen_credentials()


async def test_none_anywhere_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="none are configured"):
        await Credentials(giving(None)).get_frozen_credentials()


@pytest.mark.parametrize(
    ("key", "secret", "token", "said"),
    [
        ("AKID\n", "secret", None, r"access key id .*'\\n'"),
        ("AKID", "secret\r", None, r"secret key .*'\\r'"),
        ("AKID", "se cret", None, "secret key .*' '"),
        ("AKID", "secret", "tok\nen", r"session token .*'\\n'"),
        (" ", "secret", None, "access key id .* is blank"),
        ("AKID", "", None, "secret key .* is blank"),
        ("AKÍD", "secret", None, "access key id"),
        ("AKID", "secret", " ", "session token .* is blank"),
    ],
)
async def test_what_cannot_sign_is_named_and_not_shown(
    key: str, secret: str, token: str | None, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        await Credentials(giving(AioCredentials(key, secret, token))).get_frozen_credentials()
    assert "cret" not in str(raised.value).replace("secret key", "").replace("SECRET", "")


async def test_a_provider_that_never_answers_has_its_time() -> None:
    async def never() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(CredentialsUnavailableError, match=r"no answer within 0\.01 s"):
        await Credentials(never, timeout_s=0.01).get_frozen_credentials()


async def test_what_is_still_valid_is_used_while_its_provider_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger=module.__name__)
    provider = Provider(valid_s=300)  # within the ten minutes in which the SDK insists
    provider.error = RuntimeError("no STS")
    credentials = Credentials(giving(provider.holder))
    for _ in range(3):
        assert (await credentials.get_frozen_credentials()).access_key == "first"
    assert provider.asked == 1  # not again for every call
    ours = [each.message for each in caplog.records if each.name == module.__name__]
    said = "AWS credentials cannot be obtained: RuntimeError: no STS"
    assert ours == [f"{said}; the credentials at hand are still valid"]


async def test_what_is_still_valid_is_used_while_its_provider_hangs() -> None:
    provider = Provider(valid_s=300)

    async def never() -> Any:
        await asyncio.Event().wait()

    provider.holder._refresh_using = never
    credentials = Credentials(giving(provider.holder), timeout_s=0.01)
    assert (await credentials.get_frozen_credentials()).access_key == "first"


async def test_a_failure_is_not_remembered() -> None:
    holders = [RuntimeError("not yet"), AioCredentials("AKID", "secret")]

    async def load() -> Any:
        holder = holders.pop(0)
        if isinstance(holder, Exception):
            raise holder
        return holder

    credentials = Credentials(load)
    with pytest.raises(CredentialsUnavailableError):
        await credentials.get_frozen_credentials()
    assert (await credentials.get_frozen_credentials()).access_key == "AKID"


async def test_a_file_is_read_again_when_it_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def rotate(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")

    rotate("FIRST")
    session = aws.session(None, "us-east-1")
    async with session.client("sesv2") as client:
        credentials = credentials_of(client)
        assert (await credentials.get_frozen_credentials()).access_key == "FIRST"
        rotate("SECOND")
        credentials.forget()
        assert (await credentials.get_frozen_credentials()).access_key == "SECOND"


async def test_no_secret_stands_in_what_a_provider_said() -> None:
    credentials = Credentials(giving(AioCredentials("AKID", "s3cr3t", "t0ken")))
    await credentials.get_frozen_credentials()
    credentials.forget()
    credentials._load = failing(RuntimeError("signed with s3cr3t and t0ken"))
    with pytest.raises(CredentialsUnavailableError, match=r"signed with \*\*\* and \*\*\*"):
        await credentials.get_frozen_credentials()


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://user:hush@127.0.0.1:1080", "socks5:// is not supported"),
        ("http://user:hush@127.0.0.1:port", "port"),
        ("http://user:hush@127.0.0.1:99999", "65535"),
        ("http://user:hush@", "host"),
        ("http://user:hu#sh@127.0.0.1:3128", "host|port"),
        ("http://[::1", "IPv6"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, proxy: str, said: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    session = aws.session(None, "us-east-1")
    async with session.client("sesv2") as client:
        with pytest.raises(ConfigurationError, match=said) as raised:
            require_usable_proxy(client)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "proxy", ["http://user:pw@127.0.0.1:3128", "proxy.test:3128", "proxy.test"]
)
async def test_a_usable_proxy_is_used(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    session = aws.session(None, "us-east-1")
    async with session.client("sesv2") as client:
        require_usable_proxy(client)
