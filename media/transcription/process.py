"""An engine's process, from outside: started, spoken to, killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from media.transcription.checking import GarbageError, checked, text
from media.transcription.engine import REASONS, Transcript, TranscriptionError
from media.transcription.frames import HEADER, FrameError, Kind, frame, header


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an engine's process may take."""

    seconds: int
    "For one audio, of the clock and of the processor."
    megabytes: int
    "Of address space."


class Child:
    """One process. After any error it is of no more use: :meth:`kill` it."""

    def __init__(self, process: Process) -> None:
        assert process.stdin
        assert process.stdout
        self._process, self._to, self._from = process, process.stdin, process.stdout
        self._output = process._transport.get_pipe_transport(1)  # type: ignore[attr-defined]

    @classmethod
    async def start(cls, setting: str, limits: Limits) -> Child:
        """A new process with the engine of ``setting``; that it has loaded shows with the first audio."""
        # A session of its own: Ctrl-C reaches us, who end it, and its own children die with it (killpg).
        command = (sys.executable, "-m", "media.transcription.child", os.getpid(), limits.megabytes)
        process = await asyncio.create_subprocess_exec(
            *map(str, command), str(limits.seconds), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
        child = cls(process)
        await child.send(Kind.LOAD, setting.encode())
        return child

    @property
    def running(self) -> bool:
        """Whether it is there; asked of the kernel, as the event loop hears of an end a moment later."""
        try:
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    async def send(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a frame, and wait until the pipe has room."""
        self._to.write(frame(kind, payload))
        # Why it is gone stands in what it wrote, or in its exit status: the next read tells.
        with contextlib.suppress(ConnectionError):
            await self._to.drain()

    async def tell(self, kind: Kind, **fields: Any) -> None:
        """Send a frame of JSON."""
        await self.send(kind, json.dumps(fields).encode())

    async def result(self, heard: Callable[[str | Transcript], None] | None = None) -> Transcript:
        """Read until the transcript is there; raises :class:`TranscriptionError`.

        ``heard`` is told what is understood so far of an utterance, and then its transcript.
        """
        while True:
            kind, payload = await self._read()
            try:
                if kind is Kind.DONE:
                    return checked(json.loads(payload))
                if kind is Kind.FAILED:
                    raise _failure(json.loads(payload))
                if heard and kind in (Kind.PARTIAL, Kind.SAID):
                    heard(text(payload.decode()) if kind is Kind.PARTIAL else checked(json.loads(payload)))
            except (GarbageError, ValueError, RecursionError) as error:
                raise TranscriptionError("garbage", _said(error)) from None

    async def _read(self) -> tuple[Kind, bytes]:
        try:
            length, kind = header(await self._from.readexactly(HEADER.size))
            return kind, await self._from.readexactly(length)
        except FrameError as error:
            raise TranscriptionError("garbage", str(error)) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise _ended(await self._process.wait()) from None

    async def kill(self) -> None:
        """End it and what it started, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        # Python waits for the ends of the pipes as well: one that is not read any more shows none, nor does one that is
        # held open by who left the group.
        if not self._to.is_closing():
            self._to.transport.abort()
        self._output.close()
        await self._process.wait()


def _failure(fields: Any) -> TranscriptionError:
    reason, detail = (fields.get("reason"), fields.get("detail")) if isinstance(fields, dict) else (None, None)
    if reason not in REASONS or not isinstance(detail, str):
        return TranscriptionError("garbage", "a failure without a reason")
    return TranscriptionError(reason, detail[:500])


def _said(error: Exception) -> str:
    # What json and codecs raise may quote what they read.
    return str(error) if isinstance(error, GarbageError) else f"no JSON: {type(error).__name__}"


def _ended(status: int) -> TranscriptionError:
    if status == -signal.SIGXCPU:
        return TranscriptionError("timeout", "it used the processor for longer than it may")
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return TranscriptionError("crash", f"the engine's process {how}")
