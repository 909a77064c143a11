"""How many calls something may have; :mod:`kemi.limits` says how that is kept to."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSED, LOCAL = "open", "closed", "local"
WHEN_AWAY = (OPEN, CLOSED, LOCAL)
PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a trunk, a subscriber, a gateway or a route, over all nodes together."""

    calls: int = 0
    "At once, from the INVITE to the end; 0: as many as come."
    per_second: int = 0
    "Begun within any second; 0: as many as come."
    when_away: str = LOCAL
    "What holds while Redis does not answer: one of :data:`WHEN_AWAY`."
    each: str = ""
    "Of a route, ``prefix``: each of its prefixes has as many by itself."

    def __str__(self) -> str:
        parts = [f"{self.calls} calls"] if self.calls else []
        return ", ".join([*parts, f"{self.per_second} a second"] if self.per_second else parts)
