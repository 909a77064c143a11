"""What was spoken by machine, kept as WAV files, for all processes that share the directory.

``ab/abcdef….wav`` is the speech of one (engine, voice, rate, text); beside it, while it is made, lies its lock, and in
``tmp/`` what is not whole yet. A file's modification time is when it was last asked for. Everything blocks.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2s
from pathlib import Path

from media.speech import wav
from media.speech.errors import CacheError

SIZE = 1_000_000_000
"Bytes that the cache may take."
KEEP = 900.0
"Seconds after it was asked for in which nothing is removed: a call is about to play it."
FULL = 2
"How many times ``SIZE`` there may be of what was asked for just now; then nothing new is made."
_STALE = 3600.0
"Seconds after which what lies in ``tmp/`` belongs to a process that died."


def key(engine: str, voice: str, rate: int, text: str) -> str:
    """The name of a speech, in hexadecimal."""
    parts = (part.encode() for part in (engine, voice, str(rate), text))
    # Each with its length, so that no two lists of parts become one text.
    return blake2s(b"".join(b"%d:%s" % (len(part), part) for part in parts)).hexdigest()


class Cache:
    """The directory; several may be open on one."""

    def __init__(self, folder: Path, *, size: int = SIZE, keep: float = KEEP) -> None:
        """``keep``: see ``KEEP``. Raises :class:`CacheError` for a path that a switch could not play."""
        if "!" in str(folder) or "@" in str(folder):
            # file_string:// of mod_dptools.c parts its files by it, and playback_function at @@.
            raise CacheError(f"{folder}: a directory of speech has no ! or @ in its name")
        self.folder, self.size, self.keep = folder.absolute(), size, keep
        self._unchecked = size
        "Bytes written since the directory was looked through; all that it holds may be another's."

    def path(self, name: str) -> Path:
        """Where the speech of that key lies, or will."""
        return self.folder / name[:2] / f"{name}.wav"

    def find(self, name: str) -> Path | None:
        """The file, if it is there and whole; it stays for the next ``keep`` seconds."""
        path = self.path(name)
        try:
            os.utime(path)
        except OSError:
            return None
        return path if wav.is_whole(path) else None

    def lock(self, name: str) -> Lock | None:
        """The right to make that speech; None while another has it. Raises :class:`CacheError`."""
        path = self.path(name).with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return Lock.take(path)
        except OSError as error:
            raise CacheError(f"the cache of speech cannot be written: {error}") from None

    def workshop(self) -> Path:
        """A directory of one's own for what is not whole yet. Raises :class:`CacheError`."""
        try:
            self._make_room()
            folder = self.folder / "tmp"
            folder.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(dir=folder))
        except OSError as error:
            raise CacheError(f"the cache of speech cannot be written: {error}") from None

    def bring_in(self, source: Path, name: str, rate: int) -> Path:
        """What an engine rendered, converted and under its name at once. Raises SpeechError."""
        whole, path = source.with_suffix(".whole"), self.path(name)
        try:
            wav.convert(source, whole, rate)
            self._unchecked += whole.stat().st_size
            os.replace(whole, path)
        except OSError as error:
            raise CacheError(f"the cache of speech cannot be written: {error}") from None
        return path

    def _make_room(self) -> None:
        # Looking through it costs as much as a speech does, where there are thousands.
        if self._unchecked < self.size // 20:
            return
        self._unchecked = 0
        self._sweep()
        files = sorted(self._files())
        total, young = sum(size for _, size, _ in files), time.time() - self.keep
        for used, size, path in files:
            if total <= self.size or used > young:
                break
            total -= size if self._remove(path, used) else 0
        if total > FULL * self.size:
            self._unchecked = self.size
            raise CacheError("the cache of speech is full of what was asked for in the last minutes")

    def _remove(self, path: Path, used: float) -> bool:
        """Remove a file, unless somebody asked for it since ``used``; then it is about to be played."""
        going = self.folder / "tmp" / f"{path.stem}.{os.getpid()}"
        try:
            # From here on nobody finds it; who found it before left a later time on it.
            going.parent.mkdir(exist_ok=True)
            os.rename(path, going)
            if going.stat().st_mtime == used:
                going.unlink()
                return True
            os.rename(going, path)
        except FileNotFoundError:
            return True
        return False

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*.wav"):
            with suppress(FileNotFoundError):
                found = path.stat()
                yield found.st_mtime, found.st_size, path

    def _sweep(self) -> None:
        """What processes left that died."""
        old = time.time() - _STALE
        for path in self.folder.glob("tmp/*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < old and not path.is_dir():
                    path.unlink()
                elif path.stat().st_mtime < old:
                    shutil.rmtree(path, ignore_errors=True)


class Lock:
    """Held by one process at a time; the kernel takes it from one that dies."""

    def __init__(self, path: Path, file: int) -> None:
        self._path, self._file = path, file

    @classmethod
    def take(cls, path: Path) -> Lock | None:
        """None where another has it. Raises OSError."""
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have removed the file since we opened it: then ours is nobody's lock any more.
            if os.fstat(file).st_ino == path.stat().st_ino:
                return cls(path, file)
        except (BlockingIOError, FileNotFoundError):
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        return None

    def release(self) -> None:
        """Let others have it; its file goes."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)
