"""CPU of switch and worker for each call, in paired blocks.

There are as many FreeSWITCHes as variants, all alike, and all variants are called at once: what else happens on the
machine happens to all of them. Who calls whom rotates with each block, so that no variant has a FreeSWITCH of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.media.callers import Calls, Does, scenario
from bench.media.freeswitch import FreeSwitch
from bench.media.worker import Worker

# Seconds after the last BYE for threads and connections to end.
SETTLE = 1.0
WARM_UP_CALLS = 10
# Seconds for which processes without calls are watched, before the first block and after each fourth.
IDLE = 3.0


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to serve the same calls."""

    name: str
    "Of the figures, and the number that is called."
    handover: dict[str, str]
    "Headers of its calls."
    does: Does
    worker: Worker | None = None
    "None: FreeSWITCH needs nobody."


@dataclass(slots=True)
class Blocks:
    """What was found: a value for each block, in milliseconds of CPU for each call."""

    busy: dict[str, list[float]] = field(default_factory=dict)
    "Without what switch and worker use when idle."
    all: dict[str, list[float]] = field(default_factory=dict)
    worker: dict[str, list[float]] = field(default_factory=dict)
    "Of ``all``, the worker's."


def seconds_of(pid: int) -> float:
    """CPU time of a process, all threads it has and had included, to the nanosecond.

    The identifier of another process's CPU clock is made as in clock_getcpuclockid(3).
    """
    return time.clock_gettime(~pid << 3 | 2)


def turn(variants: Sequence[Variant], switches: Sequence[FreeSwitch], number: int) -> dict[str, FreeSwitch]:
    """Which FreeSWITCH each variant has in a block."""
    return {one.name: switches[(place + number) % len(switches)] for place, one in enumerate(variants)}


class Rig:
    """Variants, and a FreeSWITCH for each."""

    def __init__(self, directory: Path, variants: Sequence[Variant], switches: Sequence[FreeSwitch]) -> None:
        self._variants, self._switches = variants, switches
        self._scenarios = {
            one.name: scenario(directory / "callers", one.name, one.handover, one.does) for one in variants
        }

    def blocks(self, count: int, calls: int, rate: float, progress: Callable[[str], None]) -> Blocks:
        """So many blocks of ``calls`` each. Raises CallsFailedError where any call went wrong."""
        found = Blocks()
        self._block(0, WARM_UP_CALLS, rate)
        idle = self._idle()
        for number in range(count):
            seconds, used = self._block(number, calls, rate)
            idle = self._idle() if number % 4 == 3 else idle
            where = turn(self._variants, self._switches, number)
            for one in self._variants:
                switch, worker = used[one.name]
                rest = idle[where[one.name].pid] + (idle[one.worker.pid] if one.worker else 0.0)
                found.all.setdefault(one.name, []).append((switch + worker) / calls * 1000)
                found.busy.setdefault(one.name, []).append((switch + worker - rest * seconds) / calls * 1000)
                found.worker.setdefault(one.name, []).append(worker / calls * 1000)
            values = ", ".join(f"{name} {found.busy[name][-1]:.2f}" for name in found.busy)
            progress(f"block {number + 1} of {count}: {values} ms")
        return found

    def _block(self, number: int, calls: int, rate: float) -> tuple[float, dict[str, tuple[float, float]]]:
        """Seconds that it took; CPU seconds of switch and worker for each variant."""
        where = turn(self._variants, self._switches, number)
        callers = [
            Calls(self._scenarios[one.name], where[one.name].sip_port, calls=calls, rate=rate) for one in self._variants
        ]
        began, before = time.monotonic(), self._used(where)
        try:
            for one in callers:
                one.start()
            for one in callers:
                one.wait()
        finally:
            for one in callers:
                one.kill()
        time.sleep(SETTLE)
        after = self._used(where)
        used = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after}
        return time.monotonic() - began, used

    def _used(self, where: dict[str, FreeSwitch]) -> dict[str, tuple[float, float]]:
        return {
            one.name: (seconds_of(where[one.name].pid), seconds_of(one.worker.pid) if one.worker else 0.0)
            for one in self._variants
        }

    def _idle(self, seconds: float = IDLE) -> dict[int, float]:
        """CPU seconds that each process uses in a second without calls."""
        pids = [one.pid for one in self._switches] + [one.worker.pid for one in self._variants if one.worker]
        before = {pid: seconds_of(pid) for pid in pids}
        time.sleep(seconds)
        return {pid: (seconds_of(pid) - before[pid]) / seconds for pid in pids}
