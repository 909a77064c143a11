"""Who does a job, by locks on the disk: Redis may forget everything, and still nobody does one twice at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(folder: Path, kind: str, message: str) -> Iterator[bool]:
    """Whether nobody else does it; then nobody can until the block ends, or this process does."""
    # No box is called so: its number does not begin with a dot.
    path = folder / "locks" / f".{kind}:{message}"
    # Writable, since over NFS an exclusive flock wants that (flock(2)).
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
    try:
        if not _taken(handle, path):
            yield False
            return
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _taken(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who had it before may have removed the file meanwhile: then a third may lock another of that name.
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False
