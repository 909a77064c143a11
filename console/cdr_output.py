"""Call records as lines for people, and as rows of a CSV file."""

from __future__ import annotations

from datetime import UTC, datetime

from console.output import when
from model.handover import DIRECT
from model.record import AttemptRecord, CallRecord, Outcome


def line(record: CallRecord) -> str:
    """A record on one line."""
    return (
        f"{when(record.began)}  {record.caller or '-':<16} {record.callee or '-':<16} {result(record):<24} "
        f"{', '.join(attempt.gateway for attempt in record.attempts) or '-':<24} {record.call_id}"
    )


def result(record: CallRecord) -> str:
    """Outcome, and what belongs to it."""
    match record.outcome:
        case Outcome.ANSWERED:
            return f"answered {record.duration:.1f} s"
        case Outcome.REFUSED | Outcome.FAILED:
            return f"{record.outcome} {record.status} {record.refusal}".rstrip()
        case _:
            return str(record.outcome)


def explained(record: CallRecord, *, live: str = "") -> list[str]:
    """A record as lines that say what was decided, what was tried and what came of it; ``live``: how far it is."""
    what = "emergency call, " if record.emergency else ""
    lines = [
        f"{when(record.began)} {what}{record.caller or '-'} calls {record.callee}: {live or result(record)}",
        f"  node {record.node}, policy version {record.version}"
        + (f", route {record.route}" if record.route else "")
        + (f", app {record.app}" if record.app else "")
        + (f", {record.reason}" if record.reason not in ("", DIRECT) else ""),
        *(f"  {what:<14} {subject:<24} {found}" for what, subject, found in record.steps),
    ]
    for number, attempt in enumerate(record.attempts, 1):
        under_way = live and attempt.ended is None
        how = "under way" if under_way else _attempt(attempt)
        lines.append(f"{_clock(attempt.began)} attempt {number} at {attempt.gateway}: {how}")
    if record.answered is not None:
        lines.append(f"{_clock(record.answered)} answered")
    if live:
        return lines
    if record.outcome is Outcome.ANSWERED:
        end = _clock(record.ended) if record.ended is not None else "its end is not known:"
        cost = f", {record.cost} {record.currency}" if record.cost else ""
        message = f", left message {record.message}" if record.message else ""
        lines.append(f"{end} ended by {record.ended_by}, {record.duration:.1f} s{cost}{message}")
    elif record.ended is not None:
        lines.append(f"{_clock(record.ended)} {result(record)}")
    return lines


def _attempt(attempt: AttemptRecord) -> str:
    rang = "" if attempt.post_dial_delay is None else f"rang after {attempt.post_dial_delay:.1f} s, "
    if attempt.ended is None:
        return f"{rang}broken off"
    took = f"after {attempt.ended - attempt.began:.1f} s"
    if attempt.local:
        return f"{rang}no reply {took} ({attempt.cause}, {attempt.why})"
    q850 = f" q850={attempt.q850}" if attempt.q850 is not None else ""
    cause = f" ({attempt.cause}, {attempt.why})" if attempt.cause else ""
    return f"{rang}{attempt.status}{q850} {took}{cause}"


def _clock(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).strftime("%H:%M:%S.%f")[:-3]
