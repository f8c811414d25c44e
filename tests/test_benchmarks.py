"""The benchmarks say what they need."""

import sys

import pytest

from benchmarks import compare


def test_a_contender_that_is_not_installed_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "anymail", None)
    monkeypatch.setattr(compare, "measure", lambda *_: pytest.fail("it measures"))
    with pytest.raises(SystemExit, match=r"needs .*anymail: python -m pip install .*\.\[bench\]"):
        compare.main(1_000, 1, save=False)
