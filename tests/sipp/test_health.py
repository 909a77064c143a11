"""A gateway that is not well is found out, left out, and let in again."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.node import ANSWER, GB, TRUNK, Node, at

from console.ports import free_port
from console.sipp import SippGateway, place_calls
from kemi.health import Health
from model.policy import DEFAULT_BREAKER, Breaker, Drain, Emergency, Gateway, Policy, RetryRule, Route

CALLER, CALLEE = "1001", "02079460000"
# Opens at the second failure, and for so short that a test can wait.
QUICK = Breaker(trip=3, restore=2, open=1.0, open_max=4.0)
# Opens at the second failure, and stays so.
FIRM = dataclasses.replace(QUICK, open=300.0)


@pytest.fixture(autouse=True)
def tidy(node: Node) -> Iterator[None]:
    """Every test begins with well gateways and ends without any."""
    with node.kamcmd() as kamcmd:
        kamcmd.call("htable.flush", "health")
    yield
    node.stop_gateways()


def route_to(node: Node, *gateways: Gateway, **options: Any) -> None:
    """Put a route to these gateways in force."""
    names = tuple(gateway.name for gateway in gateways)
    node.apply([Route("health", ("",), names, **options)], gateways)


def dead(name: str = "a", breaker: Breaker = QUICK) -> Gateway:
    """A gateway where nobody listens."""
    return Gateway(name, "127.0.0.1", free_port(), no_reply=0.3, progress=0.3, breaker=breaker)


def known(node: Node, gateway: str = "a") -> Health | None:
    """What the node knows of a gateway."""
    return node.live().health(gateway)


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something that takes its time by design."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def until_half_open(node: Node, gateway: str = "a") -> None:
    """Wait until the breaker lets trial calls through."""
    found = known(node, gateway)
    assert found is not None, "nothing is known of the gateway"
    assert found.tripped, found
    until(lambda: time.time() > found.until, "the breaker stays open")


def steps(node: Node, call_id: str) -> dict[str, str]:
    """What a decision said of each gateway."""
    return {subject: found for what, subject, found in node.records(call_id)[0]["steps"] if what == "gateway"}


def test_a_dead_gateway_trips_at_its_threshold_and_is_then_skipped(node: Node) -> None:
    b = node.answering()
    route_to(node, dead(breaker=FIRM), at("b", b))
    for _ in range(2):
        assert node.attempts(node.answered(CALLER, CALLEE).call_id) == ["a"]
    for _ in range(3):
        call = node.answered(CALLER, CALLEE)
        assert node.attempts(call.call_id) == []
        assert node.records(call.call_id)[0]["gateways"] == ["b"]
        assert "breaker open for" in steps(node, call.call_id)["a"]
        assert "2 time-out" in steps(node, call.call_id)["a"]


def test_it_comes_back_by_trial_calls_in_a_row(node: Node) -> None:
    gateway, b = dead(), node.answering()
    route_to(node, gateway, at("b", b))
    for _ in range(2):
        node.answered(CALLER, CALLEE)
    a = node.answering()
    with at_port(a, gateway) as back:
        route_to(node, back, at("b", b))
        until_half_open(node)
        trials = [node.answered(CALLER, CALLEE) for _ in range(3)]
        assert [a.calls(call.call_id) != [] for call in trials] == [True, True, True]
        found = [steps(node, call.call_id).get("a", "") for call in trials]
        assert ["trial" in text for text in found] == [True, True, False]
        assert "1 of 2 passed" in found[1]
        assert known(node) is None


def test_a_trial_that_fails_doubles_the_wait(node: Node) -> None:
    b = node.answering()
    route_to(node, dead(), at("b", b))
    for _ in range(2):
        node.answered(CALLER, CALLEE)
    for wait in (2.0, 4.0, 4.0):
        until_half_open(node)
        assert node.attempts(node.answered(CALLER, CALLEE).call_id) == ["a"]
        found = known(node)
        assert found is not None
        assert found.wait == wait
        assert found.is_open(time.time())


@contextlib.contextmanager
def at_port(player: SippGateway, gateway: Gateway) -> Iterator[Gateway]:
    """The gateway, come back where a player listens."""
    yield dataclasses.replace(gateway, port=player.port, no_reply=15.0, progress=15.0)


@pytest.mark.parametrize(
    ("status", "header", "kind", "points"),
    [
        (503, "X-Nothing: 1", "server-fault", 2),
        (500, "X-Nothing: 1", "server-fault", 2),
        (503, "Reason: Q.850;cause=34", "capacity", 1),
        (486, "X-Nothing: 1", "", 0),
        (404, "X-Nothing: 1", "", 0),
        (408, "X-Nothing: 1", "", 0),
    ],
)
def test_failures_are_told_apart_by_kind(node: Node, status: int, header: str, kind: str, points: int) -> None:
    a, b = node.refusing(status), node.answering()
    route_to(node, at("a", a, breaker=FIRM), at("b", b), retry=RetryRule(also=("ambiguous", "final")))
    node.answered(CALLER, CALLEE, reply_header=header)
    found = known(node)
    assert (found.score, dict(found.failures)) == (points, {kind: 1}) if found and kind else found is None


def test_what_cannot_be_sent_is_a_transport_failure(node: Node) -> None:
    b = node.answering()
    refusing = dataclasses.replace(dead(breaker=FIRM), address="255.255.255.255")
    route_to(node, refusing, at("b", b))
    node.answered(CALLER, CALLEE)
    found = known(node)
    assert found is not None
    assert dict(found.failures) == {"transport": 1}


def test_one_trial_at_a_time_however_many_call(node: Node, tmp_path: Path) -> None:
    gateway, b = dead(breaker=dataclasses.replace(QUICK, restore=3)), node.answering()
    route_to(node, gateway, at("b", b))
    for _ in range(2):
        node.answered(CALLER, CALLEE)
    # It is back, and lets every call wait, so that the first trial is under way when the others come.
    a = node.gateway("uas-never-replies.xml")
    slow = dataclasses.replace(gateway, port=a.port, no_reply=4.0, progress=4.0)
    route_to(node, slow, at("b", b))
    until_half_open(node)
    result = place_calls(
        ANSWER, server=node.sip, port=free_port(), directory=tmp_path,
        keys={"caller": CALLER, "callee": CALLEE}, calls=30, rate=60,
    )  # fmt: skip
    assert result.passed, result.output
    assert len(set(a.calls())) == 1
    run = result.call_id.removeprefix("1-")
    decided = [node.records(f"{number}-{run}")[0]["gateways"] for number in range(1, 31)]
    assert sorted(decided).count(["a", "b"]) == 1
    assert sorted(decided).count(["b", "a"]) == 29


def test_a_gateway_that_fails_one_call_in_five_is_kept(node: Node, tmp_path: Path) -> None:
    a, b = node.gateway("uas-fails-every-fifth-call.xml"), node.answering()
    route_to(node, at("a", a, breaker=DEFAULT_BREAKER), at("b", b))
    result = place_calls(
        ANSWER, server=node.sip, port=free_port(), directory=tmp_path,
        keys={"caller": CALLER, "callee": CALLEE}, calls=300, rate=60,
    )  # fmt: skip
    assert result.passed, result.output
    assert len(a.calls()) == 300
    assert len(b.calls()) == 60
    found = known(node)
    assert found is not None
    assert not found.tripped
    assert dict(found.failures) == {"server-fault": 60}


def test_a_cancelled_trial_frees_its_place(node: Node) -> None:
    gateway, b = dead(), node.answering()
    route_to(node, gateway, at("b", b))
    for _ in range(2):
        node.answered(CALLER, CALLEE)
    a = node.gateway("uas-sends-PROVISIONAL-until-cancelled-STATUS.xml", PROVISIONAL="100 Trying", STATUS="487")
    route_to(node, dataclasses.replace(gateway, port=a.port, no_reply=15.0, progress=15.0), at("b", b))
    until_half_open(node)
    node.call("uac-cancels-while-trying.xml", CALLER, CALLEE, words={"PAUSE": "300"})
    until(lambda: (found := known(node)) is not None and not found.trial, "the place is still taken")
    found = known(node)
    assert found is not None
    assert (found.passed, found.half_open(time.time())) == (0, True)


def test_all_open_is_gateways_down_with_the_time_that_is_left(node: Node) -> None:
    route_to(node, dead(breaker=FIRM))
    for _ in range(2):
        node.refused(CALLER, CALLEE, 500, "gateways-failed")
    node.refused(CALLER, CALLEE, 503, "text=.gateways-down.*Retry-After: (29[0-9]|30[01])[^0-9]")


def drained(gateway: str, **options: Any) -> Drain:
    """A drain by the test."""
    return Drain(gateway, reason="maintenance", author="test", **options)


def test_a_drained_gateway_gets_no_call_until_it_is_resumed_or_its_time_is_over(node: Node) -> None:
    a, b = node.answering(), node.answering()
    route_to(node, at("a", a), at("b", b))
    node.confirmed(node.store.drain(drained("a")))
    call = node.answered(CALLER, CALLEE)
    assert b.calls(call.call_id)
    assert steps(node, call.call_id)["a"] == "drained by test: maintenance"
    change = node.store.resume("a")
    assert change is not None
    node.confirmed(change)
    assert a.calls(node.answered(CALLER, CALLEE).call_id)
    node.confirmed(node.store.drain(drained("a", until=time.time() - 1)))
    assert a.calls(node.answered(CALLER, CALLEE).call_id)
    assert node.store.resume("a") is not None
    assert node.store.resume("a") is None


def test_a_drain_outlives_a_policy_and_its_gateway(node: Node) -> None:
    a, b = node.answering(), node.answering()
    node.confirmed(node.store.drain(drained("a")))
    try:
        route_to(node, at("b", b))
        node.answered(CALLER, CALLEE)
        route_to(node, at("a", a), at("b", b))
        assert b.calls(node.answered(CALLER, CALLEE).call_id)
        node.stack.processes["agent"].stop()
        node.stack.start_agent()
        assert b.calls(node.answered(CALLER, CALLEE).call_id)
    finally:
        node.store.resume("a")


def test_an_emergency_call_loses_no_gateway(node: Node) -> None:
    a, b = node.answering(), node.answering()
    gateways = {gateway.name: gateway for gateway in (at("a", a), at("b", b))}
    emergency = Emergency(("112",), ("a", "b"))
    node.put_in_force(Policy((TRUNK,), gateways, GB, emergency=emergency), [Route("health", ("",), ("a",))])
    node.confirmed(node.store.drain(drained("a")))
    try:
        call = node.answered(CALLER, "112")
        assert node.records(call.call_id)[0]["gateways"] == ["b", "a"]
    finally:
        node.store.resume("a")
