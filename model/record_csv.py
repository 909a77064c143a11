"""Call records as rows of a CSV file; docs/records.md describes the columns."""

from __future__ import annotations

from datetime import UTC, datetime

from model.record import AttemptRecord, CallRecord

COLUMNS = (
    "began", "node", "call_id", "trunk", "caller", "callee", "route", "outcome", "status", "refusal", "gateway",
    "rang", "answered", "ended", "duration", "ended_by", "attempts", "emergency", "version", "call", "app", "reason",
    "cost", "currency", "limits", "relay", "fraud", "media_node", "media_seconds", "message", "recordings",
)  # fmt: skip


def row(record: CallRecord) -> tuple[object, ...]:
    """A record as the columns of a CSV file: times in UTC, seconds with milliseconds, empty where there is none."""
    last = record.attempts[-1] if record.attempts else None
    return (
        _time(record.began), record.node, record.call_id, record.trunk, record.caller, record.callee, record.route,
        record.outcome, record.status, record.refusal, record.gateway, _time(last.rang if last else None),
        _time(record.answered), _time(record.ended), f"{record.duration:.3f}", record.ended_by,
        " ".join(f"{attempt.gateway}={_short(attempt)}" for attempt in record.attempts),
        "yes" if record.emergency else "no", record.version, record.call, record.app, record.reason,
        record.cost, record.currency, " ".join(record.limits), record.relay, record.fraud, record.media_node,
        f"{record.media_seconds:.3f}", record.message, " ".join(record.recordings),
    )  # fmt: skip


def _short(attempt: AttemptRecord) -> str:
    if attempt.status is None:
        return "none"
    return ":".join(filter(None, (str(attempt.status), attempt.cause)))


def _time(unix_time: float | None) -> str:
    if unix_time is None:
        return ""
    return datetime.fromtimestamp(unix_time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
