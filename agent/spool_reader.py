"""Reads the spool in batches, from a position that says what was read."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from kemi.spool import FILES

# Bytes of a batch: some 150 lines. A line that is longer is none of ours, and skipped.
BATCH = 64 * 1024
# Seconds after which nobody writes to a file any more: each is written for one hour.
AT_REST = 3700.0


@dataclass(frozen=True, slots=True)
class Position:
    """Up to where the spool was read."""

    done: str = ""
    "This file and those before it are read, and nothing more will come there."
    offsets: dict[str, int] = field(default_factory=dict)
    "Of each later file: bytes read, always whole lines."

    def encode(self) -> str:
        """As text; empty for the spool's beginning."""
        return json.dumps([self.done, self.offsets], separators=(",", ":")) if self.done or self.offsets else ""

    def bytes_of(self, name: str, size: int) -> int:
        """How many bytes of a file lie before this, of the ``size`` that it has."""
        return size if name <= self.done else self.offsets.get(name, 0)

    def behind(self, other: Position) -> bool:
        """Whether there is something between this and the other, which comes later in the same spool."""
        return self.done < other.done or any(self.offsets.get(name, 0) < at for name, at in other.offsets.items()
                                             if name > self.done)  # fmt: skip

    @classmethod
    def decode(cls, text: str) -> Position:
        """From the text that :meth:`encode` made."""
        return cls(*json.loads(text)) if text else cls()


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines that follow a position."""

    lines: list[bytes]
    position: Position
    "Behind them."
    whole: bool
    "Whether that is all there was."


def read(directory: Path, position: Position, limit: int = BATCH, *, until: Position | None = None) -> Batch:
    """The lines that follow ``position``, about ``limit`` bytes of them, and none behind ``until``."""
    paths = sorted(path for path in directory.glob(FILES) if path.name > position.done)
    # The newest file's size first: of two lines of one call in two files, the earlier is never missed for the later.
    sizes = {path: path.stat().st_size for path in reversed(paths)}
    if until is not None:
        sizes = {path: min(size, until.bytes_of(path.name, size)) for path, size in sizes.items()}
    lines: list[bytes] = []
    offsets = {path.name: position.offsets.get(path.name, 0) for path in paths}
    for path in paths:
        while (unread := sizes[path] - offsets[path.name]) > 0:
            if limit <= 0:
                return Batch(lines, Position(position.done, offsets), whole=False)
            found, length = _lines(path, offsets[path.name], min(unread, BATCH))
            if not length:
                # A line without its end is still being written.
                break
            lines += found
            offsets[path.name] += length
            limit -= length
    if until is not None:
        # Also where a file is gone meanwhile: nothing between the two is left.
        return Batch(lines, until, whole=False)
    return Batch(lines, _at_rest(position.done, offsets, paths), whole=True)


def unread(directory: Path, position: Position) -> int:
    """Bytes that follow ``position``."""
    return sum(
        max(0, path.stat().st_size - position.offsets.get(path.name, 0))
        for path in directory.glob(FILES)
        if path.name > position.done
    )


def _lines(path: Path, offset: int, length: int) -> tuple[list[bytes], int]:
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    whole, end, _ = data.rpartition(b"\n")
    if not end and len(data) == BATCH:
        return [], len(data)
    return whole.split(b"\n") if end else [], len(whole) + len(end)


def _at_rest(done: str, offsets: dict[str, int], paths: list[Path]) -> Position:
    now = time.time()
    # In the newest, lines may come as long as there is no newer one: the clock may have been wrong, and be set back.
    for path in paths[:-1]:
        if path.stat().st_mtime >= now - AT_REST:
            break
        done = path.name
    return Position(done, {name: offset for name, offset in offsets.items() if name > done and offset})
