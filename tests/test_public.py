"""The package's own surface."""

import ast
import doctest
import importlib
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

import mailsluice
from mailsluice.emulator import Emulator

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("library.md", "seams.md")


def test_every_public_name_is_there_sorted_and_documented() -> None:
    assert tuple(sorted(mailsluice.__all__)) == mailsluice.__all__
    assert set(mailsluice._HOMES) == set(mailsluice.__all__)
    for name in mailsluice.__all__:
        value = getattr(mailsluice, name)
        assert value.__doc__ or not isinstance(value, type), name
        home = importlib.import_module(f"mailsluice.{mailsluice._HOMES[name]}")
        assert getattr(home, name) is value


@pytest.mark.process
def test_importing_the_package_does_not_load_the_aws_sdk() -> None:
    program = "import sys, mailsluice; print('botocore' in sys.modules, 'pydantic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False False"


def test_public_classes_are_of_the_package_and_keep_their_annotations() -> None:
    for name in mailsluice.__all__:
        value = getattr(mailsluice, name)
        if isinstance(value, type):
            assert value.__module__ == "mailsluice", name
            assert pickle.loads(pickle.dumps(value)) is value
    assert repr(mailsluice.Rejected) == "<class 'mailsluice.Rejected'>"
    assert pydantic.TypeAdapter(mailsluice.Report).json_schema()["properties"]["counts"]


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    tree = ast.parse(Path(mailsluice.__file__ or "").read_text(encoding="utf-8"))
    seen = {
        (node.module, alias.asname)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen == {(f"mailsluice.{home}", name) for name, home in mailsluice._HOMES.items()}


def test_every_public_name_has_an_example() -> None:
    text = "".join((DOCS / page).read_text(encoding="utf-8") for page in PAGES)
    examples = re.sub(r"^(?!>>>|\.\.\.).*$", "", text, flags=re.MULTILINE)
    assert [name for name in mailsluice.__all__ if not re.search(rf"\b{name}\b", examples)] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_run(
    page: str, ses_emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ses_emulator.change_account(rate_per_s=1e6, daily_max=-1)
    text = (DOCS / page).read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    cleaned = text.replace("```python\n", "").replace("```\n", "")
    parsed = doctest.DocTestParser().get_doctest(cleaned, {}, page, f"docs/{page}", 0)
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    said: list[str] = []
    result = doctest.DocTestRunner(optionflags=flags).run(parsed, out=said.append)
    assert (result.failed, result.attempted > 15) == (0, True), "".join(said)
