"""The hook process's metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from telemetry.registry import REGISTRY

ANSWERS = Counter("strowger_hook_answers", "What came of questions: answered, time-out, connection and so on.",
                  ["hook", "result"], registry=REGISTRY)  # fmt: skip
SECONDS = Histogram(
    "strowger_hook_answer_seconds", "From a question to its answer, of those that were answered.", ["hook"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0), registry=REGISTRY,
)  # fmt: skip
OUTSTANDING = Gauge("strowger_hook_outstanding", "Questions that wait for an answer.", ["hook"], registry=REGISTRY)
LATE = Counter("strowger_hook_late", "Answers for which no call waited any more.", ["hook"], registry=REGISTRY)
