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
        compare.main(1_000, 1, quick=False, save=False)


def test_the_quick_comparison_needs_no_package_that_mailsluice_does_not() -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in compare.PACKAGES:
            patch.setitem(sys.modules, name, None)
        names = compare.contenders(quick=True)
    assert names == [compare.JOURNALLED, compare.UNJOURNALLED, compare.BARE, compare.AIOBOTO3]
