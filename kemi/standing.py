"""How gateways stand now, in memory that all workers share; what :mod:`kemi.policy` asks beside the snapshot.

``table`` is Kamailio's htable module.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from kemi import health
from kemi.health import Health
from model.open_breaker import OpenBreaker

# Tables of kamailio.cfg.
HEALTH, TURNS, PROBED = "health", "turns", "probed"


class Standing:
    """The gateways of a node; ``draw`` gives numbers from 0 up to 1 by chance."""

    def __init__(self, table: Any, draw: Callable[[], float]) -> None:
        self._table, self._draw = table, draw

    def had_failures(self, gateway: str) -> bool:
        """Whether anything is known of a gateway at all."""
        return self._table.sht_get(HEALTH, gateway) is not None

    def health(self, gateway: str) -> Health | None:
        """What is known of a gateway that had failures; None: nothing."""
        text = self._table.sht_get(HEALTH, gateway)
        return None if text is None else Health.loads(text)

    def claim(self, gateway: str, now: float, until: float) -> bool:
        """Whether the trial that is due until Unix time ``until`` is this call's."""
        # Looked at again under the lock: no two calls get the same trial.
        return self.change(gateway, lambda known: health.claimed(known, now, until)).trial == until

    def told(self, gateway: str, trip: OpenBreaker, now: float) -> Health:
        """Take over a breaker that another node opened."""
        return self.change(gateway, lambda known: health.told(known, trip, now))

    def probe(self, uri: str) -> int:
        """Unix time since which a destination that is probed is away, negative since which it is there; 0: unknown."""
        return int(self._table.sht_get(PROBED, uri) or 0)

    def turn(self, route: str) -> int:
        """How many calls took their turn on this route before."""
        return int(self._table.sht_inc(TURNS, route)) - 1

    def draw(self) -> float:
        """A number by chance."""
        return self._draw()

    def change(self, gateway: str, change: Callable[[Health], Health | None]) -> Health:
        """Change what all workers know of a gateway, and return it; the change may be None: nothing."""
        self._table.sht_lock(HEALTH, gateway)
        try:
            before = Health.loads(self._table.sht_get(HEALTH, gateway)) or health.UNKNOWN
            after = change(before)
            if after is None or after == before:
                return before
            if after == health.UNKNOWN:
                self._table.sht_rm(HEALTH, gateway)
            else:
                self._table.sht_setxs(HEALTH, gateway, after.dumps(), max(1, int(after.expires(time.time()))))
            return after
        finally:
            self._table.sht_unlock(HEALTH, gateway)
