"""What a phone hears, by the clock of whoever sends.

A leg hears by its own clock: what comes later than its jitter buffer waits for is lost to it, and on a busy machine
that is much. An ear takes every packet, and puts it where its timestamp says (RFC 3550, 5.1).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from devswitch.audio import g711
from devswitch.leg import FRAME, SILENCE
from devswitch.rtp.stream import payload_of
from harness.audio import RATE, Samples, Tone, grouped, pitch

GRACE = 25
"Frames without a packet after which nothing is being sent: FreeSWITCH sends no silence, and a busy machine sends late."
FARTHEST = 60 * RATE
"A jump of timestamps that is no silence but another clock, in samples."
_HEADER = struct.Struct("!BBHII")
_MARKER = 0x80


class HeardSocket(socket.socket):
    """A socket for RTP that gives what it receives to ``on_packet``, too."""

    on_packet: Callable[[bytes], None] | None = None

    def recvfrom(self, *arguments: Any) -> tuple[bytes, Any]:
        """As of every socket."""
        data, source = super().recvfrom(*arguments)
        if self.on_packet:
            self.on_packet(data)
        return data, source

    def close(self) -> None:
        """The BYE may be read before the last words are."""
        if self.fileno() >= 0:
            try:
                while True:
                    self.recvfrom(2048)
            except OSError:
                pass
        super().close()


class Ear:
    """All that was heard, frame by frame."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._frames: list[Samples] = []
        self._pitches: list[float] = []
        self._sent: list[Samples] = []
        self._stream: tuple[int, int] | None = None
        "The SSRC, and the timestamp that comes next."
        self._since_packet = 0

    def frame(self, _: Samples) -> None:
        """20 ms passed; called by the leg, which hears by its clock."""
        self._since_packet += 1
        self._changed()

    def packet(self, data: bytes) -> None:
        """Take a packet of RTP."""
        payload = payload_of(data)
        if payload is None:
            return
        _, second, _, timestamp, ssrc = _HEADER.unpack_from(data)
        law = second & ~_MARKER
        if law not in g711.SILENCE:
            return
        missing = self._missing(ssrc, timestamp, bool(second & _MARKER))
        if missing < 0:
            return
        self._add([SILENCE] * missing)
        samples = g711.decode(payload, law)
        self._sent.append(samples)
        self._add([samples[at : at + FRAME] for at in range(0, len(samples) // FRAME * FRAME, FRAME)])
        self._stream = ssrc, timestamp + len(samples) & 0xFFFFFFFF
        self._since_packet = 0
        self._changed()

    def _missing(self, ssrc: int, timestamp: int, marked: bool) -> int:
        """Frames of silence before a packet; -1 if it is late or there twice."""
        pause = self._pause if marked else 0
        if not self._stream or self._stream[0] != ssrc:
            return pause
        jump = (timestamp - self._stream[1] + 0x80000000 & 0xFFFFFFFF) - 0x80000000
        if abs(jump) > FARTHEST:
            return pause
        return -1 if jump < 0 else max(jump // FRAME, pause)

    def _add(self, frames: list[Samples]) -> None:
        self._frames += frames
        self._pitches += map(pitch, frames)

    @property
    def _pause(self) -> int:
        return self._since_packet if self._since_packet > GRACE else 0

    @property
    def now(self) -> float:
        """Seconds heard so far: what comes is later."""
        return len(self._frames) / 50

    @property
    def elapsed(self) -> float:
        """Seconds heard so far, and those since anything was sent."""
        return (len(self._frames) + self._pause) / 50

    @property
    def samples(self) -> Samples:
        """Everything."""
        return np.concatenate(self._frames) if self._frames else np.zeros(0, dtype=np.int16)

    @property
    def sent(self) -> Samples:
        """What the packets held, one after the other: without the pauses that their timestamps tell of.

        FreeSWITCH jumps a frame ahead where its timer was late, in the midst of what it plays, and leaves nothing out.
        """
        return np.concatenate(self._sent) if self._sent else np.zeros(0, dtype=np.int16)

    def tones(self, since: float = 0.0) -> list[Tone]:
        """The tones that began after ``since`` seconds; one that lasts is as long as it has been so far."""
        return [found for found in grouped(self._pitches) if found.start >= since]

    def quiet(self) -> float:
        """For how many seconds there has been silence, until now."""
        silent = next((n for n, heard in enumerate(reversed(self._pitches)) if heard), len(self._pitches))
        return (silent + self._pause) / 50
