"""The package's own surface."""

import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mailsluice
from mailsluice.emulator import Emulator


def test_every_public_name_is_there_sorted_and_documented() -> None:
    assert tuple(sorted(mailsluice.__all__)) == mailsluice.__all__
    assert set(mailsluice._HOMES) == set(mailsluice.__all__)
    for name in mailsluice.__all__:
        value = getattr(mailsluice, name)
        assert value.__doc__, name
        home = importlib.import_module(f"mailsluice.{mailsluice._HOMES[name]}")
        assert getattr(home, name) is value


@pytest.mark.process
def test_importing_the_package_does_not_load_the_aws_sdk() -> None:
    program = "import sys, mailsluice; print('botocore' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False False"


def test_every_public_name_has_an_example_that_runs(
    ses_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parent.parent / "docs" / "library.md").read_text(encoding="utf-8")
    examples = re.sub(r"^(?!>>>|\.\.\.).*$", "", text, flags=re.MULTILINE)
    assert [name for name in mailsluice.__all__ if not re.search(rf"\b{name}\b", examples)] == []
    ses_emulator.change_account(rate_per_s=1e6, daily_max=-1)
    monkeypatch.chdir(tmp_path)
    cleaned = text.replace("```python\n", "").replace("```\n", "")
    parsed = doctest.DocTestParser().get_doctest(cleaned, {}, "library.md", "docs/library.md", 0)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(parsed, out=said.append)
    assert (result.failed, result.attempted > 30) == (0, True), "".join(said)
