"""Compiled files for workers are read as long as the source is the one that they were made of, and no longer."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

from console import bytecode, serve
from kemi.main import PACKAGES


class Loader(SourceFileLoader):
    """What imports a source file, and whether it compiled it."""

    compiled = False

    def source_to_code(self, data: bytes, path: str, **_: object) -> CodeType:  # type: ignore[override]
        self.compiled = True
        return compile(data, path, "exec")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the routing code."""
    for package in PACKAGES:
        shutil.copytree(serve.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def compiles(source: Path) -> bool:
    loader = Loader("one", str(source))
    assert loader.get_code("one") is not None
    return loader.compiled


def test_what_was_not_edited_is_read_and_what_was_is_compiled(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytecode.keep(root, root / "run")
    monkeypatch.setattr(sys, "pycache_prefix", str(root / "run"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sources = [path for package in PACKAGES for path in (root / package).glob("*.py")]
    assert [path for path in sources if compiles(path)] == []
    edited = root / "kemi" / "refusals.py"
    times, text = edited.stat(), edited.read_text()
    edited.write_text(text.replace("No Route", "No Rout3"))
    os.utime(edited, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert [path for path in sources if compiles(path)] == [edited]
    bytecode.keep(root, root / "run")
    assert not compiles(edited)


def test_what_is_no_python_is_left_to_who_loads_it(root: Path) -> None:
    (root / "kemi" / "policy.py").write_text("def broken(:\n")
    bytecode.keep(root, root / "run")
    assert not list((root / "run").rglob("kemi/policy.*.pyc"))
    assert list((root / "run").rglob("kemi/refusals.*.pyc"))
