"""A library that is imported without what it loads for a function of another."""

import importlib
import sys
from pathlib import Path

import pytest

from geoetl.core.postponed import postponed


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the name of a library that wants the function `double` of the module `heavy`, where there is one."""
    (tmp_path / "heavy.py").write_text("def double(number, *, times=2):\n    return times * number\n")
    (tmp_path / "wanting.py").write_text("try:\n    from heavy import double\nexcept ImportError:\n    double = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("heavy", "wanting"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "wanting"


def test_a_module_is_loaded_at_the_first_call(library: str) -> None:
    with postponed("heavy", "double"):
        wanting = importlib.import_module(library)
    assert "heavy" not in sys.modules
    assert wanting.double(4, times=3) == 12
    assert "heavy" in sys.modules


def test_whoever_comes_later_gets_the_real_one(library: str) -> None:
    with postponed("heavy", "double"):
        importlib.import_module(library)
    assert importlib.import_module("heavy").__file__


def test_what_is_loaded_already_is_taken(library: str) -> None:
    heavy = importlib.import_module("heavy")
    with postponed("heavy", "double"):
        assert importlib.import_module(library).double is heavy.double
    assert sys.modules["heavy"] is heavy


def test_what_is_not_installed_is_missing_as_before(library: str, tmp_path: Path) -> None:
    (tmp_path / "heavy.py").unlink()
    importlib.invalidate_caches()
    with postponed("heavy", "double"):
        assert importlib.import_module(library).double is None
