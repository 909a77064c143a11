"""The order of a route's gateways by how well they carry calls; pure.

Each figure is judged by itself, once it has enough samples: attempts for ASR, calls that ended for ACD, attempts that
rang for PDD. A gateway's grade is its worst. The order that the strategy gives is kept among gateways of one grade.

A gateway that is held back gets fewer calls, so its samples age out, and with too few of them nothing is held against
it: it is back at its place, and its next calls tell anew. While old samples are left, new ones are judged with them,
so that a gateway which is still bad goes back after a few calls, and one that has recovered stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from kemi.view import View
from model.policy import Route, Strategy
from model.quality import NOTHING, Bounds, Figures, Quality

WELL, WARN, CRITICAL = 0, 1, 2
# Calls shorter than this count for less, in proportion: false answers make a good ASR of very short ones.
USUAL_TALK = 60.0

Step = tuple[str, str, str]
QUALITY = Strategy.QUALITY


class Judged:
    """A route's gateways in the order of their figures."""

    __slots__ = ("_counted", "_rule", "_steps", "left_out")

    def __init__(self, rule: Quality, view: View, now: float, steps: list[Step]) -> None:
        """What is found goes into ``steps``."""
        self._rule, self._steps = rule, steps
        self._counted = view.figures(rule.window, now)
        self.left_out: list[str] = []
        "Those that :meth:`order` left out, in its order: for the case that nobody else is to be called."

    def order(self, names: Iterable[str]) -> Iterator[str]:
        """``names`` with those behind that have a figure against them; asks for no more names than it is asked for."""
        judged = self._counted.judged.setdefault(self._rule, {})
        behind: list[str] = []
        last: list[str] = []
        for name in names:
            found = judged.get(name)
            if found is None:
                found = judged[name] = judge(self._counted.get(name, NOTHING), self._rule)
            grade, why = found
            if grade == WELL:
                yield name
                continue
            out = grade == CRITICAL and self._rule.critical == "left_out"
            where = "behind the others" if grade == WARN else "left out" if out else "last"
            self._steps.append(("quality", name, f"{why}: {where}"))
            (behind if grade == WARN else self.left_out if out else last).append(name)
        yield from behind
        yield from last

    def best_first(self, names: Iterable[str]) -> list[str]:
        """``names`` by their scores, those in front that have too few samples for one."""
        scored = self._counted.scored.setdefault(self._rule, {})
        order = []
        for place, name in enumerate(names):
            found = scored.get(name)
            if found is None:
                found = scored[name] = _scored(self._counted.get(name, NOTHING), self._rule)
            order.append((-found[0], place, name))
            self._steps.append(("quality", name, found[1]))
        return [name for _, _, name in sorted(order)]


def _scored(figures: Figures, rule: Quality) -> tuple[float, str]:
    """A gateway's score, infinite where it has none, and what is said of it."""
    own = score(figures, rule)
    found = "too few samples" if own is None else f"score {own:.1f}"
    return inf if own is None else own, f"{found}: {told(figures)} in {_minutes(rule.window)}"


def score(figures: Figures, rule: Quality) -> float | None:
    """How good a gateway is: ASR in percent, less where calls are short, less a point for each second of PDD.

    None where there are too few attempts to say. Of the other two, one with too few samples counts for nothing.
    """
    if figures.asr is None or figures.attempts < rule.min_samples:
        return None
    talk = min(1.0, (figures.acd or 0.0) / USUAL_TALK) if figures.ended >= rule.min_samples else 1.0
    delay = figures.pdd or 0.0 if figures.rang >= rule.min_samples else 0.0
    return figures.asr * talk - delay


def judge(figures: Figures, rule: Quality) -> tuple[int, str]:
    """The grade of a gateway, and the worst that is held against it, in words."""
    worst, why = WELL, ""
    if figures.attempts < rule.min_samples and not figures.ended and not figures.rang:
        return worst, why
    for name, value, samples, bounds, sign, unit in (
        ("ASR", figures.asr, figures.attempts, rule.asr, -1, " %"),
        ("ACD", figures.acd, figures.ended, rule.acd, -1, " s"),
        ("PDD", figures.pdd, figures.rang, rule.pdd, 1, " s"),
    ):
        if value is None or samples < rule.min_samples:
            continue
        grade = _grade(value * sign, bounds, sign)
        if grade > worst:
            limit = bounds.critical if grade == CRITICAL else bounds.warn
            which = f"{'critical' if grade == CRITICAL else 'warn'} {'above' if sign > 0 else 'below'} {limit:g}{unit}"
            of = f"{samples} {'calls' if name == 'ACD' else 'attempts'}"
            worst, why = grade, f"{name} {value:.3g}{unit} of {of} in {_minutes(rule.window)}, {which}"
    return worst, why


def _grade(value: float, bounds: Bounds, sign: int) -> int:
    """``value`` and the bounds are made such that more is worse."""
    if bounds.critical and value > bounds.critical * sign:
        return CRITICAL
    return WARN if bounds.warn and value > bounds.warn * sign else WELL


def told(figures: Figures) -> str:
    """The figures in words."""
    parts = [f"ASR {figures.asr:.3g} % of {figures.attempts}" if figures.asr is not None else "no attempt"]
    parts += [f"ACD {figures.acd:.3g} s"] if figures.acd is not None else []
    parts += [f"PDD {figures.pdd:.3g} s"] if figures.pdd is not None else []
    return ", ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def rule_of(route: Route) -> Quality:
    """The rule of a route that goes by quality."""
    return route.quality or Quality()
