"""A gateway that is not well is found out, left out, and let in again."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from harness.node import Node, at

from console.sipp import SippGateway
from console.stack import free_port
from kemi.health import Health
from model.policy import Breaker, Gateway, Route

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
    """A gateway where nobody listens, over TCP, so that nothing can be sent; or over UDP, so that nobody replies."""
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
    route_to(node, at("a", a, breaker=FIRM), at("b", b), retry=_every())
    node.answered(CALLER, CALLEE, reply_header=header)
    found = known(node)
    assert (found.score, dict(found.failures)) == (points, {kind: 1}) if found and kind else found is None


def _every() -> Any:
    from model.policy import RetryRule

    return RetryRule(also=("ambiguous", "final"))


def test_what_cannot_be_sent_is_a_transport_failure(node: Node) -> None:
    b = node.answering()
    # A port that refuses TCP connections.
    refusing = dataclasses.replace(dead(breaker=FIRM), transport="tcp", address="127.0.0.1")
    route_to(node, refusing, at("b", b))
    node.answered(CALLER, CALLEE)
    found = known(node)
    assert found is not None
    assert set(found.failures) <= {"transport", "time-out"}
