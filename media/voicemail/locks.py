"""Locks between processes, and threads: flock, which the kernel lets go when who holds it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait for the lock of the file ``path``, which is made where missing, and hold it."""
    # Writable, since over NFS an exclusive flock wants that (flock(2)).
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def taken(path: Path, *, make: bool = False) -> int | None:
    """The descriptor that holds the lock of a file; None where another holds it, or the file has gone.

    ``make``: it is made where missing.
    """
    try:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if make else 0), 0o660)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it may have moved the file away before we got it.
        if os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
