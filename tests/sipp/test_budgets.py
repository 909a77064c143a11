"""Times: how long a gateway is waited for, how long it may ring, and how long it is left alone when it asks for it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from harness.node import GB, TRUNK, Node, at

from console.sipp import CallResult, SippGateway
from model.policy import Gateway, Policy, Route

CALLER, CALLEE = "1001", "1002"
PENDING = "uas-sends-PROVISIONAL-until-cancelled-STATUS.xml"
FAILED = "text=.gateways-failed"
LATE = "text=.post-dial-delay"
# Longer than anything here takes, on however slow a machine.
LONG = 60.0
_names = itertools.count()


def route_to(node: Node, *gateways: Gateway, **options: Any) -> None:
    """Send every number to gateways in order."""
    node.apply([Route(name="budgets", prefixes=("",), gateways=tuple(g.name for g in gateways), **options)], gateways)


def pending(node: Node, provisional: int) -> SippGateway:
    """A gateway that replies provisionally and nothing more."""
    return node.gateway(PENDING, PROVISIONAL=str(provisional), STATUS="487")


def test_a_gateway_that_makes_no_progress_is_left_for_the_next(node: Node) -> None:
    a, b = pending(node, 100), node.answering()
    route_to(node, at("a", a, progress=0.4), at("b", b), post_dial_delay=LONG)
    call = node.answered(CALLER, CALLEE)
    (record,) = node.records(call.call_id)[1:]
    assert (record["status"], record["local"], record["ringing"]) == (408, True, False)
    assert a.cancelled(call.call_id)


@pytest.mark.parametrize("provisional", [180, 183])
def test_ringing_has_a_limit_of_its_own_and_no_second_gateway(node: Node, provisional: int) -> None:
    a, b = pending(node, provisional), node.answering()
    route_to(node, at("a", a, progress=1.5), at("b", b), ring=2.5, post_dial_delay=2.0)
    call = node.refused(CALLER, CALLEE, 408)
    (record,) = node.records(call.call_id)[1:]
    assert (record["local"], record["ringing"]) == (True, True)
    assert call.seconds >= 2.5
    assert not b.calls()
    assert a.cancelled(call.call_id)


def test_the_post_dial_delay_is_a_budget_over_all_attempts(node: Node) -> None:
    a, b, c = pending(node, 100), pending(node, 100), node.answering()
    route_to(node, at("a", a, progress=0.6), at("b", b), at("c", c), post_dial_delay=3.0)
    call = node.refused(CALLER, CALLEE, 408, LATE)
    assert node.attempts(call.call_id) == ["a", "b"]
    assert not c.calls()


def test_the_post_dial_delay_ends_the_wait_for_a_silent_gateway(node: Node) -> None:
    a, b = node.gateway("uas-never-replies.xml"), node.answering()
    route_to(node, at("a", a), at("b", b), post_dial_delay=0.8)
    node.refused(CALLER, CALLEE, 408, LATE)
    assert not b.calls()


def test_a_budget_that_is_nearly_used_up_begins_no_attempt(node: Node) -> None:
    b = node.answering()
    route_to(node, at("a", node.refusing(503)), at("b", b), post_dial_delay=0.1)
    node.refused(CALLER, CALLEE, 408, LATE)
    assert not b.calls()


def asking(node: Node, status: int = 503) -> tuple[str, SippGateway]:
    """A gateway that refuses, under a name that nobody holds yet."""
    return f"asking-{next(_names)}", node.refusing(status)


def held_call(node: Node, retry_after: str, **options: Any) -> CallResult:
    """Place a call that the second gateway answers, the first having asked to be left alone."""
    return node.answered(CALLER, CALLEE, reply_header=f"Retry-After: {retry_after}", **options)


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("value", ["30", "30 (maintenance)", "30;duration=60"])
def test_a_gateway_that_asks_to_be_left_alone_is_passed_over(node: Node, status: int, value: str) -> None:
    name, a = asking(node, status)
    route_to(node, at(name, a), at("b", node.answering()))
    first = held_call(node, value)
    second = node.answered(CALLER, CALLEE)
    assert node.attempts(first.call_id) == [name]
    assert not node.attempts(second.call_id)
    assert len(a.calls()) == 1


@pytest.mark.parametrize(("status", "value"), [(502, "30"), (403, "30"), (503, "soon"), (503, "0"), (503, "")])
def test_only_a_server_with_a_number_of_seconds_is_left_alone(node: Node, status: int, value: str) -> None:
    name, a = asking(node, status)
    route_to(node, at(name, a), at("b", node.answering()))
    for _ in range(2):
        held_call(node, value)
    assert len(a.calls()) == 2


def test_retry_after_of_a_busy_user_holds_no_gateway(node: Node) -> None:
    name, a = asking(node, 486)
    route_to(node, at(name, a), at("b", node.answering()))
    for _ in range(2):
        node.refused(CALLER, CALLEE, 486, "As Asked", reply_header="Retry-After: 30")
    assert len(a.calls()) == 2


def test_a_gateway_is_called_again_once_its_time_is_over_and_not_before(node: Node) -> None:
    name, a = asking(node)
    route_to(node, at(name, a), at("b", node.answering()))
    held = node.records(held_call(node, "2").call_id)[1]["at"]
    released = await_release(node, a)
    assert released - held >= 2


def await_release(node: Node, gateway: SippGateway) -> float:
    """Place calls until ``gateway`` gets one again; returns when that was decided."""
    before = len(gateway.calls())
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        call = node.answered(CALLER, CALLEE)
        if len(gateway.calls()) > before:
            return float(node.records(call.call_id)[0]["at"])
    raise AssertionError("the gateway was never called again")


def test_retry_after_has_a_longest_time(node: Node) -> None:
    name, a = asking(node)
    b = node.answering()
    gateways = {name: at(name, a), "b": at("b", b)}
    policy = Policy((TRUNK,), gateways, GB, retry_after_max=1.0)
    node.put_in_force(policy, [Route("budgets", ("",), (name, "b"))])
    held = held_call(node, "3600")
    assert node.attempts(held.call_id) == [name]
    await_release(node, a)


def test_a_gateway_held_during_a_call_is_not_tried_again_in_it(node: Node) -> None:
    name, a = asking(node)
    b = node.refusing(502)
    route_to(node, at(name, a), at("b", b), max_attempts=4)
    call = node.refused(CALLER, CALLEE, 500, FAILED, reply_header="Retry-After: 30")
    assert node.attempts(call.call_id) == [name, "b", "b"]


def test_all_gateways_held_is_gateways_down_with_the_time_that_is_left(node: Node) -> None:
    name, a = asking(node)
    route_to(node, at(name, a))
    node.refused(CALLER, CALLEE, 500, FAILED, reply_header="Retry-After: 30")
    node.refused(CALLER, CALLEE, 503, "text=.gateways-down.*Retry-After: (2[0-9]|3[01])[^0-9]")
    assert len(a.calls()) == 1
