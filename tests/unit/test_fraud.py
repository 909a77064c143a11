"""Guards against toll fraud: what calls count, however often who counts them dies, and whom they refuse."""

from __future__ import annotations

import json
from collections import Counter as Totals
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.assembly import Assembly
from agent.fraud import Counter, legs
from kemi import policy as deciding
from kemi.explain import Snapshot
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.entries import Action, Entry, Kind
from model.fraud import MINUTE, Guard, Threshold, Trip, longest_run, parted, shown
from model.numbers import Dialling
from model.policy import Emergency, Gateway, Policy, Route, Subscribers, Trunk
from model.rates import UNIT
from model.subscriber import Forwards, Subscriber
from state import codec, layout

Event = dict[str, Any]
EVERY = {"calls": Threshold(2, 3), "minutes": Threshold(0, MINUTE), "destinations": Threshold(9), "cost": Threshold(1)}
GUARD = Guard("premium", "trunk", EVERY, ("+44909", "+882"))
POLICY = Policy((Trunk("lab", ("192.0.2.0/24",)),), {"a": Gateway("a", "198.51.100.1")}, fraud=(GUARD,))
ROUTE = Route("r", ("",), ("a",))
FACTS = CallFacts("1001", "+449091234567", "192.0.2.1")


def decided(call: str, at: float, callee: str = "+449091", **more: Any) -> Event:
    return {
        "event": "decided", "call": call, "call_id": f"{call}@x", "from_tag": "t", "at": at,
        "facts": {"caller": "1001", "callee": callee, "source": "192.0.2.1"}, "emergency": False, "version": 7,
        "steps": [["trunk", "192.0.2.1", "lab"], ["caller", "1001", "1001"], ["callee", callee, callee]],
        "route": "r", "gateways": ["a", "b"], **more,
    }  # fmt: skip


def answered(call: str, at: float) -> Event:
    return {"event": "answered", "call": call, "at": at, "attempt": 1, "status": 200, "rang": None}


def ended(call: str, at: float) -> Event:
    return {"event": "ended", "call": call, "call_id": f"{call}@x", "at": at, "by": "caller"}


