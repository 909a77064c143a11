"""What went over all connections to the switch; plain numbers, since each command and event comes by."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from media.esl.message import Event

SAMPLED = 32
"Of so many events the lag of one is looked at: its header has to be searched for."
KEPT = 1000
"Lags that are kept until somebody takes them."
_STAMP = "Event-Date-Timestamp"
"When the switch made the event: Unix time in microseconds."


@dataclass(slots=True)
class Traffic:
    """Counts since this process began."""

    commands: int = 0
    events: int = 0
    lags: list[float] = field(default_factory=list)
    "Seconds from the making of an event to its being read here; none below zero."

    def event(self, event: Event) -> None:
        """One more."""
        self.events += 1
        if self.events % SAMPLED == 1 and len(self.lags) < KEPT:
            stamp = event.get(_STAMP) or ""
            if stamp.isascii() and stamp.isdigit():
                self.lags.append(max(0.0, time.time() - int(stamp) / 1e6))

    def take_lags(self) -> list[float]:
        """Those sampled since the last time."""
        found, self.lags = self.lags, []
        return found


TRAFFIC = Traffic()
