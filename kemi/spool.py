"""The spool of call records: lines of JSON that workers append to one file an hour.

This module holds an open file, so it stays loaded through every reload of the routing code.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

FILES = "calls-*.jsonl"
"A file for each hour; their names sort as the hours do."

_encode = msgspec.json.Encoder().encode


class Spool:
    """Appends to the spool in ``directory``, in whichever process it is used."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._hour = -1.0
        self._file = -1

    def append(self, record: Mapping[str, object]) -> None:
        """Write one record. Raises OSError where the directory cannot be written."""
        self.write(_encode(record) + b"\n")

    def write(self, line: bytes) -> None:
        """Write one record that is a line already, its end included. Raises as :meth:`append`."""
        hour = time.time() // 3600
        if hour != self._hour:
            self._open(hour)
        # One write of one line to a file opened for appending: lines of several workers never mingle, whether each
        # has opened the file or they have it from one parent.
        os.write(self._file, line)

    def _open(self, hour: float) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / _name(self._directory, time.strftime("%Y%m%dT%H", time.gmtime(hour * 3600)))
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._hour = file, hour


def _name(directory: Path, hour: str) -> str:
    """The file of an hour. Where the clock was set back, one that comes after the newest: no reader looks before it."""
    name, newest = f"calls-{hour}.jsonl", max((path.name for path in directory.glob(FILES)), default="")
    if name >= newest:
        return name
    return f"{newest.removesuffix('.jsonl').partition('_')[0]}_{hour}.jsonl"


def discard(directory: Path, before: float, shipped: str) -> list[Path]:
    """Remove old files of ``directory``, which are in Redis; returns them.

    That is those last written before Unix time ``before`` whose name is ``shipped`` or comes before it.
    """
    old = [path for path in directory.glob(FILES) if path.name <= shipped and path.stat().st_mtime < before]
    for path in old:
        path.unlink(missing_ok=True)
    return old


@cache
def shared_spool(directory: Path) -> Spool:
    """The one spool of this process for ``directory``, the same after a reload of the code that asks."""
    return Spool(directory)
