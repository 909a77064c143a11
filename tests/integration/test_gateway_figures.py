"""What agents know of gateways together: counted once, told in time, and each node for itself where Redis is away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from harness.load import until
from harness.redis_server import RedisServer, redis_server

from agent.adopting import Adopting
from agent.quality import QualityWriter
from agent.replica import Replica
from agent.samples import Sample
from agent.seen import Seen
from agent.shipper import Shipper
from kemi.spool import Spool
from kemi.view import View
from model.open_breaker import AFTER, OpenBreaker
from model.policy import Gateway, Policy, Route
from model.quality import NOTHING, SLOT, Bounds, Figures, Quality, slot_of, slots, summed
from model.settings import Settings
from state import breakers, keys, quality, records
from state.snapshot import SnapshotWriter
from state.store import Store

WINDOW = 60.0
ROUTE = Route("r", ("",), ("a",), quality=Quality(WINDOW, asr=Bounds(40)))


@dataclass
class Agent:
    """One node's spool, snapshot and agent, step by step."""

    name: str
    directory: Path
    server: RedisServer
    seen: Seen = field(default_factory=Seen)

    def __post_init__(self) -> None:
        self.store, self.spool = Store(self.server.url), Spool(self.directory / "spool")
        self.writer = SnapshotWriter(self.directory / "snapshot")
        self.settings = Settings.from_env({
            "STROWGER_NODE": self.name, "STROWGER_REDIS_URL": self.server.url,
            "STROWGER_SPOOL": str(self.directory / "spool"),
        })  # fmt: skip
        self.adopting = Adopting(self.store, self.name, self.seen)
        self.replica = Replica(self.store, self.writer, adopting=self.adopting)
        self.quality = QualityWriter(self.settings, bool, self.writer, lambda: self.replica.windows, self.seen)

    @contextmanager
    def shipping(self) -> Iterator[None]:
        """Its shipper while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=Shipper(self.settings, stop.is_set, seen=self.seen).run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def follow(self) -> dict[str, OpenBreaker]:
        """Take over what changed; the trips that it goes by."""
        for _ in range(3):
            self.replica.advance(block=0)
        self.adopting.announce()
        return dict(self.view.breakers)

    @property
    def view(self) -> View:
        """What a worker of the node sees."""
        return View(self.writer.get)

    def figures(self, now: float) -> Figures:
        """What its routing knows of gateway a at Unix time ``now``."""
        self.quality.refresh(self.store, now)
        return self.view.figures(WINDOW, now).get("a", NOTHING)

    def call(self, name: str, *, answered: bool, at: float) -> None:
        """A call to gateway a, in the spool."""
        self.spool.append({
            "event": "decided", "call": name, "call_id": name, "from_tag": "t", "at": at, "facts": {"callee": "1"},
            "steps": [], "emergency": False, "version": 1, "route": "r", "gateways": ["a"],
        })  # fmt: skip
        if answered:
            self.spool.append({"event": "answered", "call": name, "at": at, "attempt": 1, "status": 200, "rang": None})
            self.spool.append({"event": "ended", "call": name, "call_id": name, "at": at + 2, "by": "caller"})
        else:
            self.spool.append({
                "event": "failed", "call": name, "at": at, "gateway": "a", "status": 503, "cause": "server-fault",
                "why": "by the table of causes", "rang": None, "ringing": False,
            })  # fmt: skip

    def close(self) -> None:
        """Release what it holds."""
        self.store.close()
        self.writer.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def agents(tmp_path: Path, server: RedisServer) -> Iterator[tuple[Agent, Agent]]:
    """Two nodes that follow a policy."""
    found = Agent("one", tmp_path / "one", server), Agent("two", tmp_path / "two", server)
    found[0].store.apply(
        text="", policy=Policy(gateways={"a": Gateway("a", "192.0.2.1")}), routes=(ROUTE,), expected=0, author="test"
    )
    for agent in found:
        agent.follow()
    yield found
    for agent in found:
        agent.close()


def in_redis(store: Store, now: float) -> Figures:
    """What Redis counts of gateway a."""
    return summed(quality.counted(store, slots(WINDOW, now)), WINDOW, now).get("a", NOTHING)


def test_all_nodes_know_what_all_nodes_saw(agents: tuple[Agent, Agent]) -> None:
    one, two = agents
    now = time.time()
    one.call("x", answered=True, at=now)
    two.call("y", answered=False, at=now)
    with one.shipping(), two.shipping():
        until(lambda: in_redis(one.store, now + 2).ended == 1 and in_redis(one.store, now).attempts == 2, "counted")
    assert [agent.figures(now + 2) for agent in agents] == [Figures(2, 1, 1, 0, 1, 2000)] * 2
    # What is counted later comes with the next look; what is too old goes.
    two.call("z", answered=False, at=now)
    with two.shipping():
        until(lambda: in_redis(one.store, now).attempts == 3, "counted")
    assert one.figures(now + 3).attempts == 3
    assert one.figures(now + WINDOW + SLOT + 3) == NOTHING


def test_whoever_ships_a_call_again_counts_it_once(agents: tuple[Agent, Agent]) -> None:
    one, now = agents[0], time.time()
    for number in range(50):
        one.call(f"c{number}", answered=number % 2 == 0, at=now)
    # As an agent that was killed, and the one that took its place.
    with one.shipping(), one.shipping():
        until(lambda: records.count(one.store) == 50, "shipped")
    with one.shipping():
        one.call("last", answered=True, at=now)
        until(lambda: records.count(one.store) == 51, "shipped")
    found = in_redis(one.store, now + 2)
    assert (found.attempts, found.answered, found.ended) == (51, 26, 26)


def test_without_redis_a_node_goes_on_with_its_own_and_the_last_of_others(
    agents: tuple[Agent, Agent], server: RedisServer
) -> None:
    one, two = agents
    now = time.time()
    two.call("y", answered=False, at=now)
    with one.shipping():
        with two.shipping():
            until(lambda: in_redis(two.store, now).attempts == 1, "counted")
        assert one.figures(now).attempts == 1
        server.stop()
        one.call("x", answered=True, at=now)
        until(lambda: one.figures(now).attempts == 2, "counted by the node itself", timeout=30)
        assert one.figures(now + WINDOW + SLOT + 3) == NOTHING
        server.start()
        # It has lost what it counted; the spool has what this node saw.
        until(lambda: in_redis(one.store, now).attempts == 1, "shipped", timeout=30)
        until(lambda: not one.seen.kept(), "kept no longer")


def test_counts_of_long_ago_are_not_written(agents: tuple[Agent, Agent]) -> None:
    one, now = agents[0], time.time()
    one.call("x", answered=False, at=now - 7200)
    with one.shipping():
        until(lambda: records.count(one.store) == 1, "shipped")
    names = list(one.store._redis.scan_iter(match="*:quality:*"))
    assert names == []
    one.call("y", answered=False, at=now)
    with one.shipping():
        until(lambda: records.count(one.store) == 2, "shipped")
    assert 0 < one.store._redis.ttl(keys.quality(slot_of(now))) <= quality.KEPT


def trip(node: str, now: float, **more: float) -> OpenBreaker:
    times = {"at": now, "until": now + 30, "since": now - 5, **more}
    return OpenBreaker(node, "a", failures={"time-out": 5}, **times)


def alive(agent: Agent, at: float) -> None:
    agent.seen.heard([Sample("a", at, NOTHING, at)])


def test_who_saw_nothing_since_goes_by_it_until_a_sign_of_life(agents: tuple[Agent, Agent]) -> None:
    one, two = agents
    now = time.time()
    alive(two, now - 6)
    breakers.opened(one.store, told := trip("one", now), shared=True)
    assert two.follow() == {"a": told}
    assert one.follow() == {}
    assert breakers.by_node(one.store, now) == {"a": {"one": told, "two": told}}
    # A call that rang before and is answered now.
    alive(two, now - 4)
    assert two.follow() == {}
    assert breakers.by_node(one.store, now) == {"a": {"one": told}}


def test_who_saw_it_work_since_does_not_go_by_it(agents: tuple[Agent, Agent]) -> None:
    one, two = agents
    now = time.time()
    alive(two, now - 4)
    breakers.opened(one.store, trip("one", now), shared=True)
    assert two.follow() == {}
    # An agent that begins anew knows of no sign, and reads what was told before it came.
    again = Agent("two", two.directory.parent / "again", two.server)
    try:
        assert set(again.follow()) == {"a"}
    finally:
        again.close()


def test_a_trip_ends_when_its_node_closes_it_and_with_its_time(agents: tuple[Agent, Agent]) -> None:
    one, two = agents
    now = time.time()
    breakers.opened(one.store, trip("one", now), shared=True)
    assert set(two.follow()) == {"a"}
    breakers.closed(one.store, "one", "a")
    assert two.follow() == {}
    breakers.opened(one.store, trip("one", now, until=now - AFTER - 1), shared=True)
    assert two.follow() == {}


def test_a_trip_of_one_address_of_a_gateway(agents: tuple[Agent, Agent]) -> None:
    one, two = agents
    now = time.time()
    told = replace(trip("one", now), gateway="a/192.0.2.1:5060")
    breakers.opened(one.store, told, shared=True)
    assert two.follow() == {"a/192.0.2.1:5060": told}
    assert breakers.by_node(one.store, now) == {"a": {"one": told, "two": told}}


def test_a_trip_is_told_once(agents: tuple[Agent, Agent]) -> None:
    one, now = agents[0], time.time()
    for _ in range(2):
        breakers.opened(one.store, trip("one", now), shared=True)
    events: Any = one.store._redis.xrange(keys.EVENTS)
    assert [row["kind"] for _, row in events if row["kind"].startswith("breaker.")] == ["breaker.opened"]
    assert one.store.position()[1] == 2


def test_the_spool_tells_of_breakers(agents: tuple[Agent, Agent]) -> None:
    one, two = agents
    now = time.time()
    line = {"event": "tripped", "gateway": "a", "at": now, "until": now + 30, "since": now, "failures": {}}
    one.spool.append({**line, "at": now - 90, "until": now - 60, "shared": True})
    one.spool.append({**line, "shared": True})
    with one.shipping():
        until(lambda: "one/a" in breakers.told(two.store), "told")
        assert breakers.told(two.store)["one/a"].at == now
        one.spool.append({"event": "restored", "gateway": "a", "at": now, "shared": True})
        until(lambda: not breakers.told(two.store), "closed")
