"""What the worker's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailsluice.emulator import Emulator
from tests.support.aws import Aws
from tests.support.sqs import QueueFixture


@pytest.fixture
def fed(aws: Aws, ses_emulator: Emulator, tmp_path: Path) -> QueueFixture:
    return QueueFixture(aws, ses_emulator, tmp_path)
