"""How calls go, as a whole: figures of all nodes over the last minutes or hours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from state import overview
from state.store import Store

Counts = dict[str, int]

WINDOWS = {15: (10, 1), 60: (10, 3), 360: (300, 1), 1440: (300, 2)}
"Minutes to the size of the slots that are read, and how many of them make one point."
CAUSES = 5
"Causes of failures that are told apart, the most frequent ones; all others are ``other``."


def figures(store: Store, minutes: int, now: float) -> dict[str, Any]:
    """Figures of the last ``minutes``, one of :data:`WINDOWS`, at Unix time ``now``: points up to the last that is
    over, and ``now``, which counts what came after it as well.

    ``step`` and ``pdd`` are in seconds, ``asr`` in percent; null: nothing is known of that time. Raises StoreError.
    """
    size, factor = WINDOWS[minutes]
    step = size * factor
    end = int(now // step) * factor
    slots = range(end - minutes * 60 // size, int(now // size) + 1)
    counted, live = overview.read(store, size, slots)
    points = [_sum(counted[at : at + factor]) for at in range(0, end - slots.start, factor)]
    unfinished = _sum(counted[end - slots.start :])
    whole = _sum([*points, unfinished])
    causes = _causes(whole)
    return {
        "minutes": minutes, "begin": slots.start * size, "end": end * size, "step": step,
        "calls_per_second": [round(point.get("begun", 0) / step, 3) for point in points],
        "concurrent": _concurrent(points, live - _growth(unfinished)),
        "asr": [_asr(point) for point in points],
        "pdd": [_pdd(point) for point in points],
        "failures": {cause: [_failures(point, cause, causes) for point in points] for cause in causes},
        "now": {
            "calls_per_second": points[-1].get("begun", 0) / step if points else 0.0, "concurrent": live,
            "asr": _asr(whole), "pdd": _pdd(whole), "calls": whole.get("begun", 0),
            "failures": sum(amount for what, amount in whole.items() if what.startswith("cause:")),
        },
    }  # fmt: skip


def _sum(parts: Sequence[Counts]) -> Counts:
    found: Counts = {}
    for part in parts:
        for what, amount in part.items():
            found[what] = found.get(what, 0) + amount
    return found


def _growth(counts: Counts) -> int:
    return counts.get("begun", 0) - counts.get("over", 0)


def _concurrent(points: Sequence[Counts], last: int) -> list[int]:
    """Calls at the end of each point, from how many there were at the end of the last, backwards."""
    found = []
    for point in reversed(points):
        # Calls that began before anything was counted may make it less than none.
        found.append(max(0, last))
        last -= _growth(point)
    return found[::-1]


def _asr(counts: Counts) -> float | None:
    """Of the calls that a gateway was tried for and whose fate became known: how many were answered."""
    answered = counts.get("answered", 0)
    seized = answered + counts.get("failed", 0) + counts.get("cancelled", 0)
    return round(100 * answered / seized, 1) if seized else None


def _pdd(counts: Counts) -> float | None:
    rang = counts.get("rang", 0)
    return round(counts.get("delay", 0) / rang / 1000, 3) if rang else None


def _causes(whole: Counts) -> list[str]:
    found = {what.removeprefix("cause:"): amount for what, amount in whole.items() if what.startswith("cause:")}
    ordered = sorted(found, key=lambda cause: (-found[cause], cause))
    return ordered[:CAUSES] + (["other"] if len(ordered) > CAUSES else [])


def _failures(point: Counts, cause: str, causes: Sequence[str]) -> int:
    if cause != "other":
        return point.get(f"cause:{cause}", 0)
    named: Callable[[str], bool] = lambda what: what.removeprefix("cause:") in causes  # noqa: E731
    return sum(amount for what, amount in point.items() if what.startswith("cause:") and not named(what))
