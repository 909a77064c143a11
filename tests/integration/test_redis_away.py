"""A node without Redis, or with a Redis that has lost its data: calls are decided from the last policy."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from harness.load import (
    ALLOWED,
    BLOCKED,
    Caller,
    LoadResult,
    MixedLoad,
    Reply,
    assert_flawless,
    block_one_caller,
    until,
)
from harness.node import TRUNK, Node

from console.process import Process
from model.entries import Entry, Kind
from model.policy import Gateway, Policy, Route
from state import keys
from state.store import StoreError

# Seconds.
OUTAGE = float(os.environ.get("STROWGER_TEST_OUTAGE", "10"))
LEAD = 2.0
RATE = 200
# Milliseconds that the 99th percentile of call setup may grow by while Redis is away.
SLOWER_BY = 20.0
# How often the two runs are compared before the growth counts: other work on the machine also slows calls down.
COMPARISONS = 3


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node of its own, whose calls go to one gateway."""
    node = Node.create(tmp_path / "node")
    (tmp_path / "node").mkdir()
    try:
        node.stack.start()
        node.apply(*to_one_gateway(node))
        block_one_caller(node)
        yield node
    finally:
        node.close()


@pytest.fixture
def caller(node: Node) -> Iterator[Caller]:
    """Who places the calls."""
    with Caller(node.sip) as caller:
        yield caller


def to_one_gateway(node: Node) -> tuple[list[Route], list[Gateway]]:
    """Routes and gateways of a policy by which all calls go to a new gateway."""
    return [Route("all", ("",), ("only",))], [Gateway("only", "127.0.0.1", node.answering().port)]


def process(node: Node, name: str) -> Process:
    """A process of the node."""
    return node.stack.processes[name]


def until_node_has(node: Node, seq: int) -> None:
    """Wait until the node itself says that it has a change; after an outage it may not count as live yet."""
    generation, _ = node.store.position()
    until(lambda: any(report.has(generation, seq) for report in node.store.nodes()[0]), f"change {seq} is here", 30.0)


def until_agent_says(node: Node, words: str, times: int = 1) -> None:
    """Wait for a line in the agent's log."""
    until(lambda: node.stack.log("agent").count(words) >= times, f"the agent says {words}", 30.0)


def assert_last_policy_in_force(caller: Caller) -> None:
    """Both kinds of decision, more often than there are workers."""
    for _ in range(8):
        assert caller.call(ALLOWED).status == 200
        assert caller.call(BLOCKED).refusal == "blocked-caller"


def assert_changes_come_through(node: Node, caller: Caller, number: str) -> None:
    """An entry that is stored now comes into force."""
    until_node_has(node, node.store.put(Entry(Kind.CALLER, number)).seq)
    assert caller.call(number).refusal == "blocked-caller"


# Away


@pytest.mark.timeout(60 + 2 * COMPARISONS * (OUTAGE + 20))
def test_no_call_fails_or_is_slower_while_redis_is_away(node: Node, caller: Caller, tmp_path: Path) -> None:
    slower = []
    for attempt in range(COMPARISONS):
        usual = undisturbed_run(node, tmp_path / f"usual-{attempt}")
        without = run_with_outage(node, caller, tmp_path / f"without-{attempt}", f"+44207000{attempt:04d}")
        print(f"\nRedis there: {usual}\nRedis away for {OUTAGE:g} s: {without}")
        for result in (usual, without):
            assert_flawless(result, calls=int(RATE * OUTAGE))
        slower.append(without.p99 - usual.p99)
        if slower[-1] <= SLOWER_BY:
            return
    raise AssertionError(f"slower by {slower} ms")


def undisturbed_run(node: Node, directory: Path) -> LoadResult:
    """As many calls as in the run with the outage."""
    with MixedLoad.create(node, directory, RATE) as load:
        wait(load, LEAD + OUTAGE + LEAD)
        return load.stop()


def run_with_outage(node: Node, caller: Caller, directory: Path, number: str) -> LoadResult:
    """Redis hangs for half of the outage, is dead for the other half, and comes back, all under load."""
    with MixedLoad.create(node, directory, RATE) as load:
        wait(load, LEAD)
        process(node, "redis").signal(signal.SIGSTOP)
        with pytest.raises(StoreError):
            node.store.put(Entry(Kind.CALLER, "unheard"))
        wait(load, OUTAGE / 2)
        process(node, "redis").kill()
        with pytest.raises(StoreError):
            node.store.put(Entry(Kind.CALLER, "unheard"))
        wait(load, OUTAGE / 2)
        assert caller.call(number).status == 200
        node.stack.start_redis()
        assert_changes_come_through(node, caller, number)
        wait(load, LEAD)
        return load.stop()


def wait(load: MixedLoad, seconds: float) -> None:
    """Wait for as many calls as the load places in some seconds."""
    load.until_replied(int(RATE * seconds), timeout=2 * seconds + 20)


def test_an_outage_is_logged_once_and_its_end_too(node: Node, caller: Caller) -> None:
    followed = node.stack.log("agent").count("following Redis")
    process(node, "redis").kill()
    until_agent_says(node, "Redis does not answer")
    assert_last_policy_in_force(caller)
    node.stack.start_redis()
    until_agent_says(node, "following Redis", followed + 1)
    assert node.stack.log("agent").count("Redis does not answer") == 1
    assert_changes_come_through(node, caller, "2001")


def test_kamailio_and_agent_started_without_redis_serve_the_last_policy(node: Node, caller: Caller) -> None:
    node.stack.stop()
    node.stack.start_kamailio()
    assert_last_policy_in_force(caller)
    node.stack.start_agent()
    until_agent_says(node, "Redis does not answer")
    assert_last_policy_in_force(caller)
    node.stack.start_redis()
    assert_changes_come_through(node, caller, "2002")


