"""Events of the spool put together, one record a call; pure.

However the events are cut into batches, and wherever an agent begins anew with what it had stored, the records are
the same. The events of a call that is not over are what is stored of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.call_events import Told, given_up, told
from agent.cost import cost_of, is_rates
from agent.metered import Metered, metered
from agent.overview import Tally, finished, tallied
from agent.samples import Sample, sample
from model.fraud import RELEASED
from model.policy import owner
from model.record import AttemptRecord, CallRecord, Outcome

Event = dict[str, Any]
Key = tuple[str, str, str, str]

# Seconds after which a call that Kamailio's end broke off is given up: longer than a caller sends its INVITE again
# (RFC 3261 timer B, 32 s) and than a phone rings, as an answer may still pass through the next Kamailio.
BROKEN_OFF = 330.0
# Seconds after which a call is given up that was never answered and never failed.
SETUP = 900.0
# Seconds that an answer's line may come after its end's: two workers write them.
ANSWER_LATE = 5.0
# Seconds that voicemail may take to say what a call left there that has ended.
MESSAGE_LATE = 1.0
# Seconds after which an answered call counts as over though no BYE was seen: a caller and a gateway that both died.
LONGEST = 24 * 3600.0

BEGINNINGS = ("asked", "decided")
"The events that a call may begin with; it is decided once its route hook was asked."

_START = '{"event":"'


def parse(line: bytes) -> Event | None:
    """The event of a line, or the last whole one behind a line that was torn; None where there is none."""
    text = line.decode("utf-8", "replace")
    # Within a string of JSON the quotes would be escaped.
    begin = text.rfind(_START)
    while begin >= 0:
        try:
            event = json.loads(text[begin:])
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict) and _sound(event):
            return event
        begin = text.rfind(_START, 0, begin)
    return None


_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "started": {},
    "asked": {"call": str, "call_id": str, "facts": dict, "steps": list},
    "decided": {"call": str, "call_id": str, "facts": dict, "steps": list},
    "failed": {"call": str, "gateway": str, "status": int, "cause": str, "why": str},
    "answered": {"call": str, "status": int},
    "relayed": {"call": str, "why": str},
    "cancelled": {"call": str},
    "ended": {"call": str, "by": str},
    "tripped": {"gateway": str, "until": (int, float), "since": (int, float), "failures": dict, "shared": bool},
    "restored": {"gateway": str},
}


def _sound(event: Event) -> bool:
    needed = _NEEDED.get(event["event"]) if isinstance(event["event"], str) else None
    at = event.get("at")
    return (
        needed is not None
        and isinstance(at, int | float)
        and all(isinstance(event.get(name), kind) for name, kind in needed.items())
        and (event["event"] not in ("failed", "asked") or _sound_steps(event.get("steps", [])))
        and _sound_names(event.get("limits", []))
        and (event["event"] != "decided" or _sound_decision(event))
        and ("rates" not in event or is_rates(event["rates"]))
    )


def _sound_steps(steps: Any) -> bool:
    return isinstance(steps, list) and all(
        isinstance(row, list) and [type(cell) for cell in row] == [str, str, str] for row in steps
    )


def _sound_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _sound_decision(event: Event) -> bool:
    rows = _sound_steps(event["steps"])
    if "refusal" in event:
        return rows and isinstance(event.get("status"), int)
    gateways = event.get("gateways")
    return rows and isinstance(gateways, list) and gateways != []


@dataclass(slots=True)
class Assembly:
    """The calls of a node that are not over."""

    node: str
    calls: dict[str, list[Event]] = field(default_factory=dict)
    "Id of a call to its events so far."
    finished: list[CallRecord] = field(default_factory=list)
    "Records made since :meth:`taken`."
    changed: set[str] = field(default_factory=set)
    "Ids of calls that are not as they were at :meth:`taken`, over or not."
    over: dict[str, list[Event]] = field(default_factory=dict)
    "The events of the calls that were finished since then."
    samples: list[Sample] = field(default_factory=list)
    "What the events since :meth:`taken` tell of gateways."
    breakers: list[Event] = field(default_factory=list)
    "Those since :meth:`taken` that opened or closed."
    tallies: list[Tally] = field(default_factory=list)
    "What the events since :meth:`taken` add to the figures of all calls."
    told: list[Told] = field(default_factory=list)
    "What the events since :meth:`taken` tell whoever follows calls."
    metered: list[Metered] = field(default_factory=list)
    "What the events add to this node's metrics, until somebody takes them out."
    _ids: dict[str, str] = field(default_factory=dict)
    "An id under which a retransmitted INVITE was decided again, to the id of its call."
    _pending: dict[Key, str] = field(default_factory=dict)
    "What a retransmitted INVITE has in common with the first, to the call."

    @classmethod
    def restored(cls, node: str, stored: Mapping[str, str]) -> Assembly:
        """From what :meth:`stored` gave of each call that was not over."""
        own = cls(node, {call: json.loads(events) for call, events in stored.items()})
        for call, events in own.calls.items():
            own._index(call, events)
        return own

    def stored(self, call: str) -> str:
        """The events of a call that is not over, as text."""
        return json.dumps(self.calls[call], separators=(",", ":"))

    def taken(self) -> None:
        """What was finished and changed is stored."""
        self.finished.clear()
        self.over.clear()
        self.changed.clear()
        self.samples.clear()
        self.breakers.clear()
        self.tallies.clear()
        self.told.clear()

    def feed(self, events: Iterable[Event]) -> None:
        """Go on with events that follow in the spool."""
        for event in events:
            if event["event"] == "started":
                self._break_off(event)
            elif event["event"] in BEGINNINGS:
                self._begin(event)
            elif event["event"] in ("tripped", "restored"):
                self.breakers.append(event)
            else:
                self._go_on(event)

    def close(self, now: float) -> None:
        """Give up calls of which nothing more will be heard, when the spool is read up to Unix time ``now``."""
        for call in [call for call, events in self.calls.items() if _given_up(events, now)]:
            self._finish(call)
            last = self.finished[-1]
            self.told += given_up(self.node, call, self.over[call], last.outcome, last.status)

    def _begin(self, event: Event) -> None:
        # A caller whose INVITE found no reply sends it again; another worker, or another Kamailio, decides it again.
        call = self._pending.get(_key(event)) or str(event["call"])
        self.calls.setdefault(call, [])
        self._index(call, [event])
        self._note(call, event)

    def _go_on(self, event: Event) -> None:
        call = self._ids.get(event["call"], "")
        events = self.calls.get(call)
        # An end that brings a Call-ID has its id from the network.
        if events is None or (event["event"] == "ended" and event.get("call_id") not in (None, events[0]["call_id"])):
            return
        self._note(call, event)

    def _break_off(self, event: Event) -> None:
        for call, events in self.calls.items():
            kinds = [earlier["event"] for earlier in events]
            if events[-1]["at"] < event["at"] and kinds[-1] != "started" and "answered" not in kinds:
                events.append(event)
                self.changed.add(call)

    def _note(self, call: str, event: Event) -> None:
        events = self.calls[call]
        events.append(event)
        self.changed.add(call)
        if (found := sample(events)) is not None:
            self.samples.append(found)
        self.tallies += tallied(events)
        self.told += told(self.node, call, events)
        self.metered += metered(events)
        if _is_over(events):
            self._finish(call)

    def _index(self, call: str, events: list[Event]) -> None:
        for event in events:
            if event["event"] in BEGINNINGS:
                self._ids[event["call"]] = self._pending[_key(event)] = call

    def _finish(self, call: str) -> None:
        events = self.calls.pop(call)
        for event in events:
            if event["event"] in BEGINNINGS:
                self._ids.pop(event["call"], None)
                self._pending.pop(_key(event), None)
        self.changed.add(call)
        self.over[call] = events
        self.finished.append(record(self.node, call, events))
        self.tallies += finished(self.finished[-1], events[-1]["at"])


def _key(decided: Event) -> Key:
    facts = decided["facts"]
    return decided["call_id"], decided.get("from_tag", ""), str(facts.get("callee", "")), str(facts.get("source", ""))


def _is_over(events: list[Event]) -> bool:
    last = events[-1]
    match last["event"]:
        case "decided":
            # Of an INVITE that came twice, the first decision was carried out, unless Kamailio ended meanwhile.
            return "refusal" in last and (len(events) == 1 or events[-2]["event"] in ("started", "asked"))
        case "failed":
            return "next" not in last
        case "cancelled":
            return True
        case _:
            ended = {"answered", "ended"} <= {event["event"] for event in events}
            return ended and not any("app" in event for event in events)


def _given_up(events: list[Event], now: float) -> bool:
    kinds: set[str] = {event["event"] for event in events}
    age: float = now - events[-1]["at"]
    if {"answered", "ended"} <= kinds:
        return age > MESSAGE_LATE
    if "answered" in kinds:
        return age > LONGEST
    if "ended" in kinds:
        return age > ANSWER_LATE
    return age > (BROKEN_OFF if "started" in kinds else SETUP)


def record(node: str, call: str, events: list[Event]) -> CallRecord:
    """The record of a call that is over, from its events; the first is its decision."""
    first = decided = events[0]
    attempts: list[AttemptRecord] = []
    # Which of them are at media nodes.
    nodes: list[bool] = []
    end = ended = answered = None
    broken = False
    rates: list[Any] = []
    # To the app of its route, or to voicemail afterwards.
    handed = next((event for event in reversed(events) if "app" in event), {})
    further = [event["steps"] for event in events if event["event"] == "failed" and "steps" in event]
    for event in events:
        match event["event"]:
            case "started":
                broken = True
            case "decided" if event is first or broken or decided["event"] == "asked":
                decided, broken = event, False
                rates = event.get("rates", [])
                if "refusal" not in event:
                    attempts.append(AttemptRecord(event["gateways"][0], event["at"]))
                    nodes.append("app" in event)
                end = event
            case "failed":
                _fail(attempts, event)
                if "next" in event:
                    nodes.append(_goes_to_media(event, bool(nodes) and nodes[-1]))
                end = event
                # Of the gateways that it goes on to, where it was decided anew.
                rates = event.get("rates", rates)
            case "answered" if answered is None:
                answered = event
                _complete(attempts, event, status=event["status"])
            case "cancelled" if decided["event"] == "asked":
                # While its route hook was asked: nobody was called.
                end = event
            case "cancelled":
                _complete(attempts, event, status=487, cause="cancelled", why="the caller hung up")
                end = event
            case "ended" if ended is None:
                ended = event
    outcome, status, over = _outcome(end, answered, ended, events[-1])
    found = {what: text for what, _, text in decided["steps"]}
    facts = decided["facts"]
    duration = max(0.0, round(ended["at"] - answered["at"], 3)) if answered and ended else 0.0
    cost, currency = "", ""
    if answered and ended and attempts:
        cost, currency = cost_of(rates, owner(attempts[-1].gateway), answered["at"], duration)
    in_media = [attempt for attempt, is_node in zip(attempts, nodes, strict=False) if is_node]
    return CallRecord(
        call=call,
        node=node,
        call_id=first["call_id"],
        from_tag=first.get("from_tag", ""),
        trunk="" if found.get("trunk", "none") == "none" else found["trunk"],
        caller=found.get("caller", facts.get("caller", "")),
        callee=found.get("callee", facts.get("callee", "")),
        route=decided.get("route", ""),
        version=decided.get("version", 0),
        emergency=decided.get("emergency", False),
        outcome=outcome,
        refusal=end.get("refusal", "") if end and outcome in (Outcome.REFUSED, Outcome.FAILED) else "",
        status=status,
        began=first["at"],
        answered=answered["at"] if answered else None,
        ended=over,
        duration=duration,
        ended_by=(ended["by"] if ended else "unknown") if outcome is Outcome.ANSWERED else "",
        attempts=tuple(attempts),
        steps=tuple((what, subject, text) for steps in (decided["steps"], *further) for what, subject, text in steps),
        app=handed.get("app", ""),
        reason=handed.get("reason", ""),
        cost=cost,
        currency=currency,
        fraud=_fraud(decided, further),
        media_node=in_media[-1].gateway if in_media else "",
        media_seconds=round(sum(max(0.0, (_end(attempt, over)) - attempt.began) for attempt in in_media), 3),
        relay=next((event["why"] for event in events if event["event"] == "relayed"), ""),
        limits=tuple(dict.fromkeys(name for event in events for name in event.get("limits", ()))),
    )


def _goes_to_media(event: Event, before: bool) -> bool:
    """Whether the attempt that follows a failure is at a media node; ``before``: whether the failed one was."""
    # Decided anew, where a node sent it on; otherwise the next one of the same kind, or voicemail.
    sent_on = [what for what, _, _ in event.get("steps", ()) if what in ("to media", "returned")]
    return "app" in event or ("to media" in sent_on if sent_on else before)


def _end(attempt: AttemptRecord, over: float | None) -> float:
    """When an attempt's node had the call no more."""
    ended = over if attempt.status is not None and 200 <= attempt.status <= 299 else attempt.ended
    return attempt.began if ended is None else ended


