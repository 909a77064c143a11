"""The records of calls that are over, of all nodes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from model import record_csv
from model.record import CallRecord, Outcome
from operations.changes import Row
from operations.errors import InvalidError, MissingError
from state import record_delivery, records
from state.store import Store, StoreError

# Seconds by which the clocks of a node and of Redis may differ.
CLOCKS = 600.0
_ID = re.compile(r"\d{1,15}-\d{1,15}")


class Format(StrEnum):
    """How records are exported."""

    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which records are wanted; what is empty does not matter."""

    caller: str = ""
    callee: str = ""
    gateway: str = ""
    outcome: Outcome | None = None
    route: str = ""
    since: float = 0.0
    "Unix time."
    until: float = float("inf")
    "Unix time."

    def passes(self, record: CallRecord) -> bool:
        """Whether a record is wanted."""
        return (
            self.caller in ("", record.caller)
            and self.callee in ("", record.callee)
            and self.route in ("", record.route)
            and self.outcome in (None, record.outcome)
            and (not self.gateway or any(attempt.gateway == self.gateway for attempt in record.attempts))
            and self.since <= record.began < self.until
        )


def webhook(store: Store) -> Row:
    """How far the webhook has been told, and what it met last; ``waiting`` None: nobody knows. Raises StoreError."""
    known = record_delivery.progress(store)
    return {**asdict(known), "waiting": record_delivery.waiting(store, known)}


def page(store: Store, wanted: Filter, after: str, limit: int) -> tuple[list[Row], str]:
    """Records, the last one first, behind the id ``after`` if one is given; and where the next page begins.

    Raises InvalidError, StoreError.
    """
    if after and not _ID.fullmatch(after):
        raise InvalidError(f"after: {after[:40]!r} is no id of a record such as 1700000000000-0")
    found: list[Row] = []
    last = ""
    for id, record in records.newest(store, before=after):
        if not wanted.passes(record):
            continue
        if len(found) == limit:
            return found, last
        found.append(record.as_dict())
        last = id
    return found, ""


def exported(
    store: Store, wanted: Filter, format: Format, looked_at: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """Records as lines of a file, oldest first, with a heading if it is CSV. Raises StoreError.

    ``looked_at`` is called for each record, wanted or not.
    """
    if format is Format.CSV:
        yield _row(record_csv.COLUMNS)
    # A record is shipped after its call began.
    for record in records.oldest(store, wanted.since - CLOCKS):
        looked_at()
        if wanted.passes(record):
            yield _row(record_csv.row(record)) if format is Format.CSV else record.encode() + "\n"


def _row(cells: tuple[object, ...]) -> str:
    target = io.StringIO()
    csv.writer(target).writerow(cells)
    return target.getvalue()


def of_call(store: Store, spool: Path, call: str) -> Row:
    """What is recorded of a call, by its Call-ID or our id; of one not over or not shipped, what this node has of it.

    Raises MissingError.
    """
    known, events = found(store, spool, call)
    return {"records": [record.as_dict() for record in known], "events": events}


def found(store: Store, spool: Path, call: str) -> tuple[list[CallRecord], list[Row]]:
    """The same: records, or else events. Raises MissingError."""
    known, away = recorded(store, call)
    events = [] if known else list(past_call(spool, call))
    if not known and not events:
        raise MissingError(f"{f'{away}; this node has' if away else 'there is'} no record of a call {call}")
    return known, events


def recorded(store: Store, call: str) -> tuple[list[CallRecord], str]:
    """The records of a call by its Call-ID, or our id of it, oldest first; or why Redis does not tell."""
    try:
        found = [record for _, record in records.newest(store, call) if call in (record.call_id, record.call)]
    except StoreError as error:
        return [], str(error)
    return found[::-1], ""


def past_call(spool: Path, call: str) -> Iterator[dict[str, Any]]:
    """The events of the call with this Call-ID, or this id of ours, oldest first, as this node has them."""
    wanted: set[str] = {call}
    for path in sorted(spool.glob("calls-*.jsonl")):
        # One that the agent removes meanwhile is older than any call that is not shipped.
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as lines:
            for event in map(_event, lines):
                if event.get("call_id") == call:
                    wanted.add(event["call"])
                if event["call"] in wanted:
                    yield event


def _event(line: str) -> dict[str, Any]:
    # A full disk or a power cut may leave part of a line.
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) and "call" in event else {"call": None}
