"""What an event of the spool, and the end of a call, add to the figures of all calls together; pure.

Each call is counted once, under the time of what is counted: ``begun``; ``rang`` with ``delay``, the milliseconds until
something rang or answered; ``answered``; ``over``, with ``refused``, ``failed``, ``cancelled`` or ``interrupted`` where
it was not answered, and ``cause:NAME`` where it was refused or failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from model.overview import SIZES, BySlot
from model.record import CallRecord, Outcome

Event = dict[str, Any]


class Tally(NamedTuple):
    """One thing to be counted."""

    at: float
    "Unix time."
    what: str
    amount: int = 1


def tallied(events: list[Event]) -> list[Tally]:
    """What the last of a call's events so far adds."""
    *before, last = events
    at, first = last["at"], not any(event["event"] == "answered" for event in before)
    found = [] if before else [Tally(at, "begun")]
    if last["event"] == "answered" and first:
        found.append(Tally(at, "answered"))
    if (progress := _progress(last)) is not None and all(_progress(event) is None for event in before):
        delay = max(0, round((progress - events[0]["at"]) * 1000))
        found += [Tally(progress, "rang"), Tally(progress, "delay", delay)]
    return found


def finished(record: CallRecord, at: float) -> list[Tally]:
    """What a call that is over adds; its last event was at Unix time ``at``."""
    at = record.ended or at
    found = [Tally(at, "over")]
    if record.outcome is not Outcome.ANSWERED:
        found.append(Tally(at, record.outcome.value))
    elif record.answered is None:
        # Nobody wrote down its answer.
        found.append(Tally(at, "answered"))
    if cause := _cause(record):
        found.append(Tally(at, f"cause:{cause}"))
    return found


def by_slot(tallies: Iterable[Tally]) -> BySlot:
    """Together, for each size of slots."""
    found: BySlot = {}
    for at, what, amount in tallies:
        for size in SIZES:
            counts = found.setdefault((size, int(at // size)), {})
            counts[what] = counts.get(what, 0) + amount
    return found


def _progress(event: Event) -> float | None:
    """When something rang, or answered without ringing, as an event tells it."""
    rang = event.get("rang")
    if isinstance(rang, int | float):
        return rang
    return event["at"] if event["event"] == "answered" else None


def _cause(record: CallRecord) -> str:
    """Of a call that failed, what its last gateway said; of one that was refused, by what."""
    if record.outcome is Outcome.REFUSED:
        return record.refusal
    if record.outcome is not Outcome.FAILED:
        return ""
    return (record.attempts[-1].cause if record.attempts else "") or record.refusal
