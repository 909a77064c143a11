"""Metrics of what tells a URL of call records."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from telemetry.registry import REGISTRY

TOLD = Counter("strowger_records_told", "Call records that the webhook took from this process.", registry=REGISTRY)
LOST = Counter("strowger_records_lost", "Records that Redis kept no longer before they could be told.",
               registry=REGISTRY)  # fmt: skip
FAILED = Counter("strowger_records_tries_failed", "Tries that the webhook did not take.", registry=REGISTRY)
WAITING = Gauge("strowger_records_waiting", "Records that are not told yet.", registry=REGISTRY)
