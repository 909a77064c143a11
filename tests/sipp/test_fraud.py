"""Guards against fraud over two nodes on one Redis: what either counts is refused by both, until it is released."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from harness.cli import Cli, fresh
from harness.limits import Pair, pair, until
from harness.node import GB, TRUNK, Node, at

from model.fraud import Guard, Threshold, Trip
from model.policy import Emergency, Policy, Route
from state import fraud, keys

CALLER, PREMIUM, HOME = "1001", "09091234567", "02079460000"
ROUTE = Route("r", ("",), ("a",))
REFUSED = "fraud-blocked"


@pytest.fixture(scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("fraud")) as both:
        yield both


@pytest.fixture
def both(_both: Pair) -> Iterator[Pair]:
    """Two nodes without gateways that have counted nothing."""
    yield _both
    _both.first.stop_gateways()
    for trip in fraud.trips(_both.first.store):
        fraud.release(_both.first.store, trip, "test", "over")


def guarded(both: Pair, *guards: Guard, gateway: Any = None) -> None:
    """Put guards in force, in a policy whose gateway answers."""
    a = at("a", gateway or both.first.answering())
    both.apply(Policy((TRUNK,), {"a": a}, GB, emergency=Emergency(("112",), ("a",)), fraud=guards), [ROUTE])


def kinds(both: Pair) -> list[str]:
    """What guards told, oldest first."""
    rows: Any = both.first.store._redis.xrange(keys.EVENTS)
    return [row["kind"] for _, row in rows if row["kind"].startswith("fraud.")]


def trips(both: Pair, guard: Guard) -> list[Trip]:
    """Its own: one of the test before may be late, as a node may count that test's last call yet."""
    return [trip for trip in fraud.trips(both.first.store) if trip.guard == guard.name]


def tripped(both: Pair, guard: Guard) -> bool:
    return bool(trips(both, guard))


def known(node: Node, both: Pair) -> None:
    """Wait until a node has the last change."""
    seq = both.first.store.position()[1]
    assert not node.store.confirm(seq).missing


def counts(both: Pair, guard: Guard) -> dict[str, int]:
    return next((dict(use.totals) for use in fraud.usage(both.first.store, [guard])), {})


def counted(both: Pair, guard: Guard, calls: int) -> None:
    """Wait until so many calls are counted, no more and no fewer."""
    until(lambda: counts(both, guard).get("calls", 0) >= calls, f"not {calls} calls are counted")
    assert counts(both, guard)["calls"] == calls


def test_both_nodes_refuse_what_they_counted_together_until_an_operator_releases(both: Pair) -> None:
    first, second = both.nodes
    guard = Guard("premium", "caller", {"calls": Threshold(2, 3)}, ("+44909",))
    guarded(both, guard)
    told = len(kinds(both))
    calls = [node.answered(CALLER, PREMIUM, explained=False) for node in (first, second)]
    until(lambda: kinds(both)[told:] == ["fraud.warn"], "nobody warned")
    calls.append(first.answered(CALLER, PREMIUM, explained=False))
    until(lambda: tripped(both, guard), "three calls trip nothing")
    known(first, both)
    for node in both.nodes:
        call = node.refused(CALLER, PREMIUM, 403, REFUSED, explained=False)
        record = node.record(call.call_id)
        assert (record.refusal, record.fraud) == (REFUSED, "premium//1001")
        assert record.steps[-1] == ("fraud", "premium//1001", "3 of at most 3 calls, until released")
        # What it does not count passes.
        node.answered(CALLER, HOME, explained=False)
        node.answered(CALLER, "112", explained=False)
    first.answered("1002", PREMIUM, explained=False)
    assert counts(both, guard) == {"calls": 3}
    (trip,) = trips(both, guard)
    assert len(trip.calls) == 3
    ids = {node.record(call.call_id).call for node, call in zip((first, second, first), calls, strict=True)}
    assert set(trip.calls) == ids

    cli = Cli(fresh, second.stack.settings.to_env())
    (row,) = [row for row in cli("fraud", "status", "--json").data if row["blocked"]]
    assert (row["who"], row["measures"]["calls"]["count"], row["measures"]["calls"]["block"]) == (CALLER, "3", "3")
    assert "3 of at most 3 calls," in cli("fraud", "trips").out
    asked = ("explain", "--from", CALLER, "--to", PREMIUM)
    assert REFUSED in cli(*asked).out
    assert "3 of 3 calls" in cli(*asked).out
    assert "premium refuses 1001" in cli("status").out
    assert "no guard z refuses" in cli("fraud", "release", CALLER, "--reason", "x", "--guard", "z", status=1).err
    cli("fraud", "release", CALLER, "--reason", "it was me")
    for node in both.nodes:
        node.answered(CALLER, PREMIUM, explained=False)
    # Both have called twice since, which may be warned of by now.
    assert kinds(both)[told:][:3] == ["fraud.warn", "fraud.block", "fraud.release"]
    past = cli("fraud", "trips", "--past", "--json").data
    assert [row["reason"] for row in past if row["kind"] == "release"] == ["it was me"]


