"""Digits as RTP events (RFC 4733), both ways. Durations are in samples: timestamp units of 8 kHz."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from dataclasses import dataclass, field

from devswitch.leg import FRAME, RATE

DIGITS = "0123456789*#ABCD"
# switch_channel_queue_dtmf of FreeSWITCH reports none shorter or longer (switch_types.h: SWITCH_MIN_DTMF_DURATION).
MIN_DURATION, MAX_DURATION = 400, 192_000
END_BIT = 0x80
# -10 dBm0, as FreeSWITCH sends.
VOLUME = 10
# RFC 4733, 2.5.1.4: the end is sent three times.
ENDS = 3
GAP_FRAMES = 3
"Frames of audio between two digits: 60 ms."
# A digit whose end was lost is over when nothing was heard of it for so many frames.
LOST_FRAMES = 10
_EVENT = struct.Struct("!BBH")


class DigitReceiver:
    """Each digit once, when its end comes; or the next one, or nothing more, if all its ends were lost."""

    def __init__(self) -> None:
        self._digit: tuple[int, str] | None = None
        "Timestamp and digit that is being pressed."
        self._reported: int | None = None
        self._duration = self._quiet = 0

    def packet(self, timestamp: int, payload: bytes) -> list[tuple[str, int]]:
        """What an event packet tells: digits and durations, mostly none."""
        if len(payload) < _EVENT.size or timestamp == self._reported:
            return []
        event, flags, duration = _EVENT.unpack_from(payload)
        if event >= len(DIGITS):
            return []
        done = [] if self._digit and self._digit[0] == timestamp else self._finish()
        self._digit, self._duration, self._quiet = (timestamp, DIGITS[event]), max(self._duration, duration), 0
        return done + (self._finish() if flags & END_BIT else [])

    def tick(self) -> list[tuple[str, int]]:
        """20 ms passed."""
        if not self._digit:
            return []
        self._quiet += 1
        return self._finish() if self._quiet > LOST_FRAMES else []

    def _finish(self) -> list[tuple[str, int]]:
        if not self._digit:
            return []
        self._reported, digit = self._digit
        done = (digit, min(max(self._duration, MIN_DURATION), MAX_DURATION))
        self._digit, self._duration = None, 0
        return [done]


@dataclass(slots=True)
class _Pressed:
    event: int
    total: int
    done: asyncio.Future[None]
    timestamp: int = -1
    "Of its first packet; -1 before that."


@dataclass(slots=True)
class DigitSender:
    """Digits to send: one packet every 20 ms while one is pressed."""

    _queue: deque[_Pressed] = field(default_factory=deque)
    _gap: int = 0

    def press(self, digits: str, ms: int) -> asyncio.Future[None]:
        """Queue digits; the future is done when the last was sent. Raises ValueError for what is no digit."""
        wrong = [digit for digit in digits.upper() if digit not in DIGITS]
        if wrong or not digits:
            raise ValueError("no digits to send, or other characters among them")
        done = asyncio.get_running_loop().create_future()
        total = min(max(ms * RATE // 1000, FRAME), MAX_DURATION)
        self._queue.extend(_Pressed(DIGITS.index(digit), total, done) for digit in digits.upper())
        return done

    def packets(self, timestamp: int) -> tuple[int, list[bytes]]:
        """Timestamp and payloads to send instead of the audio of that time; none if no digit is pressed."""
        if self._gap:
            self._gap -= 1
            return 0, []
        if not self._queue:
            return 0, []
        pressed = self._queue[0]
        if pressed.timestamp < 0:
            pressed.timestamp = timestamp
        # 2.5.1.2 lets a long event go on in segments; its duration field has 16 bits, which is 8 s.
        duration = min((timestamp - pressed.timestamp & 0xFFFFFFFF) + FRAME, pressed.total, 0xFFFF)
        if duration < min(pressed.total, 0xFFFF):
            return pressed.timestamp, [_EVENT.pack(pressed.event, VOLUME, duration)]
        self._release()
        return pressed.timestamp, [_EVENT.pack(pressed.event, VOLUME | END_BIT, duration)] * ENDS

    def is_pressing(self) -> bool:
        """Whether the digit to send has begun already."""
        return bool(self._queue) and self._queue[0].timestamp >= 0

    def cancel(self) -> None:
        """The call is over: who waits goes on."""
        for pressed in self._queue:
            if not pressed.done.done():
                pressed.done.set_result(None)
        self._queue.clear()

    def _release(self) -> None:
        pressed = self._queue.popleft()
        self._gap = GAP_FRAMES
        if not pressed.done.done() and not any(other.done is pressed.done for other in self._queue):
            pressed.done.set_result(None)
