"""Lines over time as points of an SVG, pure; templates/charts.html draws them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from web.render import clock, when

WIDTH, HEIGHT = 600, 120
"Of the drawing, which is stretched to whatever room there is."
Values = Sequence[float | int | None]


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    paths: tuple[str, ...]
    "Points of unbroken stretches, as `polyline` has them; a single one is drawn as a short stroke."
    values: str
    "For who points at it: values divided by commas, empty where there is none."


@dataclass(frozen=True, slots=True)
class Chart:
    """Series over one stretch of time, on one scale from 0."""

    id: str
    title: str
    unit: str
    current: str
    "What stands large beside the title."
    lines: tuple[Line, ...]
    scale: tuple[str, str, str]
    "What stands beside the top, the middle and the bottom."
    times: tuple[str, str, str]
    "And below: the beginning, the middle, the end."
    begin: float
    step: float
    summary: str
    "For who cannot see it."


def chart(
    id: str, title: str, unit: str, series: Mapping[str, Values], *, begin: float, step: float, current: str,
    least: float = 1.0,
) -> Chart:  # fmt: skip
    """Draw ``series``, whose scale reaches up to ``least`` at least."""
    known = [value for values in series.values() for value in values if value is not None]
    top = _round(max([*known, least]))
    count = max((len(values) for values in series.values()), default=0)
    end = begin + step * count
    lines = tuple(Line(name, _paths(values, top), ",".join(map(_text, values))) for name, values in series.items())
    summary = f"{title}: {current} {unit}, at most {_text(max(known, default=0))} since {when(begin)}"
    return Chart(
        id=id, title=title, unit=unit, current=current, lines=lines, scale=(_text(top), _text(top / 2), "0"),
        times=(_minute(begin), _minute((begin + end) / 2), _minute(end)), begin=begin, step=step, summary=summary,
    )  # fmt: skip


def _paths(values: Values, top: float) -> tuple[str, ...]:
    apart = WIDTH / max(1, len(values) - 1)
    stretches: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(f"{index * apart:.1f},{HEIGHT - HEIGHT * min(value, top) / top:.1f}")
    # Of a single point a line is drawn that is as wide as its stroke.
    return tuple(" ".join(found if len(found) > 1 else found * 2) for found in stretches if found)


def _round(value: float) -> float:
    """A round number that is not below ``value``."""
    power: float = 10 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10) if factor * power >= value * 0.9999)


def _text(value: float | int | None) -> str:
    return "" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")


def _minute(at: float) -> str:
    return clock(at)[:5]


def overview(found: Mapping[str, Any]) -> list[Chart]:
    """The charts of what operations/overview.py gives."""
    now: Mapping[str, Any] = found["now"]
    over: dict[str, float] = {"begin": found["begin"], "step": found["step"]}
    return [
        chart("rate", "Calls per second", "", {"calls/s": found["calls_per_second"]}, **over,
              current=f"{now['calls_per_second']:.1f}"),
        chart("concurrent", "Concurrent calls", "", {"calls": found["concurrent"]}, **over, least=4.0,
              current=str(now["concurrent"])),
        chart("asr", "Answer-seizure ratio", "%", {"percent": found["asr"]}, **over, least=100.0,
              current="-" if now["asr"] is None else f"{now['asr']:.1f}"),
        chart("pdd", "Post-dial delay", "s", {"seconds": found["pdd"]}, **over,
              least=0.01, current="-" if now["pdd"] is None else f"{now['pdd']:.3g}"),
        chart("failures", "Failures by cause", "", found["failures"], **over, least=4.0, current=str(now["failures"])),
    ]  # fmt: skip
