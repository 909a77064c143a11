"""Follows the spool of call records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class SpoolTail:
    """The records appended to the spool in ``directory`` from now on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read = {path: path.stat().st_size for path in self._files()}

    def new(self) -> list[dict[str, Any]]:
        """What came since the last call."""
        return [record for path in self._files() for record in self._appended(path)]

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("calls-*.jsonl"))

    def _appended(self, path: Path) -> list[dict[str, Any]]:
        try:
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                # A line without its end is still being written.
                whole, end, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            # Removed since it was listed, as it is old.
            return []
        self._read[path] = self._read.get(path, 0) + len(whole) + len(end)
        return [json.loads(line) for line in whole.splitlines()]
