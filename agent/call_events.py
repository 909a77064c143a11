"""What a call's lines in the spool tell of it to whoever follows the stream of events; pure.

Each line tells at most once, whatever comes twice, so an event is in the stream exactly as often as its line counts in
the record: the script that moves the position in the spool appends it.

Every event of a call has ``call``, ``call_id``, ``node``, ``trunk``, ``caller``, ``callee`` and ``route``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

Event = dict[str, Any]
KINDS = ("call.started", "call.refused", "attempt.failed", "call.answered", "call.ended", "limit.hit")
"Those that calls tell, besides what other rooms publish (state/events.py)."
_SUBJECTS = ("trunk", "caller", "callee")
_encode = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """An event for the stream."""

    kind: str
    at: float
    "Unix time of what happened."
    data: Event


def told(node: str, call: str, events: list[Event]) -> list[Told]:
    """What the last of a call's events so far tells."""
    last, before = events[-1], events[:-1]
    match last["event"]:
        case "decided":
            found = _decided(last, before)
        case "failed":
            found = [("attempt.failed", _failure(last)), *_hits(last)]
            if "next" not in last:
                found.append(("call.ended", _end("failed", told_to(last), last["cause"], last["gateway"])))
        case "cancelled":
            found = [("call.ended", _end("cancelled", 487, "cancelled", under_way(before)))]
        case "answered" | "ended" as kind if not any(event["event"] == kind for event in before):
            found = _talk(events, kind)
        case _:
            return []
    return [Told(kind, last["at"], context(node, call, events) | data) for kind, data in found]


def given_up(node: str, call: str, events: list[Event], outcome: str, status: int | None) -> list[Told]:
    """What is told of a call of which nothing more was heard."""
    kinds = {event["event"] for event in events}
    if {"answered", "ended"} <= kinds or "decided" not in kinds:
        # Told already, or never begun.
        return []
    data = context(node, call, events) | _end(outcome, status, "", under_way(events))
    return [Told("call.ended", events[-1]["at"], data)]


def encoded(events: Iterable[Told]) -> list[tuple[str, float, str]]:
    """As :func:`state.records.ship` takes them."""
    return [(kind, at, _encode(data).decode()) for kind, at, data in events]


def context(node: str, call: str, events: list[Event]) -> Event:
    """What every event of a call has."""
    decided = next((event for event in reversed(events) if event["event"] == "decided"), events[0])
    facts, found = decided["facts"], {"caller": "", "callee": "", "trunk": ""}
    for what, _, text in decided["steps"]:
        if what in _SUBJECTS:
            found[what] = text
    return {
        "call": call,
        "call_id": events[0]["call_id"],
        "node": node,
        "trunk": "" if found["trunk"] == "none" else found["trunk"],
        "caller": found["caller"] or facts.get("caller", ""),
        "callee": found["callee"] or facts.get("callee", ""),
        "route": decided.get("route", ""),
    }


def under_way(events: list[Event]) -> str:
    """The gateway that the call is at, or was last; empty: none was tried."""
    gateway, broken = "", True
    for event in events:
        match event["event"]:
            case "started":
                broken = True
            case "decided" if broken:
                # Of an INVITE that came twice, the first decision was carried out, unless Kamailio ended meanwhile.
                gateway, broken = event.get("gateways", [""])[0], False
            case "failed":
                gateway = event.get("next", gateway)
    return gateway


def told_to(failed: Event) -> int:
    """The status that the caller was told after the last failure."""
    # What is passed on is the gateway's reply; where nothing could be sent, there is none.
    status: int = failed["told"] if "told" in failed else 500 if failed["status"] == 477 else failed["status"]
    return status


def _decided(last: Event, before: list[Event]) -> list[tuple[str, Event]]:
    if before and before[-1]["event"] not in ("started", "asked"):
        return []  # the INVITE came twice
    hits = _hits(last)
    if "refusal" in last:
        return [*hits, ("call.refused", {"refusal": last["refusal"], "status": last["status"]})]
    if any(event["event"] == "decided" for event in before):
        return hits  # it goes on after a restart of Kamailio
    data = {"gateways": last["gateways"], "emergency": last.get("emergency", False)}
    if "app" in last:
        data |= {"app": last["app"], "reason": last.get("reason", "")}
    if origin := next((of for what, of, _ in last["steps"] if what == "returned"), ""):
        # Media sent it, of another call.
        data["origin"] = origin
    return [*hits, ("call.started", data)]


def _failure(failed: Event) -> Event:
    data = {name: failed.get(name) for name in ("gateway", "status", "cause", "why", "q850", "local")}
    data["next"] = failed.get("next", "")
    if failed.get("app"):
        data["app"] = failed["app"]
    return data


def _hits(event: Event) -> list[tuple[str, Event]]:
    """Limits that had no room; one that was judged without Redis had."""
    steps = [(of, text) for what, of, text in event.get("steps", ()) if what == "limit"]
    refusal = event.get("refusal", "")
    return [
        ("limit.hit", {"limit": of, "why": text, "refusal": refusal})
        for of, text in steps
        if not text.endswith("judged by this node alone")
    ]


def _talk(events: list[Event], kind: str) -> list[tuple[str, Event]]:
    answered = next((event for event in events if event["event"] == "answered"), None)
    ended = next((event for event in events if event["event"] == "ended"), None)
    found: list[tuple[str, Event]] = []
    gateway = under_way(events)
    if kind == "answered" and answered is not None:
        found.append(("call.answered", {"gateway": gateway, "status": answered["status"]}))
    if answered is not None and ended is not None:
        # Two workers write these lines, and either may come first.
        end = _end("answered", answered["status"], "", gateway)
        duration = max(0.0, round(ended["at"] - answered["at"], 3))
        found.append(("call.ended", end | {"duration": duration, "ended_by": ended["by"]}))
    return found


def _end(outcome: str, status: int | None, cause: str, gateway: str) -> Event:
    return {
        "outcome": outcome, "status": status, "cause": cause, "gateway": gateway, "duration": 0.0, "ended_by": "",
    }  # fmt: skip
