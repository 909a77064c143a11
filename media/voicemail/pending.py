"""What Redis has not been told of: an empty file for each change, made before the change.

A process that dies between the two leaves its mark, and so does a command that knows no Redis. Each change makes a mark
of its own, so that who settles one change does not wipe out another that came meanwhile. A mark says only which message
to look at: what is so stands on the disk. To bring Redis up to date, in this order:

1. the marks of the message (:meth:`Marks.of`, :meth:`Marks.all`),
2. where it is on the disk, and tell Redis,
3. where it is now; if that is another folder than Redis was told, again from 1,
4. settle the marks of step 1.

Whoever writes to Redis last has then looked at the disk after it, so two processes cannot leave it wrong.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import NamedTuple

from media.voicemail import durable


class Pending(NamedTuple):
    """A message, or a box, that something has happened to."""

    box: str
    id: str
    "Empty: the box itself, made, changed or removed."
    marks: tuple[str, ...] = ()
    "Names of the files that say so."


class Marks:
    """The marks in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def make(self, box: str, id: str = "") -> None:
        """Before the change."""
        name = f"{box}:{id}:{secrets.token_hex(4)}"
        os.close(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, durable.FILE_MODE))
        durable.sync(self._folder)

    def of(self, box: str, id: str = "") -> Pending:
        """The marks of one message (or box) as they are now, maybe none."""
        start = f"{box}:{id}:"
        return Pending(box, id, tuple(name for name in os.listdir(self._folder) if name.startswith(start)))

    def all(self) -> list[Pending]:
        """Everything that Redis may not know, oldest message first."""
        found: dict[tuple[str, str], list[str]] = {}
        for name in os.listdir(self._folder):
            parts = name.split(":")
            if len(parts) == 3:
                found.setdefault((parts[0], parts[1]), []).append(name)
        ordered = sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
        return [Pending(box, id, tuple(names)) for (box, id), names in ordered]

    def settle(self, pending: Pending) -> None:
        """Redis knows. No fsync: a mark that comes back costs one look."""
        for name in pending.marks:
            (self._folder / name).unlink(missing_ok=True)
