"""The package's own surface."""

import importlib
import subprocess
import sys

import mailsluice


def test_every_public_name_is_there_sorted_and_documented() -> None:
    assert tuple(sorted(mailsluice.__all__)) == mailsluice.__all__
    assert set(mailsluice._HOMES) == set(mailsluice.__all__)
    for name in mailsluice.__all__:
        value = getattr(mailsluice, name)
        assert value.__doc__, name
        home = importlib.import_module(f"mailsluice.{mailsluice._HOMES[name]}")
        assert getattr(home, name) is value


def test_importing_the_package_does_not_load_the_aws_sdk() -> None:
    program = "import sys, mailsluice; print('botocore' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False False"
