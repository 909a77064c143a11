"""How well gateways carry calls: figures counted in slots of time, and what a route makes of them; plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

SLOT = 10
"Seconds that are counted together: a window is as exact as that."
WINDOW_MAX = 3600
"Seconds of the longest window."


class Figures(NamedTuple):
    """What became of attempts at a gateway, each counted when its end is known."""

    attempts: int = 0
    answered: int = 0
    rang: int = 0
    "Attempts in which something rang, or answered without ringing."
    delay: int = 0
    "Milliseconds until that, over all of them."
    ended: int = 0
    "Answered calls that are over."
    talk: int = 0
    "Milliseconds from answer to end, over all of them."

    @property
    def asr(self) -> float | None:
        """Answer-seizure ratio: the share of attempts that were answered, in percent; None without attempts."""
        return 100 * self.answered / self.attempts if self.attempts else None

    @property
    def acd(self) -> float | None:
        """Average call duration, in seconds; None where no call has ended."""
        return self.talk / self.ended / 1000 if self.ended else None

    @property
    def pdd(self) -> float | None:
        """Average post-dial delay: from the INVITE until something rings, in seconds; None where nothing did."""
        return self.delay / self.rang / 1000 if self.rang else None

    def as_dict(self) -> dict[str, float | int | None]:
        """For JSON: what was counted, and the three figures, rounded."""
        rounded = {name: _rounded(value) for name, value in (("asr", self.asr), ("acd", self.acd), ("pdd", self.pdd))}
        return {**rounded, "attempts": self.attempts, "answered": self.answered, "ended": self.ended}


NOTHING = Figures()
BySlot = Mapping[int, Mapping[str, Figures]]
"Slot (Unix time divided by SLOT) to gateway to what was counted."


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def added(one: Figures, other: Figures) -> Figures:
    """Both together."""
    return Figures(*map(sum, zip(one, other, strict=True)))


def slot_of(at: float) -> int:
    """The slot in which Unix time ``at`` lies."""
    return int(at // SLOT)


def slots(window: float, now: float) -> range:
    """The slots of the last ``window`` seconds; the one in which the window begins counts whole."""
    return range(slot_of(now - window), slot_of(now) + 1)


def summed(counted: BySlot, window: float, now: float) -> dict[str, Figures]:
    """What was counted in the last ``window`` seconds, by gateway."""
    found: dict[str, Figures] = {}
    for slot in slots(window, now):
        for gateway, figures in counted.get(slot, {}).items():
            found[gateway] = added(found.get(gateway, NOTHING), figures)
    return found


def merged(parts: Iterable[BySlot]) -> dict[int, dict[str, Figures]]:
    """What was counted in several places."""
    found: dict[int, dict[str, Figures]] = {}
    for part in parts:
        for slot, by_gateway in part.items():
            into = found.setdefault(slot, {})
            for gateway, figures in by_gateway.items():
                into[gateway] = added(into.get(gateway, NOTHING), figures)
    return found


@dataclass(frozen=True, slots=True)
class Bounds:
    """From where on one of the figures is held against a gateway; 0: never."""

    warn: float = 0.0
    "The gateway comes behind those without."
    critical: float = 0.0
    "It comes last, or is left out."


@dataclass(frozen=True, slots=True)
class Quality:
    """What a route makes of its gateways' figures."""

    window: float = 900.0
    "Seconds, the last."
    min_samples: int = 30
    "A figure of fewer is held against nobody."
    asr: Bounds = Bounds()
    "Percent; below."
    acd: Bounds = Bounds()
    "Seconds; below."
    pdd: Bounds = Bounds()
    "Seconds; above."
    critical: str = "last"
    "What becomes of a gateway with a critical figure: ``last`` or ``left_out``."
