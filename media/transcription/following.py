"""A WAV file while a switch writes it. It has no name any more once it is open: whoever dies, no recording is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path

from media.transcription.audio import Short, opened

POLL = 0.1
"Seconds between two looks at the file."
HEADER_LIMIT = 100
"Looks that a header may take."


def tail(path: Path, stopped: Callable[[float], bool]) -> tuple[int, Iterator[bytes]]:
    """Samples a second, and mono PCM as it is written, until ``stopped`` (which waits so many seconds) says so.

    Raises :class:`~media.transcription.engine.Refused` where it is no WAV file, and :class:`OSError`.
    """
    file = path.open("rb")
    path.unlink()
    try:
        rate, read = _opened(file, stopped)
    except BaseException:
        file.close()
        raise
    return rate, _blocks(file, read, max(1, round(rate * POLL)) * 5, stopped)


def _opened(file: BufferedReader, stopped: Callable[[float], bool]) -> tuple[int, Callable[[int], bytes]]:
    for _ in range(HEADER_LIMIT):
        try:
            return opened(file)
        except Short:
            if stopped(POLL):
                break
            file.seek(0)
    return opened(file)


def _blocks(
    file: BufferedReader, read: Callable[[int], bytes], samples: int, stopped: Callable[[float], bool]
) -> Iterator[bytes]:
    over = False
    with file:
        while True:
            while data := read(samples):
                yield data
            if over:
                return
            over = stopped(POLL)
