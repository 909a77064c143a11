"""The snapshot's file: an LMDB environment that one writer and every worker of a node have open.

Workers only read. They open it lazily, once for each process, after the fork: LMDB forbids both a second open in one
process and the use of an environment over a fork. This module therefore stays loaded through every reload of the
routing code.

LMDB was chosen for what it measures at a million numbers: one copy in shared memory for all workers, a look-up in
well under a microsecond, a change committed without rebuilding anything, and a file that a killed writer leaves whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import lmdb

Get = Callable[[bytes], bytes | None]

# Virtual address space, not memory or disk: it bounds how far the file can grow.
MAP_SIZE = 4 << 30
# Each reading process holds one slot for its life; Kamailio runs a few dozen.
MAX_READERS = 1024
# Seconds between two looks at whether the file is still the one that is open.
LOOK_EVERY = 1.0


class NoSnapshotError(Exception):
    """There is no snapshot to read: the node agent never ran here."""


def _identity(file: str) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_dev, found.st_ino


class SnapshotReader:
    """Reads the snapshot at ``path`` (a directory), in whichever process it is used."""

    def __init__(self, path: Path) -> None:
        self._path, self._file = path, str(path / "data.mdb")
        self._pid = 0
        self._env: Any = None
        self._identity, self._look_at = (0, 0), 0.0
        self.opened = 0
        "How often the file was another one: numbers of transactions are of one file."

    @contextmanager
    def read(self) -> Iterator[Get]:
        """A consistent view while the block runs: a look-up function from key to value or None.

        Raises :class:`NoSnapshotError` where no snapshot was ever written.
        """
        txn = self.begin()
        try:
            yield txn.get
        finally:
            txn.abort()

    def begin(self) -> Any:
        """A read transaction as py-lmdb has it, to be aborted: what :meth:`read` wraps, for who counts microseconds.

        Raises :class:`NoSnapshotError`.
        """
        if self._pid != os.getpid():
            self._open()
        elif time.monotonic() >= self._look_at:
            self._look()
        try:
            return self._env.begin()
        except lmdb.MapResizedError:
            # The writer grew the map; adopting its size needs no transaction open in this process.
            self._env.set_mapsize(0)
            return self._env.begin()

    def _open(self) -> None:
        try:
            identity = _identity(self._file)
        except FileNotFoundError:
            raise NoSnapshotError(f"no snapshot at {self._path}") from None
        try:
            # One spare transaction: an aborted one is kept and renewed, at a third of the price of a new one.
            env = lmdb.open(
                str(self._path), readonly=True, max_readers=MAX_READERS, map_size=MAP_SIZE, max_spare_txns=1
            )
        except lmdb.Error as error:
            raise NoSnapshotError(f"snapshot at {self._path}: {error}") from error
        if self._pid == os.getpid() and not env.stat()["entries"]:
            # One that is being made anew: until then the former one holds.
            env.close()
            return
        # Nobody closes the former one, in which a transaction may be open: it goes with the last of these.
        self._env, self._identity, self._pid = env, identity, os.getpid()
        self.opened += 1

    def _look(self) -> None:
        """Go over to another file that was put in the place of the one that is open."""
        self._look_at = time.monotonic() + LOOK_EVERY
        with suppress(FileNotFoundError, NoSnapshotError):
            if _identity(self._file) != self._identity:
                self._open()


@cache
def shared_reader(path: Path) -> SnapshotReader:
    """The one reader of this process for ``path``, the same after a reload of the code that asks."""
    return SnapshotReader(path)


class SnapshotWriter:
    """The one writer of a node's snapshot."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        # Without the sync of the meta page a power cut may undo the last commit, which is then read from Redis
        # again; the file stays whole in any case.
        self._env = lmdb.open(str(path), map_size=MAP_SIZE, max_readers=MAX_READERS, metasync=False)

    def begin(self) -> Any:
        """A write transaction, to be used as a context manager; it commits unless the block raises."""
        # A reader that was killed keeps its slot, and with it every page freed since, until somebody looks.
        self._env.reader_check()
        return self._env.begin(write=True)

    def get(self, key: bytes) -> bytes | None:
        """One record as it stands."""
        with self._env.begin() as txn:
            value: bytes | None = txn.get(key)
            return value

    def clear(self, txn: Any) -> None:
        """Remove every record, within a write transaction."""
        txn.drop(self._env.open_db(txn=txn), delete=False)

    def close(self) -> None:
        """Release the environment."""
        self._env.close()