def test_a_trip_with_a_time_refuses_on_both_nodes(both: Pair) -> None:
    guard = Guard("hour", "trunk", {"destinations": Threshold(0, 1)}, ("+44909",), block_for=3600)
    guarded(both, guard)
    both.first.answered(CALLER, PREMIUM, explained=False)
    until(lambda: tripped(both, guard), "a call trips nothing")
    known(both.first, both)
    for node in both.nodes:
        node.refused(CALLER, PREMIUM, 403, REFUSED, explained=False)


def test_time_releases(both: Pair) -> None:
    # So short that a call which is refused in time cannot be promised: that is asked of the trip above.
    guard = Guard("brief", "trunk", {"destinations": Threshold(0, 1)}, ("+44909",), block_for=1)
    guarded(both, guard)
    told = len(kinds(both))
    both.first.answered(CALLER, PREMIUM, explained=False)
    until(lambda: kinds(both)[told:][-2:] == ["fraud.block", "fraud.release"], "time releases nothing")
    assert not tripped(both, guard)
    both.nodes[1].answered(CALLER, PREMIUM, explained=False)


def test_a_call_that_runs_trips_a_guard(both: Pair) -> None:
    # Three seconds, as no policy file has them.
    guard = Guard("long", "trunk", {"minutes": Threshold(0, 3000)})
    guarded(both, guard)
    with both.talking(both.nodes[1], 1):
        until(lambda: tripped(both, guard), "a call that runs trips nothing")
        known(both.first, both)
        both.first.refused(CALLER, PREMIUM, 403, REFUSED, explained=False)
        (trip,) = trips(both, guard)
    assert (trip.measure, trip.who) == ("minutes", TRUNK.name)
    # A policy without the guard lets them pass at once.
    guarded(both)
    both.first.answered(CALLER, PREMIUM, explained=False)


def test_an_agent_that_is_killed_counts_nothing_twice_and_nothing_less(both: Pair) -> None:
    # Whose calls none of the others are: a node reads the last call of the test before by the policy of this one.
    node = both.nodes[1]
    guard = Guard("again", "caller", {"calls": Threshold(0, 5), "minutes": Threshold(0, 10**9)})
    guarded(both, guard)
    for _ in range(2):
        node.answered("1004", PREMIUM, explained=False)
    counted(both, guard, 2)
    node.stack.processes["agent"].kill()
    try:
        for _ in range(2):
            node.answered("1004", PREMIUM, explained=False)
    finally:
        node.stack.start_agent()
    counted(both, guard, 4)
    assert not tripped(both, guard)
    node.stack.processes["agent"].kill()
    node.stack.start_agent()
    call = node.answered("1004", PREMIUM, explained=False)
    until(lambda: tripped(both, guard), "the fifth call trips nothing")
    (trip,) = trips(both, guard)
    assert trip.count == 5
    spans = [record.duration for record in map(node.record, [call.call_id])]
    assert counts(both, guard)["minutes"] >= round(sum(spans) * 1000)


def test_thresholds_that_are_lowered_hold_from_the_next_call_on(both: Pair) -> None:
    guard = Guard("live", "caller", {"sequential": Threshold(0, 9)})
    guarded(both, guard)
    for digit in (3, 1, 2):
        both.first.answered("1003", f"0207946000{digit}", explained=False)
    until(lambda: counts(both, guard) == {"sequential": 3}, "the run is not counted")
    guarded(both, dataclasses.replace(guard, measures={"sequential": Threshold(0, 4)}))
    both.first.answered("1003", "02079460004", explained=False)
    until(lambda: tripped(both, guard), "a run of four trips nothing")
