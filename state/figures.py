"""The snapshot's record of how well gateways carry calls; a worker reads it where a route goes by quality."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache

from model.quality import BySlot, Figures, summed

Windows = dict[float, dict[str, Figures]]
"Seconds to gateway to what was counted in the last so many seconds."


def record(counted: BySlot, windows: Iterable[float], now: float) -> bytes:
    """What was counted, for windows of so many seconds that end at Unix time ``now``."""
    return json.dumps([now, {window: summed(counted, window, now) for window in windows}]).encode()


@lru_cache(maxsize=4)
def read(raw: bytes) -> tuple[float, Windows]:
    """When a record was made (Unix time), and what it holds."""
    at, windows = json.loads(raw)
    return at, {
        float(window): {gateway: Figures(*figures) for gateway, figures in by_gateway.items()}
        for window, by_gateway in windows.items()
    }