def test_a_node_that_never_had_a_policy_refuses_until_it_gets_one(tmp_path: Path) -> None:
    node = Node.create(tmp_path)
    try:
        node.stack.start_kamailio()
        with Caller(node.sip) as caller:
            assert refusal(caller.call(ALLOWED)) == (503, "no-policy")
            node.stack.start_agent()
            until_agent_says(node, "Redis does not answer")
            assert refusal(caller.call(ALLOWED)) == (503, "no-policy")
            node.stack.start_redis()
            until_node_has(node, apply(node))
            assert caller.call(ALLOWED).status == 200
    finally:
        node.close()


def refusal(reply: Reply) -> tuple[int, str]:
    """Status and id of a refusal."""
    return reply.status, reply.refusal


def apply(node: Node) -> int:
    """Store a policy by which all calls go to a new gateway; returns the number of the change."""
    routes, gateways = to_one_gateway(node)
    policy = Policy((TRUNK,), {gateway.name: gateway for gateway in gateways}, TRUNK.dialling)
    expected = node.store.policy_version()
    return node.store.apply(text="", policy=policy, routes=tuple(routes), expected=expected, author="test").seq


# The agent


def test_a_killed_agent_leaves_the_snapshot_whole_and_catches_up(node: Node, caller: Caller, tmp_path: Path) -> None:
    blocked: list[str] = []
    with MixedLoad.create(node, tmp_path / "load", RATE) as load:
        for turn in range(5):
            # Killed while it writes these, or shortly after.
            blocked += [block(node, f"+4420{turn}{index:05d}") for index in range(100)]
            process(node, "agent").kill()
            assert caller.call(BLOCKED).refusal == "blocked-caller"
            blocked.append(block(node, f"+44209{turn:05d}"))
            node.stack.start_agent()
            until_node_has(node, node.store.position()[1])
            assert {refusal(caller.call(number)) for number in blocked} == {(403, "blocked-caller")}
        load.until_replied(RATE)
        result = load.stop()
    print(f"\nagent killed 5 times: {result}")
    assert_flawless(result, calls=RATE)


def block(node: Node, number: str) -> str:
    """Block a caller without waiting until it is in force."""
    node.store.put(Entry(Kind.CALLER, number))
    return number


# Loss


def flush(node: Node) -> None:
    """Redis loses everything while it runs."""
    with redis.Redis.from_url(node.stack.settings.redis_url) as client:
        client.flushall()


def replace_by_an_empty_one(node: Node) -> None:
    """Redis dies, and another one without data takes its place."""
    process(node, "redis").kill()
    shutil.rmtree(node.directory / "redis")
    node.stack.start_redis()


@pytest.mark.parametrize("lose", [flush, replace_by_an_empty_one])
def test_an_empty_redis_does_not_empty_the_node(node: Node, caller: Caller, lose: Callable[[Node], None]) -> None:
    lose(node)
    until_agent_says(node, "Redis holds no policy")
    assert_last_policy_in_force(caller)

    until_node_has(node, apply(node))
    assert caller.call(BLOCKED).status == 200, "the new policy came without entries"
    assert_changes_come_through(node, caller, "2003")


def test_an_empty_redis_is_warned_of_once(node: Node, caller: Caller) -> None:
    flush(node)
    until_agent_says(node, "Redis holds no policy")
    # The agent reports every second, and looks at Redis more often than that.
    until_agent_reports(node, times=3)
    assert node.stack.log("agent").count("Redis holds no policy") == 1
    assert_last_policy_in_force(caller)


def until_agent_reports(node: Node, times: int) -> None:
    """Wait for some reports of the agent, as those who wait for a confirmation do."""
    with redis.Redis.from_url(node.stack.settings.redis_url) as client, client.pubsub() as news:
        news.subscribe(keys.APPLIED)
        heard = (news.get_message(ignore_subscribe_messages=True, timeout=10.0) for _ in range(times + 1))
        assert sum(message is not None for message in heard) >= times


def test_a_refilled_redis_is_read_anew_though_its_numbers_go_on(node: Node, caller: Caller) -> None:
    # The agent is stopped, as if it were slow, so it sees nothing of the time when Redis was empty.
    process(node, "agent").signal(signal.SIGSTOP)
    before = node.store.position()[1]
    flush(node)
    apply(node)
    blocked = [block(node, f"+44208{index:05d}") for index in range(before + 5)]
    process(node, "agent").signal(signal.SIGCONT)
    until_node_has(node, node.store.position()[1])
    assert {refusal(caller.call(number)) for number in blocked} == {(403, "blocked-caller")}
    assert caller.call(BLOCKED).status == 200, "the new policy came without this entry"


def test_a_redis_that_lost_its_last_writes_is_read_anew(node: Node, caller: Caller) -> None:
    data, backup = node.directory / "redis", node.directory / "backup"
    until_node_has(node, node.store.put(Entry(Kind.CALLER, "kept")).seq)
    process(node, "redis").kill()
    shutil.copytree(data, backup)
    node.stack.start_redis()
    until_node_has(node, node.store.put(Entry(Kind.CALLER, "lost")).seq)

    process(node, "agent").signal(signal.SIGSTOP)
    process(node, "redis").kill()
    shutil.rmtree(data)
    backup.rename(data)
    node.stack.start_redis()
    blocked = ["kept", *(block(node, number) for number in ("2004", "2005", "2006"))]
    process(node, "agent").signal(signal.SIGCONT)
    until_node_has(node, node.store.position()[1])
    assert {refusal(caller.call(number)) for number in blocked} == {(403, "blocked-caller")}
    assert caller.call("lost").status == 200, "Redis is the truth"
