"""Events of the spool become one record a call, however they are cut, stored and read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.assembly import ANSWER_LATE, BROKEN_OFF, LONGEST, MESSAGE_LATE, SETUP, Assembly, parse
from model.record import CallRecord, Outcome

Event = dict[str, Any]
NODE = "edge-1"


def decided(call: str, at: float, call_id: str = "", refusal: str = "", **more: Any) -> Event:
    event = {
        "event": "decided", "call": call, "call_id": call_id or f"{call}@x", "from_tag": "t", "at": at,
        "facts": {"caller": "1001", "callee": "1002", "source": "192.0.2.1"},
        "steps": [["trunk", "192.0.2.1", "lab"], ["caller", "1001", "+1001"], ["callee", "1002", "+1002"]],
        "emergency": False, "version": 7,
    }  # fmt: skip
    outcome = {"refusal": refusal, "status": 403} if refusal else {"route": "r", "gateways": ["a", "b"]}
    return {**event, **outcome, **more}


def failed(call: str, at: float, gateway: str, **more: Any) -> Event:
    return {
        "event": "failed", "call": call, "at": at, "attempt": 1, "gateway": gateway, "status": 503, "local": False,
        "q850": None, "location": "", "rang": None, "cause": "server-fault", "why": "by the table", **more,
    }  # fmt: skip


def answered(call: str, at: float, rang: float | None = None) -> Event:
    return {"event": "answered", "call": call, "at": at, "attempt": 1, "status": 200, "rang": rang}


def ended(call: str, at: float, call_id: str = "", by: str = "caller") -> Event:
    return {"event": "ended", "call": call, "call_id": call_id or f"{call}@x", "at": at, "by": by}


def started(at: float) -> Event:
    return {"event": "started", "at": at}


def records(events: list[Event], now: float = 0.0) -> list[CallRecord]:
    assembly = Assembly(NODE)
    assembly.feed(events)
    assembly.close(now)
    return assembly.finished


def only(events: list[Event], now: float = 0.0) -> CallRecord:
    (record,) = records(events, now)
    return record


def test_an_answered_call() -> None:
    events = [decided("c", 1.0), failed("c", 2.0, "a", next="b"), answered("c", 5.0, rang=3.5), ended("c", 65.25)]
    record = only(events)
    assert (record.node, record.call, record.call_id, record.from_tag) == (NODE, "c", "c@x", "t")
    assert (record.trunk, record.caller, record.callee, record.route) == ("lab", "+1001", "+1002", "r")
    assert (record.outcome, record.status, record.version) == (Outcome.ANSWERED, 200, 7)
    assert (record.began, record.answered, record.ended, record.duration) == (1.0, 5.0, 65.25, 60.25)
    first, second = record.attempts
    assert (first.gateway, first.began, first.ended, first.status, first.cause) == ("a", 1.0, 2.0, 503, "server-fault")
    assert (second.gateway, second.began, second.ended, second.status, second.cause) == ("b", 2.0, 5.0, 200, "")
    assert (first.post_dial_delay, second.post_dial_delay) == (None, 1.5)


@pytest.mark.parametrize(
    ("failure", "status", "refusal"),
    [
        ({"status": 486}, 486, ""),
        ({"refusal": "gateways-failed", "told": 500}, 500, "gateways-failed"),
        ({"status": 477, "local": True}, 500, ""),
    ],
)
def test_a_failed_call(failure: Event, status: int, refusal: str) -> None:
    record = only([decided("c", 1.0), failed("c", 2.0, "a", **failure)])
    assert (record.outcome, record.status, record.refusal, record.ended) == (Outcome.FAILED, status, refusal, 2.0)


def test_a_refused_call_and_a_cancelled_one() -> None:
    refused = only([decided("c", 1.0, refusal="blocked-caller")])
    assert (refused.outcome, refused.status, refused.refusal) == (Outcome.REFUSED, 403, "blocked-caller")
    cancelled = only([decided("c", 1.0), {"event": "cancelled", "call": "c", "at": 3.0, "rang": 2.0}])
    assert (cancelled.outcome, cancelled.status, cancelled.ended_by) == (Outcome.CANCELLED, 487, "")
    assert cancelled.attempts[0].post_dial_delay == 1.0


def test_an_end_may_be_written_before_the_answer() -> None:
    assert only([decided("c", 1.0), ended("c", 2.0, by="callee"), answered("c", 1.9)]).ended_by == "callee"


def test_what_comes_twice_counts_once() -> None:
    events = [decided("c", 1.0), answered("c", 2.0), answered("c", 2.5), ended("c", 4.0), ended("c", 4.5)]
    assert only([*events, answered("c", 5.0)]).duration == 2.0


def test_an_end_that_kamailio_knew_itself_brings_no_call_id() -> None:
    end = {name: value for name, value in ended("c", 3.0).items() if name != "call_id"}
    found = parse(encoded(end))
    assert found == end
    record = only([decided("c", 1.0), answered("c", 2.0), found])
    assert (record.ended, record.ended_by, record.duration) == (3.0, "caller", 1.0)


def test_an_end_of_another_call_id_is_forged() -> None:
    events = [decided("c", 1.0), answered("c", 2.0), ended("c", 3.0, call_id="other@x")]
    assert records(events) == []
    assert only([*events, ended("c", 4.0)]).ended == 4.0


# Kamailio killed


def test_a_call_that_was_being_set_up_is_interrupted_after_a_while() -> None:
    events = [decided("c", 1.0), failed("c", 2.0, "a", next="b"), started(3.0)]
    assert records(events, now=3.0 + BROKEN_OFF) == []
    record = only(events, now=3.1 + BROKEN_OFF)
    assert (record.outcome, record.status, record.ended, record.ended_by) == (Outcome.INTERRUPTED, None, None, "")
    assert [(attempt.gateway, attempt.ended) for attempt in record.attempts] == [("a", 2.0), ("b", None)]


def test_a_late_end_tells_that_a_broken_off_call_was_answered() -> None:
    events = [decided("c", 1.0), started(3.0), ended("c", 60.0)]
    assert records(events, now=60.0 + ANSWER_LATE) == []
    record = only(events, now=60.1 + ANSWER_LATE)
    assert (record.outcome, record.answered, record.ended, record.duration) == (Outcome.ANSWERED, None, 60.0, 0)


@pytest.mark.parametrize("name", ["c", "d"])
def test_an_invite_that_comes_again_continues_its_call(name: str) -> None:
    events = [decided("c", 1.0), started(2.0), decided("d", 3.0, call_id="c@x"), answered("d", 4.0)]
    record = only([*events, ended(name, 5.0, call_id="c@x")])
    assert (record.call, record.began, record.outcome) == ("c", 1.0, Outcome.ANSWERED)
    assert [(attempt.gateway, attempt.status) for attempt in record.attempts] == [("a", None), ("a", 200)]


def test_an_invite_that_two_workers_decide_is_one_call() -> None:
    events = [decided("c", 1.0), decided("d", 1.0, call_id="c@x", refusal="blocked-caller"), answered("c", 4.0)]
    record = only([*events, ended("c", 5.0)])
    assert (record.call, record.outcome, len(record.attempts)) == ("c", Outcome.ANSWERED, 1)


def test_a_call_of_the_new_kamailio_is_not_broken_off() -> None:
    assert records([decided("c", 3.5), started(3.0)], now=4.0 + BROKEN_OFF) == []


def test_a_standing_call_outlives_a_restart() -> None:
    events = [decided("c", 1.0), answered("c", 2.0), started(3.0)]
    assert records(events, now=LONGEST) == []
    assert only([*events, ended("c", 9.0)]).duration == 7.0


def test_calls_that_nothing_more_is_heard_of() -> None:
    assert only([decided("c", 1.0)], now=1.1 + SETUP).outcome == Outcome.INTERRUPTED
    lost = only([decided("c", 1.0), answered("c", 2.0)], now=2.1 + LONGEST)
    assert (lost.outcome, lost.ended, lost.ended_by, lost.duration) == (Outcome.ANSWERED, None, "unknown", 0)


# However it is cut


@st.composite
def spools(draw: st.DrawFn) -> list[Event]:
    """Calls that overlap, with restarts between, each event later than those before."""
    calls: list[list[Event]] = []
    for number in range(draw(st.integers(1, 6))):
        name = f"c{number}"
        kinds = [
            [decided(name, 0, refusal="x")],
            [decided(name, 0), failed(name, 0, "a", next="b"), answered(name, 0), ended(name, 0)],
            [decided(name, 0), ended(name, 0), answered(name, 0)],
            [decided(name, 0), failed(name, 0, "a")],
            [decided(name, 0), answered(name, 0)],
            [decided(name, 0), decided(f"{name}-again", 0, call_id=f"{name}@x"), answered(name, 0), ended(name, 0)],
            [decided(name, 0)],
        ]
        calls.append(draw(st.sampled_from(kinds)))
    calls += [[started(0)] for _ in range(draw(st.integers(0, 2)))]
    order = draw(st.permutations([index for index, call in enumerate(calls) for _ in call]))
    left = [list(call) for call in calls]
    return [{**left[index].pop(0), "at": float(at)} for at, index in enumerate(order)]


@given(spools(), st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1))
def test_the_records_are_the_same_however_the_spool_is_cut(spool: list[Event], cuts: list[tuple[int, bool]]) -> None:
    expected = records(spool)
    assembly, found, stored = Assembly(NODE), [], {}
    events, turns = list(spool), 0
    while events:
        size, killed = cuts[turns % len(cuts)]
        turns += 1
        batch, events = events[:size], events[size:]
        if killed:
            # What was fed and not stored is gone, and comes again.
            assembly.feed(batch)
            assembly = Assembly.restored(NODE, stored)
        assembly.feed(batch)
        found += assembly.finished
        for call in assembly.changed:
            if call in assembly.calls:
                stored[call] = assembly.stored(call)
            else:
                stored.pop(call, None)
        assembly.taken()
    assert found == expected
    assert len({record.call_id for record in found}) == len(found)
    assert set(stored) == set(assembly.calls)


@given(spools(), st.floats(0, 2 * LONGEST))
def test_every_call_has_one_record_in_the_end(spool: list[Event], now: float) -> None:
    assembly = Assembly(NODE)
    assembly.feed(spool)
    assembly.close(now)
    assembly.close(10 * LONGEST)
    calls = sorted({event["call_id"] for event in spool if event["event"] == "decided"})
    assert sorted(record.call_id for record in assembly.finished) == calls
    assert not assembly.calls
    for record in assembly.finished:
        assert CallRecord.decode(record.encode()) == record


# Costs

# A minute of a costs 0.02, from 104 on 0.04; of b 0.01, and from 110 on nobody knows.
RATES = [
    ["a", "USD", [[0, 2_000_000, 0, 60, 60], [104, 4_000_000, 0, 60, 60]]],
    ["b", "EUR", [[0, 1_000_000, 500_000, 1, 1], [110]]],
]


def costing(*events: Event) -> tuple[str, str]:
    record = only([decided("c", 100.0, rates=RATES), *events])
    assert CallRecord.decode(record.encode()) == record
    return record.cost, record.currency


def test_a_call_costs_what_the_gateway_takes_that_answered() -> None:
    assert costing(answered("c", 102.0), ended("c", 162.0)) == ("0.020000", "USD")
    assert costing(answered("c", 102.0), ended("c", 162.001)) == ("0.040000", "USD")
    failover = failed("c", 101.0, "a", next="b")
    assert costing(failover, answered("c", 102.0), ended("c", 102.4)) == ("0.005167", "EUR")


def test_the_rate_at_the_answer_counts() -> None:
    assert costing(answered("c", 103.999), ended("c", 160.0)) == ("0.020000", "USD")
    assert costing(answered("c", 104.0), ended("c", 160.0)) == ("0.040000", "USD")
    failover = failed("c", 101.0, "a", next="b")
    assert costing(failover, answered("c", 110.0), ended("c", 160.0)) == ("", "")


def test_what_is_not_known_costs_nothing_that_is_said() -> None:
    nothing = ("", "")
    assert costing(failed("c", 101.0, "a")) == nothing
    assert costing(failed("c", 101.0, "a", next="x"), answered("c", 102.0), ended("c", 160.0)) == nothing
    plain = only([decided("c", 100.0), answered("c", 102.0), ended("c", 162.0)])
    assert (plain.cost, plain.currency) == nothing
    unended = only([decided("c", 100.0, rates=RATES), answered("c", 102.0)], now=200.0 + LONGEST)
    assert (unended.outcome, unended.cost) == (Outcome.ANSWERED, "")


def test_where_media_sent_the_call_on_the_new_rates_count() -> None:
    later = [["a", "GBP", [[0, 6_000_000, 0, 1, 1]]]]
    sent_on = failed("c", 101.0, "fs-1", next="a", rates=later)
    assert costing(sent_on, answered("c", 102.0), ended("c", 112.0)) == ("0.010000", "GBP")
    elsewhere = failed("c", 101.0, "fs-1", next="a", rates=[])
    assert costing(elsewhere, answered("c", 102.0), ended("c", 112.0)) == ("", "")


def test_an_invite_that_comes_again_costs_as_it_was_carried_out() -> None:
    again = decided("d", 100.1, call_id="c@x", rates=[["a", "GBP", [[0, 6_000_000, 0, 1, 1]]]])
    assert costing(again, answered("c", 102.0), ended("c", 162.0)) == ("0.020000", "USD")
    assert costing(started(100.05), again, answered("d", 102.0), ended("d", 162.0, "c@x")) == ("0.060000", "GBP")


@pytest.mark.parametrize(
    "rates",
    [{}, [[]], [["a", "USD", [[0, 1, 0, 60]]]], [["a", "USD", [[0, 1, 0, 60, 0]]]], [["a", "USD", [[0, -1, 0, 1, 1]]]],
     [["a", "USD", [[0, True, 0, 1, 1]]]], [["a", 1, []]], [["a", "USD", {}]]],
)  # fmt: skip
def test_rates_of_another_shape_are_passed_over(rates: Any) -> None:
    assert parse(encoded(decided("c", 1.0, rates=RATES))) is not None
    assert parse(encoded(decided("c", 1.0, rates=rates))) is None


# Lines


def encoded(event: Event) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


TRICKY = [decided("c", 1.0, call_id='{"event":"ended"}'), ended("c", 2.0), started(3.0), answered("c", 2.0, rang=1.5)]


@pytest.mark.parametrize("event", TRICKY, ids=lambda event: event["event"])
def test_a_line_behind_a_torn_one_is_read(event: Event) -> None:
    whole = encoded(event)
    assert parse(whole) == event
    for torn in (encoded(decided("d", 1.0, call_id='"{"event":"x')), encoded(failed("d", 1.0, "a"))):
        for length in range(len(torn)):
            assert parse(torn[:length] + whole) == event
    for length in range(len(whole)):
        assert parse(whole[:length]) is None


@given(st.binary())
def test_any_line_is_read_or_not_but_never_raises(line: bytes) -> None:
    parse(line)
    parse(b'{"event":' + line)


@pytest.mark.parametrize("change", [
    {"steps": [["a"]]}, {"gateways": []}, {"call": 7}, {"at": "x"}, {"facts": []}, {"refusal": "x", "status": None},
    {"event": "unheard"}, {"event": 7},
])  # fmt: skip
def test_an_event_of_another_shape_is_passed_over(change: Event) -> None:
    assert parse(encoded({**decided("c", 1.0), **change})) is None


def test_how_long_media_had_a_call() -> None:
    direct = [decided("c", 1.0, app="welcome", reason="direct"), answered("c", 2.0), ended("c", 31.0)]
    record = only(direct, now=31.0 + MESSAGE_LATE + 1)
    assert (record.app, record.media_node, record.media_seconds, record.duration) == ("welcome", "a", 30.0, 29.0)
    voicemail = failed("c", 21.0, "a", next="fs-1", app="voicemail", reason="no-answer")
    record = only([decided("c", 1.0), voicemail, answered("c", 22.0), ended("c", 41.5)], now=50.0)
    assert (record.media_node, record.media_seconds) == ("fs-1", 20.5)
    # Sent on by a node to gateways.
    sent_on = failed("c", 5.0, "a", status=302, next="b", steps=[["returned", "c", "handed to media 1 times"]])
    menu = decided("c", 1.0, app="menu", reason="direct")
    record = only([menu, sent_on, answered("c", 9.0), ended("c", 20.0)], now=30.0)
    assert (record.gateway, record.media_node, record.media_seconds) == ("b", "a", 4.0)
    record = only([decided("c", 1.0), answered("c", 2.0), ended("c", 31.0)])
    assert (record.media_node, record.media_seconds) == ("", 0.0)


def test_the_record_of_a_call_to_media_waits_for_what_it_left() -> None:
    assembly = Assembly(NODE)
    assembly.feed([decided("c", 1.0, app="voicemail", reason="busy"), answered("c", 2.0), ended("c", 9.0)])
    assembly.close(9.0 + MESSAGE_LATE)
    assert assembly.finished == []
    assembly.close(9.1 + MESSAGE_LATE)
    assert [record.call for record in assembly.finished] == ["c"]
