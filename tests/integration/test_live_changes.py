"""A change is in force for the next call after it was confirmed, whichever worker takes that call, under load."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.load import (
    CALLEE,
    Caller,
    Deciders,
    MixedLoad,
    Reply,
    assert_flawless,
    block_one_caller,
    percentile,
    workers,
)
from harness.node import Node

from model.entries import Action, Entry, Kind
from model.policy import Drain, Gateway, Route

RATE = 100
CHANGES = 300

LOAD_ROUTE = Route("load", (CALLEE,), ("load",))
MOVING = "8100"
"A callee whose route changes during the run."


@pytest.fixture
def load(node: Node, tmp_path: Path) -> Iterator[MixedLoad]:
    """100 calls a second in the background, of which a test looks at the result."""
    gateway = node.answering()
    node.apply([LOAD_ROUTE], [Gateway("load", "127.0.0.1", gateway.port)])
    block_one_caller(node)
    with MixedLoad.create(node, tmp_path, RATE) as load:
        yield load


@pytest.fixture
def caller(node: Node) -> Iterator[Caller]:
    """Who places the calls that follow upon changes."""
    with Caller(node.sip) as caller:
        yield caller


def numbers(count: int) -> list[str]:
    """Numbers of callers whom nobody has blocked yet."""
    return [f"+4420794{index:05d}" for index in range(count)]


def report(what: str, milliseconds: list[float]) -> None:
    """Print how long confirmations took."""
    p50, p99 = percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)
    print(f"\n{what}: {len(milliseconds)} changes confirmed, p50 {p50:.1f} ms, p99 {p99:.1f} ms")


@pytest.mark.timeout(180)
def test_the_next_call_after_a_block_is_refused_300_of_300(node: Node, load: MixedLoad, caller: Caller) -> None:
    took, refused = [], []
    for number in numbers(CHANGES):
        assert caller.call(number).status == 200
        began = time.perf_counter()
        confirmation = node.put(Entry(Kind.CALLER, number))
        took.append((time.perf_counter() - began) * 1000)
        assert confirmation.nodes == (node.stack.settings.node,)
        refused.append(caller.call(number))
    load.until_replied(RATE)
    result = load.stop()
    report("blocks", took)
    print(f"load: {result}")
    assert {(reply.status, reply.refusal) for reply in refused} == {(403, "blocked-caller")}
    deciders = Deciders(node.stack.settings.spool)
    assert {deciders.pid(reply.call_id) for reply in refused} == workers(node)
    assert_flawless(result, calls=RATE)


def test_the_next_call_after_an_unblock_is_answered(node: Node, load: MixedLoad, caller: Caller) -> None:
    for number in numbers(50):
        node.put(Entry(Kind.CALLER, number))
        assert caller.call(number).refusal == "blocked-caller"
        node.delete(Kind.CALLER, number)
        assert caller.call(number).status == 200
    assert_flawless(load.stop())


def test_the_next_call_after_an_allow_entry_is_answered(node: Node, load: MixedLoad, caller: Caller) -> None:
    for number in numbers(25):
        node.put(Entry(Kind.PAIR, f"{number}>{CALLEE}"))
        assert caller.call(number).refusal == "blocked-pair"
        node.put(Entry(Kind.CALLER, number, Action.ALLOW))
        assert caller.call(number).status == 200
        node.put(Entry(Kind.CALLER, number))
        assert caller.call(number).refusal == "blocked-caller"
    assert_flawless(load.stop())


def test_an_entry_is_out_of_force_from_the_moment_it_expires(node: Node, load: MixedLoad, caller: Caller) -> None:
    refused = 0
    for number in numbers(3):
        expires = time.time() + 1.5
        node.put(Entry(Kind.CALLER, number, expires=expires))
        replies = list(calls_until_answered(caller, number))
        # A call under way at that very moment may go either way.
        early = [reply.status for reply in replies if reply.received < expires]
        late = [reply.status for reply in replies if reply.sent >= expires]
        assert set(early) <= {403}
        assert set(late) == {200}
        refused += len(early)
    assert refused
    assert_flawless(load.stop())


def calls_until_answered(caller: Caller, number: str) -> Iterator[Reply]:
    """Calls, one after another, up to two that are answered."""
    answered = 0
    while answered < 2:
        reply = caller.call(number)
        answered += reply.status == 200
        yield reply


def test_the_next_call_after_a_changed_route_goes_to_the_new_gateway(
    node: Node, load: MixedLoad, caller: Caller
) -> None:
    ports = {name: node.answering().port for name in ("left", "right")}
    ports["load"] = load_gateway_port(node)
    gateways = [Gateway(name, "127.0.0.1", port) for name, port in ports.items()]
    took = []
    for name in itertools.islice(itertools.cycle(("left", "right")), 40):
        began = time.perf_counter()
        node.apply([LOAD_ROUTE, Route("moving", (MOVING,), (name,))], gateways)
        took.append((time.perf_counter() - began) * 1000)
        assert caller.call("7001", MOVING).contact_port == ports[name]
    report("policies", took)
    assert_flawless(load.stop())


def test_drains_and_resumes_cost_no_call(node: Node, load: MixedLoad, caller: Caller) -> None:
    other = node.answering()
    gateways = [Gateway("load", "127.0.0.1", load_gateway_port(node)), Gateway("other", "127.0.0.1", other.port)]
    node.apply([replace(LOAD_ROUTE, gateways=("load", "other"))], gateways)
    for _ in range(CHANGES // 2):
        node.confirmed(node.store.drain(Drain("load", "a test")))
        assert caller.call("7001").contact_port == other.port
        change = node.store.resume("load")
        assert change is not None
        node.confirmed(change)
        assert caller.call("7001").contact_port == gateways[0].port
    load.until_replied(RATE)
    assert_flawless(load.stop(), calls=RATE)


def load_gateway_port(node: Node) -> int:
    """Where the load's calls go to, by the policy in force."""
    policy, _ = node.store.policy().decode()
    return policy.gateways["load"].port
