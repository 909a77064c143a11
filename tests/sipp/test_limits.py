"""Limits hold over two nodes on one Redis, whoever is killed; the gateway's own trace is the witness."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cli import Cli, fresh
from harness.limits import Pair, arrivals, counts, most_at_once, most_within, pair, policy_of, until
from harness.node import GB, TRUNK, Node, at

from model.limits import Limits
from model.policy import Emergency, Policy, Route
from state.limit_use import usage
from state.limits import LEASE

# A minute where it is asked for.
SECONDS = float(os.environ.get("STROWGER_LIMITS_SECONDS", "6"))
RINGING = {"PROVISIONAL": "180 Ringing", "STATUS": "487"}


def to(gateway: str) -> Route:
    """Every number goes to a gateway of the test's own: calls of tests before may still count under theirs."""
    return Route("r", ("",), (gateway,))


@pytest.fixture(scope="module")
def _both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("limits")) as both:
        yield both


@pytest.fixture
def both(_both: Pair) -> Iterator[Pair]:
    """Two nodes without gateways, and a Redis that counts."""
    until(_both.counts, "Redis does not count")
    yield _both
    _both.first.stop_gateways()


@pytest.mark.timeout(300)
def test_calls_at_once_are_never_exceeded(both: Pair, tmp_path: Path) -> None:
    gateway = both.first.gateway("uas-answers.xml", trace=tmp_path / "trace")
    both.apply(policy_of([at("a", gateway, limits=Limits(10, when_away="closed"))]), [to("a")])
    both.load(rate=20, seconds=SECONDS, talk=1)
    seen = arrivals(tmp_path / "trace")
    assert most_at_once(seen) == 10
    assert both.use("gateway:a").refused > 0
    # On a busy machine an answer may be late, and a lease that nobody waited for any more ends by time.
    until(lambda: both.use("gateway:a").calls == 0, "calls that are over still count", timeout=LEASE + 5)
    assert all(not held(node) for node in both.nodes)


@pytest.mark.timeout(300)
def test_calls_a_second_are_never_exceeded(both: Pair, tmp_path: Path) -> None:
    gateway = both.first.gateway("uas-answers.xml", trace=tmp_path / "trace")
    both.apply(policy_of([at("rate", gateway, limits=Limits(per_second=10, when_away="closed"))]), [to("rate")])
    both.load(rate=20, seconds=SECONDS, talk=0)
    seen = arrivals(tmp_path / "trace")
    # On a busy machine one call may take a while longer to the gateway than another.
    assert most_within(seen, 0.9) <= 10
    begun = sum(method == "INVITE" for _, method, _ in seen)
    assert 7 * SECONDS < begun <= 10 * (SECONDS + 1)


@pytest.mark.timeout(180)
def test_leases_of_a_node_that_was_killed_end_by_themselves(both: Pair) -> None:
    first, second = both.nodes
    gateway = first.answering()
    both.apply(policy_of([at("node", gateway, limits=Limits(6, when_away="closed"))]), [to("node")])
    with both.talking(second, 6):
        until(lambda: both.use("gateway:node").nodes == {"b": 6}, "the calls do not stand")
        first.refused("1001", "02079460000", 503, "gateways-full", explained=False)
        second.stack.processes["kamailio"].kill()
        second.stack.processes["agent"].kill()
        try:
            seconds = until(lambda: both.use("gateway:node").calls == 0, "leases outlive their node")
            assert seconds <= LEASE + 1
            first.answered("1001", "02079460000", explained=False)
        finally:
            second.stack.start_agent()
            second.stack.start_kamailio()


@pytest.fixture
def node(both: Pair) -> Node:
    """One of the two, where one is enough."""
    return both.first


def held(node: Node) -> set[str]:
    """The calls that a node counts; those whose caller was killed in an earlier test are among them."""
    with node.kamcmd() as kamcmd:
        return set(kamcmd.htable_dump("leases"))


def limits_of(node: Node, call_id: str) -> list[str]:
    """What a call counted under, from its record."""
    return list(node.record(call_id).limits)


