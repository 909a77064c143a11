"""The media relay, offer by offer and answer by answer: two plain sockets, and rtpengine between what they say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from harness.dialog import from_callee, from_caller, header, reply
from harness.node import GB, Node
from harness.raw import Endpoint, acknowledge, cancel, status
from harness.rtpengine import Rtpengine

from model.identity import Presentation
from model.policy import Gateway, Policy, Route, Trunk
from model.side import Side

SDP = (
    b"v=0\r\no=user-1001 1 1 IN IP4 192.0.2.%d\r\ns=call of 1001\r\nc=IN IP4 192.0.2.%d\r\nt=0 0\r\n"
    b"m=audio %d RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)
CALLER, CALLEE, LATER = SDP % (1, 1, 4000), SDP % (2, 2, 5000), SDP % (2, 2, 5002)
CRYPTO = b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n"
PATIENT: dict[str, Any] = {"no_reply": 15.0, "progress": 15.0, "breaker": None}
HOST = ("127.0.0.1", "[::1]")
KIND = b"Content-Type: application/sdp"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rtpengine]:
    with Rtpengine(tmp_path_factory.mktemp("relay")) as own:
        yield own


@pytest.fixture(scope="module")
def gateways() -> Iterator[dict[str, Endpoint]]:
    made = {name: Endpoint() for name in ("plain", "anchored", "other", "secure", "hiding")}
    made["six"] = Endpoint("::1")
    yield made
    for one in made.values():
        one.socket.close()


@pytest.fixture(scope="module")
def policy(gateways: dict[str, Endpoint]) -> Policy:
    sides = {"anchored": Side(relay="always"), "other": Side(relay="always"), "secure": Side(srtp="require")}
    made = {
        name: Gateway(name, HOST[name == "six"], one.port, side=sides.get(name, Side()), **PATIENT)
        for name, one in gateways.items()
    }
    made["hiding"] = replace(made["hiding"], side=Side(relay="always"), identity=Presentation(privacy="withhold"))
    return Policy((Trunk("lab", ("127.0.0.0/8",), GB),), made, GB)


ROUTES = (
    Route("plain", ("+441",), ("plain",)),
    Route("anchored", ("+442",), ("anchored",)),
    Route("secure", ("+443",), ("secure",)),
    Route("leaves", ("+444",), ("anchored", "plain")),
    Route("comes", ("+445",), ("plain", "anchored")),
    Route("stays", ("+446",), ("anchored", "other")),
    Route("hiding", ("+447",), ("hiding",)),
    Route("six", ("+448",), ("six",)),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, relay: Rtpengine, policy: Policy) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("anchoring")
    own = Node.create(
        directory, name="anchoring", workers=2, addresses="127.0.0.1,::1", STROWGER_RTPENGINE=relay.address
    )
    try:
        own.stack.start()
        own.put_in_force(policy, ROUTES)
        yield own
    finally:
        own.close()


def invite(caller: Endpoint, callee: str, body: bytes = CALLER, *headers: bytes) -> bytes:
    """An INVITE with a session description."""
    request = caller.invite(uri=b"sip:%b@127.0.0.1" % callee.encode(), headers=(*headers, *((KIND,) if body else ())))
    return request.replace(b"Content-Length: 0", b"Content-Length: %d" % len(body)) + body


def body(message: bytes) -> bytes:
    text = message.partition(b"\r\n\r\n")[2]
    assert int(header(message, b"Content-Length")) == len(text)
    return text


def is_relayed(relay: Rtpengine, text: bytes, profile: bytes = b"RTP/AVP") -> bool:
    """Whether this description has the relay's own address and one of its ports, once, and this profile."""
    streams = re.findall(rb"m=audio (\d+) (\S+) ", text)
    return (
        re.findall(rb"c=IN IP4 (\S+)", text) == [b"127.0.0.1"]
        and [kind for _, kind in streams] == [profile]
        and all(int(port) in relay.ports for port, _ in streams)
    )


def answered(
    caller: Endpoint, gateway: Endpoint, node: Node, offer: bytes, answer: bytes
) -> tuple[bytes, bytes, bytes]:  # fmt: skip
    """An INVITE and its answer: as the gateway got the one, as it answered, and as the caller got that."""
    caller.send(offer, node.sip)
    got, sender = gateway.next_invite()
    said = reply(got, b"200 OK", gateway, tag=b"callee", more=[KIND], body=answer)
    gateway.send(said, sender)
    return got, said, caller.receive(b"SIP/2.0 200")


