"""A phone for the demonstration: it calls, presses digits, plays sound, and keeps what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import numpy as np

from console.ports import free_range
from devswitch.audio.sources import Player
from devswitch.audio.tones import goertzel
from devswitch.leg import FRAME_SECONDS, RATE, Frame, LegEnded
from devswitch.sip.endpoint import Endpoint
from devswitch.sip.outgoing import OutgoingCall

LOUD = 300.0
"Root mean square below which a frame is silence: what G.711 makes of silence is far below."
PURE = 0.8
"Share of a frame's energy that is at one frequency, where it is a tone; in speech it is less."
DIGIT_MS = 80


class PhoneCall:
    """One call of the phone, from the INVITE on."""

    def __init__(self, leg: OutgoingCall) -> None:
        self._leg = leg
        self.digits = ""
        "Those that came from the other side."
        self._frames: list[Frame] = []
        self._changed = asyncio.Event()
        leg.sinks.append(self)
        leg.on_digit = self._on_digit
        leg.on_hangup = lambda _cause, _status: self._changed.set()

    @property
    def call_id(self) -> str:
        """That of SIP."""
        return self._leg.call_id

    def frame(self, samples: Frame, /) -> None:
        """Hear 20 ms; the leg calls this."""
        self._frames.append(samples.copy())
        self._changed.set()

    def _on_digit(self, digit: str, _duration: int) -> None:
        self.digits += digit
        self._changed.set()

    def mark(self) -> int:
        """Now, as a place in what is heard."""
        return len(self._frames)

    def sound(self, since: int, end: int | None = None) -> float:
        """How long sound went on between two marks: seconds from its first frame to its last."""
        return sounding(self.heard(since, end))

    def heard(self, since: int, end: int | None = None) -> Frame:
        """The samples between two marks."""
        frames = self._frames[since:end]
        return np.concatenate(frames) if frames else np.zeros(0, dtype=np.int16)

    def quiet(self, since: int) -> float:
        """For how many seconds there has been silence, ``since`` at the earliest."""
        frames = self._frames[since:]
        return next((n for n, frame in enumerate(reversed(frames)) if loud(frame)), len(frames)) * FRAME_SECONDS

    def rings_at(self, frequency: float) -> bool:
        """Whether the newest frame is that tone, and nothing else."""
        return bool(self._frames) and is_tone(self._frames[-1], frequency)

    async def answered(self) -> None:
        """Until the call is answered; raises LegEnded."""
        await self._leg.answered()

    async def until(self, look: Callable[[], bool]) -> None:
        """Until ``look`` is true; raises LegEnded if the call ends before."""
        while not look():
            if self._leg.cause:
                raise LegEnded(self._leg.cause)
            self._changed.clear()
            await self._changed.wait()

    async def press(self, digits: str) -> None:
        """Send digits (RFC 4733)."""
        await self._leg.send_digits(digits, DIGIT_MS)

    def play(self, samples: Frame) -> None:
        """Send sound, and silence after it."""
        self._leg.source = Player(samples)

    async def hang_up(self) -> None:
        """End the call."""
        await self._leg.hangup("NORMAL_CLEARING")

    async def ended(self) -> str:
        """Until the call is over; its cause."""
        return await self._leg.ended()


@asynccontextmanager
async def call(number: str, server: tuple[str, int], *, caller: str) -> AsyncIterator[PhoneCall]:
    """Call a number at a SIP server; hangs up in the end, if it has come to that."""
    ports = free_range(6)
    endpoint = Endpoint(
        "127.0.0.1", ports[-1], on_invite=lambda _: None, rtp_ports=ports[:4], user_agent="Strowger demo phone"
    )
    await endpoint.start()
    try:
        host, port = server
        yield PhoneCall(endpoint.originate(f"sip:{number}@{host}:{port}", caller=caller))
    finally:
        await endpoint.stop()


def loud(samples: Frame) -> bool:
    """Whether it is anything but silence."""
    return rms(samples) >= LOUD


def rms(samples: Frame) -> float:
    """Root mean square of samples, 32768 being the most; 0 of none."""
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0


def sounding(samples: Frame) -> float:
    """Seconds from the first loud frame to the end of the last."""
    size = round(FRAME_SECONDS * RATE)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    found = [number for number, frame in enumerate(frames) if loud(frame)]
    return (found[-1] - found[0] + 1) * FRAME_SECONDS if found else 0.0


def is_tone(samples: Frame, frequency: float) -> bool:
    """Whether nearly all that is heard is that frequency."""
    return loud(samples) and goertzel(samples, frequency) >= PURE
