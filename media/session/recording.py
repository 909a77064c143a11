"""What the caller says (M8)."""

from __future__ import annotations

import asyncio

from media.esl.errors import ArgumentError
from media.session import wavefile
from media.session.core import terminated_by
from media.session.digits import Digits
from media.session.state import literal, refuse_ahead


class Recording(Digits):
    """record_file, insert_file."""

    __slots__ = ()

    async def record_file(self, path: str, max_seconds: int = 0, threshold: int = 0, silence_seconds: int = 0) -> bool:
        """Record the caller to a file on the switch's disk; True when silence ended it.

        ``max_seconds`` 0: no limit. ``threshold``: level below which it is silence, for ``silence_seconds`` in a row;
        0: silence ends nothing. A callback may end it too; a digit does not. (Lua returns 1 also when the limit ended
        it.) A file that cannot be written hangs the call up, as in Lua.
        """
        if " " in path:
            raise ArgumentError("record_file: a path with a blank in it cannot be recorded to (record_function)")
        data = f"{literal(path)} {max_seconds} {threshold} {silence_seconds}"
        event, stopped = await self._heard_while(self._run("record", terminated_by("none", data)))
        await self._hang_up_hook()
        return bool(event) and not stopped and event is not None and event.variable("silence_hits_exhausted") == "true"

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
