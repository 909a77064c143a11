"""What a media worker tells Prometheus of what is counted without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from media.esl.tally import TRAFFIC
from telemetry import media as metrics
from telemetry.health import Check
from telemetry.registry import raised


def sample(
    status: Mapping[str, Any],
    refused: int,
    hits: int,
    misses: int,
    at_work: Mapping[str, int],
    ended: Mapping[tuple[str, str], int],
) -> None:
    """From a worker's status, its refused connections, how often speech was there, or not, and its scripts.

    ``at_work``: by label; ``ended``: by label and how.
    """
    for label, count in at_work.items():
        metrics.RUNNING.labels(label).set(count)
    for how, count in ended.items():
        raised(metrics.RUNS.labels(*how), count)
    metrics.CALLS.set(status["calls"])
    metrics.DRAINING.set(status["draining"])
    metrics.CONNECTED.set(status["switch"]["connected"])
    metrics.SCRIPTS.set(len(status["scripts"]))
    metrics.SCRIPTS_REFUSED.set(len(status["refused"]))
    metrics.INTERRUPTED.set(len(status["interrupted"]))
    raised(metrics.TAKEN, status["taken"])
    raised(metrics.REFUSED, refused)
    raised(metrics.BLOCKED, status["blocked"])
    raised(metrics.COMMANDS, TRAFFIC.commands)
    raised(metrics.EVENTS, TRAFFIC.events)
    raised(metrics.SPEECH.labels("hit"), hits)
    raised(metrics.SPEECH.labels("miss"), misses)
    for lag in TRAFFIC.take_lags():
        metrics.LAG.observe(lag)


def checks(status: Mapping[str, Any]) -> list[Check]:
    """Whether a worker takes calls, and what they find."""
    switch, refused = status["switch"], status["refused"]
    scripts = f"{len(status['scripts'])} in force" + (f"; refused: {', '.join(sorted(refused))}" if refused else "")
    under_way = f"{status['calls']} calls under way"
    return [
        Check("switch", switch["connected"], "connected" if switch["connected"] else switch["error"]),
        # Such as it was before an edit that does not load, a script is still in force.
        Check("scripts", bool(status["scripts"]) and not status["trouble"], status["trouble"] or scripts),
        Check("draining", not status["draining"], f"takes no new calls; {under_way}" if status["draining"] else "no"),
    ]
