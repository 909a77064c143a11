"""Private memory of the workers that take calls."""

from __future__ import annotations

from pathlib import Path

from bench.sipp import flawless
from bench.variants import Variant

# Enough calls that each worker has met most of what it will ever keep.
RATE = 250.0


def megabytes(pid: int) -> float:
    """What the process would free if it ended: Private_Clean and Private_Dirty (proc(5), smaps_rollup)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def after_calls(variant: Variant, calls: int, *, refused: float) -> list[float]:
    """Megabytes of each UDP worker after so many calls."""
    callers = variant.callers(rate=RATE, calls=calls, refused=refused)
    try:
        callers.start()
        flawless(variant.kind.name, callers.wait())
    finally:
        callers.kill()
    return [megabytes(pid) for pid in variant.udp_workers()]
