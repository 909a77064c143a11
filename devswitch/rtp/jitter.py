"""The jitter buffer: packets in as they come, one frame out every 20 ms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from devswitch.leg import FRAME, SILENCE, Frame

# Two frames before it begins to play: 20 ms for what comes late.
PRIMED = 2
# More than this is delay that nobody wants: the oldest go.
LONGEST = 10
# RFC 3550, A.1: a jump that is no loss is a source that began anew.
MAX_JUMP = 100
# A gap longer than this is left out, not waited for.
MAX_SILENCE = 5

Decode = Callable[[], Frame]


class JitterBuffer:
    """Orders packets by their sequence numbers; what is missing when its time comes is silence."""

    def __init__(self) -> None:
        self._packets: dict[int, Decode | None] = {}
        self._next = 0
        self._began = self._primed = False
        self._rest = SILENCE[:0]
        "Samples of a packet longer than a frame."

    def put(self, sequence: int, decode: Decode | None) -> None:
        """A packet with that 16 bit number; None if it is no audio and only stands in the count."""
        ahead = (sequence - self._next + 0x8000 & 0xFFFF) - 0x8000
        if not self._began or abs(ahead) > MAX_JUMP:
            self._packets.clear()
            self._began, self._next, ahead = True, sequence, 0
        if ahead < 0:
            return
        self._packets[self._next + ahead] = decode
        while len(self._packets) > LONGEST:
            self._skip()

    def restart(self) -> None:
        """Another source (SSRC) begins."""
        self._packets.clear()
        self._began = False

    def take(self) -> Frame:
        """The next 160 samples."""
        while len(self._rest) < FRAME:
            packet = self._take_packet()
            if packet is None:
                return SILENCE
            if len(packet) == FRAME and not len(self._rest):
                return packet
            self._rest = np.concatenate([self._rest, packet])
        frame, self._rest = self._rest[:FRAME], self._rest[FRAME:]
        return frame

    def rest(self) -> Iterator[Frame]:
        """What is left once no more comes."""
        self._primed = True
        while self._packets:
            yield self.take()

    def _take_packet(self) -> Frame | None:
        self._primed = self._primed or len(self._packets) >= PRIMED
        while self._primed and self._packets:
            if self._next not in self._packets:
                missing = min(self._packets) - self._next
                self._next += 1 if missing <= MAX_SILENCE else missing
                if missing <= MAX_SILENCE:
                    return SILENCE
            decode = self._packets.pop(self._next)
            self._next += 1
            if decode:
                return decode()
        self._primed = False
        if self._began:
            # Keeps the number within reach of 16 bit arithmetic.
            self._next &= 0xFFFF
        return None

    def _skip(self) -> None:
        oldest = min(self._packets)
        del self._packets[oldest]
        self._next = oldest + 1
