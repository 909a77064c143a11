"""Calls that are under way, on all nodes, from the events that each node's agent keeps in Redis until they are over."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

from agent.call_events import context, under_way
from state import keys
from state.store import Store, _away

Event = dict[str, Any]
Row = dict[str, Any]
PAGE = 100


class State(StrEnum):
    """How far a live call is."""

    ASKING = "asking"
    "Its route hook is asked."
    CALLING = "calling"
    "A gateway is tried, and may be ringing."
    ANSWERED = "answered"
    BROKEN_OFF = "broken-off"
    "Kamailio ended while it was being set up; its caller may yet send it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A call that is not over."""

    call: str
    node: str
    events: list[Event]

    @property
    def state(self) -> State | None:
        """None: it has ended, and only waits for what voicemail has to say."""
        kinds = [event["event"] for event in self.events]
        if "ended" in kinds:
            return None
        if "answered" in kinds:
            return State.ANSWERED
        if kinds[-1] == "started":
            return State.BROKEN_OFF
        return State.CALLING if "decided" in kinds else State.ASKING

    def row(self, now: float) -> Row:
        """As it is shown; times are Unix times in seconds."""
        answered = next((event["at"] for event in self.events if event["event"] == "answered"), None)
        decided = next((event for event in self.events if event["event"] == "decided"), self.events[0])
        gateway = under_way(self.events)
        failed = [event["gateway"] for event in self.events if event["event"] == "failed"]
        app = next((event["app"] for event in reversed(self.events) if "app" in event), "")
        return {
            **context(self.node, self.call, self.events),
            "state": self.state,
            "gateway": gateway,
            "tried": [*failed, *([gateway] if gateway else [])],
            "app": app,
            "emergency": decided.get("emergency", False),
            "began": self.events[0]["at"],
            "answered": answered,
            "seconds": round(max(0.0, now - (answered or self.events[0]["at"])), 1),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which calls are wanted; what is empty does not matter."""

    trunk: str = ""
    gateway: str = ""
    "That it is at now."
    caller: str = ""
    "As the call has it, or how that begins, with a * behind."
    callee: str = ""
    state: str = ""
    node: str = ""

    def passes(self, row: Row) -> bool:
        """Whether a row is wanted."""
        return (
            self.trunk in ("", row["trunk"])
            and self.gateway in ("", row["gateway"])
            and self.state in ("", row["state"])
            and self.node in ("", row["node"])
            and _fits(self.caller, row["caller"])
            and _fits(self.callee, row["callee"])
        )


def _fits(wanted: str, number: str) -> bool:
    return number.startswith(wanted[:-1]) if wanted.endswith("*") else wanted in ("", number)


def page(store: Store, wanted: Filter, *, after: str = "", limit: int = PAGE) -> Row:
    """Live calls, the newest first: ``calls``, ``total`` of all pages, and ``after`` for the next one, or None.

    Raises :class:`state.store.StoreError`.
    """
    now = time.time()
    rows = [row for live in everywhere(store) if live.state is not None and wanted.passes(row := live.row(now))]
    rows.sort(key=_mark, reverse=True)
    rest = [row for row in rows if not after or _mark(row) < after]
    shown = rest[:limit]
    return {"calls": shown, "total": len(rows), "after": _mark(shown[-1]) if len(rest) > limit else None}



def _mark(row: Row) -> str:
    # Sorts as the rows do: microseconds of this century have 16 digits.
    return f"{int(row['began'] * 1_000_000):016d}-{row['call']}"


def everywhere(store: Store) -> Iterator[Live]:
    """Every call that some node's agent takes for not over, in no order."""
    for node in nodes(store):
        with _away():
            for call, events in store._redis.hscan_iter(keys.spool(node), count=500):
                if call != "position":
                    yield Live(call=call, node=node, events=json.loads(events))


def nodes(store: Store) -> list[str]:
    """The nodes that are live or died."""
    with _away():
        return sorted(cast("set[str]", store._redis.smembers(keys.NODES)))


def find(store: Store, wanted: str) -> Live | None:
    """The live call with this id or Call-ID; None where there is none."""
    for node in nodes(store):
        with _away():
            events = cast("str | None", store._redis.hget(keys.spool(node), wanted)) if wanted != "position" else None
        if events:
            return Live(call=wanted, node=node, events=json.loads(events))
    marked = json.dumps(wanted)
    for node in nodes(store):
        with _away():
            for call, events in store._redis.hscan_iter(keys.spool(node), count=500):
                # A text is looked for before it is decoded, which costs much more.
                if call != "position" and marked in events:
                    live = Live(call=call, node=node, events=json.loads(events))
                    if live.events[0]["call_id"] == wanted:
                        return live
    return None
