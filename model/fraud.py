"""Guards against toll fraud: who calls how much, and from when on that is too much."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from model.rates import COST_UNIT, UNIT, cost_text

SUBSCRIBER, TRUNK, CALLER = "subscriber", "trunk", "caller"
PER = (SUBSCRIBER, TRUNK, CALLER)
MEASURES = ("calls", "minutes", "destinations", "sequential", "cost")
MINUTE = 60_000
"Milliseconds, in which minutes are counted."
WHO_MAX = 64
"Characters of a caller that are looked at: whoever writes more is one with those who begin alike."
RELEASED = "released by time"
"What the step of a decision says of a trip that is over."
STEPS = 48
"A window moves on by this part of its length: counts are kept of as many stretches, and one more."


class Threshold(NamedTuple):
    """Counts at which something happens; 0: it does not. Minutes in milliseconds, cost in 1/1,000,000."""

    warn: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True)
class Guard:
    """What is counted, of whom, and from which count on calls are refused."""

    name: str
    per: str
    "One of :data:`PER`."
    measures: Mapping[str, Threshold]
    "By name, of :data:`MEASURES`."
    prefixes: tuple[str, ...] = ("",)
    "Beginnings of called numbers, normalised, that it counts; the empty one: every number."
    each: bool = False
    "Whether each prefix is counted by itself."
    within: int = 86400
    "Seconds."
    block_for: int = 0
    "Seconds; 0: until an operator releases it."

    def prefix_of(self, number: str) -> str | None:
        """Under which prefix it counts calls to a number, empty where it does not tell them apart; None: it does not.

        Of several the longest.
        """
        found = [prefix for prefix in self.prefixes if number.startswith(prefix)]
        if not found:
            return None
        return max(found, key=len) if self.each else ""

    def field(self, prefix: str, who: str) -> str:
        """The name of what it counts of somebody; the name of a guard and a prefix have no slash."""
        return f"{self.name}/{prefix}/{who[:WHO_MAX]}"

    def counts(self, parties: Mapping[str, str], number: str) -> str:
        """The name of what it counts a call under; empty where it does not count it.

        ``parties`` are who calls, by :data:`PER`.
        """
        who = parties.get(self.per, "")
        prefix = self.prefix_of(number) if who else None
        return self.field(prefix, who) if prefix is not None else ""


def parted(field: str) -> tuple[str, str, str]:
    """Name of the guard, prefix, and whom it counts, of the name of what is counted."""
    guard, prefix, who = field.split("/", 2)
    return guard, prefix, who


@dataclass(frozen=True, slots=True)
class Trip:
    """A guard that refuses calls of somebody, or did."""

    guard: str
    prefix: str
    "Whose calls are meant; empty: all that the guard counts."
    who: str
    measure: str
    count: int
    "In the units of :class:`Threshold`, as the limit."
    limit: int
    at: float
    "Unix time."
    until: float = 0.0
    "Unix time at which it is over by itself; 0: it is not."
    calls: tuple[str, ...] = ()
    "Ids of the last calls that were counted."

    @property
    def field(self) -> str:
        """The name of what was counted."""
        return f"{self.guard}/{self.prefix}/{self.who}"

    @property
    def found(self) -> str:
        """The count, for people."""
        return f"{shown(self.measure, self.count)} of at most {shown(self.measure, self.limit)} {self.measure}"

    def live(self, now: float) -> bool:
        """Whether calls are refused for it at Unix time ``now``."""
        return not self.until or self.until > now

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def decode(cls, text: str | bytes) -> Trip:
        """From the JSON that Redis has of it (:mod:`state.fraud`)."""
        data = json.loads(text)
        # An empty table of Lua is an object.
        calls = data.pop("calls") or ()
        return cls(**data, calls=tuple(calls))


def shown(measure: str, count: int) -> str:
    """A count for people, without its measure."""
    if measure == "minutes":
        return f"{count / MINUTE:.1f}".removesuffix(".0")
    if measure == "cost":
        return cost_text(count).rstrip("0").removesuffix(".") if count >= 0 else f"-{cost_text(-count)}"
    return str(count)


def longest_run(numbers: Iterable[str]) -> int:
    """How many of these numbers follow upon one another, at most."""
    found, best = {parts for number in numbers if (parts := _parts(number))}, 0
    best = 1 if found else 0
    for head, digits, last in found:
        if (head, digits, last - 1) not in found:
            end = last
            while (head, digits, end + 1) in found:
                end += 1
            best = max(best, end - last + 1)
    return best


def _parts(number: str) -> tuple[str, int, int] | None:
    # As the script in Redis, which counts with no more digits than a double holds.
    digits = len(number) - len(number.rstrip("0123456789"))
    digits = min(digits, 9)
    return (number[:-digits], digits, int(number[-digits:])) if digits else None


def amount(units: int) -> int:
    """A cost as it is counted, from an amount of :mod:`model.rates`."""
    return max(1, units // (UNIT // COST_UNIT)) if units else 0
