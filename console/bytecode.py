"""Compiled files for Kamailio's workers, each good for the very bytes that it was made of.

What Python writes by itself is checked by size and second of change, by which two quick edits would look the same.
These are checked by a hash of the source (PEP 552): at a reload a worker compiles what was edited, and reads the rest.
"""

from __future__ import annotations

import importlib.util
import py_compile
import sys
from pathlib import Path

from kemi.main import PACKAGES

_CHECKED_HASH = (0b11).to_bytes(4, "little")
"The flags of a file that is checked so (importlib/_bootstrap_external.py)."


def keep(root: Path, directory: Path) -> None:
    """Compile the routing code of ``root`` for processes whose PYTHONPYCACHEPREFIX is ``directory``; raises OSError."""
    for package in PACKAGES:
        folder = directory / (root / package).relative_to(root.anchor)
        for source in (root / package).glob("*.py"):
            _keep(source, folder / f"{source.stem}.{sys.implementation.cache_tag}.pyc")


def _keep(source: Path, compiled: Path) -> None:
    header = importlib.util.MAGIC_NUMBER + _CHECKED_HASH + importlib.util.source_hash(source.read_bytes())
    if not compiled.exists() or not compiled.read_bytes().startswith(header):
        # What is no Python is said by the worker that loads it.
        py_compile.compile(
            str(source), str(compiled), quiet=2, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )
