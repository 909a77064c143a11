"""Figures, their spread, and whether they meet their goals; pure."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure has to be: at most, or at least, ``limit``."""

    limit: float
    at_least: bool = False

    def met(self, low: float, high: float) -> bool | None:
        """Whether all of the interval is on the right side of the limit; None where it lies on both."""
        if math.isnan(low) or math.isnan(high):
            return None
        if self.at_least:
            return True if low >= self.limit else False if high < self.limit else None
        return True if high <= self.limit else False if low > self.limit else None

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure, as a line of the results."""

    figure: str
    value: float
    unit: str
    peer: str = ""
    "What it is compared with; empty: nothing."
    peer_value: float | None = None
    ratio: float | None = None
    "Value by peer's value; where blocks were paired, the middle of their ratios."
    low: float = math.nan
    "Bounds, 90 %, of what the goal speaks of: the ratio, or where there is no peer for it, the value."
    high: float = math.nan
    goal: Goal | None = None
    machine: str = ""
    command: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none, or the spread hides it."""
        return self.goal.met(self.low, self.high) if self.goal else None

    def line(self) -> str:
        """As a line of JSON."""
        record = asdict(self) | {"goal": str(self.goal) if self.goal else None, "met": self.met}
        numbers = {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in record.items()
        }
        return json.dumps(numbers, ensure_ascii=False)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least ``share`` of them do not exceed; NaN where there are none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def percentile_interval(values: Sequence[float], share: float) -> tuple[float, float]:
    """Bounds of :func:`percentile`, 90 %, whatever the distribution: between which of the values it lies.

    How many values fall below it is binomial. NaN for fewer than two values.
    """
    count = len(values)
    if count < 2:
        return math.nan, math.nan
    ordered, half = sorted(values), 1.645 * math.sqrt(count * share * (1 - share))
    low, high = math.floor(count * share - half) - 1, math.ceil(count * share + half) - 1
    return ordered[max(0, low)], ordered[min(count - 1, high)]


# Student's t at 95 %, one-sided, by degrees of freedom; beyond the table the normal distribution's.
_T = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Bounds of the mean by Student's t, 90 %: for a handful of blocks a bootstrap is too sure of itself."""
    freedom = len(values) - 1
    if freedom < 1:
        return math.nan, math.nan
    t = _T[freedom - 1] if freedom <= len(_T) else 1.70
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def paired(name: str, unit: str, own: Sequence[float], peer: str, other: Sequence[float], goal: Goal | None) -> Figure:
    """A figure from paired blocks: the ratio of each block counts, so what changes for both does not."""
    ratios = [mine / theirs for mine, theirs in zip(own, other, strict=True)]
    low, high = mean_interval(ratios)
    return Figure(
        name, statistics.fmean(own), unit, peer, statistics.fmean(other), statistics.fmean(ratios), low, high, goal
    )
