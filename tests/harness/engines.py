"""Engines that go wrong, each in its own way."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from media.transcription.engine import Transcript, Word


class Good:
    """Hears its options."""

    def __init__(self, options: str = "") -> None:
        self._text = options

    def start(self, rate: int, language: str, live: bool) -> None:
        self._bytes, self._rate, self._language = 0, rate, language

    def feed(self, pcm: bytes) -> str:
        self._bytes += len(pcm)
        return self._text

    def finish(self) -> Transcript:
        seconds = self._bytes / 2 / self._rate
        return Transcript(self._text, (Word(self._text, 0.0, seconds, 0.5),), 0.5, self._language)


class Pid(Good):
    def finish(self) -> Transcript:
        return Transcript(f"{os.getpid()} {os.nice(0)}")


class Hangs(Good):
    def feed(self, pcm: bytes) -> str:
        while True:
            time.sleep(3600)


class Spins(Good):
    def feed(self, pcm: bytes) -> str:
        while True:
            pass


class Leaves(Good):
    """Hangs, and has a child of its own whose pid it writes to the file of its options."""

    def feed(self, pcm: bytes) -> str:
        with open(self._text, "w") as file:
            file.write(str(subprocess.Popen(["sleep", "3600"]).pid))
        while True:
            time.sleep(3600)


class Escapes(Good):
    """Hangs, and has a child out of its group that holds its pipes, whose pid it writes to the file of its options."""

    def feed(self, pcm: bytes) -> str:
        pid = os.fork()
        if pid:
            with open(self._text, "w") as file:
                file.write(str(pid))
        else:
            os.setsid()
        while True:
            time.sleep(3600)


class Dies(Good):
    """By the signal or with the status of its options."""

    def feed(self, pcm: bytes) -> str:
        if self._text == "segv":
            ctypes.string_at(0)
        if self._text == "exit":
            os._exit(7)
        os.kill(os.getpid(), signal.SIGKILL)
        return ""


class Raises(Good):
    def feed(self, pcm: bytes) -> str:
        raise RuntimeError("he said something private")


class Eats(Good):
    def feed(self, pcm: bytes) -> str:
        kept = []
        while True:
            kept.append(bytearray(16 << 20))


class Floods(Good):
    """Prints, and hears its options all the same."""

    def feed(self, pcm: bytes) -> str:
        for number in (1, 2):
            os.write(number, b"he said something private\n" * 40_000)
        print("he said something private" * 100_000, flush=True)
        subprocess.run([sys.executable, "-c", "print('x' * 1_000_000)"], check=True)
        return super().feed(pcm)


_GARBAGE: dict[str, Callable[[Transcript], Any]] = {
    "none": lambda _: None,
    "text": lambda _: "text",
    "bytes": lambda good: replace(good, text=b"\xff"),
    "surrogate": lambda good: replace(good, text="\ud800"),
    "control": lambda good: replace(good, text="a\x00b"),
    "long": lambda good: replace(good, text="x" * 2_000_000),
    "nan": lambda good: replace(good, words=(Word("a", float("nan"), 1.0, 1.0),)),
    "infinite": lambda good: replace(good, words=(Word("a", 0.0, float("inf"), 1.0),)),
    "backwards": lambda good: replace(good, words=(Word("a", 2.0, 1.0, 1.0),)),
    "disorder": lambda good: replace(good, words=(Word("a", 2.0, 3.0, 1.0), Word("b", 1.0, 3.0, 1.0))),
    "sure": lambda good: replace(good, confidence=1.5),
    "language": lambda good: replace(good, language="../../x"),
    "words": lambda good: replace(good, words=("a", "b")),
    "deep": lambda good: replace(good, text=_deep()),
}
GARBAGE = tuple(_GARBAGE)


class Garbage(Good):
    def finish(self) -> Transcript:
        given: Transcript = _GARBAGE[self._text](super().finish())
        return given


class WrongFrames(Good):
    """Writes where only frames should be."""

    def finish(self) -> Transcript:
        for number in range(3, 20):
            try:
                os.write(number, b"\xff" * 64)
            except OSError:
                continue
        time.sleep(3600)
        return super().finish()


class Pours(Good):
    """Writes a frame that is none, and never ends."""

    def finish(self) -> Transcript:
        pipe = next(number for number in range(3, 20) if _is_pipe(number))
        while True:
            os.write(pipe, b"\xff" * 65536)


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested
