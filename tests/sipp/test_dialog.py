"""Calls that stand: what belongs to them passes both ways, over both transports, without asking the policy."""

from __future__ import annotations

import pytest
from harness.node import Node, at

from console.ports import free_port
from model.policy import Gateway, Route

TRANSPORTS = ["udp", "tcp"]
PAIRS = [
    ("uac-expect-answer.xml", "uas-answers.xml"),
    ("uac-expect-hangup.xml", "uas-answers-then-hangs-up.xml"),
    ("uac-expect-second-answer.xml", "uas-answers-twice.xml"),
    ("uac-expect-reinvite.xml", "uas-answers-then-reinvites.xml"),
]


@pytest.mark.parametrize(("caller", "gateway"), PAIRS)
@pytest.mark.parametrize("near", TRANSPORTS)
@pytest.mark.parametrize("far", TRANSPORTS)
def test_a_call_stands_and_ends(node: Node, caller: str, gateway: str, near: str, far: str) -> None:
    player = node.gateway(gateway, transport=f"{far[0]}1")
    node.apply([Route("r", ("",), ("g",))], [at("g", player, transport=far)])
    call = node.call(caller, "1001", "1002", transport=f"{near[0]}1")
    assert [record["event"] for record in node.records(call.call_id)] == ["decided"]


@pytest.mark.parametrize("near", TRANSPORTS)
def test_a_retried_call_may_change_its_transport(node: Node, near: str) -> None:
    first = node.gateway("uas-replies-STATUS.xml", transport="t1", STATUS="503")
    second = node.answering()
    gateways = [
        at("tcp", first, transport="tcp"),
        at("udp", second),
    ]
    node.apply([Route("r", ("",), ("tcp", "udp"))], gateways)
    call = node.answered("1001", "1002", transport=f"{near[0]}1")
    assert node.attempts(call.call_id) == ["tcp"]


def test_a_gateway_that_refuses_connections_is_passed_over(node: Node) -> None:
    answering = node.answering()
    gateways = [
        Gateway("closed", "127.0.0.1", free_port(), transport="tcp", no_reply=0.5),
        at("open", answering),
    ]
    node.apply([Route("r", ("",), ("closed", "open"))], gateways)
    call = node.answered("1001", "1002")
    assert node.attempts(call.call_id) == ["closed"]
