"""Route hooks: calls that wait for a program's answer, whatever that program does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness.hook_server import HookServer, answers, serving
from harness.node import GB, TRUNK, Node, at

from model.hook import Hook
from model.policy import Gateway, Policy, Route

CALLEE = "02079460000"
OPEN = "07700900123"


@pytest.fixture(scope="module")
def _node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("hook")
    node = Node.create(directory, workers=2)
    node.stack.hook = True
    with node.stack:
        node.stack.start()
        yield node
    node.store.close()


@pytest.fixture
def node(_node: Node) -> Iterator[Node]:
    """A node that can ask hooks."""
    yield _node
    _node.stop_gateways()


@pytest.fixture
def server() -> Iterator[HookServer]:
    """What is asked; it says nothing of its own."""
    with serving(answers({"action": "continue"})) as server:
        yield server


def apply(node: Node, hook: Hook, *gateways: Gateway, **route: Any) -> None:
    """Numbers go to the first of the gateways, but for what the hook says."""
    policy = Policy((TRUNK,), {gateway.name: gateway for gateway in gateways}, GB, hooks={hook.name: hook})
    routes = [
        Route("hooked", ("+442",), (gateways[0].name,), hook=hook.name, **route),
        Route("open", ("+447",), (gateways[0].name,)),
        Route("spare", ("99",), (gateways[-1].name,)),
    ]
    node.put_in_force(policy, routes)


def hook_to(server: HookServer, **options: Any) -> Hook:
    """A hook that is not paused by what other tests did."""
    return Hook(**{"name": f"h{server.port}", "url": server.url, "timeout": 0.5, "failures": 1000, **options})


def steps(node: Node, call_id: str) -> list[str]:
    """What a call's record says of its hook."""
    return [text for what, _, text in node.record(call_id).steps if what == "hook"]


def test_an_answer_decides(node: Node, server: HookServer) -> None:
    a, b = node.answering(), node.answering()
    apply(node, hook_to(server), at("a", a), at("b", b))
    call = node.answered("1001", CALLEE, explained=False)
    assert len(a.calls(call.call_id)) == 1
    question = server.requests[-1].question
    assert question["call_id"] == call.call_id
    assert (question["callee"], question["trunk"], question["route"]) == ("+442079460000", "lab", "hooked")
    server.behaviour = answers({"action": "gateways", "gateways": ["b", "a"], "number": "+441"})
    call = node.answered("1001", CALLEE, explained=False)
    assert b.calls(call.call_id) == [f"sip:+441@127.0.0.1:{b.port}"]
    assert node.record(call.call_id).gateway == "b"
    server.behaviour = answers({"action": "route", "route": "spare"})
    call = node.answered("1001", CALLEE, explained=False)
    assert len(b.calls(call.call_id)) == 1
    server.behaviour = answers({"action": "reject", "status": 402, "reason": "no-credit"})
    call = node.refused("1001", CALLEE, 402, "no-credit", explained=False)
    assert node.record(call.call_id).refusal == "no-credit"
