"""The file of a backup: a compressed tar, written and read as a stream.

```
redis/KIND/TABLE.jsonl         a line for each row
voicemail/numbers.json         numbers that lead to boxes
voicemail/boxes/…              mailboxes, as they are on the disk
secrets/…                      keys and secrets, if they were asked for
manifest.json                  the last: what is in it, with sizes and checksums
```

A file without a manifest was cut off.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import IO, Any

from operations.errors import InvalidError

FORMAT = 1
MANIFEST = "manifest.json"
BLOCK = 1 << 16


class BadBackupError(InvalidError):
    """A file is no backup, or not a whole one."""


@dataclass(slots=True)
class Manifest:
    """What a backup holds."""

    program: str
    "Version of the program that wrote it."
    schema: int
    "Of Redis."
    created: float
    "Unix time in seconds."
    node: str
    counts: dict[str, int] = field(default_factory=dict)
    "By kind: rows, or messages."
    members: dict[str, tuple[int, str]] = field(default_factory=dict)
    "By name: size in bytes, and SHA-256."
    format: int = FORMAT

    @classmethod
    def decode(cls, text: bytes) -> Manifest:
        """Raises :class:`BadBackupError`."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise BadBackupError(f"format {data['format']} of backups is not known; this version knows {FORMAT}")
            members = {name: (int(size), str(sum)) for name, (size, sum) in data.pop("members").items()}
            return cls(members=members, **data)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise BadBackupError("its manifest is none") from None


class Writing:
    """A backup that is being written; a context manager that ends it with its manifest."""

    def __init__(self, target: IO[bytes], manifest: Manifest) -> None:
        self.manifest = manifest
        self._tar = tarfile.open(fileobj=target, mode="w|gz", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def __enter__(self) -> Writing:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._add(MANIFEST, io.BytesIO(data := json.dumps(asdict(self.manifest), indent=1).encode()), len(data))
            self._tar.close()

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        """Add a file of ``size`` bytes."""
        self.manifest.members[name] = (size, self._add(name, source, size))

    def _add(self, name: str, source: IO[bytes], size: int) -> str:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, int(time.time())
        summed = _Summed(source)
        self._tar.addfile(info, summed)
        return summed.sum.hexdigest()


class _Summed:
    """What is read of a file, with its checksum."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.sum.update(data)
        return data


def members(source: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """The files of a backup, each to be read before the next.

    Raises :class:`BadBackupError`, and what tarfile and zlib raise where it is not whole.
    """
    source.seek(0)
    with tarfile.open(fileobj=source, mode="r|gz") as tar:
        for info in tar:
            file = tar.extractfile(info)
            parts = PurePosixPath(info.name).parts
            if not info.isreg() or file is None or info.name.startswith("/") or ".." in parts:
                raise BadBackupError(f"{info.name!r} is nothing that a backup has")
            yield info.name, file


def verified(source: IO[bytes]) -> Manifest:
    """The manifest of a backup that is whole, after all of it was read. Raises :class:`BadBackupError`."""
    found: dict[str, tuple[int, str]] = {}
    manifest: Manifest | None = None
    try:
        for name, file in members(source):
            if name == MANIFEST:
                manifest = Manifest.decode(file.read())
            else:
                found[name] = _measured(file)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise BadBackupError(f"not a whole backup: {error}") from None
    if manifest is None:
        raise BadBackupError("it has no manifest: it was cut off, or is no backup")
    differing = sorted(name for name, _ in found.items() ^ manifest.members.items())
    if differing:
        raise BadBackupError(f"{differing[0]} is not what the manifest says")
    return manifest


def _measured(file: IO[bytes]) -> tuple[int, str]:
    size, sum = 0, hashlib.sha256()
    while data := file.read(BLOCK):
        size += len(data)
        sum.update(data)
    return size, sum.hexdigest()


def lines(rows: Iterable[list[Any]]) -> Iterator[bytes]:
    """Rows of a table, as a backup has them."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
