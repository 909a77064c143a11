"""Whether Redis answers a process, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import Gauge

from telemetry.health import Check
from telemetry.registry import REGISTRY

UP = Gauge("strowger_redis_up", "Whether Redis answers this process.", registry=REGISTRY)
SECONDS = Gauge("strowger_redis_round_trip_seconds", "What one PING took, at the last scrape.", registry=REGISTRY)


def told(began: float, trouble: str) -> Check:
    """Keep what came of a PING sent at ``began`` (``time.monotonic``)."""
    took = time.monotonic() - began
    UP.set(not trouble)
    SECONDS.set(took)
    return Check("redis", not trouble, trouble or f"answers within {took * 1000:.1f} ms")


def checked(ping: Callable[[], None], away: type[Exception]) -> Check:
    """The same of a PING that is sent now; ``away`` is what it raises."""
    began = time.monotonic()
    try:
        ping()
    except away as error:
        return told(began, str(error))
    return told(began, "")
