"""What waits for one client that follows events: bounded; the oldest give way, and it is told how many. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

SIZE = 1000
"Events that wait for a client, at most."


@dataclass(frozen=True, slots=True)
class Lost:
    """Events that a client did not get, and never will by itself."""

    count: int
    first: str
    "Id of the oldest: with ``since`` just before it they can be asked for again, while they are kept."
    last: str


@dataclass(slots=True)
class Waiting:
    """Events on their way to one client, in order."""

    size: int = SIZE
    _events: deque[tuple[str, str]] = field(default_factory=deque)
    _lost: int = 0
    _first: str = ""
    _last: str = ""

    def put(self, id: str, text: str) -> bool:
        """An event, as it will be sent; whether the oldest goes, as there is no room."""
        full = len(self._events) >= self.size
        if full:
            gone, _ = self._events.popleft()
            self._lost += 1
            self._first = self._first or gone
            self._last = gone
        self._events.append((id, text))
        return full

    def take(self) -> Lost | str | None:
        """What is to be sent next: first of all, what was lost before it; None: nothing waits."""
        if self._lost:
            lost = Lost(self._lost, self._first, self._last)
            self._lost, self._first, self._last = 0, "", ""
            return lost
        return self._events.popleft()[1] if self._events else None

    def __len__(self) -> int:
        return len(self._events)