def over(caller: Endpoint, gateway: Endpoint, node: Node, ok: bytes) -> None:
    """The caller hangs up."""
    bye = from_caller(b"BYE", 9, caller, ok)
    caller.send(bye, node.sip)
    got = gateway.receive(b"BYE")
    gateway.send(reply(got, b"200 OK", gateway), node.sip)
    caller.receive(b"SIP/2.0 200")


def test_each_offer_and_answer_of_a_dialog_is_relayed(
    node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]
) -> None:
    gateway = gateways["anchored"]
    with Endpoint() as caller:
        got, said, ok = answered(caller, gateway, node, invite(caller, "+442"), CALLEE)
        assert is_relayed(relay, body(got))
        assert is_relayed(relay, body(ok))
        caller.send(from_caller(b"ACK", 1, caller, ok), node.sip)
        gateway.receive(b"ACK")
        # The gateway changes the session.
        again = from_callee(b"INVITE", 2, gateway, got, said, more=[KIND])
        gateway.send(again.replace(b"Content-Length: 0", b"Content-Length: %d" % len(LATER)) + LATER, node.sip)
        offer, sender = caller.next_invite()
        assert is_relayed(relay, body(offer))
        caller.send(reply(offer, b"200 OK", caller, more=[KIND], body=CALLER), sender)
        assert is_relayed(relay, body(gateway.receive(b"SIP/2.0 200")))
        call_id = header(got, b"Call-ID").decode()
        assert relay.holds(call_id)
        over(caller, gateway, node, ok)
    assert node.record(call_id).relay == "always"
    assert not relay.holds(call_id)


def test_an_offer_in_the_answer_is_relayed(node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]) -> None:
    gateway = gateways["anchored"]
    with Endpoint() as caller:
        _, _, ok = answered(caller, gateway, node, invite(caller, "+442", b""), CALLEE)
        assert is_relayed(relay, body(ok))
        caller.send(from_caller(b"ACK", 1, caller, ok, more=[KIND], body=CALLER), node.sip)
        assert is_relayed(relay, body(gateway.receive(b"ACK")))
        over(caller, gateway, node, ok)


def test_each_attempt_begins_with_what_the_caller_offered(
    node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]
) -> None:
    for callee, first, second in (
        ("+444", "anchored", "plain"), ("+445", "plain", "anchored"), ("+446", "anchored", "other"),
    ):  # fmt: skip
        with Endpoint() as caller:
            caller.send(invite(caller, callee), node.sip)
            refused = gateways[first].refuse_next(b"503 Service Unavailable")
            got, sender = gateways[second].next_invite()
            for name, request in ((first, refused), (second, got)):
                assert body(request) == CALLER if name == "plain" else is_relayed(relay, body(request))
                assert request.count(b";mr=") == (0 if name == "plain" else request.count(b"Record-Route:"))
            said = reply(got, b"200 OK", gateways[second], tag=b"callee", more=[KIND], body=CALLEE)
            gateways[second].send(said, sender)
            ok = caller.receive(b"SIP/2.0 200")
            assert body(ok) == CALLEE if second == "plain" else is_relayed(relay, body(ok))
            over(caller, gateways[second], node, ok)
            assert not relay.holds(header(got, b"Call-ID").decode())


def test_early_media_is_relayed_and_a_cancel_ends_it(
    node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]
) -> None:
    gateway = gateways["anchored"]
    with Endpoint() as caller:
        request = invite(caller, "+442")
        caller.send(request, node.sip)
        got, sender = gateway.next_invite()
        progress = reply(got, b"183 Session Progress", gateway, tag=b"callee", more=[KIND], body=CALLEE)
        gateway.send(progress, sender)
        assert is_relayed(relay, body(caller.receive(b"SIP/2.0 183")))
        call_id = header(got, b"Call-ID").decode()
        assert relay.holds(call_id)
        caller.send(cancel(request), node.sip)
        given_up = gateway.receive(b"CANCEL")
        gateway.send(reply(given_up, b"200 OK", gateway), sender)
        gateway.send(reply(got, b"487 Request Terminated", gateway, tag=b"callee"), sender)
        last = caller.receive(b"SIP/2.0 487")
        caller.send(acknowledge(request, last), node.sip)
        gateway.receive(b"ACK")
        assert not relay.holds(call_id)


