"""What a call's lines in the spool tell those who follow calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.assembly import BROKEN_OFF, Assembly
from agent.call_events import Told

Event = dict[str, Any]
STEPS = [["trunk", "192.0.2.1", "office"], ["caller", "1", "44201"], ["callee", "2", "44202"]]
DECIDED: Event = {
    "event": "decided", "call": "x", "call_id": "i", "from_tag": "t", "at": 100.0, "facts": {"callee": "2"},
    "steps": STEPS, "version": 1, "route": "uk", "gateways": ["a", "b"], "emergency": False,
}  # fmt: skip
CONTEXT = {
    "call": "x", "call_id": "i", "node": "n", "trunk": "office", "caller": "44201", "callee": "44202", "route": "uk",
}  # fmt: skip
REFUSED = {**{k: v for k, v in DECIDED.items() if k not in ("gateways", "route")}, "refusal": "blocked", "status": 403}
FAILED: Event = {
    "event": "failed", "call": "x", "at": 102.0, "gateway": "a", "status": 503, "cause": "server-fault", "why": "w",
    "rang": None, "next": "b",
}  # fmt: skip
LAST = {**{k: v for k, v in FAILED.items() if k != "next"}, "gateway": "b", "at": 103.0, "told": 500}
ANSWERED: Event = {"event": "answered", "call": "x", "at": 105.0, "status": 200, "rang": 104.0}
ENDED: Event = {"event": "ended", "call": "x", "call_id": "i", "at": 165.5, "by": "callee"}
CANCELLED: Event = {"event": "cancelled", "call": "x", "at": 104.0, "rang": None}
STARTED: Event = {"event": "started", "at": 101.0}


def told(*events: Event) -> list[Told]:
    assembly = Assembly("n")
    assembly.feed(events)
    return assembly.told


def kinds(*events: Event) -> list[str]:
    return [event.kind for event in told(*events)]


def test_a_call_from_beginning_to_end() -> None:
    started, failed, answered, ended = told(DECIDED, FAILED, ANSWERED, ENDED)
    assert started == ("call.started", 100.0, CONTEXT | {"gateways": ["a", "b"], "emergency": False})
    assert failed == (
        "attempt.failed", 102.0,
        CONTEXT | {"gateway": "a", "status": 503, "cause": "server-fault", "why": "w", "q850": None, "local": None,
                   "next": "b"},
    )  # fmt: skip
    assert answered == ("call.answered", 105.0, CONTEXT | {"gateway": "b", "status": 200})
    assert ended == (
        "call.ended", 165.5,
        CONTEXT | {"outcome": "answered", "status": 200, "cause": "", "gateway": "b", "duration": 60.5,
                   "ended_by": "callee"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([REFUSED], ["call.refused"]),
        ([DECIDED, CANCELLED], ["call.started", "call.ended"]),
        ([DECIDED, FAILED, LAST], ["call.started", "attempt.failed", "attempt.failed", "call.ended"]),
        # Two workers write answer and end, and either may come first.
        ([DECIDED, ENDED, ANSWERED], ["call.started", "call.answered", "call.ended"]),
        # What comes twice is told once.
        ([DECIDED, DECIDED, ANSWERED, ANSWERED], ["call.started", "call.answered"]),
        ([DECIDED, STARTED, DECIDED], ["call.started"]),
        # A hook is asked: the call begins when it is decided.
        ([{**DECIDED, "event": "asked"}, DECIDED], ["call.started"]),
        ([{**DECIDED, "event": "asked"}, REFUSED], ["call.refused"]),
        ([{**DECIDED, "event": "asked"}, CANCELLED], ["call.ended"]),
        # A voicemail call waits for its message: its end is told when it is.
        ([DECIDED | {"app": "voicemail"}, ANSWERED, ENDED], ["call.started", "call.answered", "call.ended"]),
    ],
)
def test_what_is_told(events: list[Event], expected: list[str]) -> None:
    assert kinds(*events) == expected


def test_a_limit_that_had_no_room() -> None:
    full = ["limit", "trunk:office", "has no room for another call"]
    alone = ["limit", "gateway:a", "Redis is away: judged by this node alone"]
    hit, refused = told({**REFUSED, "steps": [*STEPS, alone, full], "refusal": "trunk-calls-limit"})
    assert (hit.kind, refused.kind) == ("limit.hit", "call.refused")
    assert hit.data == CONTEXT | {"route": "", "limit": full[1], "why": full[2], "refusal": "trunk-calls-limit"}
    passed_on = told(DECIDED, {**FAILED, "steps": [["limit", "gateway:b", "has no room within this second"]]})
    assert [event.kind for event in passed_on] == ["call.started", "attempt.failed", "limit.hit"]


def test_a_call_of_which_nothing_more_is_heard_ends() -> None:
    assembly = Assembly("n")
    assembly.feed((DECIDED, STARTED))
    assembly.close(STARTED["at"] + BROKEN_OFF + 1)
    assert [event.kind for event in assembly.told] == ["call.started", "call.ended"]
    assert assembly.told[-1].data["outcome"] == "interrupted"


def test_a_call_that_waited_for_its_message_ends_once() -> None:
    assembly = Assembly("n")
    assembly.feed((DECIDED | {"app": "voicemail"}, ANSWERED, ENDED))
    assembly.close(ENDED["at"] + 10)
    assert [event.kind for event in assembly.told] == ["call.started", "call.answered", "call.ended"]


WAY = [DECIDED, FAILED, STARTED, ANSWERED, ENDED]


@given(st.lists(st.sampled_from([*WAY, LAST, CANCELLED, REFUSED]), max_size=8), st.integers(0, 8))
def test_however_it_is_cut_the_same_is_told(events: list[Event], cut: int) -> None:
    """An agent that begins anew with what it stored tells what one that never ended would."""
    before = Assembly("n")
    before.feed(events[:cut])
    after = Assembly.restored("n", {call: before.stored(call) for call in before.calls})
    after.feed(events[cut:])
    assert [*before.told, *after.told] == told(*events)
