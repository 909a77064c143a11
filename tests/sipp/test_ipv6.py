"""Calls over IPv6, and from one address family to the other: what belongs to them finds its way, both ways."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.node import GB, Node, at
from harness.trace import assert_passed_on, messages

from model.policy import Route, Trunk


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6: ::1 cannot be bound")

HOSTS = {"v4": "127.0.0.1", "v6": "::1"}
URI_HOSTS = {"v4": b"127.0.0.1", "v6": b"[::1]"}
TRUNKS = [Trunk("over-v4", ("127.0.0.0/8",), GB), Trunk("over-v6", ("::1/128",), GB)]
PAIRS = [
    ("uac-expect-second-answer.xml", "uas-answers-twice.xml"),
    ("uac-expect-reinvite.xml", "uas-answers-then-reinvites.xml"),
    ("uac-expect-refer.xml", "uas-refers-then-hangs-up.xml"),
    ("uac-expect-reliable-progress.xml", "uas-progresses-reliably.xml"),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node on an address of each family."""
    node = Node.create(tmp_path_factory.mktemp("both"), addresses="127.0.0.1,::1")
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node on IPv6 alone."""
    node = Node.create(tmp_path_factory.mktemp("six"), addresses="::1", workers=1)
    try:
        node.stack.start()
        yield node
    finally:
        node.close()


def stands(node: Node, directory: Path, pair: tuple[str, str], near: str, far: str, transports: str = "uu") -> None:
    """Place a call from one family to another that must stand and end, each side seeing its own family only."""
    caller, gateway = pair
    near_trace, far_trace = directory / "caller.trace", directory / "gateway.trace"
    player = node.gateway(gateway, transport=f"{transports[1]}1", address=HOSTS[far], trace=far_trace)
    try:
        transport = {"u": "udp", "t": "tcp"}[transports[1]]
        there = at("g", player, address=URI_HOSTS[far].decode(), transport=transport)
        node.apply([Route("r", ("",), ("g",))], [there], trunks=TRUNKS)
        call = node.call(
            caller, "1001", "1002", caller_host=URI_HOSTS[near].decode(), source=HOSTS[near], server=HOSTS[near],
            transport=f"{transports[0]}1", trace=near_trace,
        )  # fmt: skip
        assert_passed_on(near_trace, far_trace)
    finally:
        node.stop_gateways()
    decided, *failures = node.records(call.call_id)
    assert not failures
    assert decided["steps"][0][2] == f"over-{near}"
    # The node's own address, as each side must reach it, is on top of Via and Record-Route.
    for trace, family in ((near_trace, near), (far_trace, far)):
        own = b"%s:%d" % (URI_HOSTS[family], node.sip[1])
        for message in messages(trace, "received"):
            if not message.startswith(b"SIP/2.0"):
                assert b" %s;" % own in message.partition(b"\r\nVia:")[2].partition(b"\r\n")[0]
    routes = [line for line in messages(far_trace, "received")[0].split(b"\r\n") if line.startswith(b"Record-Route:")]
    assert len(routes) == (1 if near == far and len(set(transports)) == 1 else 2)
    assert URI_HOSTS[far] in routes[0]
    assert URI_HOSTS[near] in routes[-1]
    assert b":%d" % node.stack.settings.rpc_port not in b"".join(routes)


@pytest.mark.parametrize("pair", PAIRS, ids=[caller[11:-4] for caller, _ in PAIRS])
@pytest.mark.parametrize(("near", "far"), [("v6", "v6"), ("v4", "v6"), ("v6", "v4")])
def test_a_call_goes_from_family_to_family(
    both: Node, tmp_path: Path, pair: tuple[str, str], near: str, far: str
) -> None:
    stands(both, tmp_path, pair, near, far)


@pytest.mark.parametrize("transports", ["tt", "tu", "ut"])
@pytest.mark.parametrize(("near", "far"), [("v4", "v4"), ("v6", "v6"), ("v4", "v6"), ("v6", "v4")])
def test_a_call_goes_from_family_to_family_over_tcp(
    both: Node, tmp_path: Path, near: str, far: str, transports: str
) -> None:
    stands(both, tmp_path, PAIRS[1], near, far, transports)


@pytest.mark.parametrize("transports", ["uu", "tt"])
def test_a_node_may_be_on_ipv6_alone(six: Node, tmp_path: Path, transports: str) -> None:
    stands(six, tmp_path, PAIRS[1], "v6", "v6", transports)


def test_a_gateway_of_a_family_that_the_node_is_not_on_is_passed_over(six: Node) -> None:
    player = six.gateway("uas-answers.xml", address="::1")
    four = at("four", player, no_reply=1.0)
    answering = at("six", player, address="[::1]")
    six.apply([Route("r", ("",), ("four", "six"))], [four, answering], trunks=TRUNKS)
    try:
        call = six.answered("1001", "1002", source="::1", server="::1", explained=False)
    finally:
        six.stop_gateways()
    assert six.attempts(call.call_id) == ["four"]
