"""One clock for all streams."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from devswitch.leg import FRAME_SECONDS

# epoll counts in milliseconds and rounds up, so the loop wakes that much early and sleeps out the rest, to be exact.
EARLY = 0.0011
# Parts of the 20 ms, each with its share of the streams.
SLOTS = 4
SLOT_SECONDS = FRAME_SECONDS / SLOTS
# Frames that are made up for after a pause of the process; what is older is left out.
MAX_LATE = 5


class Ticking(Protocol):
    """What is to be done every 20 ms."""

    def send_frame(self) -> None:
        """Send the next frame."""

    def hear_frame(self) -> None:
        """Hand on what was heard, once all have sent."""


class Ticker:
    """Each stream every 20 ms, by an absolute clock; streams take turns in slots, so that few wait for others."""

    def __init__(self) -> None:
        self._slots: list[dict[Ticking, None]] = [{} for _ in range(SLOTS)]
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0
        self._slot = 0

    def add(self, stream: Ticking) -> None:
        min(self._slots, key=len)[stream] = None
        if not self._timer:
            loop = asyncio.get_running_loop()
            self._next = loop.time() + SLOT_SECONDS
            self._timer = loop.call_at(self._next - EARLY, self._tick)

    def remove(self, stream: Ticking) -> None:
        for slot in self._slots:
            slot.pop(stream, None)
        if self._timer and not any(self._slots):
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        if (wait := self._next - loop.time()) > 0:
            time.sleep(wait)
        # While the loop was held up, nobody was heard either: what is missed goes out at once.
        late = int((loop.time() - self._next) / SLOT_SECONDS)
        self._next += SLOT_SECONDS * (late + 1)
        self._timer = loop.call_at(self._next - EARLY, self._tick)
        for _ in range(min(late, MAX_LATE * SLOTS) + 1):
            self._slot = (self._slot + 1) % SLOTS
            self._run(list(self._slots[self._slot]))

    def _run(self, streams: list[Ticking]) -> None:
        for stream in streams:
            stream.send_frame()
        for stream in streams:
            stream.hear_frame()
