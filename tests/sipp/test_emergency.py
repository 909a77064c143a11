"""Calls to emergency numbers: past every list, to gateways of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from harness.node import GB, TRUNK, Node, at

from console.sipp import SippGateway
from model.entries import Entry, Kind
from model.policy import Emergency, Gateway, Policy, Rewrite, Route

CALLER, LONDON = "1001", "02079460000"


def apply(node: Node, players: dict[str, SippGateway], *others: Gateway) -> None:
    """Put a policy in force in which these gateways take emergency calls, and an answering one all others."""
    gateways = [
        at("any", node.answering()),
        *(at(name, player, rewrite=Rewrite(prefix="00")) for name, player in players.items()),
        *others,
    ]
    emergency = Emergency(("112", "999"), (*players, *(gateway.name for gateway in others)))
    trunk = replace(TRUNK, anonymous=False, sources=("127.0.0.1/32",))
    by_name = {gateway.name: gateway for gateway in gateways}
    node.put_in_force(Policy((trunk,), by_name, GB, emergency=emergency), [Route("any", ("",), ("any",))])


@pytest.mark.parametrize("number", ["112", "999"])
def test_an_emergency_call_passes_the_lists_and_is_recorded_as_such(node: Node, number: str) -> None:
    player = node.answering()
    apply(node, {"psap": player})
    for entry in (Entry(Kind.CALLER, CALLER), Entry(Kind.SOURCE, "127.0.0.1/32"), Entry(Kind.CALLEE, number)):
        node.put(entry)
    node.refused(CALLER, LONDON, 403, "text=.blocked-")
    call = node.answered(CALLER, number)
    (decided,) = node.records(call.call_id)
    assert (decided["emergency"], decided["route"], decided["gateways"]) == (True, "emergency", ["psap"])
    assert player.calls(call.call_id) == [f"sip:{number}@127.0.0.1:{player.port}"]


def test_a_caller_without_identity_is_heard(node: Node) -> None:
    apply(node, {"psap": node.answering()})
    node.refused("anonymous", LONDON, 433, "text=.anonymous")
    node.answered("anonymous", "112")


def test_a_caller_from_nowhere_is_refused(node: Node) -> None:
    apply(node, {"psap": node.answering()})
    node.refused(CALLER, "112", 403, "text=.unknown-source", source="127.0.0.7")


def test_the_next_gateway_is_tried_whatever_the_failure(node: Node) -> None:
    apply(node, {"busy": node.refusing(486), "unknown": node.refusing(404), "answers": node.answering()})
    call = node.answered(CALLER, "112")
    assert node.attempts(call.call_id) == ["busy", "unknown"]


def test_a_gateway_that_asked_to_be_left_alone_is_tried_last(node: Node) -> None:
    apply(node, {"asks": node.refusing(503), "busy": node.refusing(486)})
    first, second = (node.refused(CALLER, "112", status, reply_header="Retry-After: 30") for status in (486, 500))
    assert [node.attempts(call.call_id) for call in (first, second)] == [["asks", "busy"], ["busy", "asks"]]


def test_other_calls_are_not_recorded_as_emergency(node: Node) -> None:
    apply(node, {"psap": node.answering()})
    call = node.answered(CALLER, LONDON)
    assert node.records(call.call_id)[0]["emergency"] is False
