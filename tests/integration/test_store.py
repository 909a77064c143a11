"""The shared state in a real Redis: what a change does, who hears of it, and what is said when Redis is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from harness.redis_server import RedisServer, redis_server

from console.ports import free_port
from model.entries import Action, Entry, Kind
from model.numbers import Dialling
from model.policy import Gateway, Policy, Route, Trunk
from state import keys, store
from state.store import (
    Change,
    ConflictError,
    NodeReport,
    NoPolicyAppliedError,
    NotKeptError,
    Store,
    StoreAwayError,
    StoreError,
)

POLICY = Policy((Trunk("office", ("192.0.2.0/24",)),), {"a": Gateway("a", "192.0.2.1")}, Dialling("44"))
ROUTES = (Route("all", ("",), ("a",)),)
ENTRY = Entry(Kind.CALLER, "+442079460000", reason="nuisance, “quoted”", created=1_700_000_000.25)
SECRET = "s3cret-word"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def empty(server: RedisServer) -> Iterator[Store]:
    """A Redis that holds nothing."""
    with server.client() as client:
        client.flushall()
    opened = Store(server.url)
    yield opened
    opened.close()


@pytest.fixture
def shared(empty: Store) -> Store:
    """A Redis that holds one policy, change 1."""
    apply(empty)
    return empty


def apply(target: Store, expected: int = 0, policy: Policy = POLICY) -> Change:
    return target.apply(text="strowger: 1\n", policy=policy, routes=ROUTES, expected=expected, author="test")


def report(target: Store, name: str, seq: int) -> None:
    generation, _ = target.position()
    target.report(NodeReport(name, generation, seq, version=1, pid=1, started=0.0))


def found(target: Store) -> set[Entry]:
    return set(target.entries())


# Policies


def test_a_policy_comes_back_as_it_was_applied(shared: Store) -> None:
    applied = shared.policy()
    assert applied.decode() == (POLICY, ROUTES)
    assert (applied.version, applied.text, applied.author) == (1, "strowger: 1\n", "test")
    assert applied.applied <= time.time()
    assert shared.policy_version() == 1


def test_each_policy_has_the_next_version_and_is_a_change(shared: Store) -> None:
    assert apply(shared, 1) == Change(seq=2, op="policy", value="2")
    assert shared.policy_version() == 2
    assert [change.op for change in shared.changes(0, 0)] == ["policy", "policy"]


def test_there_is_no_policy_before_the_first(empty: Store) -> None:
    assert empty.policy_version() == 0
    assert empty.position() == ("", 0)
    with pytest.raises(NoPolicyAppliedError, match="policy apply"):
        empty.policy()


@pytest.mark.parametrize("expected", [0, 2, -1])
def test_a_policy_made_from_another_version_changes_nothing(shared: Store, expected: int) -> None:
    before = shared.policy(), shared.position()
    with pytest.raises(ConflictError, match=f"version 1 is in force, not {expected}:"):
        apply(shared, expected, Policy())
    assert (shared.policy(), shared.position()) == before


def test_of_policies_applied_at_once_one_wins(server: RedisServer, shared: Store) -> None:
    def attempt(number: int) -> int:
        own = Store(server.url)
        try:
            apply(own, 1, Policy(retry_after_max=float(number)))
        except ConflictError:
            return -1
        else:
            return number
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(attempt, range(8)) if number >= 0]
    assert len(winners) == 1
    assert shared.policy().decode()[0].retry_after_max == winners[0]
    assert shared.policy_version() == 2
    assert shared.position()[1] == 2


def test_the_generation_is_made_once_and_anew_after_a_flush(server: RedisServer, shared: Store) -> None:
    generation, _ = shared.position()
    apply(shared, 1)
    assert shared.position() == (generation, 2)
    with server.client() as client:
        client.flushall()
    apply(shared)
    assert shared.position()[0] not in ("", generation)


# History


def test_every_policy_stays_in_the_history_as_it_was_applied(shared: Store) -> None:
    other = Policy(retry_after_max=7.0)
    shared.apply(text="# “two”\n", policy=other, routes=(), expected=1, author="ann", message="quieter: “é”")
    first, second = shared.policy_of(1), shared.policy_of(2)
    assert (first.text, first.author, first.message, first.decode()) == ("strowger: 1\n", "test", "", (POLICY, ROUTES))
    assert (second.text, second.author, second.message) == ("# “two”\n", "ann", "quieter: “é”")
    assert second.decode() == (other, ())
    assert second == shared.policy()
    assert [(item.version, item.author, item.message) for item in shared.history()] == [
        (2, "ann", "quieter: “é”"),
        (1, "test", ""),
    ]
    assert [item.version for item in shared.history(limit=1)] == [2]
    assert [item.applied for item in shared.history()] == [second.applied, first.applied]


def test_the_history_is_bounded(server: RedisServer, empty: Store) -> None:
    kept = store.HISTORY_KEPT
    for version in range(kept + 3):
        apply(empty, version)
    assert [item.version for item in empty.history(limit=10 * kept)] == list(range(kept + 3, 3, -1))
    assert empty.policy_of(4).version == 4
    for unknown in (3, 0, -1, kept + 4):
        with pytest.raises(NotKeptError, match=f"version {unknown} is not .* the last {kept} up to {kept + 3}"):
            empty.policy_of(unknown)
    with server.client() as client:
        assert client.hlen(keys.HISTORY) == kept * 5


def test_there_is_no_history_before_the_first_policy(empty: Store) -> None:
    assert empty.history() == []
    with pytest.raises(NoPolicyAppliedError):
        empty.policy_of(1)


def test_a_policy_from_before_there_was_a_history_enters_it_with_the_next(server: RedisServer, shared: Store) -> None:
    with server.client() as client:
        client.delete(keys.HISTORY)
        client.hdel(keys.POLICY, "message")
    before = shared.policy()
    assert [(item.version, item.author, item.message) for item in shared.history()] == [(1, "test", "")]
    apply(shared, 1, Policy())
    assert [item.version for item in shared.history()] == [2, 1]
    assert shared.policy_of(1) == before


def test_a_policy_that_lost_the_race_is_in_no_history(server: RedisServer, shared: Store) -> None:
    def attempt(number: int) -> bool:
        own = Store(server.url)
        try:
            own.apply(text=str(number), policy=POLICY, routes=ROUTES, expected=1, author=str(number))
        except ConflictError:
            return False
        finally:
            own.close()
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert [item.author for item in shared.history()] == [str(won.index(True)), "test"]
    assert shared.policy_of(2).text == str(won.index(True))


# Entries


def test_an_entry_is_put_replaced_and_deleted(shared: Store) -> None:
    assert shared.put(ENTRY).seq == 2
    assert found(shared) == {ENTRY}
    renewed = Entry(Kind.CALLER, ENTRY.value, Action.ALLOW, expires=2e9)
    assert shared.put(renewed).seq == 3
    assert found(shared) == {renewed}
    assert shared.delete(Kind.CALLER, ENTRY.value) == Change(seq=4, op="del", field=f"caller:{ENTRY.value}")
    assert found(shared) == set()


def test_entries_of_one_value_and_several_kinds_are_apart(shared: Store) -> None:
    entries = {Entry(kind, "+44") for kind in (Kind.CALLER, Kind.CALLEE, Kind.CALLER_PREFIX, Kind.USER_AGENT)}
    for entry in entries:
        shared.put(entry)
    assert found(shared) == entries


def test_a_deletion_of_what_is_not_there_is_no_change(shared: Store) -> None:
    assert shared.delete(Kind.CALLER, "nobody") is None
    assert shared.position()[1] == 1


def test_nothing_is_put_before_the_first_policy(empty: Store) -> None:
    with pytest.raises(NoPolicyAppliedError):
        empty.put(ENTRY)
    assert found(empty) == set()
    assert empty.changes(0, 0) == []


def test_changes_are_numbered_without_gaps_whoever_makes_them(server: RedisServer, shared: Store) -> None:
    def work(worker: int) -> None:
        own = Store(server.url)
        for number in range(25):
            own.put(Entry(Kind.CALLER, f"{worker}-{number}"))
            own.delete(Kind.CALLER, f"{worker}-{number - 1}")
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    changes = shared.changes(0, 0)
    # One policy; each worker's first deletion finds nothing.
    assert [change.seq for change in changes] == list(range(1, 1 + 4 * 49 + 1))
    assert shared.position()[1] == changes[-1].seq


def test_changes_come_as_they_were_made_after_the_number_asked_for(shared: Store) -> None:
    made = [shared.put(ENTRY), shared.delete(ENTRY.kind, ENTRY.value)]
    assert shared.changes(1, 0) == made
    assert shared.changes(2, 0) == made[1:]
    assert shared.changes(3, 0) == []


def test_at_most_a_thousand_changes_come_at_once(shared: Store) -> None:
    for number in range(1001):
        shared.put(Entry(Kind.CALLER, str(number % 7)))
    assert [change.seq for change in shared.changes(1, 0)] == list(range(2, 1002))


def test_who_waits_for_a_change_gets_it(server: RedisServer, shared: Store) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.changes, 1, store.TIMEOUT / 2)
        await_blocked_client(server)
        writer = Store(server.url)
        change = writer.put(ENTRY)
        writer.close()
        assert waiting.result() == [change]


def await_blocked_client(server: RedisServer) -> None:
    with server.client() as client:
        until(lambda: cast("dict[str, int]", client.info("clients"))["blocked_clients"] > 0)


def until(holds: Callable[[], bool]) -> None:
    """Poll until it holds; the test's own timeout bounds it."""
    while not holds():
        time.sleep(0.005)


