"""Engines, which make speech of text: programs in processes of their own, a service over HTTP, or a class of yours."""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import resource
import shutil
import signal
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from media.speech.errors import EngineError, NoEngineError, TextError
from media.speech.service import HttpEngine

TIME_LIMIT = 30.0
"Seconds that an engine may take for one text."
SIZE_LIMIT = 256_000_000
"Bytes of a file that a program may write; PulseAudio's library, which espeak-ng opens, makes one of 67 MB in memory."
FLITE_VOICES = ("kal", "kal16", "awb", "rms", "slt")
"Those that mod_flite has too; flite itself would take another name for a file or a URL, and then speak as kal."
_PHONEMES = re.compile(r"\[(?=\[)")
_VOICE = re.compile(r"[A-Za-z0-9_+-]{0,40}", re.ASCII)


class Engine(Protocol):
    """Makes speech."""

    name: str
    "Part of the cache's key: whatever changes how it sounds, apart from the voice, changes it."

    async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
        """Write ``text``, one line, to ``path`` as a WAV file of 16-bit PCM.

        ``voice`` "": the engine's own. ``rate`` (Hz) is what is wanted; another is converted. Raises
        :class:`EngineError`, or :class:`TextError` where nothing in the text can be spoken.
        """


class Flite:
    """The program flite: English, ASCII."""

    name = "flite"

    def __init__(self, *, program: str = "flite", limit: float = TIME_LIMIT) -> None:
        self.program, self.limit = program, limit

    async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
        """See :class:`Engine`."""
        voice = voice or "slt"
        if voice not in FLITE_VOICES:
            raise EngineError(f"flite has no voice {voice!r}; it has {', '.join(FLITE_VOICES)}")
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        if not any(char.isalnum() for char in plain):
            raise TextError("there is nothing in the text that flite can speak")
        source = path.with_suffix(".txt")
        source.write_text(plain + "\n", encoding="ascii")
        await run_program([self.program, "-voice", voice, "-f", str(source), "-o", str(path)], self.limit)


class Espeak:
    """The program espeak-ng: a hundred languages, by voices such as en-us, de+f3."""

    name = "espeak-ng"

    def __init__(self, *, program: str = "espeak-ng", limit: float = TIME_LIMIT) -> None:
        self.program, self.limit = program, limit

    async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
        """See :class:`Engine`."""
        if not _VOICE.fullmatch(voice):
            raise EngineError("espeak-ng: a voice is letters, digits, _, + and -")
        source = path.with_suffix(".txt")
        # [[...]] would be taken for phonemes.
        source.write_text(_PHONEMES.sub("[ ", text) + "\n", encoding="utf-8")
        command = [self.program, "-b", "1", "-v", voice or "en-us", "-f", str(source), "-w", str(path)]
        await run_program(command, self.limit)


def make_engine(spec: str) -> tuple[Engine, str]:
    """The engine that ``flite:VOICE``, ``espeak-ng:VOICE``, a URL, or ``module:Class`` means, and its voice or "".

    Raises :class:`NoEngineError`.
    """
    if spec.startswith(("http://", "https://")):
        return HttpEngine(spec), ""
    name, _, rest = spec.partition(":")
    if name == "flite":
        return Flite(), rest
    if name in ("espeak-ng", "espeak"):
        return Espeak(), rest
    if not rest:
        raise NoEngineError(f"there is no engine {spec!r}: flite, espeak-ng, a URL or module:Class")
    kind, _, voice = rest.partition(":")
    return _own(name, kind), voice


def _own(module: str, kind: str) -> Engine:
    try:
        engine: Engine = getattr(importlib.import_module(module), kind)()
    except Exception as error:
        raise NoEngineError(f"{module}:{kind} is no engine: {type(error).__name__}: {error}") from None
    if not isinstance(getattr(engine, "name", None), str) or not callable(getattr(engine, "render", None)):
        raise NoEngineError(f"{module}:{kind} is no engine: it has no name and render")
    return engine


async def run_program(command: Sequence[str], limit: float) -> None:
    """Run a program to its end, for at most ``limit`` seconds, without a shell; raises :class:`EngineError`."""
    name = Path(command[0]).name
    found = shutil.which(command[0])
    if not found:
        raise NoEngineError(f"{name} is not installed")
    nowhere = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            found, *command[1:], stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
    except OSError as error:
        raise EngineError(f"{name} cannot be started: {error.strerror}") from None
    try:
        _limit(process.pid, limit)
        async with asyncio.timeout(limit):
            status = await process.wait()
    except TimeoutError:
        raise EngineError(f"{name} took longer than {limit:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status:
        raise EngineError(f"{name} {_ending(status)}")


def _limit(pid: int, seconds: float) -> None:
    """Not by preexec_fn, which may deadlock beside threads. Where we are killed, these are all that ends it."""
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (SIZE_LIMIT, SIZE_LIMIT))
        resource.prlimit(pid, resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))


def _ending(status: int) -> str:
    if status > 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
