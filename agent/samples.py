"""What an event of the spool adds to the figures of a gateway, and whether it shows that the gateway works; pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from model.causes import Cause
from model.quality import NOTHING, Figures

Event = dict[str, Any]

# What a gateway does not answer for: it, or the way there, is at fault.
FAULTS = (Cause.NO_REPLY, Cause.SERVER_FAULT, Cause.CAPACITY)
SUBSCRIBER = "subscriber:"
"How the names begin under which attempts at subscribers' phones stand, which are no gateway."


class Sample(NamedTuple):
    """What one event tells of a gateway."""

    gateway: str
    at: float
    "Unix time of the event: that of the slot in which it counts."
    figures: Figures
    sign: float
    "Unix time at which the gateway showed that it works; 0: it did not."


def sample(events: list[Event]) -> Sample | None:
    """What the last of a call's events so far tells; None: nothing of a gateway."""
    last = events[-1]
    match last["event"]:
        case "failed":
            found = _attempt(events[:-1], last, sign=0.0 if last["cause"] in FAULTS else last["at"])
        case "cancelled":
            found = _attempt(events[:-1], last, sign=0.0)
        case "answered" if not any(event["event"] == "answered" for event in events[:-1]):
            found = _attempt(events[:-1], last, sign=last["at"])
        case "ended":
            found = _end(events)
        case _:
            return None
    return None if found is None or found.gateway.startswith(SUBSCRIBER) else found


def _attempt(before: list[Event], event: Event, *, sign: float) -> Sample | None:
    gateway, began = under_way(before)
    if not gateway:
        return None
    answered = event["event"] == "answered"
    rang = told if isinstance(told := event.get("rang"), int | float) else None
    progress = rang if rang is not None else event["at"] if answered else None
    delay = 0 if progress is None else max(0, round((progress - began) * 1000))
    figures = Figures(attempts=1, answered=int(answered), rang=int(progress is not None), delay=delay)
    return Sample(gateway, event["at"], figures, max(sign, rang or 0.0))


def _end(events: list[Event]) -> Sample | None:
    answers = [index for index, event in enumerate(events) if event["event"] == "answered"]
    if not answers or any(event["event"] == "ended" for event in events[:-1]):
        # The end's line came first, or twice.
        return None
    gateway, _ = under_way(events[: answers[0]])
    talk = max(0, round((events[-1]["at"] - events[answers[0]]["at"]) * 1000))
    return Sample(gateway, events[-1]["at"], NOTHING._replace(ended=1, talk=talk), 0.0) if gateway else None


def under_way(events: list[Event]) -> tuple[str, float]:
    """The gateway of the attempt that is under way after these events, and when it began; empty: there is none."""
    gateway, began, broken = "", 0.0, True
    for event in events:
        if event["event"] == "started":
            broken = True
        elif event["event"] == "decided" and broken:
            # Of an INVITE that came twice, the first decision was carried out, unless Kamailio ended meanwhile.
            gateway, began, broken = event.get("gateways", [""])[0], event["at"], False
        elif event["event"] == "failed":
            gateway, began = event.get("next", ""), event["at"]
    return gateway, began