# Expiry


def test_a_sweep_removes_what_has_expired_and_says_so_in_the_stream(shared: Store) -> None:
    gone = [Entry(Kind.CALLER, f"gone-{at}", expires=at) for at in (1.0, 99.5, 100.0)]
    stays = {Entry(Kind.CALLER, "later", expires=100.5), Entry(Kind.CALLER, "for-good")}
    for entry in (*gone, *stays):
        shared.put(entry)
    assert shared.sweep(100.0) == len(gone)
    assert found(shared) == stays
    assert {(change.op, change.field) for change in shared.changes(6, 0)} == {
        ("del", f"caller:{entry.value}") for entry in gone
    }
    assert shared.sweep(100.0) == 0


@pytest.mark.parametrize("expires", [0.0, 2e9])
def test_an_entry_renewed_meanwhile_is_not_swept(shared: Store, expires: float) -> None:
    shared.put(Entry(Kind.CALLER, "1001", expires=50.0))
    renewed = Entry(Kind.CALLER, "1001", expires=expires)
    shared.put(renewed)
    assert shared.sweep(100.0) == 0
    assert found(shared) == {renewed}


def test_an_entry_deleted_and_put_again_for_good_is_not_swept(shared: Store) -> None:
    shared.put(Entry(Kind.CALLER, "1001", expires=50.0))
    shared.delete(Kind.CALLER, "1001")
    shared.put(Entry(Kind.CALLER, "1001"))
    assert shared.sweep(100.0) == 0
    assert found(shared) == {Entry(Kind.CALLER, "1001")}


