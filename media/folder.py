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
        self._stamps: dict[str, Stamp | None] = {}
        self._fresh: dict[str, bytes] = {}
        "Bytes of the files whose stamp may not tell of the next change."
        self._watched: list[tuple[str, Stamp | None]] = []
        "All folders and files: while their stamps are these, nothing has changed. Empty where those may not tell."

    def changed(self) -> bool:
        """Whether something differs from what was read. Raises OSError if the folder cannot be read."""
        # Each call asks, so this comes first: nothing is listed while no folder says that its list is another.
        if self._watched and all(_stamp(path) == stamp for path, stamp in self._watched):
            return False
        now, folders = time.time(), dict[str, Stamp | None]()
        stamps = self._scan(folders)
        if stamps != self._stamps or any(self._differs(name, now) for name in list(self._fresh)):
            return True
        self._watch(folders, now)
        return False

    def read(self) -> dict[str, bytes]:
        """Every file by its path below the folder, remembered for :meth:`changed`. Raises OSError."""
        self._watched = []
        stamps = self._scan({})
        now, texts = time.time(), {}
        for name in sorted(name for name, stamp in stamps.items() if stamp is not None):
            # A file that goes meanwhile is one change more, and seen as such.
            texts[name] = _bytes(self.root / name) or b""
        self._stamps = stamps
        self._fresh = {name: text for name, text in texts.items() if _is_fresh(stamps[name], now)}
        return texts

    def _differs(self, name: str, now: float) -> bool:
        old_enough = not _is_fresh(self._stamps[name], now)
        if _bytes(self.root / name) != self._fresh[name]:
            return True
        if old_enough:
            del self._fresh[name]
        return False

    def _scan(self, folders: dict[str, Stamp | None]) -> dict[str, Stamp | None]:
        """The stamp of every file; ``folders`` gets those of the folders, by path, from before they were listed."""
        return dict(_files(str(self.root), "", folders))

    def _watch(self, folders: Mapping[str, Stamp | None], now: float) -> None:
        watched = [*folders.items(), *((str(self.root / name), stamp) for name, stamp in self._stamps.items())]
        self._watched = [] if any(_is_fresh(stamp, now) for _, stamp in watched) else watched


def _files(directory: str, prefix: str, folders: dict[str, Stamp | None]) -> Iterator[tuple[str, Stamp | None]]:
    folders[directory] = _stamp(directory)
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__pycache__")):
                continue
            if entry.name.endswith(SUFFIXES):
                yield prefix + entry.name, _stamp(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, f"{prefix}{entry.name}/", folders)


def _stamp(path: str) -> Stamp | None:
    """None: it has gone, or is a link that leads nowhere. Emacs marks an open file by one."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino


def _is_fresh(stamp: Stamp | None, now: float) -> bool:
    return stamp is not None and max(stamp[0], stamp[1]) / 1e9 > now - COARSE


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def scripts_in(texts: Mapping[str, bytes]) -> list[str]:
    """The files that may hold scripts: modules right in the folder."""
    return [name for name in texts if name.endswith(".py") and "/" not in name]