def test_rtp_becomes_srtp_where_a_gateway_speaks_nothing_else(
    node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]
) -> None:
    gateway, secured = gateways["secure"], CALLEE.replace(b"RTP/AVP", b"RTP/SAVP") + CRYPTO
    with Endpoint() as caller:
        got, said, ok = answered(caller, gateway, node, invite(caller, "+443"), secured)
        assert is_relayed(relay, body(got), b"RTP/SAVP")
        assert b"a=crypto:1 " in body(got)
        assert is_relayed(relay, body(ok))
        assert b"crypto" not in body(ok)
        caller.send(from_caller(b"ACK", 1, caller, ok), node.sip)
        gateway.receive(b"ACK")
        # Later offers are changed the other way round.
        again = from_callee(b"INVITE", 2, gateway, got, said, more=[KIND])
        gateway.send(again.replace(b"Content-Length: 0", b"Content-Length: %d" % len(secured)) + secured, node.sip)
        offer, sender = caller.next_invite()
        assert is_relayed(relay, body(offer))
        caller.send(reply(offer, b"200 OK", caller, more=[KIND], body=CALLER), sender)
        assert is_relayed(relay, body(gateway.receive(b"SIP/2.0 200")), b"RTP/SAVP")
        over(caller, gateway, node, ok)
        # Who offers it already is passed on as they are.
        offered = CALLER.replace(b"RTP/AVP", b"RTP/SAVP") + CRYPTO
        got, _, ok = answered(caller, gateway, node, invite(caller, "+443", offered), secured)
        assert (body(got), body(ok)) == (offered, secured)
        over(caller, gateway, node, ok)


def test_a_gateway_of_the_other_family_is_heard(node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]) -> None:
    six = CALLEE.replace(b"IP4 192.0.2.2", b"IP6 2001:db8::2")
    with Endpoint() as caller:
        got, _, ok = answered(caller, gateways["six"], node, invite(caller, "+448"), six)
        assert b"c=IN IP6 ::1\r\n" in body(got)
        assert is_relayed(relay, body(ok))
        caller.send(from_caller(b"BYE", 9, caller, ok), node.sip)
        gone, sender = gateways["six"].socket.recvfrom(65535)
        assert gone.startswith(b"BYE")
        gateways["six"].send(reply(gone, b"200 OK", gateways["six"]), sender[:2])
        caller.receive(b"SIP/2.0 200")


def test_a_caller_who_is_hidden_is_hidden_in_what_is_relayed(
    node: Node, relay: Rtpengine, gateways: dict[str, Endpoint]
) -> None:
    gateway = gateways["hiding"]
    with Endpoint() as caller:
        offer = invite(caller, "+447", CALLER, b"Privacy: id; user; header")
        got, _, ok = answered(caller, gateway, node, offer, CALLEE)
        assert is_relayed(relay, body(got))
        assert b"1001" not in got
        assert is_relayed(relay, body(ok))
        over(caller, gateway, node, ok)


def test_a_relay_that_is_away_concerns_only_who_needs_it(
    node: Node, relay: Rtpengine, gateways: dict[str, Endpoint], policy: Policy
) -> None:
    relay.kill()
    with Endpoint() as caller:
        request = invite(caller, "+442")
        caller.send(request, node.sip)
        refused = caller.final_reply(request, node.sip)
        assert (status(refused), b'text="relay-down"' in refused) == (503, True)
        got, _, ok = answered(caller, gateways["plain"], node, invite(caller, "+441"), CALLEE)
        assert (body(got), body(ok)) == (CALLER, CALLEE)
        over(caller, gateways["plain"], node, ok)
        # The next gateway may do without.
        got, _, ok = answered(caller, gateways["plain"], node, invite(caller, "+444"), CALLEE)
        assert body(got) == CALLER
        over(caller, gateways["plain"], node, ok)
        node.put_in_force(replace(policy, relay_away="pass"), ROUTES)
        got, _, ok = answered(caller, gateways["anchored"], node, invite(caller, "+442"), CALLEE)
        assert (body(got), body(ok)) == (CALLER, CALLEE)
        over(caller, gateways["anchored"], node, ok)
        node.put_in_force(policy, ROUTES)
        relay.start()
        deadline = time.monotonic() + 30
        while True:
            request = invite(caller, "+442")
            caller.send(request, node.sip)
            try:
                gateways["anchored"].socket.settimeout(0.5)
                got = gateways["anchored"].refuse_next(b"486 Busy Here")
                break
            except TimeoutError:
                assert status(caller.final_reply(request, node.sip)) == 503
                assert time.monotonic() < deadline, "the relay is never asked again"
            finally:
                gateways["anchored"].socket.settimeout(15.0)
        assert is_relayed(relay, body(got))