def test_a_sweep_beyond_its_bound_goes_on_with_the_next(shared: Store) -> None:
    for number in range(1005):
        shared.put(Entry(Kind.CALLER, str(number), expires=1.0))
    assert [shared.sweep(2.0), shared.sweep(2.0), shared.sweep(2.0)] == [1000, 5, 0]


# Nodes


def test_a_node_is_live_while_it_renews_its_report(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "NODE_TTL", 0.05)
    report(shared, "brief", 1)
    monkeypatch.undo()
    report(shared, "steady", 1)
    until(lambda: shared.nodes()[1] == ["brief"])
    assert [node.name for node in shared.nodes()[0]] == ["steady"]


def test_a_retired_node_is_missed_by_nobody(shared: Store) -> None:
    report(shared, "a", 1)
    report(shared, "b", 1)
    shared.retire("a")
    live, gone = shared.nodes()
    assert ([node.name for node in live], gone) == (["b"], [])


def test_a_report_comes_back_as_it_was_made(shared: Store) -> None:
    made = NodeReport("a", shared.position()[0], seq=7, version=3, pid=42, started=1.5)
    shared.report(made)
    assert shared.nodes() == ([made], [])


# Confirmation


def test_without_live_nodes_nobody_is_waited_for(shared: Store) -> None:
    confirmation = shared.confirm(1)
    assert (confirmation.nodes, confirmation.missing) == ((), ())


