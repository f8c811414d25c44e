"""Lists in S3, over HTTP against moto's server; through `mailsluice send`, as a user has them."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from mailsluice.emulator import AccountSettings, CallFault, Emulator
from mailsluice.model.errors import SourceError
from mailsluice.sources import Fields, files, s3
from tests.support import forked
from tests.support.aws import ACCESS, Aws

MAILING = """\
[mailing]
from = "news@example.com"
template = "welcome"
[recipients]
path = "{path}"
"""

ROWS = 40_000
"""2.5 parts."""


@pytest.fixture(scope="module")
def bucket(aws: Aws) -> str:
    """With an object in three parts, and others."""
    bucket = f"lists-{random.getrandbits(48)}"
    client = aws.client("s3")
    client.create_bucket(Bucket=bucket)
    body = "email,name\n" + "".join(f"user{n}@example.com,{'x' * 40}{n}\n" for n in range(ROWS))
    assert len(body) > 2 * s3.PART_BYTES
    client.put_object(Bucket=bucket, Key="all/list.csv", Body=body.encode())
    client.put_object(Bucket=bucket, Key="replaced.csv", Body=body.encode())
    client.put_object(Bucket=bucket, Key="all/list.csv.gz", Body=gzip.compress(body.encode()))
    client.put_object(Bucket=bucket, Key="empty.csv", Body=b"")
    return bucket


@pytest.fixture
def url(aws: Aws, bucket: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of that object; this process may read it, too."""
    for name, value in (aws.environment | ACCESS).items():
        monkeypatch.setenv(name, value)
    return f"s3://{bucket}/all/list.csv"


async def addresses(url: str) -> AsyncGenerator[str, None]:
    source = files.open_source(url, Fields())
    async with aclosing(source.rows()) as all_rows:
        async for rows in all_rows:
            for row in rows:
                assert row.recipient is not None
                yield str(row.recipient.to)


@pytest.mark.parametrize("suffix", ["", ".gz"])
async def test_an_object_is_read_part_by_part(url: str, suffix: str) -> None:
    found = [address async for address in addresses(url + suffix)]
    assert found == [f"user{n}@example.com" for n in range(ROWS)]


async def test_its_progress_and_identity_are_known(url: str) -> None:
    source = files.open_source(url, Fields())
    first = await source.identify()
    assert first == await source.identify()
    assert first.size is not None
    assert first.size > 2 * s3.PART_BYTES
    async with aclosing(source.rows()) as rows:
        await anext(rows)
        assert 0 < (source.fraction_read or 0) < 0.5
    estimate = await source.estimate()
    assert estimate is not None
    assert estimate.rows == pytest.approx(ROWS, rel=0.05)


@pytest.mark.usefixtures("url")
async def test_an_object_that_is_replaced_while_it_is_read_stops_it(aws: Aws, bucket: str) -> None:
    async with aclosing(addresses(f"s3://{bucket}/replaced.csv")) as found:
        await anext(found)
        aws.client("s3").put_object(Bucket=bucket, Key="replaced.csv", Body=b"email\n" * 500_000)
        with pytest.raises(SourceError, match="it has been replaced while it was read"):
            [_ async for _ in found]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("s3://{bucket}/gone.csv", "there is no such object"),
        ("s3://no-such-bucket-here/list.csv", "there is no such (object|bucket)"),
        ("s3://{bucket}/empty.csv", "is empty|no header"),
        ("s3://list.csv", "write it as s3://bucket/key"),
        ("s3://{bucket}/list.xlsx", "is no known format"),
    ],
)
@pytest.mark.usefixtures("url")
async def test_what_is_wrong_is_named(bucket: str, path: str, why: str) -> None:
    with pytest.raises(SourceError, match=why) as refused:
        [_ async for _ in addresses(path.format(bucket=bucket))]
    assert "s3://" in str(refused.value)


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=20_000, daily_max=-1))
def test_a_mailing_file_may_name_it(
    aws: Aws, url: str, ses_emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "mailing.toml").write_text(MAILING.format(path=url))
    command = ["send", "mailing.toml", "--report", "report", "--quiet"]
    environment = os.environ | aws.environment | ses_emulator.environment
    for _ in range(2):  # the second time there is nothing left to be done
        ended = forked.run(forked.context(), tmp_path, environment, command)
        assert ended.code == 0, ended.err
    assert json.loads((tmp_path / "report").read_text())["counts"]["sent"] == ROWS
    assert len(ses_emulator.ledger) == ROWS


@pytest.mark.ses_emulator(account=AccountSettings(rate_per_s=20_000, daily_max=-1))
def test_an_object_is_the_same_if_its_content_is_whatever_its_entity_tag(
    aws: Aws, bucket: str, ses_emulator: Emulator, tmp_path: Path
) -> None:
    client, place = aws.client("s3"), {"Bucket": bucket, "Key": "uploaded.csv"}
    content = client.get_object(Bucket=bucket, Key="all/list.csv")["Body"].read()[:200_000]
    client.put_object(**place, Body=content)
    (tmp_path / "mailing.toml").write_text(MAILING.format(path=f"s3://{bucket}/uploaded.csv"))
    environment = os.environ | aws.environment | ses_emulator.environment

    def send() -> forked.Ended:
        return forked.run(forked.context(), tmp_path, environment, ["send", "mailing.toml"])

    paused = CallFault(fault="error", code="SendingPausedException", nth=tuple(range(6, 500)))
    ses_emulator.faults.add(paused)
    assert send().code == 3
    ses_emulator.faults.clear()
    before = client.head_object(**place)["ETag"]
    client.put_object(**place, Body=content.replace(b"user7@", b"user8@"))
    ended = send()
    assert ended.code == 2
    assert "what the run has read of it is another content; it was 200,000 bytes" in ended.err
    upload = client.create_multipart_upload(**place)["UploadId"]
    part = client.upload_part(**place, UploadId=upload, PartNumber=1, Body=content)
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    client.complete_multipart_upload(**place, UploadId=upload, MultipartUpload={"Parts": parts})
    assert client.head_object(**place)["ETag"] != before
    assert send().code in {0, 1}  # the last row may be cut
    assert ses_emulator.ledger.duplicates() == {}
    assert len(ses_emulator.ledger) > 3_000
