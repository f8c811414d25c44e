"""What is distributed, and what an installation needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from setuptools import setup  # type: ignore[import-untyped]

from mailsluice.cli.extras import MODULES
from mailsluice.emulator import Emulator

DISTRIBUTIONS = {"prometheus_client": "prometheus-client", "pythonjsonlogger": "python-json-logger"}
NOT_THE_LIBRARYS = [*MODULES["cli"], *MODULES["worker"], "uvloop"]

BLOCKED = """
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
"""

SENDS = """
import asyncio
import gc
import mailsluice
from mailsluice import Engine, Mailing, Settings

async def send() -> None:
    before = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    for name in mailsluice.__all__:
        getattr(mailsluice, name)
    async with Engine.open(Settings(), journal="library.journal") as engine:
        mailing = Mailing(from_address="news@example.com", template="welcome")
        report = await engine.run(mailing, ["ann@example.com"])
    assert before == (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count())
    print(report.counts.sent)

asyncio.run(send())
"""

COMMAND = """
sys.argv = ["mailsluice", *{arguments!r}]
from mailsluice.cli import main
main()
"""


def without(modules: list[str], program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in which these modules cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(blocked=modules) + program],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.mark.process
def test_the_library_sends_without_the_packages_of_the_commands(
    ses_emulator: Emulator, tmp_path: Path
) -> None:
    done = without(NOT_THE_LIBRARYS, SENDS, tmp_path)
    assert (done.stdout, done.stderr) == ("1\n", "")
    assert len(ses_emulator.ledger) == 1


@pytest.mark.process
@pytest.mark.parametrize(
    ("extra", "arguments"), [("cli", ["status", "x"]), ("worker", ["worker", "worker.toml"])]
)
def test_a_command_says_which_extra_it_needs(
    extra: str, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "worker.toml").touch()
    done = without(list(MODULES[extra]), COMMAND.format(arguments=arguments), tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"mailsluice: this command needs {' and '.join(MODULES[extra])}, which a library does not: "
        f"pip install 'mailsluice[{extra}]'\n"
    )


def test_each_extra_installs_the_modules_that_its_command_asks_for() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]

    def names(lines: list[str]) -> set[str]:
        return {Requirement(line).name for line in lines}

    for extra, modules in MODULES.items():
        wanted = {DISTRIBUTIONS.get(module, module) for module in modules}
        assert wanted <= names(project["optional-dependencies"][extra])
        assert not wanted & names(project["dependencies"])


def test_the_source_distribution_has_the_constraints_that_the_readme_installs_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Built by setuptools from our MANIFEST.in, of a project without modules."""
    assert "pip install -c constraints.txt" in Path("README.md").read_text(encoding="utf-8")
    for name in ("MANIFEST.in", "constraints.txt"):
        shutil.copy(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    setup(name="mailsluice", version="0", py_modules=[], script_args=["-q", "sdist"])
    with tarfile.open(tmp_path / "dist" / "mailsluice-0.tar.gz") as archive:
        assert "mailsluice-0/constraints.txt" in archive.getnames()
