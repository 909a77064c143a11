"""Which breakers of other nodes this node goes by.

A gateway that dies fails on every node, while a link that breaks fails on one. What tells them apart is whether the
gateway showed this node a sign of life since it began to fail the other one. That is asked again and again, as long as
the other node's breaker is open: a sign that comes late still ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.seen import Seen
from model.open_breaker import OpenBreaker
from state import breakers
from state.store import Store

# Seconds: after a sign that came so lately, the next may be on its way.
LATELY = 0.3


def adopted(told: Iterable[OpenBreaker], node: str, signs: Mapping[str, float], now: float) -> dict[str, OpenBreaker]:
    """By gateway, the trips that ``node`` goes by at Unix time ``now``; of several the one that lasts longest.

    ``signs`` says when each gateway showed this node last that it works.
    """
    found: dict[str, OpenBreaker] = {}
    for trip in told:
        sign = signs.get(trip.gateway, 0.0)
        if trip.node == node or trip.over(now) or sign >= trip.since or sign > now - LATELY:
            continue
        if trip.gateway not in found or found[trip.gateway].until < trip.until:
            found[trip.gateway] = trip
    return found


@dataclass(slots=True)
class Adopting:
    """The trips in Redis as this node follows them, and what it makes of them."""

    store: Store
    node: str
    seen: Seen
    _told: dict[str, OpenBreaker] = field(default_factory=dict)
    _loaded: bool = False
    _adopted: dict[str, OpenBreaker] = field(default_factory=dict)
    _announced: dict[str, OpenBreaker] = field(default_factory=dict)

    @property
    def pending(self) -> bool:
        """Whether there is something to be asked again soon."""
        return bool(self._told)

    def load(self) -> None:
        """Read all of them. Raises :class:`state.store.StoreError`."""
        self._told, self._loaded = breakers.told(self.store), True

    def change(self, name: str, text: str) -> None:
        """Take over one that changed; an empty text: it is gone."""
        self._told.pop(name, None)
        if text:
            self._told[name] = OpenBreaker.decode(text)

    def texts(self, now: float) -> dict[str, str]:
        """What the snapshot's index has of them: gateway to the trip that this node goes by."""
        if not self._loaded:
            self.load()
        self._told = {name: trip for name, trip in self._told.items() if not trip.over(now)}
        self._adopted = adopted(self._told.values(), self.node, self.seen.signs(), now)
        return {gateway: trip.encode() for gateway, trip in self._adopted.items()}

    def announce(self) -> None:
        """Tell whoever watches what changed since the last time. Raises :class:`state.store.StoreError`."""
        if self._adopted == self._announced:
            return
        before, self._announced = self._announced, self._adopted
        for gateway, trip in self._adopted.items():
            if before.get(gateway) != trip:
                breakers.adopted(self.store, self.node, trip)
        for gateway, trip in before.items():
            if gateway not in self._adopted:
                breakers.dropped(self.store, self.node, trip)
