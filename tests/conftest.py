"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.aws import Aws, running

# The machines are shared: how long an example takes says nothing.
settings.register_profile("mailsluice", deadline=None, print_blob=True)
settings.load_profile("mailsluice")


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """SQS and S3; each test makes queues and keys of its own."""
    with running() as started:
        yield started
