"""The snapshot's record of how well gateways carry calls; a worker reads it where a route goes by quality."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache

from model.quality import BySlot, Figures, Quality, summed


class Counted(dict[str, Figures]):
    """Gateway to what was counted of it; with room for what is made of that, which serves until it is counted anew."""

    __slots__ = ("judged", "scored")

    def __init__(self, figures: Mapping[str, Figures]) -> None:
        super().__init__(figures)
        self.judged: dict[Quality, dict[str, tuple[int, str]]] = {}
        self.scored: dict[Quality, dict[str, tuple[float, str]]] = {}


Windows = dict[float, Counted]
"Seconds to what was counted in the last so many seconds."


def record(counted: BySlot, windows: Iterable[float], now: float) -> bytes:
    """What was counted, for windows of so many seconds that end at Unix time ``now``."""
    return json.dumps([now, {window: summed(counted, window, now) for window in windows}]).encode()


@lru_cache(maxsize=4)
def read(raw: bytes) -> tuple[float, Windows]:
    """When a record was made (Unix time), and what it holds."""
    at, windows = json.loads(raw)
    return at, {
        float(window): Counted({gateway: Figures(*figures) for gateway, figures in by_gateway.items()})
        for window, by_gateway in windows.items()
    }
