"""What guards against fraud count in Redis: once, over all nodes, whoever dies; and what comes of it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness.load import until
from harness.redis_server import RedisServer, redis_server

from agent.replica import Replica
from agent.shipper import Shipper
from kemi.spool import Spool
from kemi.view import View
from model.fraud import MINUTE, Guard, Threshold, Trip
from model.policy import Policy, Trunk
from model.settings import Settings
from state import fraud, keys, layout
from state.fraud import Counted, Item
from state.records import ship
from state.snapshot import SnapshotWriter
from state.store import Store

GUARD = Guard("g", "trunk", {"calls": Threshold(2, 4)}, within=3600)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """A Redis with a policy and nothing else."""
    with server.client() as client:
        client.flushall()
    store = Store(server.url)
    store.apply(text="", policy=Policy(), routes=(), expected=0, author="test")
    yield store
    store.close()


def count(store: Store, *numbers: str, guard: Guard = GUARD, at: float = 0.0, milliseconds: int = 0) -> None:
    """Calls to these numbers."""
    item = Item(guard, "", "lab")
    now = time.time()
    stretch = item.stretch(at or now)
    stretch[0] += len(numbers)
    stretch[1] += milliseconds
    item.numbers = {number: round((at or now) * 1000) for number in numbers}
    item.ids = [f"id{number}" for number in numbers]
    assert ship(store, "n", "", "", [], {}, 10, Counted((item,), now))


def told(store: Store) -> list[str]:
    """What was warned of, blocked and released, in order; by both streams."""
    past = [kind for kind, _, _ in fraud.past(store, 100)][::-1]
    events: Any = store._redis.xrange(keys.EVENTS)
    kinds = [row["kind"] for _, row in events]
    assert [kind.removeprefix("fraud.") for kind in kinds if kind.startswith("fraud.")] == past
    return past


def test_a_warning_comes_once_and_then_a_block(store: Store) -> None:
    for number in range(3):
        count(store, f"+44{number}")
    assert told(store) == ["warn"]
    assert fraud.trips(store) == []
    count(store, "+443", "+444")
    count(store, "+445")
    assert told(store) == ["warn", "block"]
    (trip,) = fraud.trips(store)
    assert (trip.field, trip.measure, trip.count, trip.limit, trip.until) == ("g//lab", "calls", 5, 4, 0.0)
    assert trip.calls == tuple(f"id+44{number}" for number in range(5))
    assert trip.at == pytest.approx(time.time(), abs=10)
    change = store.changes(store.position()[1] - 1, 0)[0]
    assert change.op == "trip"
    assert json.loads(change.value)[0] == "g//lab"


def test_what_is_out_of_the_window_does_not_count(store: Store) -> None:
    now = time.time()
    count(store, "+441", "+442", "+443", "+444", "+445", at=now - 3600 - 2 * 75)
    count(store, "+446", at=now - 3590)
    (use,) = fraud.usage(store, [GUARD])
    assert dict(use.totals) == {"calls": 1}
    assert told(store) == []


def test_a_window_of_another_length_begins_anew(store: Store) -> None:
    count(store, "+441", "+442", "+443")
    count(store, "+441", guard=replace(GUARD, within=7200))
    assert [dict(use.totals) for use in fraud.usage(store, [replace(GUARD, within=7200)])] == [{"calls": 1}]


def test_an_operator_releases_and_counting_begins_anew(store: Store) -> None:
    count(store, "+441", "+442", "+443", "+444")
    (trip,) = fraud.trips(store)
    change = fraud.release(store, trip, "me", "a mistake")
    assert change is not None
    assert json.loads(store.changes(change.seq - 1, 0)[0].value) == ["g//lab", ""]
    assert fraud.release(store, trip, "me", "again") is None
    assert fraud.trips(store) == []
    assert fraud.usage(store, [GUARD]) == []
    kind, _, past = next(fraud.past(store, 1))
    assert (kind, past["author"], past["reason"], past["measure"]) == ("release", "me", "a mistake", "calls")
    count(store, "+441")
    assert told(store) == ["block", "release"]


def test_time_releases(store: Store) -> None:
    brief = replace(GUARD, block_for=1)
    count(store, "+441", "+442", "+443", "+444", guard=brief)
    (trip,) = fraud.trips(store)
    assert trip.until == pytest.approx(trip.at + 1)
    assert fraud.release_over(store, trip.at) == 0
    until(lambda: fraud.release_over(store, time.time()) == 1, "it is released")
    assert told(store) == ["block", "release"]
    # As well by the next call that counts, where nobody looked meanwhile.
    count(store, "+441", "+442", "+443", "+444", guard=brief)
    until(lambda: not fraud.trips(store), "it is over")
    count(store, "+445", guard=brief)
    assert told(store) == ["block", "release"] * 2
    assert [dict(use.totals) for use in fraud.usage(store, [brief])] == [{"calls": 1}]


def test_destinations_and_runs(store: Store) -> None:
    guard = replace(GUARD, measures={"destinations": Threshold(0, 4), "sequential": Threshold(3, 0)})
    count(store, "+441", "+441", "+443", guard=guard)
    assert told(store) == []
    count(store, "+442", guard=guard)
    assert told(store) == ["warn"]
    (use,) = fraud.usage(store, [guard])
    assert dict(use.totals) == {"destinations": 3, "sequential": 3}
    count(store, "+449", guard=guard)
    assert fraud.trips(store)[0].measure == "destinations"


def test_minutes(store: Store) -> None:
    guard = replace(GUARD, measures={"minutes": Threshold(0, 2 * MINUTE)})
    count(store, guard=guard, milliseconds=2 * MINUTE)
    (trip,) = fraud.trips(store)
    assert trip.found == "2 of at most 2 minutes"


def test_nothing_is_counted_where_redis_holds_no_policy(store: Store) -> None:
    store._redis.flushall()
    count(store, "+441", "+442", "+443", "+444")
    assert fraud.trips(store) == []


def test_trips_reach_a_snapshot(store: Store, tmp_path: Path) -> None:
    writer = SnapshotWriter(tmp_path / "snapshot")
    replica = Replica(store, writer)
    replica.synchronise()
    count(store, "+441", "+442", "+443", "+444")
    replica.advance(1.0)
    found = View(writer.get)
    (trip,) = fraud.trips(store)
    assert (dict(found.trips), found.trip("g//lab")) == ({"g": 1}, trip)
    # One that reads everything anew has it, too.
    anew = SnapshotWriter(tmp_path / "anew")
    Replica(store, anew).synchronise()
    assert View(anew.get).trip("g//lab") == trip
    fraud.release(store, trip, "me", "")
    replica.advance(1.0)
    assert (dict(View(writer.get).trips), View(writer.get).trip("g//lab")) == ({}, None)
    writer.close()
    anew.close()


@contextmanager
def shipping(store: Store, url: str, spool: Path, policy: Policy, node: str) -> Iterator[None]:
    """An agent's shipper while the block runs."""
    stop = threading.Event()
    environment = {"STROWGER_NODE": node, "STROWGER_REDIS_URL": url, "STROWGER_SPOOL": str(spool)}
    shipper = Shipper(Settings.from_env(environment), stop.is_set, lambda: layout.policy_record(policy, 1))
    thread = threading.Thread(target=shipper.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def decided(call: str, at: float) -> dict[str, Any]:
    return {
        "event": "decided", "call": call, "call_id": call, "from_tag": "t", "at": at, "facts": {"callee": "1"},
        "steps": [["trunk", "x", "lab"], ["caller", "2", "2"], ["callee", call, call]], "emergency": False,
        "version": 1, "route": "r", "gateways": ["g"],
    }  # fmt: skip


def totals(store: Store, guard: Guard) -> dict[str, int]:
    """What is counted."""
    return next((dict(use.totals) for use in fraud.usage(store, [guard])), {})


def test_two_nodes_count_together_and_a_running_call_trips_once_it_is_long_enough(
    store: Store, server: RedisServer, tmp_path: Path
) -> None:
    guard = Guard("g", "trunk", {"calls": Threshold(0, 100), "minutes": Threshold(0, MINUTE)})
    policy = Policy((Trunk("lab", ()),), fraud=(guard,))
    spools = [Spool(tmp_path / name) for name in ("a", "b")]
    now = time.time()
    for number, spool in enumerate(spools):
        # Calls that have run for so long that they trip within two seconds, and not at once.
        spool.append(decided(f"+441{number}", now - 29.5))
        spool.append({"event": "answered", "call": f"+441{number}", "at": now - 29.0, "status": 200, "rang": None})
    with (
        shipping(store, server.url, tmp_path / "a", policy, "a"),
        shipping(store, server.url, tmp_path / "b", policy, "b"),
    ):
        until(lambda: bool(fraud.trips(store)), "the running calls trip the guard")
        (trip,) = fraud.trips(store)
        assert (trip.measure, totals(store, guard)["calls"]) == ("minutes", 2)
        # Each node may be a tick behind the other.
        assert MINUTE <= trip.count <= MINUTE + 3000
    ends = [now + 60, now + 70]
    for number, (spool, end) in enumerate(zip(spools, ends, strict=True)):
        spool.append({"event": "ended", "call": f"+441{number}", "call_id": f"+441{number}", "at": end, "by": "caller"})
    exact = round(sum(end - (now - 29.0) for end in ends) * 1000)
    with (
        shipping(store, server.url, tmp_path / "a", policy, "a"),
        shipping(store, server.url, tmp_path / "b", policy, "b"),
    ):
        until(lambda: store.count(keys.spool("a")) == store.count(keys.spool("b")) == 1, "both calls are over")
    assert totals(store, guard) == {"calls": 2, "minutes": exact}


def test_a_redis_that_lost_everything_counts_anew_what_the_spools_have(
    store: Store, server: RedisServer, tmp_path: Path
) -> None:
    guard = replace(GUARD, measures={"calls": Threshold(0, 100)})
    policy, spool = Policy((Trunk("lab", ()),), fraud=(guard,)), Spool(tmp_path)
    for number in range(5):
        spool.append(decided(f"+44{number}", time.time()))
    with shipping(store, server.url, tmp_path, policy, "a"):
        until(lambda: totals(store, guard) == {"calls": 5}, "they are counted")
        store._redis.flushall()
        store.apply(text="", policy=Policy(), routes=(), expected=0, author="test")
        spool.append(decided("+449", time.time()))
        until(lambda: totals(store, guard) == {"calls": 6}, "they are counted anew")


def test_a_trip_as_redis_has_it() -> None:
    trip = Trip("g", "+44", "a/b", "calls", 4, 3, at=1.5, until=2.0, calls=("c",))
    assert Trip.decode(json.dumps(trip.as_dict())) == trip
    assert trip.field == "g/+44/a/b"
