"""What is in the folder of scripts, and whether that is still what was read.

A file counts as unchanged while its times, size and inode are what they were. The clock of a file system may be as
coarse as two seconds, and two edits within one of its ticks can leave the same size: so a file that was read so soon
after its last change is compared by its bytes instead, until it is old enough (git's rule for its index).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

SUFFIXES = (".py", ".yaml", ".yml", ".json")
COARSE = 2.0
"Seconds that the times of a file may be off, on the coarsest file system."

Stamp = tuple[int, int, int, int]
"Changed, modified (both in nanoseconds), size, inode."


class Folder:
    """The files with one of ``SUFFIXES`` below ``root``, but for hidden ones. Not for two threads at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stamps: dict[str, Stamp] = {}
        self._fresh: dict[str, bytes] = {}
        "Bytes of the files whose stamp may not tell of the next change."

    def changed(self) -> bool:
        """Whether something differs from what was read. Raises OSError if the folder cannot be read."""
        stamps = self._scan()
        return stamps != self._stamps or any(self._differs(name, stamps[name]) for name in list(self._fresh))

    def read(self) -> dict[str, bytes]:
        """Every file by its path below the folder, remembered for :meth:`changed`. Raises OSError."""
        stamps = self._scan()
        now, texts = time.time(), {}
        for name in sorted(stamps):
            # A file that goes meanwhile is one change more, and seen as such.
            texts[name] = _bytes(self.root / name) or b""
        self._stamps = stamps
        self._fresh = {name: text for name, text in texts.items() if _is_fresh(stamps[name], now)}
        return texts

    def _differs(self, name: str, stamp: Stamp) -> bool:
        old_enough = not _is_fresh(stamp, time.time())
        if _bytes(self.root / name) != self._fresh[name]:
            return True
        if old_enough:
            del self._fresh[name]
        return False

    def _scan(self) -> dict[str, Stamp]:
        return dict(_files(str(self.root), ""))


def _files(directory: str, prefix: str) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__pycache__")):
                continue
            if entry.name.endswith(SUFFIXES):
                try:
                    found = entry.stat()
                except FileNotFoundError:
                    # Gone since, or a link that leads nowhere: Emacs marks an open file by one.
                    continue
                yield prefix + entry.name, (found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino)
            elif entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{entry.name}/")


def _is_fresh(stamp: Stamp, now: float) -> bool:
    return max(stamp[0], stamp[1]) / 1e9 > now - COARSE


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def scripts_in(texts: Mapping[str, bytes]) -> list[str]:
    """The files that may hold scripts: modules right in the folder."""
    return [name for name in texts if name.endswith(".py") and "/" not in name]