def test_a_full_gateway_is_skipped_and_not_failed(both: Pair, node: Node) -> None:
    a, b = node.answering(), node.answering()
    both.apply(policy_of([at("full", a, limits=Limits(1)), at("b", b)]), [Route("r", ("",), ("full", "b"))])
    with both.talking(both.nodes[1], 1):
        until(lambda: both.use("gateway:full").calls == 1, "the call does not stand")
        call = node.answered("1001", "02079460000", explained=False)
    assert len(b.calls(call.call_id)) == 1
    record = node.record(call.call_id)
    assert [attempt.gateway for attempt in record.attempts] == ["b"]
    assert ("limit", "gateway:full", "has no room for another call") in record.steps


def test_a_call_counts_under_its_gateway_only_while_it_is_there(both: Pair, node: Node) -> None:
    c, d = node.refusing(503), node.answering()
    gateways = [at("c", c, limits=Limits(5)), at("d", d, limits=Limits(5))]
    both.apply(policy_of(gateways), [Route("two", ("",), ("c", "d"), limits=Limits(5))])
    with both.talking(node, 1):
        until(lambda: both.use("gateway:d").calls == 1, "the call does not stand")
        assert [both.use(name).calls for name in ("route:two", "gateway:c")] == [1, 0]
    call = node.answered("1001", "02079460000", explained=False)
    assert limits_of(node, call.call_id) == ["route:two", "gateway:c", "gateway:d"]


@pytest.mark.parametrize(
    ("limits", "reason"), [(Limits(1), "trunk-calls-limit"), (Limits(per_second=1), "trunk-rate-limit")]
)
def test_a_trunk_at_its_limit_is_refused(both: Pair, node: Node, limits: Limits, reason: str) -> None:
    gateway = at("any", node.answering())
    trunk = dataclasses.replace(TRUNK, limits=limits)
    both.apply(Policy((trunk,), {"any": gateway}, GB), [to("any")])
    with both.talking(both.nodes[1], 1):
        until(lambda: both.use("trunk:lab").calls == 1, "the call does not stand")
        call = node.refused("1001", "02079460000", 503, reason, explained=False)
        assert node.record(call.call_id).refusal == reason


def test_every_end_gives_the_leases_back(both: Pair, node: Node) -> None:
    busy, ringing = node.refusing(486), node.gateway("uas-sends-PROVISIONAL-until-cancelled-STATUS.xml", **RINGING)
    silent = node.gateway("uas-never-replies.xml")
    gateways = [
        at("busy", busy, limits=Limits(5)),
        at("ringing", ringing, limits=Limits(5)),
        at("silent", silent, limits=Limits(5), no_reply=0.3),
        at("hangs-up", node.gateway("uas-answers-then-hangs-up.xml"), limits=Limits(5)),
    ]
    routes = [Route(gateway.name, (str(number),), (gateway.name,)) for number, gateway in enumerate(gateways, 1)]
    both.apply(policy_of(gateways), routes)
    before = held(node)
    node.refused("1001", "1", 486, explained=False)
    node.call("uac-cancels-while-ringing.xml", "1001", "2", words={"PAUSE": "100"}, explained=False)
    node.refused("1001", "3", 500, explained=False)
    node.call("uac-expect-hangup.xml", "1001", "4", explained=False)
    until(lambda: held(node) <= before, "calls that are over still count")
    found = usage(node.store, [f"gateway:{gateway.name}" for gateway in gateways])
    assert [use.calls for use in found.values()] == [0, 0, 0, 0]


def test_emergency_calls_pass(both: Pair, node: Node) -> None:
    gateway = at("one", node.answering(), limits=Limits(1))
    policy = Policy((TRUNK,), {"one": gateway}, GB, emergency=Emergency(("112",), ("one",)))
    both.apply(policy, [to("one")])
    with both.talking(node, 1):
        until(lambda: both.use("gateway:one").calls == 1, "the call does not stand")
        node.answered("1001", "112", explained=False)
        node.refused("1001", "02079460000", 503, "gateways-full", explained=False)


