"""The stream of events as it is kept: a page of it, and what it holds of one call."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from operations.errors import InvalidError
from operations.event_filters import Wanted
from state import keys
from state.store import Store, _away

Row = dict[str, Any]
PAGE = 1000
"Entries read at a time."
CLOCKS = 5.0
"Seconds by which the clocks of a node and of Redis may differ, and an event's line may wait in the spool."
OF_CALL = 500
"Events of one call that are shown, at most."
SCANNED = 100_000
"Entries looked at for one page, at most."


def row(id: str, entry: dict[str, str]) -> Row:
    """An event as everybody gets it."""
    try:
        data = json.loads(entry["data"])
    except (KeyError, ValueError):
        data = {}
    # Anybody may write into the stream, and one entry must not end it for all.
    data = data if isinstance(data, dict) else {}
    return {"id": id, "kind": entry.get("kind", ""), "at": _time(entry.get("at", "")), "data": data}


def _time(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def is_id(text: str) -> bool:
    """Whether it is an id of the stream: milliseconds, or those and a number behind a hyphen."""
    milliseconds, _, number = text.partition("-")
    return all(part.isascii() and part.isdigit() and len(part) < 20 for part in (milliseconds, number or "0"))


def ordered(id: str) -> tuple[int, int]:
    """An id as something that sorts."""
    milliseconds, _, number = id.partition("-")
    return int(milliseconds), int(number or 0)


def page(store: Store, wanted: Iterable[Wanted], *, since: str = "", limit: int = 100) -> tuple[list[Row], str]:
    """Events behind the id ``since``, or from the first that is kept; the id to go on from, empty at the end.

    Raises InvalidError, StoreError.
    """
    if since and not is_id(since):
        raise InvalidError(f"since: {since!r} is no id of an event such as 1700000000000-0")
    filters, found, after = tuple(wanted), list[Row](), f"({since}" if since else "-"
    for _ in range(SCANNED // PAGE):
        with _away():
            entries: Any = store._redis.xrange(keys.EVENTS, min=after, count=PAGE)
        for id, entry in entries:
            event = row(id, entry)
            if not filters or any(one.passes(event) for one in filters):
                found.append(event)
                if len(found) == limit:
                    return found, id
        if len(entries) < PAGE:
            return found, ""
        after = f"({entries[-1][0]}"
    return found, after[1:]


def of_call(store: Store, call: str, call_id: str, began: float, ended: float | None) -> list[Row]:
    """What the stream still holds of a call, oldest first. Raises StoreError."""
    marks = [json.dumps(text) for text in {call, call_id} if text]
    after, found = f"{max(0, int((began - CLOCKS) * 1000))}", list[Row]()
    end = f"{int(((ended or time.time()) + CLOCKS) * 1000)}"
    while len(found) < OF_CALL:
        with _away():
            entries: Any = store._redis.xrange(keys.EVENTS, min=after, max=end, count=PAGE)
        # A text is looked for before it is decoded, which costs much more.
        found += [row(id, entry) for id, entry in entries if any(mark in entry["data"] for mark in marks)]
        if len(entries) < PAGE:
            break
        after = f"({entries[-1][0]}"
    return found[:OF_CALL]