def _fraud(decided: Event, further: list[list[list[str]]]) -> str:
    """What a guard against fraud counts, by which the call was refused."""
    steps = [step for steps in (decided["steps"], *further) for step in steps]
    return next((subject for what, subject, text in steps if what == "fraud" and text != RELEASED), "")


def _outcome(
    end: Event | None, answered: Event | None, ended: Event | None, last: Event
) -> tuple[Outcome, int | None, float | None]:
    """Outcome, what the caller was told, and when the call was over."""
    if answered or ended:
        # Only a call that was answered ends with a BYE: of this one, a restarted Kamailio passed on the answer.
        return Outcome.ANSWERED, answered["status"] if answered else 200, ended["at"] if ended else None
    if end is None or last is not end:
        return Outcome.INTERRUPTED, None, None
    if end["event"] == "cancelled":
        return Outcome.CANCELLED, 487, end["at"]
    if end["event"] == "decided":
        refused = "refusal" in end
        return (Outcome.REFUSED, end["status"], end["at"]) if refused else (Outcome.INTERRUPTED, None, None)
    if "next" in end:
        return Outcome.INTERRUPTED, None, None
    # What is passed on is the gateway's reply; where nothing could be sent, there is none.
    passed_on = 500 if end["status"] == 477 else end["status"]
    return Outcome.FAILED, end.get("told", passed_on), end["at"]


def _fail(attempts: list[AttemptRecord], event: Event) -> None:
    _complete(
        attempts, event, gateway=event["gateway"], status=event["status"], local=event.get("local", False),
        q850=event.get("q850"), location=event.get("location", ""), cause=event["cause"], why=event["why"],
    )  # fmt: skip
    if "next" in event:
        attempts.append(AttemptRecord(event["next"], event["at"]))


def _complete(attempts: list[AttemptRecord], event: Event, **found: Any) -> None:
    """Close the attempt under way, which is the last one."""
    last = attempts.pop() if attempts else AttemptRecord("", event["at"])
    attempts.append(
        AttemptRecord(
            **{"gateway": last.gateway, "began": last.began, "rang": event.get("rang"), "ended": event["at"], **found}
        )
    )
