"""CPU of Kamailio for each call, all variants at once, in paired blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.sipp import Callers, flawless, kill_all
from bench.variants import Variant
from bench.world import REFUSED_SHARE

# CPU of processes that are no Kamailio, in nanoseconds by name.
Beside = Callable[[Sequence[Variant]], dict[str, int]]

# Calls a second of each variant: low enough that none ever waits for another.
RATE = 40.0


def nanoseconds(pids: Sequence[int]) -> int:
    """CPU time that these processes have had, to the nanosecond (proc(5), schedstat: the first number)."""
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)


def idle(variants: Sequence[Variant], seconds: float) -> dict[str, float]:
    """Microseconds of CPU for each second that each variant uses without any call."""
    before = {variant.kind.name: nanoseconds(variant.pids()) for variant in variants}
    time.sleep(seconds)
    return {one.kind.name: (nanoseconds(one.pids()) - before[one.kind.name]) / 1000 / seconds for one in variants}


def nothing(_variants: Sequence[Variant]) -> dict[str, int]:
    """Nothing is measured beside."""
    return {}


def block(
    variants: Sequence[Variant], *, seconds: float, rate: float, first: int, refused: float = REFUSED_SHARE,
    beside: Beside = nothing,
) -> dict[str, float]:  # fmt: skip
    """Microseconds of CPU for each call of each variant, over the same ``seconds``; beginning with the ``first``.

    ``refused`` is the share of calls that a list refuses. What is measured ``beside`` is by as many calls.

    Raises :class:`bench.sipp.CallsFailedError` where any call went wrong.
    """
    turn = first % len(variants)
    order = [*variants[turn:], *variants[:turn]]
    calls = round(rate * seconds)
    callers: dict[str, Callers] = {one.kind.name: one.callers(rate=rate, calls=calls, refused=refused) for one in order}
    pids = {one.kind.name: one.pids() for one in order}
    before, others = {name: nanoseconds(own) for name, own in pids.items()}, beside(variants)
    try:
        for one in callers.values():
            one.start()
        outcomes = {name: flawless(name, one.wait()) for name, one in callers.items()}
    finally:
        kill_all(list(callers.values()))
    found = {name: (nanoseconds(pids[name]) - before[name]) / 1000 / outcomes[name].calls for name in before}
    return found | {name: (value - others[name]) / 1000 / calls for name, value in beside(variants).items()}


def blocks(
    variants: Sequence[Variant], *, count: int, seconds: float, progress: Callable[[str], None], rate: float = RATE,
    refused: float = REFUSED_SHARE, beside: Beside = nothing,
) -> dict[str, list[float]]:  # fmt: skip
    """Microseconds for each call, a list of blocks for each variant. The first block warms up and is left out."""
    found: dict[str, list[float]] = {}
    block(variants, seconds=min(5.0, seconds), rate=rate, first=0, refused=refused)
    for number in range(count):
        values = block(variants, seconds=seconds, rate=rate, first=number, refused=refused, beside=beside)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
        progress(
            f"block {number + 1} of {count}: " + ", ".join(f"{name} {value:.0f}" for name, value in values.items())
        )
    return found