def test_a_redis_that_hangs_costs_few_calls_any_time(both: Pair, node: Node) -> None:
    gateway = at("open", node.answering(), limits=Limits(100, when_away="open"))
    both.apply(policy_of([gateway]), [to("open")])
    redis, before = node.stack.processes["redis"], held(node)
    redis.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        for _ in range(10):
            node.answered("1001", "02079460000", explained=False)
        print(f"ten calls: {time.monotonic() - began:.2f} s")
        assert not counts(node)
    finally:
        redis.signal(signal.SIGCONT)
    until(both.counts, "Redis does not count again")
    until(lambda: held(node) <= before, "calls that are over still count")


def test_commands_tell_what_is_in_use(both: Pair, node: Node) -> None:
    gateway = at("told", node.answering(), limits=Limits(5, 9, "open"))
    both.apply(policy_of([gateway]), [Route("r", ("",), ("told",))])
    cli = Cli(fresh, node.stack.settings.to_env())
    with both.talking(node, 1), both.talking(both.nodes[1], 2):
        until(lambda: both.use("gateway:told").nodes == {"a": 1, "b": 2}, "the calls do not stand")
        found = cli("limits", "--json").data
        (row,) = found["limits"]
        assert found["redis_counts"] is True
        assert (row["limit"], row["calls"], row["calls_limit"], row["nodes"]) == (
            "gateway:told",
            3,
            5,
            {"a": 1, "b": 2},
        )
        assert "3 of 5" in cli("limits").out
        asked = ("explain", "--from", "1001", "--to", "02079460000")
        assert "3 of 5 calls" in cli(*asked).out
        (limit,) = cli(*asked, "--json").data["limits"]
        assert limit["in_use"]["calls"] == 3


def test_each_prefix_of_a_route_is_counted_by_itself(both: Pair, node: Node) -> None:
    gateway, own = at("each", node.answering()), Limits(1, when_away="closed", each="prefix")
    both.apply(policy_of([gateway]), [Route("far", ("+44207", "+44208"), ("each",), limits=own)])
    with both.talking(both.nodes[1], 1):
        until(lambda: both.use("prefix:far/+44207").calls == 1, "the call does not stand")
        node.refused("1001", "02079460000", 503, "prefix-calls-limit", explained=False)
        node.answered("1001", "02089460000", explained=False)
        rows = Cli(fresh, node.stack.settings.to_env())("limits", "--json").data["limits"]
        assert [(row["limit"], row["calls_limit"]) for row in rows][:1] == [("prefix:far/+44207", 1)]


def test_a_killed_agent_costs_no_call_its_lease(both: Pair, node: Node) -> None:
    gateway = at("kept", node.answering(), limits=Limits(5, when_away="closed"))
    both.apply(policy_of([gateway]), [Route("r", ("",), ("kept",))])
    with both.talking(node, 2):
        until(lambda: both.use("gateway:kept").calls == 2, "the calls do not stand")
        node.stack.processes["agent"].kill()
        try:
            end = time.monotonic() + LEASE + 1
            while time.monotonic() < end:
                assert both.use("gateway:kept").nodes == {"a": 2}
                time.sleep(0.5)
        finally:
            node.stack.start_agent()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("emptied", [False, True])
def test_redis_that_was_killed_counts_right_again(both: Pair, emptied: bool) -> None:
    first, second = both.nodes
    gateways = [at(name, first.answering(), limits=Limits(4, when_away=name)) for name in ("open", "closed", "local")]
    routes = [Route(name, (prefix,), (name,)) for name, prefix in (("open", "1"), ("closed", "2"), ("local", "3"))]
    routes.append(Route("four", ("",), ("closed",)))
    both.apply(policy_of(gateways), routes)
    with both.talking(second, 4):
        until(lambda: both.use("gateway:closed").calls == 4, "the calls do not stand")
        first.refused("1001", "2", 503, "gateways-full", explained=False)
        first.stack.processes["redis"].kill()
        first.refused("1001", "2", 503, "limits-away", explained=False)
        first.answered("1001", "1", explained=False)
        # Two nodes: each has two of four.
        first.answered("1001", "3", explained=False)
        if emptied:
            shutil.rmtree(first.stack.directory / "redis")
        first.stack.start_redis()
        until(both.counts, "Redis does not count again")
        assert both.use("gateway:closed").nodes == {"b": 4}
        first.refused("1001", "2", 503, "gateways-full", explained=False)
        first.answered("1001", "1", explained=False)
