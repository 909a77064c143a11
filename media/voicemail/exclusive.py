"""Who does a job, by locks on the disk: Redis may forget everything, and still nobody does one twice at once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.voicemail import locks


@contextmanager
def alone(folder: Path, kind: str, message: str) -> Iterator[bool]:
    """Whether nobody else does it; then nobody can until the block ends, or this process does."""
    # No box is called so: its number does not begin with a dot.
    path = folder / "locks" / f".{kind}:{message}"
    handle = locks.taken(path, make=True)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
