"""The timers of RFC 3261, table 4, and the clock that they run by. In seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

T1 = 0.5
"Estimated round trip."
T2 = 4.0
"Longest interval between retransmissions of what is not an INVITE, and of final replies."
T4 = 5.0
"How long a message stays in the network."
TIMEOUT = 64 * T1
"Timers B, F, H, J, L and M."
TIMER_D = 32.0


class Timer(Protocol):
    def cancel(self) -> None: ...


class Clock(Protocol):
    """What an event loop offers of this is enough; a test has its own."""

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer: ...


class Retransmission:
    """Does something again after ``T1``, twice that and so on, up to ``longest`` apart, until it is stopped."""

    def __init__(self, clock: Clock, action: Callable[[], object], *, longest: float = TIMEOUT) -> None:
        self._clock, self._action, self._longest = clock, action, longest
        self._interval = T1
        self._timer: Timer | None = clock.call_later(self._interval, self._fire)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def slow_down(self) -> None:
        """From the next on, wait as long as ever (RFC 3261, 17.1.2.2: a provisional reply came)."""
        self._interval = self._longest

    def _fire(self) -> None:
        self._interval = min(self._interval * 2, self._longest)
        self._timer = self._clock.call_later(self._interval, self._fire)
        self._action()
