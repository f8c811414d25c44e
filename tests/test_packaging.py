"""What a source distribution holds beside the package."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from setuptools import setup  # type: ignore[import-untyped]


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