class Ledger:
    """What Redis would have counted, and what it would give an agent that begins anew."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.policy = policy
        self.totals: dict[str, Totals[str]] = {}
        self.numbers: dict[str, set[str]] = {}
        self.stored: dict[str, str] = {}
        self.until = 0.0
        self.restart()

    def restart(self) -> None:
        """Kill the agent: what it did not write is lost."""
        self.assembly = Assembly.restored("n", self.stored)
        self.counter = Counter(self.policy, self.until)
        self.counter.restore(self.assembly)

    def batch(self, events: list[Event], now: float, *, written: bool = True) -> None:
        """Events of the spool; where they are not written, the agent dies before."""
        self.assembly.feed(json.loads(json.dumps(events)))
        counted = self.counter.count(self.assembly, now)
        if not written:
            self.restart()
            return
        for call in self.assembly.changed:
            self.stored.pop(call, None)
            if call in self.assembly.calls:
                self.stored[call] = self.assembly.stored(call)
        for item in counted.items if counted else ():
            total = self.totals.setdefault(item.id, Totals())
            for calls, milliseconds, cost in item.add.values():
                total.update({"calls": calls, "minutes": milliseconds, "cost": cost})
            self.numbers.setdefault(item.id, set()).update(item.numbers)
        self.until = counted.until if counted else self.until
        self.assembly.taken()


def test_a_call_counts_when_it_begins_and_its_time_while_it_runs() -> None:
    ledger = Ledger()
    ledger.batch([decided("c", 100.0)], 100.1)
    assert ledger.totals == {"premium//lab": Totals(calls=1, minutes=0, cost=0)}
    ledger.batch([answered("c", 110.0)], 111.2)
    ledger.batch([], 141.0)
    assert ledger.totals["premium//lab"]["minutes"] == 31_000
    # Less than the agent took it for: it had read no end yet.
    ledger.batch([ended("c", 140.5)], 142.5)
    assert ledger.totals["premium//lab"] == Totals(calls=1, minutes=30_500)
    ledger.batch([], 500.0)
    assert ledger.totals["premium//lab"]["minutes"] == 30_500


@pytest.mark.parametrize(
    "event",
    [
        decided("c", 1.0, "+442079460000"),
        decided("c", 1.0, emergency=True),
        decided("c", 1.0, refusal="x", status=403),
    ],
)
def test_what_does_not_count(event: Event) -> None:
    ledger = Ledger()
    ledger.batch([event, answered("c", 2.0), ended("c", 3.0)], 4.0)
    assert ledger.totals == {}


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(0, 40), st.sampled_from("123")),
        min_size=1, max_size=6,
    ),
    st.lists(st.integers(0, 20), max_size=6),
    st.lists(st.booleans(), min_size=60, max_size=60),
)  # fmt: skip
def test_whoever_dies_each_call_counts_once(
    calls: list[tuple[int, int, int, str]], cuts: list[int], written: list[bool]
) -> None:
    rows: list[Event] = []
    for number, (at, rings, talks, digit) in enumerate(calls):
        name = f"c{number}"
        rows += [
            decided(name, at, "+44909" + digit),
            answered(name, at + rings),
            ended(name, at + rings + talks),
        ]
    rows.sort(key=lambda event: event["at"])
    ledger, places = Ledger(), sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    outcomes = iter(written)
    for begin, end in pairwise(places):
        now = rows[end - 1]["at"] + 5.0
        while not next(outcomes, True):
            ledger.batch(rows[begin:end], now, written=False)
            now += 1.5
        ledger.batch(rows[begin:end], now)
        ledger.batch([], now + 2.5)
    expected = Totals(calls=len(calls), minutes=1000 * sum(talks for _, _, talks, _ in calls), cost=0)
    assert ledger.totals["premium//lab"] == expected
    assert ledger.numbers["premium//lab"] == {"+44909" + digit for _, _, _, digit in calls}


def test_a_call_that_runs_costs_what_its_gateway_takes_in_the_policys_currency() -> None:
    priced = replace(POLICY, currency="USD", exchange={"EUR": 2 * UNIT})
    ledger = Ledger(priced)
    a_minute = ["a", "EUR", [[0, UNIT, 0, 1, 1]]]
    ledger.batch([decided("c", 100.0, rates=[a_minute]), answered("c", 100.0)], 100.5)
    ledger.batch([], 130.0)
    assert ledger.totals["premium//lab"]["cost"] == 1_000_000
    ledger.batch([ended("c", 160.0)], 161.0)
    assert ledger.totals["premium//lab"]["cost"] == 2_000_000


def test_calls_under_way_count_by_a_new_guard_from_then_on() -> None:
    ledger = Ledger(replace(POLICY, fraud=()))
    ledger.batch([decided("c", 100.0), answered("c", 100.0)], 100.5)
    assert ledger.totals == {}
    ledger.counter.use(POLICY, ledger.assembly, 160.0)
    ledger.batch([], 160.0)
    ledger.batch([], 170.0)
    assert ledger.totals["premium//lab"] == Totals(minutes=10_000)


def test_a_guard_of_each_prefix_counts_by_the_longest() -> None:
    guard = Guard("g", "caller", {"calls": Threshold(0, 1)}, ("+44", "+44909"), each=True)
    assert guard.counts({"caller": "1001"}, "+449091") == "g/+44909/1001"
    assert guard.counts({"caller": "1001"}, "+4420") == "g/+44/1001"
    assert guard.counts({"caller": "1001"}, "+1") == ""
    assert guard.counts({"caller": ""}, "+4420") == ""
    assert parted(guard.field("+44", "a/b")) == ("g", "+44", "a/b")


@given(st.sets(st.integers(0, 60), max_size=30))
def test_the_longest_run_of_numbers(found: set[int]) -> None:
    best = max((sum(1 for _ in _run(found, start)) for start in found), default=0)
    assert longest_run(f"+4420{number:03d}" for number in found) == best


def _run(found: set[int], start: int) -> Any:
    while start in found:
        yield start
        start += 1


def test_runs_are_of_numbers_of_one_length() -> None:
    assert longest_run(["99", "100"]) == 1
    assert longest_run(["alice", "bob"]) == 0
    assert longest_run(["+4490912345679999", "+4490912345680000"]) == 2


# What a decision makes of a trip.


def view(policy: Policy = POLICY, *trips: Trip, entries: list[Entry] | None = None, **subscribers: Subscriber) -> View:
    records = layout.build(policy, (ROUTE, Route("phones", ("2",), subscribers=True)), entries or [])
    index = layout.Index.decode(records[layout.INDEX])
    for trip in trips:
        records[layout.trip_key(trip.field)] = json.dumps(trip.as_dict()).encode()
        index.count_trip(trip.field)
    for name, subscriber in subscribers.items():
        records[layout.subscriber_key(name.removeprefix("s"))] = subscriber.encode().encode()
    records[layout.INDEX] = index.encode()
    return View(records.get)


TRIP = Trip("premium", "", "lab", "minutes", 61 * MINUTE, 60 * MINUTE, at=50.0, until=200.0, calls=("c",))


def outcome(found: View, facts: CallFacts = FACTS, now: float = 100.0) -> str:
    decision = deciding.decide(facts, found, Snapshot(), now)
    return decision.outcome.refusal.id if isinstance(decision.outcome, deciding.Reject) else "passes"


def test_calls_that_a_guard_counts_are_refused_until_it_is_released() -> None:
    decision = deciding.decide(FACTS, view(POLICY, TRIP), Snapshot(), 100.0)
    assert isinstance(decision.outcome, deciding.Reject)
    assert (decision.outcome.refusal.id, decision.outcome.refusal.status) == ("fraud-blocked", 403)
    assert decision.steps[-1] == (
        "fraud", "premium//lab", "61 of at most 60 minutes, until 1970-01-01T00:03:20Z",
    )  # fmt: skip
    assert outcome(view(POLICY, TRIP), now=200.0) == "passes"
    assert outcome(view(POLICY, replace(TRIP, until=0.0)), now=1e9) == "fraud-blocked"


def test_what_a_guard_does_not_count_passes() -> None:
    tripped = view(POLICY, TRIP)
    assert outcome(tripped, replace(FACTS, callee="+442079460000")) == "passes"
    assert outcome(view(POLICY, replace(TRIP, who="other"))) == "passes"
    # A guard that the policy has no more.
    assert outcome(view(replace(POLICY, fraud=()), TRIP)) == "passes"


def test_an_emergency_call_passes_and_an_allowed_one_does_not() -> None:
    everything = replace(GUARD, prefixes=("",))
    policy = replace(POLICY, fraud=(everything,), emergency=Emergency(("112",), ("a",)))
    assert outcome(view(policy, TRIP), replace(FACTS, callee="112")) == "passes"
    allowed = Entry(Kind.CALLER, "1001", Action.ALLOW)
    assert outcome(view(policy, TRIP, entries=[allowed])) == "fraud-blocked"


SUBSCRIBERS = replace(
    POLICY,
    trunks=(Trunk("lab", ("192.0.2.0/24",), Dialling()),),
    subscribers=Subscribers("example.org"),
    fraud=(Guard("forwarded", "subscriber", {"calls": Threshold(0, 1)}, ("+44909",)),),
)
FORWARDED = replace(TRIP, guard="forwarded", who="200", measure="calls", count=1, limit=1)


@pytest.mark.parametrize("tripped", [False, True])
def test_a_forwarded_call_is_one_of_the_subscriber_who_forwards_it(tripped: bool) -> None:
    forwards = Subscriber(name="200", ha1={}, forwards=Forwards(always="+449091"))
    found = view(SUBSCRIBERS, *([FORWARDED] if tripped else []), s200=forwards)
    facts = replace(FACTS, callee="200")
    decision = deciding.decide(facts, found, Snapshot(), 100.0)
    if tripped:
        assert isinstance(decision.outcome, deciding.Reject)
        assert decision.outcome.refusal.id == "fraud-blocked"
        return
    steps = [list(step) for step in decision.steps]
    event = {**decided("c", 1.0, "200"), "steps": steps}
    assert [(dict(leg.parties).get("subscriber"), leg.number) for leg, _ in legs([event])] == [
        ("", "200"), ("200", "+449091"),
    ]  # fmt: skip


def test_a_forward_on_busy_is_refused_and_counted_alike() -> None:
    forwards = Subscriber(name="200", ha1={}, forwards=Forwards(busy="+449091"))
    facts = replace(FACTS, callee="200")
    for trips, expected in (((), 2), ((FORWARDED,), 1)):
        found = view(SUBSCRIBERS, *trips, s200=forwards)
        decision = deciding.decide(facts, found, Snapshot(), 100.0)
        assert not isinstance(decision.outcome, deciding.Reject)
        plan: Plan = decision.outcome.plan
        failure = Failure(486)
        after = deciding.next_attempt(plan, failure, Snapshot(), 100.0)
        after = deciding.forwarded(plan, failure, after, facts.source, found, Snapshot(), 100.0)
        assert isinstance(after.outcome, deciding.Retry) is (expected == 2)
        failed = {"event": "failed", "call": "c", "at": 2.0, "steps": [list(step) for step in after.steps]}
        failed |= {"next": "a"} if expected == 2 else {}
        assert len(legs([decided("c", 1.0, "200"), failed])) == expected


def test_a_number_that_media_sends_a_call_on_to_is_its_callers() -> None:
    steps = [["returned", "c", "handed to media 1 times"], ["trunk", "x", "lab"], ["callee", "9", "+449099"]]
    failed = {"event": "failed", "call": "c", "at": 2.0, "steps": steps, "next": "a"}
    assert [leg.number for leg, _ in legs([decided("c", 1.0), failed])] == ["+449091", "+449099"]
    assert len(legs([decided("c", 1.0), {**failed, "steps": [*steps, ["emergency", "112", "is one"]]}])) == 1


def test_a_call_whose_hook_is_asked_counts_once_it_is_decided() -> None:
    asked = {**decided("c", 1.0), "event": "asked"}
    del asked["gateways"], asked["route"]
    ledger = Ledger()
    ledger.batch([asked], 1.5)
    assert ledger.totals == {}
    ledger.batch([decided("c", 2.0), answered("c", 3.0)], 3.5)
    ledger.restart()
    ledger.batch([ended("c", 13.0)], 13.5)
    assert ledger.totals["premium//lab"] == Totals(calls=1, minutes=10_000)


def test_a_guard_is_the_same_once_it_was_stored() -> None:
    guard = Guard("g", "caller", {"cost": Threshold(1, 2)}, ("+44",), each=True, within=60, block_for=5)
    stored = replace(POLICY, fraud=(GUARD, guard))
    assert codec.decode_policy(codec.encode_policy(stored)) == stored


@pytest.mark.parametrize(
    ("measure", "count", "text"),
    [
        ("minutes", 90_000, "1.5"),
        ("minutes", 60_000, "1"),
        ("cost", 2_500_000, "2.5"),
        ("cost", 0, "0"),
        ("calls", 3, "3"),
    ],
)
def test_counts_for_people(measure: str, count: int, text: str) -> None:
    assert shown(measure, count) == text