def test_a_confirmation_waits_for_the_slow_node(server: RedisServer, shared: Store) -> None:
    report(shared, "fast", 2)
    report(shared, "slow", 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(shared.confirm, 2, 60.0)
        await_subscriber(server)
        assert not waiting.done()
        other = Store(server.url)
        report(other, "slow", 2)
        confirmation = waiting.result()
        other.close()
    assert (confirmation.nodes, confirmation.missing) == (("fast", "slow"), ())


def await_subscriber(server: RedisServer) -> None:
    with server.client() as client:
        until(lambda: dict(cast("list[tuple[str, int]]", client.pubsub_numsub(keys.APPLIED)))[keys.APPLIED] > 0)


def test_a_confirmation_names_the_node_that_is_missing(shared: Store) -> None:
    report(shared, "fast", 2)
    report(shared, "slow", 1)
    confirmation = shared.confirm(2, timeout=0.05)
    assert (confirmation.nodes, confirmation.missing) == (("fast",), ("slow",))


def test_a_node_that_dies_meanwhile_is_missing(shared: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "NODE_TTL", 0.1)
    report(shared, "dying", 1)
    confirmation = shared.confirm(2, timeout=0.5)
    assert (confirmation.nodes, confirmation.missing) == ((), ("dying",))


def test_a_node_that_was_dead_before_is_not_waited_for(shared: Store) -> None:
    report(shared, "dead", 1)
    shared._redis.delete(keys.node("dead"))
    confirmation = shared.confirm(2, timeout=60.0)
    assert (confirmation.nodes, confirmation.missing) == ((), ())


def test_a_node_that_retires_meanwhile_is_not_waited_for(shared: Store) -> None:
    report(shared, "leaving", 1)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(shared.confirm, 2, 60.0)
        shared.retire("leaving")
        assert waiting.result().missing == ()


def test_another_schema_is_refused(shared: Store) -> None:
    shared._redis.hset(keys.META, mapping={"generation": "g", "schema": keys.SCHEMA + 1})
    with pytest.raises(StoreError, match=f"schema {keys.SCHEMA + 1}"):
        shared.position()


def test_a_node_that_copies_another_redis_confirms_nothing(shared: Store) -> None:
    shared.report(NodeReport("stale", "another-generation", 100, version=9, pid=1, started=0.0))
    assert shared.confirm(1, timeout=0.05).missing == ("stale",)


# Redis away


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TIMEOUT", 0.1)


OPERATIONS: dict[str, Callable[[Store], object]] = {
    "ping": lambda target: target.ping(),
    "policy": lambda target: target.policy(),
    "policy_version": lambda target: target.policy_version(),
    "apply": apply,
    "put": lambda target: target.put(ENTRY),
    "delete": lambda target: target.delete(ENTRY.kind, ENTRY.value),
    "entries": lambda target: list(target.entries()),
    "sweep": lambda target: target.sweep(0.0),
    "position": lambda target: target.position(),
    "changes": lambda target: target.changes(0, 0.01),
    "report": lambda target: target.report(NodeReport("a", "", 0, 0, 0, 0.0)),
    "retire": lambda target: target.retire("a"),
    "nodes": lambda target: target.nodes(),
    "confirm": lambda target: target.confirm(1),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_redis_that_is_not_there_is_away(operation: Callable[[Store], object]) -> None:
    target = Store(f"redis://:{SECRET}@127.0.0.1:{free_port()}/0")
    with pytest.raises(StoreAwayError, match="does not answer") as raised:
        operation(target)
    assert SECRET not in str(raised.value)
    target.close()


@pytest.mark.timeout(20)
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["ping", "put", "entries", "changes", "confirm"])
def test_a_redis_that_hangs_is_away(server: RedisServer, empty: Store, name: str) -> None:
    apply(empty)
    target = Store(server.url)
    with server.hanging(), pytest.raises(StoreAwayError):
        OPERATIONS[name](target)
    target.close()


@pytest.mark.timeout(20)
def test_a_redis_that_hangs_while_a_confirmation_is_waited_for(
    server: RedisServer, shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "TIMEOUT", 0.3)
    own = Store(server.url)
    report(own, "slow", 1)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(own.confirm, 2, 60.0)
        await_subscriber(server)
        with server.hanging(), pytest.raises(StoreAwayError):
            waiting.result()
    own.close()


def test_the_same_store_goes_on_when_redis_is_back(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        target = Store(server.url)
        apply(target)
        server.stop()
        with pytest.raises(StoreAwayError):
            target.ping()
        server.start()
        assert target.position() == ("", 0)
        target.close()


def test_redis_that_refuses_is_not_away(server: RedisServer, shared: Store) -> None:
    with server.client() as client:
        client.set(keys.NODES, "not a set")
    with pytest.raises(StoreError, match="refuses") as raised:
        shared.nodes()
    assert not isinstance(raised.value, StoreAwayError)


# Passwords


def test_a_password_opens_redis_and_a_wrong_one_is_not_repeated(tmp_path: Path) -> None:
    with redis_server(tmp_path, SECRET) as server:
        target = Store(server.url)
        target.ping()
        target.close()
        for url in (f"redis://:wrong-{SECRET}@127.0.0.1:{server.port}/0", f"redis://127.0.0.1:{server.port}/0"):
            with pytest.raises(StoreError) as raised:
                Store(url).ping()
            assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:port/0",
        f"redis://:{SECRET}@127.0.0.1:99999/0",
        f"redis://:{SECRET}/half@127.0.0.1:6379/0",
        f"redis://:{SECRET}#half@127.0.0.1:6379/0",
        f"redis://:{SECRET}?half@127.0.0.1:6379/0",
        f"redis://:half/{SECRET}@127.0.0.1:6379/0",
        f"redis://x@{SECRET}/half@127.0.0.1:6379/0",
        f"redis://[{SECRET}@127.0.0.1:6379/0",
        f"redis://:{SECRET}@127.0.0.1:6379/0?socket_timeout=soon",
        f"http://:{SECRET}@127.0.0.1:6379/0",
        SECRET,
        "",
    ],
)
def test_an_address_that_cannot_be_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="address of Redis") as raised:
        Store(url).ping()
    assert "half" not in str(raised.value)
    assert SECRET not in str(raised.value)
    assert raised.value.__cause__ is None


def test_one_store_serves_several_threads(shared: Store) -> None:
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        barrier.wait()
        shared.put(Entry(Kind.CALLER, str(number)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert {entry.value for entry in shared.entries()} == {"0", "1", "2", "3"}
