"""What the caller says (M8)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from media.esl.errors import ArgumentError
from media.session import recorded, wavefile
from media.session.core import terminated_by
from media.session.digits import Digits
from media.session.state import literal, refuse_ahead

DIGIT_TIMEOUT = 2.0
"Seconds that the event of the digit that ended a recording may come after the recording's."


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """How a recording ended; see :meth:`Recording.record_until`."""

    ended: Literal["digit", "silence", "hangup", ""]
    """"hangup": the call is over, or elsewhere; "": at its limit, or the file could not be written any more."""
    digit: str = ""
    "The one that ended it."
    samples: int = 0
    "Number of those that the switch wrote; fewer in the file: the disk was full."
    closed: bool = True
    "False: the switch did not say that it is done with the file, as when the connection to it broke."


class Recording(Digits):
    """recording_path, record_file, record_until, insert_file."""

    __slots__ = ()

    def recording_path(self, name: str = "") -> str:
        """A path that the console and the HTTP API play from: ``name`` below the folder of recordings.

        Without a name it is made of the day and the call's id. Folders are made. Whoever records elsewhere has the
        recording named in the call's record, too, but not played.

        :raises ArgumentError: for a name that leads elsewhere, or has a blank. :raises OSError: no folder can be made.
        """
        return recorded.path_of(name, time.time(), self.uuid)

    async def record_file(self, path: str, max_seconds: int = 0, threshold: int = 0, silence_seconds: int = 0) -> bool:
        """Record the caller to a file on the switch's disk; True when silence ended it.

        ``max_seconds`` 0: no limit. ``threshold``: level below which it is silence, for ``silence_seconds`` in a row;
        0: silence ends nothing. A callback may end it too; a digit does not. (Lua returns 1 also when the limit ended
        it.) A file that cannot be written hangs the call up, as in Lua.
        """
        if " " in path:
            raise ArgumentError("record_file: a path with a blank in it cannot be recorded to (record_function)")
        data = f"{literal(path)} {max_seconds} {threshold} {silence_seconds}"
        recorded.tell(path)
        event, stopped = await self._heard_while(self._run("record", terminated_by("none", data)))
        await self._hang_up_hook()
        return bool(event) and not stopped and event is not None and event.variable("silence_hits_exhausted") == "true"

    async def record_until(
        self, path: str, digits: str, *, max_seconds: int = 0, threshold: int = 0, silence_seconds: int = 0
    ) -> Recorded:
        """The same, ended by one of ``digits`` too ("#"); input callbacks do not run meanwhile.

        Digits pressed before are forgotten. Others than the one that ended it are kept for the next command.
        """
        refuse_ahead(self, "record_until")
        if " " in path:
            raise ArgumentError("record_until: a path with a blank in it cannot be recorded to (record_function)")
        if not digits:
            raise ArgumentError("record_until: name the digits that end it")
        self._digits.clear()
        data = f"{literal(path)} {max_seconds} {threshold} {silence_seconds}"
        recorded.tell(path)
        event = await self._run("record", terminated_by(digits, data))
        event = event or self._end
        digit = (event.variable("playback_terminator_used") or "") if event else ""
        if digit and self.ready():
            await self._take(digit)
        await self._hang_up_hook()
        if event is None:
            return Recorded(ended="hangup", closed=False)
        samples = int(event.variable("record_samples") or 0)
        if not self.ready():
            return Recorded(ended="hangup", samples=samples)
        silent = event.variable("silence_hits_exhausted") == "true"
        return Recorded(ended="digit" if digit else "silence" if silent else "", digit=digit, samples=samples)

    async def _take(self, digit: str) -> None:
        """Take the digit that ended a recording off those that were pressed."""
        while (found := next((one for one in self._digits if one.digit == digit), None)) is None:
            if not self.ready() or not await self._input_or(DIGIT_TIMEOUT):
                return
        self._digits.remove(found)

    async def insert_file(self, original: str, inserted: str, sample: int) -> bool:
        """Put one WAV file into another, ``sample`` samples into it; the result replaces ``original``.

        It is written at the sample rate of the call, mono, 16 bits. Done by the worker, since no command of the switch
        does it: both must be the worker's files too. ``sample`` beyond the end appends.

        :raises OSError: a file cannot be read or written. :raises ValueError: a file is not PCM WAV.
        """
        refuse_ahead(self, "insert_file")
        if not self.ready():
            return False
        rate = int(self._last.get("Channel-Read-Codec-Rate") or self._last.variable("read_rate") or 8000)
        await asyncio.to_thread(wavefile.insert, original, inserted, sample, rate)
        return True
