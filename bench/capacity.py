"""The most calls a second without a single failure or retransmission, with Kamailio held to a share of a core."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from bench import quota
from bench.variants import Variant

# Of one core: little enough that SIPp, on the same machine, is never what gives way first.
SHARE = 0.25
START = 100.0
# Until the bounds of a search are this close; then it says the lower one.
CLOSE = 1.04


class NoQuotaError(Exception):
    """This machine lets nobody hold processes to a share of a core."""


def searches(
    variants: Sequence[Variant], *, rounds: int, seconds: float, progress: Callable[[str], None]
) -> dict[str, list[float]]:
    """Calls a second, a list of searches for each variant. Their probes take turns.

    Raises :class:`NoQuotaError`.
    """
    found: dict[str, list[float]] = {variant.kind.name: [] for variant in variants}
    bounds = dict.fromkeys(found, (START, START * 2))
    with ExitStack() as stack:
        for variant in variants:
            if not stack.enter_context(quota.held(variant.pids(), SHARE)):
                raise NoQuotaError("no cgroup can be made here")
        for number in range(rounds):
            searching = {variant.kind.name: Search(*bounds[variant.kind.name]) for variant in variants}
            while any(not search.done for search in searching.values()):
                for variant in variants:
                    search = searching[variant.kind.name]
                    if not search.done:
                        search.tell(_carries(variant, search.rate, seconds))
            for name, search in searching.items():
                found[name].append(search.low)
                bounds[name] = (search.low / 1.06, search.low * 1.06)
            progress(
                f"search {number + 1} of {rounds}: " + ", ".join(f"{n} {s.low:.0f}/s" for n, s in searching.items())
            )
    return found


class Search:
    """Finds the highest rate that is carried: doubling or halving until it lies between two rates, then bisecting."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._low_known = self._high_known = False

    @property
    def done(self) -> bool:
        """Whether the bounds are close enough."""
        return self._low_known and self._high_known and self.high / self.low <= CLOSE

    @property
    def rate(self) -> float:
        """The next to try."""
        if not self._low_known:
            return self.low
        return (self.low * self.high) ** 0.5 if self._high_known else self.high

    def tell(self, carried: bool) -> None:
        """What became of :attr:`rate`."""
        rate = self.rate
        if carried:
            step = self.high / self.low
            self.low, self._low_known = rate, True
            if not self._high_known and rate >= self.high:
                self.high = rate * step
        else:
            step = self.high / self.low
            self.high, self._high_known = rate, True
            if rate <= self.low:
                self.low = rate / step


def _carries(variant: Variant, rate: float, seconds: float) -> bool:
    callers = variant.callers(rate=rate, calls=round(rate * seconds))
    try:
        callers.start()
        outcome = callers.wait()
    finally:
        callers.kill()
    return outcome.failed == 0 and outcome.retransmissions == 0
