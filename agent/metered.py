"""What an event of the spool adds to the metrics of its node, pure.

No caller, callee or call is in it, so that none can come into a label.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from agent.samples import SUBSCRIBER, under_way
from model.policy import owner

Event = dict[str, Any]

DECISION, DECISION_TIME, ATTEMPT, DIAL_DELAY, TALK = "decision", "decision time", "attempt", "dial delay", "talk"
RELAYED, TO_MEDIA = "relay", "media"
"What became of a decision, where it was no refusal: that has its id."
ANSWERED, CANCELLED = "answered", "cancelled"
SUBSCRIBERS = "(subscribers)"
"Stands for all subscribers' phones, whose names may be numbers."


class Metered(NamedTuple):
    """One thing to count."""

    what: str
    labels: tuple[str, ...] = ()
    "Outcome of a decision; gateway and cause of an attempt; gateway of a delay."
    value: float = 1.0
    "Seconds, of what takes time."


def metered(events: list[Event]) -> list[Metered]:
    """What the last of a call's events so far adds."""
    last, before = events[-1], events[:-1]
    match last["event"]:
        case "decided" if _is_carried_out(before):
            return _decided(last)
        case "failed":
            return [Metered(ATTEMPT, (_named(last["gateway"]), last["cause"])), *_rang(before, last)]
        case "cancelled" if gateway := under_way(before)[0]:
            return [Metered(ATTEMPT, (_named(gateway), CANCELLED)), *_rang(before, last)]
        case "answered" if not any(event["event"] == "answered" for event in before):
            return [Metered(ATTEMPT, (_named(under_way(before)[0]), ANSWERED)), *_rang(before, last)]
        case "ended" if not any(event["event"] == "ended" for event in before):
            answers = [event["at"] for event in before if event["event"] == "answered"]
            return [Metered(TALK, (), max(0.0, last["at"] - answers[0]))] if answers else []
    return []


def _is_carried_out(before: list[Event]) -> bool:
    # Of an INVITE that came twice the first decision was carried out, unless Kamailio ended meanwhile.
    return not before or before[-1]["event"] in ("asked", "started")


def _decided(event: Event) -> list[Metered]:
    outcome = event.get("refusal") or (TO_MEDIA if "app" in event else RELAYED)
    took = event.get("took_us")
    return [Metered(DECISION, (outcome,)), *([Metered(DECISION_TIME, (), took / 1e6)] if isinstance(took, int) else [])]


def _rang(before: list[Event], last: Event) -> list[Metered]:
    """From the INVITE to the first that rang, or answered without having rung; each call has one such delay at most."""
    if not before or any(_rung(event) is not None for event in before):
        return []
    rang = _rung(last)
    if rang is None and last["event"] == "answered":
        rang = last["at"]
    gateway = last["gateway"] if last["event"] == "failed" else under_way(before)[0]
    return [] if rang is None else [Metered(DIAL_DELAY, (_named(gateway),), max(0.0, rang - before[0]["at"]))]


def _rung(event: Event) -> float | None:
    return told if isinstance(told := event.get("rang"), int | float) else None


def _named(gateway: str) -> str:
    return SUBSCRIBERS if gateway.startswith(SUBSCRIBER) else owner(gateway)
