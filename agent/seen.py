"""What a node has seen of gateways by itself, as its agent's threads share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.samples import Sample
from model.policy import owner
from model.quality import NOTHING, WINDOW_MAX, Figures, added, merged, slot_of

BySlot = dict[int, dict[str, Figures]]


def counted(samples: Iterable[Sample]) -> BySlot:
    """Samples by slot and gateway."""
    found: BySlot = {}
    for one in samples:
        slot = found.setdefault(slot_of(one.at), {})
        whole = owner(one.gateway)
        slot[whole] = added(slot.get(whole, NOTHING), one.figures)
    return found


@dataclass(slots=True)
class Seen:
    """Signs of life, and what could not be added to the counts in Redis yet."""

    _signs: dict[str, float] = field(default_factory=dict)
    _kept: BySlot = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def heard(self, samples: Iterable[Sample]) -> None:
        """Take signs of life from samples."""
        for one in samples:
            if one.sign > self._signs.get(one.gateway, 0.0):
                self._signs[one.gateway] = one.sign

    def signs(self) -> Mapping[str, float]:
        """Gateway to the Unix time at which it showed this node last that it works."""
        return self._signs

    def keep(self, samples: Iterable[Sample]) -> None:
        """Keep samples that Redis, which is away, does not count."""
        with self._lock:
            oldest = slot_of(time.time() - WINDOW_MAX)
            kept = merged((self._kept, counted(samples)))
            self._kept = {slot: found for slot, found in kept.items() if slot >= oldest}

    def shipped(self) -> None:
        """Redis counts all of them, or will: the spool is read again from where it is with Redis."""
        with self._lock:
            self._kept = {}

    def kept(self) -> BySlot:
        """What Redis does not count."""
        return self._kept
