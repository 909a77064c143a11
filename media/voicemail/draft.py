"""A message in the making: nothing that was said is lost, however the call ends.

Each take is a file of its own, which the switch writes. A take that is too short is removed at once, so that the one
before it counts. Where the switch may still be writing, nobody but the reaper decides.
"""

from __future__ import annotations

import asyncio
import logging
import math
import wave
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np

from media.session import Session
from media.session.recording import Recorded
from media.voicemail.box import Box
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.recording import Recording
from media.voicemail.store import VoicemailError

THRESHOLD = 100
"""Mean magnitude of 20 ms below which they are silence: some -50 dB of full scale, above the noise of a line.
FreeSWITCH's own voicemail takes 200, which ends the message of somebody who speaks softly."""
MISSING = 0.1
"Seconds by which a file may be shorter than the switch says that it wrote."
EARLY = 1.5
"Seconds by which a recording may end before its limit, by other clocks than ours."
RATE = 8000
_FRAME = 160

log = logging.getLogger(__name__)


class Draft:
    """One recording of a box, and what became of it; :meth:`settle` is for the end, whatever it was."""

    def __init__(self, mailboxes: Mailboxes, recording: Recording, box: Box) -> None:
        self.urgent = False
        self.audio: Path | None = None
        "The newest take that is long enough; None: there is none yet."
        self.incomplete = False
        "Not all that the switch recorded of it came to the disk."
        self._mailboxes, self._recording, self._box = mailboxes, recording, box
        self._takes = 0
        self._growing = False
        self._decided: asyncio.Future[None] | None = None

    async def take(self, session: Session, digits: str) -> Recorded:
        """Record the caller, until one of ``digits``, silence, the box's limit or the end of the call."""
        path = self._recording.again() if self._takes else self._recording.audio
        self._takes += 1
        self._growing = True
        clock = asyncio.get_running_loop().time
        began = clock()
        made = await session.record_until(
            str(path),
            digits,
            max_seconds=self._box.max_seconds,
            threshold=THRESHOLD if self._box.silence_seconds else 0,
            silence_seconds=self._box.silence_seconds,
        )
        if made.closed:
            early = not made.ended and clock() - began < self._box.max_seconds - EARLY
            await asyncio.to_thread(self._look, path, made, early)
            self._growing = False
        return made

    def _look(self, path: Path, made: Recorded, early: bool) -> None:
        """Whether a take counts; ``early``: it ended for no reason that anybody knows."""
        kept, said = self._recording.seconds(), made.samples / RATE
        self.incomplete = early or said - kept > MISSING
        if self.incomplete:
            log.error("not all that a caller said is in %s: is the switch's disk full?", path)
        length = max(kept, said)
        if made.ended == "silence":
            # Of a phone that sends none, or is gone, the silence at the end is not in the file.
            length = max(length - self._box.silence_seconds, min(kept, until_silence(path)))
        if kept and length >= self._box.min_seconds and not (self.audio and is_silent(path)):
            self.audio = path
        else:
            path.unlink(missing_ok=True)

    async def keep(self) -> None:
        """Make it a message: it is on the disk when this returns.

        Raises OSError and VoicemailError; then it waits for the reaper.
        """
        await self._decide(self._accept)

    async def drop(self) -> None:
        """Throw it away. Raises OSError."""
        await self._decide(self._discard)

    async def settle(self) -> None:
        """Decide, where the caller did not: what is long enough is kept. What fails is logged."""
        if self._growing:
            # A process that holds the recording keeps the reaper away.
            return self._recording.close()
        try:
            await (self.keep() if self.audio else self.drop())
        except (OSError, VoicemailError) as error:
            log.error("a message waits in %s: %s", self._recording.audio.parent, why(error))

    async def _decide(self, how: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # The call's task may be cancelled at any time; what is decided is done.
        self._decided = self._decided or asyncio.ensure_future(how())
        await asyncio.shield(self._decided)

    async def _accept(self) -> None:
        try:
            message = await asyncio.to_thread(self._recording.accept, urgent=self.urgent)
        except (OSError, VoicemailError):
            self._recording.close()
            raise
        log.info("message %s: %.1f s", message.id, message.seconds)
        try:
            await self._mailboxes.accepted(message)
        except OSError as error:
            # It is in the box, and its mark is there: the voicemail service tells Redis.
            log.error("message %s: Redis is told later: %s", message.id, why(error))

    async def _discard(self) -> None:
        try:
            await asyncio.to_thread(self._recording.discard)
        except OSError:
            self._recording.close()
            raise


def why(error: Exception) -> str:
    """What went wrong, for the log: the whole text names files, and so boxes."""
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__


def is_silent(path: Path) -> bool:
    """Whether there is nothing in a WAV file but silence."""
    return until_silence(path) == 0


def until_silence(path: Path) -> float:
    """Seconds after which there is nothing but silence in a WAV file; without end where it cannot be read."""
    try:
        with wave.open(str(path), "rb") as file:
            samples = np.abs(np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int32))
    except (OSError, EOFError, wave.Error):
        return math.inf
    frames = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    loud = np.flatnonzero(frames.mean(axis=1) >= THRESHOLD)
    return float(loud[-1] + 1) * _FRAME / RATE if len(loud) else 0.0
