"""Phones behind NAT: what goes to them goes where they send from, and both sides hear each other by the media relay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.audio import tone
from harness.baresip import Baresip
from harness.cli import Cli, fresh
from harness.dialog import headers
from harness.digest_phone import DigestPhone
from harness.node import GB, Node
from harness.phone import Call, phone
from harness.raw import Endpoint, reply_to, status
from harness.rtpengine import Rtpengine

from console.ports import free_port
from model.policy import Gateway, Policy, Route, Subscribers, Trunk
from model.side import Side
from model.subscriber import Forwards, Subscriber, hashes

REALM = "phones.example"
OFFICE, NATED, HOME = "127.0.0.2", "127.0.0.7", "127.0.0.8"
EDGE = "127.0.0.5"
PRIVATE = "10.99.99.9"
SOUND = 5.0


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rtpengine]:
    with Rtpengine(tmp_path_factory.mktemp("relay")) as own:
        yield own


@pytest.fixture(scope="module")
def gateway() -> int:
    return free_port()


ROUTES = (Route("phones", ("1",), subscribers=True, ring=5.0), Route("world", ("+44",), ("carrier",)))


def policy(gateway: int, nat: str, srtp: str = "") -> Policy:
    """What is known of the phones that register."""
    return Policy(
        trunks=(
            Trunk("office", (f"{OFFICE}/32",), GB),
            Trunk("nated", (f"{NATED}/32",), GB, side=Side("auto")),
        ),
        gateways={"carrier": Gateway("carrier", "127.0.0.1", gateway, no_reply=15.0, progress=15.0, breaker=None)},
        dialling=GB,
        subscribers=Subscribers(REALM, GB, edges=(f"{EDGE}/32",), side=Side(nat, srtp=srtp)),
    )


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, relay: Rtpengine, gateway: int) -> Iterator[Node]:
    own = Node.create(
        tmp_path_factory.mktemp("nat"), name="nat", workers=2, STROWGER_RTPENGINE=relay.address, STROWGER_NAT_PING="1"
    )
    try:
        own.stack.start()
        own.put_in_force(policy(gateway, "auto"), ROUTES)
        for name in ("1001", "1002"):
            one = Subscriber(name=name, realm=REALM, ha1=hashes(name, REALM, f"secret-of-{name}"))
            own.confirmed(own.store.put_subscriber(one, own.store.subscriber(one.name)))
        yield own
    finally:
        own.close()


async def talk(first: Call, second: Call) -> None:
    """Each hears the other."""
    first.play(tone(400, SOUND))
    second.play(tone(1000, SOUND))
    await asyncio.gather(first.hears(1000), second.hears(400))


def test_a_caller_behind_nat_is_heard_and_hung_up_on(node: Node, relay: Rtpengine, gateway: int) -> None:
    async def run() -> str:
        async with (
            phone(node.sip, port=gateway) as callee,
            phone(node.sip, address=NATED, claims=PRIVATE) as caller,
        ):
            call = caller.call("02079460000")
            other = await callee.called()
            await other.answer()
            await call.answered()
            await talk(call, other)
            call_id = call.leg.call_id
            assert relay.holds(call_id)
            await other.hangup()
            assert (await call.ended()).cause == "NORMAL_CLEARING"
            return call_id

    call_id = asyncio.run(run())
    record = node.record(call_id)
    assert (record.outcome, record.relay) == ("answered", "the caller is behind NAT")
    assert not relay.holds(call_id)


def test_a_phone_behind_nat_is_called_pinged_and_heard(node: Node, relay: Rtpengine) -> None:
    port = free_port()
    register(node, "1001", NATED, port)

    async def run() -> str:
        async with (
            phone(node.sip, address=NATED, port=port, claims=PRIVATE) as callee,
            phone(node.sip, address=OFFICE) as caller,
        ):
            call = caller.call("1001")
            other = await callee.called()
            await other.answer()
            await call.answered()
            await talk(call, other)
            # The way to a private address is by where the phone sends from: in the caller's hand-up as well.
            await call.hangup()
            assert (await other.ended()).cause == "NORMAL_CLEARING"
            return call.leg.call_id

    call_id = asyncio.run(run())
    record = node.record(call_id)
    assert (record.outcome, record.relay) == ("answered", "the phone is behind NAT")
    assert not relay.holds(call_id)


def test_a_phone_behind_nat_hears_pings_and_is_there_after_a_kill(node: Node) -> None:
    with DigestPhone(node.sip, "1002", "secret-of-1002", address=NATED, algorithm="MD5") as own:
        assert status(own.register(contact=f"<sip:1002@{PRIVATE}:{own.endpoint.port}>")) == 200
        assert own.endpoint.receive(b"OPTIONS").startswith(f"OPTIONS sip:1002@{PRIVATE}".encode())
        node.stack.processes["kamailio"].kill()
        node.stack.start_kamailio()
        assert own.endpoint.receive(b"OPTIONS")
        assert own.endpoint.receive(b"OPTIONS")
        own.register(0, contact="*")


def test_a_call_that_needs_no_relay_passes_as_it_is(node: Node, relay: Rtpengine, gateway: int) -> None:
    async def run() -> str:
        async with phone(node.sip, port=gateway) as callee, phone(node.sip, address=OFFICE) as caller:
            call = caller.call("02079460000")
            other = await callee.called()
            await other.answer()
            await call.answered()
            await talk(call, other)
            assert not relay.holds(call.leg.call_id)
            await call.hangup()
            await other.ended()
            return call.leg.call_id

    assert node.record(asyncio.run(run())).relay == ""


def register(node: Node, name: str, address: str, port: int) -> None:
    """Register a phone behind NAT, which sends from ``port`` of ``address``."""
    with DigestPhone(node.sip, name, f"secret-of-{name}", address=address, algorithm="MD5", port=port) as own:
        assert status(own.register(contact=f"<sip:{name}@{PRIVATE}:{port}>")) == 200


def by_edge(node: Node, own: DigestPhone, *, path: str) -> bytes:
    """Register a phone with a private address by a proxy, which ``own`` is; the last reply."""
    more, contact = [f"Path: {path}", "Supported: path", "Expires: 600"], f"<sip:{own.name}@{PRIVATE}:5060>"
    first = own.ask(own.request("REGISTER", "", more=more, contact=contact))
    if status(first) != 401:
        return first
    return own.ask(own.request("REGISTER", "", more=[*more, own.answer(first, "REGISTER")], contact=contact))


def called_by_edge(node: Node, edge: DigestPhone, path: bytes) -> None:
    """A call to the phone arrives at the edge, with the path as its Route."""
    with DigestPhone(node.sip, "1001", address=OFFICE) as office:
        office.endpoint.send(office.request("INVITE", "1002"), node.sip)
        invite, sender = edge.endpoint.next_invite()
        assert invite.startswith(f"INVITE sip:1002@{PRIVATE}:5060 ".encode())
        assert headers(invite, b"Route") == [path]
        edge.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        assert status(office.endpoint.receive(b"SIP/2.0 4")) == 486


def test_a_phone_behind_an_edge_proxy_is_reached_by_it(node: Node) -> None:
    with DigestPhone(node.sip, "1002", "secret-of-1002", address=EDGE, algorithm="MD5") as edge:
        path = f"<sip:{EDGE}:{edge.endpoint.port};lr>"
        kept = by_edge(node, edge, path=path)
        assert (status(kept), headers(kept, b"Path")) == (200, [path.encode()])
        called_by_edge(node, edge, path.encode())
        node.stack.processes["kamailio"].kill()
        node.stack.start_kamailio()
        called_by_edge(node, edge, path.encode())
        edge.register(0, contact="*")


def test_a_path_of_nobody_s_is_refused(node: Node) -> None:
    with DigestPhone(node.sip, "1002", "secret-of-1002", address=HOME, algorithm="MD5") as own:
        refused = by_edge(node, own, path="<sip:127.0.0.66;lr>")
        assert (status(refused), headers(refused, b"Unsupported")) == (420, [b"path"])


def test_the_path_of_a_phone_is_not_that_of_the_gateway_after_it(node: Node, gateway: int) -> None:
    one = Subscriber(
        name="1002", realm=REALM, ha1=hashes("1002", REALM, "secret-of-1002"), forwards=Forwards(busy="+442079460000")
    )
    node.confirmed(node.store.put_subscriber(one, node.store.subscriber("1002")))
    with (
        DigestPhone(node.sip, "1002", "secret-of-1002", address=EDGE, algorithm="MD5") as edge,
        DigestPhone(node.sip, "1001", address=OFFICE) as office,
        Endpoint("127.0.0.1", gateway) as carrier,
    ):
        by_edge(node, edge, path=f"<sip:{EDGE}:{edge.endpoint.port};lr>")
        office.endpoint.send(office.request("INVITE", "1002"), node.sip)
        invite, sender = edge.endpoint.next_invite()
        edge.endpoint.send(reply_to(invite, b"486 Busy Here"), sender)
        forwarded = carrier.refuse_next(b"404 Not Found")
        assert forwarded.startswith(b"INVITE sip:+442079460000@127.0.0.1:%d " % gateway)
        assert headers(forwarded, b"Route") == []
        edge.register(0, contact="*")


def test_a_phone_that_speaks_srtp_alone_is_heard_by_one_that_does_not(
    node: Node, relay: Rtpengine, gateway: int, tmp_path: Path
) -> None:
    async def run() -> str:
        async with phone(node.sip, address=OFFICE) as caller:
            call = caller.call("1001")
            await call.answered()
            call.play(tone(700, SOUND))
            # It says what it hears.
            await call.hears(700)
            call_id = call.leg.call_id
            assert relay.holds(call_id)
            await call.hangup()
            return call_id

    node.put_in_force(policy(gateway, "no", "require"), ROUTES)
    with Baresip(
        node.sip, "1001", "secret-of-1001", tmp_path / "1001", transport="tcp", answers=True, srtp=True, echoes=True
    ) as own:
        own.registered()
        record = node.record(asyncio.run(run()))
        assert record.relay == "SRTP to RTP"
        own.heard("CALL_CLOSED")


def test_an_explanation_says_who_would_be_relayed(node: Node, gateway: int) -> None:
    node.put_in_force(policy(gateway, "auto"), ROUTES)
    cli = Cli(fresh, node.stack.settings.to_env())
    call = ("explain", "--from", "1001", "--to", "02079460000", "--source", NATED, "--media")
    found = cli(*call, f"{PRIVATE} RTP/AVP", "--json").data
    assert {"what": "media relay", "subject": "carrier", "found": "the caller is behind NAT"} in found["steps"]
    assert "media 'nowhere'" in cli(*call, "nowhere", status=2).said
