"""Kamailio finds out by OPTIONS that a gateway is gone, and that it is back, before any call has to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.load import until
from harness.node import Node, at

from console.ports import free_port
from kemi.rpc import RpcFault
from model.call import CallFacts
from model.policy import Route

FACTS = CallFacts(caller="1001", callee="02079460000", source="127.0.0.1")


@pytest.fixture(scope="module")
def prober(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that probes each second."""
    node = Node.create(tmp_path_factory.mktemp("prober"), name="prober", STROWGER_PROBE_INTERVAL="1")
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


def tried(node: Node) -> list[str]:
    """The gateways that a call would go to now."""
    return [attempt.gateway for attempt in node.explain(FACTS).attempts[:1]]


def test_a_gateway_that_answers_no_probe_is_left_out_until_it_does(prober: Node) -> None:
    node = prober
    a = node.gateway("uas-answers-options.xml")
    gateway = at("a", a, probe=True)
    node.apply([Route("probed", ("",), ("a", "b"))], [gateway, at("b", node.answering())])

    def destinations() -> list[str]:
        with node.kamcmd() as kamcmd:
            try:
                return [target.uri for target in kamcmd.dispatcher_list()]
            except RpcFault:
                return []

    until(lambda: destinations() == [gateway.uri], "dispatcher does not know the gateway", 20)
    assert tried(node) == ["a"]
    a.stop()
    until(lambda: node.live().probe(gateway.uri) > 0, "it is not found to be gone", 30)
    assert tried(node) == ["b"]
    # A list that is read again forgets nothing.
    other = at("c", a, port=free_port(), probe=True)
    node.apply([Route("probed", ("",), ("a", "b"))], [gateway, other, at("b", a)])
    until(lambda: len(destinations()) == 2, "the new list is not read", 20)
    assert node.live().probe(gateway.uri) > 0
    until(lambda: node.live().probe(other.uri) > 0, "the other is not found to be gone", 30)
    # A new Kamailio begins with every gateway up, and finds out anew.
    node.stack.processes["kamailio"].stop()
    node.stack.start_kamailio()
    assert node.live().probed == {}
    assert tried(node) == ["a"]
    until(lambda: node.live().probe(gateway.uri) > 0, "it is not found to be gone by a new Kamailio", 30)
    a.start()
    until(lambda: node.live().probe(gateway.uri) < 0, "it is not found to be back", 30)
    assert tried(node) == ["a"]
    node.apply([Route("probed", ("",), ("b",))], [at("b", a)])
    until(lambda: not node.live().probed, "what was known of former gateways stays", 20)
    assert destinations() == []
