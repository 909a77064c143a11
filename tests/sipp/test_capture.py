"""All SIP is copied to a collector where that is wanted; strangers who send too much are not listened to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from harness.hep import Captured, Collector
from harness.node import GB, Node, at
from harness.raw import Endpoint, status

from model.policy import Policy, Route, Trunk

# More than the guard lets pass in the two seconds that it counts, and few enough for the buffer of a socket.
RATE, BURST = 20, 80
STRANGER = "127.0.0.6"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as own:
        yield own


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Node]:
    own = Node.create(
        tmp_path_factory.mktemp("capture"), name="capture", workers=2, STROWGER_FLOOD=str(RATE),
        STROWGER_HEP=f"udp:127.0.0.1:{collector.port}", STROWGER_HEP_ID="42",
    )  # fmt: skip
    try:
        own.stack.start()
        gateways = {"carrier": at("carrier", own.answering())}
        own.put_in_force(
            Policy((Trunk("office", ("127.0.0.1/32",), GB),), gateways, GB), (Route("world", ("+44",), ("carrier",)),)
        )
        yield own
    finally:
        own.close()


def test_every_message_of_a_call_is_captured_with_its_addresses(node: Node, collector: Collector) -> None:
    call_id = node.answered("1001", "02079460000").call_id
    ours, (gateway,) = node.sip, node._gateways
    carrier = ("127.0.0.1", gateway.port)

    def of_call(captured: list[Captured]) -> list[Captured]:
        return [one for one in captured if call_id.encode() in one.text]

    # Each message once as it came and once as it went on; the INVITE's 100 is this node's own.
    expected = {"INVITE": 2, "100": 1, "200": 4, "ACK": 2, "BYE": 2}

    def counted(captured: list[Captured]) -> dict[str, int]:
        firsts = [one.first for one in of_call(captured)]
        return {first: firsts.count(first) for first in expected}

    found = of_call(collector.until(lambda captured: counted(captured) == expected))
    assert {one.node for one in found} == {42}
    invite, onward = (one for one in found if one.first == "INVITE")
    assert (invite.target, onward.source, onward.target) == (ours, ours, carrier)
    assert (invite.source[0], b"Record-Route" in invite.text) == ("127.0.0.1", False)
    assert b"Record-Route" in onward.text
    # From the side that sent it to the side that got it.
    ends = {(one.source, one.target) for one in found}
    assert ends == {(invite.source, ours), (ours, carrier), (carrier, ours), (ours, invite.source)}


def test_a_stranger_who_floods_is_dropped_and_a_trunk_is_not(node: Node) -> None:
    with Endpoint(STRANGER) as stranger, Endpoint() as office:
        node_at = node.sip
        assert RATE <= _answered(stranger, node_at) < BURST
        assert _answered(office, node_at) == BURST
        # What the guard lets nobody else do, a call by the trunk may.
        node.answered("1001", "02079460000")
        until = time.monotonic() + 60
        while True:
            stranger.send(_options(stranger), node_at)
            try:
                assert status(stranger.receive(b"SIP/2.0")) == 200
                break
            except TimeoutError:
                assert time.monotonic() < until, "the stranger is never listened to again"


def _answered(endpoint: Endpoint, server: tuple[str, int]) -> int:
    """How many requests of a burst, which are sent at once, are answered."""
    for _ in range(BURST):
        endpoint.send(_options(endpoint), server)
    endpoint.socket.settimeout(1.0)
    for count in range(BURST):
        try:
            assert status(endpoint.receive(b"SIP/2.0")) == 200
        except TimeoutError:
            return count
    return BURST


def _options(endpoint: Endpoint) -> bytes:
    request = endpoint.invite(uri=b"sip:127.0.0.1", method=b"OPTIONS")
    return request.replace(b"UDP 127.0.0.1:", b"UDP %b:" % endpoint.address.encode())


def test_a_collector_that_is_away_changes_nothing(node: Node, collector: Collector) -> None:
    collector.socket.close()
    for _ in range(3):
        node.answered("1001", "02079460000")
