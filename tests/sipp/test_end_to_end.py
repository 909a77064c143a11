"""What SIPp does not play: replies of several callees to one call, messages sent again, large and odd ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.dialog import from_callee, from_caller, header, headers, reply
from harness.node import Node
from harness.raw import Endpoint, status
from harness.trace import end_to_end

from model.policy import Gateway, Route


@pytest.fixture
def caller() -> Iterator[Endpoint]:
    """Who calls."""
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def far(node: Node) -> Iterator[Endpoint]:
    """The gateway that every call goes to, a proxy that may fork it."""
    with Endpoint() as endpoint:
        node.apply(
            [Route("r", ("",), ("g",))], [Gateway("g", "127.0.0.1", endpoint.port, no_reply=10.0, progress=10.0)]
        )
        yield endpoint


@pytest.fixture
def phones() -> Iterator[tuple[Endpoint, Endpoint]]:
    """Two callees behind the gateway; requests within their dialogs go to them."""
    with Endpoint() as one, Endpoint() as other:
        yield one, other


def called(node: Node, caller: Endpoint, far: Endpoint, invite: bytes) -> bytes:
    """Place a call; returns the INVITE as the gateway received it."""
    caller.send(invite, node.sip)
    return far.next_invite(caller)[0]


def passes(message: bytes, sender: Endpoint, receiver: Endpoint, node: Node) -> bytes:
    """Send a message that must arrive as it was sent; returns it as it arrived."""
    sender.send(message, node.sip)
    # By its first word, CSeq and tag of To, it is the one that was sent.
    while True:
        arrived = receiver.receive(message.split(b" ")[0])
        if all(header(arrived, name) == header(message, name) for name in (b"CSeq", b"To")) and (
            not message.startswith(b"SIP/2.0") or arrived.split(b"\r\n")[0] == message.split(b"\r\n")[0]
        ):
            break
    assert end_to_end(arrived) == end_to_end(message)
    return arrived


def test_dialogs_of_a_forked_call_are_kept_apart(
    node: Node, caller: Endpoint, far: Endpoint, phones: tuple[Endpoint, Endpoint]
) -> None:
    a, b = phones
    invite = called(node, caller, far, caller.invite(headers=[b"Supported: 100rel"]))
    rings = reply(invite, b"180 Ringing", a, tag=b"a")
    reliable = [b"Require: 100rel", b"RSeq: 7"]
    progress = reply(invite, b"183 Session Progress", b, tag=b"b", more=reliable, body=b"v=0\r\n")
    ringing_a = passes(rings, far, caller, node)
    early_b = passes(progress, far, caller, node)
    assert header(ringing_a, b"Contact") != header(early_b, b"Contact")

    prack = passes(from_caller(b"PRACK", 2, caller, early_b, more=[b"RAck: 7 1 INVITE"]), caller, b, node)
    passes(reply(prack, b"200 OK", b), b, caller, node)
    update = passes(from_callee(b"UPDATE", 1, a, invite, rings), a, caller, node)
    passes(reply(update, b"200 OK", caller), caller, a, node)

    answers = {}
    for phone, tag in ((b, b"b"), (a, b"a")):
        answer = reply(invite, b"200 OK", phone, tag=tag, body=b"v=0\r\ns=" + tag + b"\r\n")
        answers[tag] = passes(answer, far, caller, node)
        passes(from_caller(b"ACK", 1, caller, answers[tag]), caller, phone, node)

    # The caller ends one of the calls, the callee the other.
    bye = passes(from_caller(b"BYE", 3, caller, answers[b"a"]), caller, a, node)
    passes(reply(bye, b"200 OK", a), a, caller, node)
    info = passes(from_caller(b"INFO", 3, caller, answers[b"b"], body=b"still there"), caller, b, node)
    passes(reply(info, b"200 OK", b), b, caller, node)
    bye = passes(from_callee(b"BYE", 1, b, invite, answers[b"b"]), b, caller, node)
    passes(reply(bye, b"200 OK", caller), caller, b, node)


def test_what_a_gateway_sends_again_reaches_the_caller_again(node: Node, caller: Endpoint, far: Endpoint) -> None:
    # RFC 3262 section 3 and RFC 3261 section 13.3.1.4: both are repeated end to end, since the first may be lost.
    invite = called(node, caller, far, caller.invite(headers=[b"Supported: 100rel"]))
    progress = reply(invite, b"183 Session Progress", far, tag=b"t", more=[b"Require: 100rel", b"RSeq: 1"])
    passes(progress, far, caller, node)
    early = passes(progress, far, caller, node)
    prack = passes(from_caller(b"PRACK", 2, caller, early, more=[b"RAck: 1 1 INVITE"]), caller, far, node)
    passes(reply(prack, b"200 OK", far), far, caller, node)

    answer = reply(invite, b"200 OK", far, tag=b"t")
    passes(answer, far, caller, node)
    ack = from_caller(b"ACK", 1, caller, passes(answer, far, caller, node))
    passes(ack, caller, far, node)
    passes(ack, caller, far, node)


def test_a_bye_sent_again_is_answered_again(node: Node, caller: Endpoint, far: Endpoint) -> None:
    invite = called(node, caller, far, caller.invite())
    answered = passes(reply(invite, b"200 OK", far, tag=b"t"), far, caller, node)
    passes(from_caller(b"ACK", 1, caller, answered), caller, far, node)
    bye = from_caller(b"BYE", 2, caller, answered)
    arrived = passes(bye, caller, far, node)
    first = passes(reply(arrived, b"200 OK", far), far, caller, node)
    # The gateway replies once only, so this reply is the node's memory of it.
    caller.send(bye, node.sip)
    assert caller.receive(b"SIP/2.0 200") == first


ISUP = bytes(range(256)) + b"\r\n--not-a-boundary\r\n\r\nSIP/2.0 200 OK\r\n\r\n"
MULTIPART = (
    b'--one;"\r\nContent-Type: application/sdp\r\n\r\nv=0\r\ns=-\r\n\r\n'
    b"--one\r\nContent-Type: application/ISUP;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n"
    + ISUP
    + b"\r\n--one--\r\n"
)
# Some 6 kB, several packets of an Ethernet.
LARGE = b"v=0\r\ns=-\r\n" + b"".join(
    b"a=candidate:%d 1 UDP 2130706431 192.0.2.1 9 typ host\r\n" % i for i in range(120)
)
ODD = [
    b"X-Unknown:  two  spaces, a comma and a \xfe byte ",
    b"x-UNKNOWN: another of that name",
    b'P-Charging-Vector: icid-value="a;b,c";icid-generated-at=192.0.2.1',
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \xc3\xbc",
    b"Geolocation: <cid:a@192.0.2.1>",
    b"History-Info: <sip:1000@192.0.2.1?Reason=SIP%3Bcause%3D302>;index=1",
    b"Diversion: <sip:1000@192.0.2.1>;reason=unconditional",
    b"Identity: eyJhbGciOiJFUzI1NiJ9.e30.c2ln;info=<https://cert.example.net/c.pem>;alg=ES256;ppt=shaken",
    b"Replaces: abc@192.0.2.1;to-tag=1;from-tag=2",
    b"Require: X-odd",
    b"X-Empty:",
    b"X-Folded: one\r\n two\r\n\tthree",
]
BODIES = [
    (b"multipart/mixed;boundary=one", MULTIPART),
    (b"application/sdp", LARGE),
    (b"application/octet-stream", ISUP),
]


@pytest.mark.parametrize(("kind", "body"), BODIES, ids=["multipart", "large", "binary"])
def test_headers_and_bodies_pass_byte_for_byte(
    node: Node, caller: Endpoint, far: Endpoint, kind: bytes, body: bytes
) -> None:
    more = [*ODD, b"Content-Type: " + kind, b"MIME-Version: 1.0"]
    invite = caller.invite(headers=more).replace(
        b"Content-Length: 0\r\n\r\n", b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    arrived = called(node, caller, far, invite)
    assert end_to_end(arrived) == end_to_end(invite)
    assert headers(arrived, b"Max-Forwards") == [b"69"]

    answered = passes(reply(arrived, b"200 OK", far, tag=b"t", more=more, body=body), far, caller, node)
    passes(from_caller(b"ACK", 1, caller, answered, more=more, body=body), caller, far, node)
    info = passes(from_caller(b"INFO", 2, caller, answered, more=more, body=body), caller, far, node)
    passes(reply(info, b"200 OK", far, more=more, body=body), far, caller, node)
    back = passes(from_callee(b"BYE", 1, far, arrived, answered, more=more), far, caller, node)
    passes(reply(back, b"200 OK", caller, more=more, body=body), caller, far, node)


@pytest.mark.parametrize(
    "method", [b"REFER", b"NOTIFY", b"MESSAGE", b"UPDATE", b"PRACK", b"INFO", b"BYE", b"PUBLISH"]
)
def test_what_belongs_to_no_call_is_refused(node: Node, caller: Endpoint, far: Endpoint, method: bytes) -> None:
    request = caller.invite(method=method)
    caller.send(request, node.sip)
    assert status(caller.final_reply(request, node.sip)) == 405
    # A tag without a route through this node: a dialog that is not of a call of ours.
    request = caller.invite(method=method, to=b"<sip:1002@127.0.0.1>;tag=none")
    caller.send(request, node.sip)
    assert status(caller.final_reply(request, node.sip)) == 404


@pytest.mark.parametrize("line", [b"420 Bad Extension", b"488 Not Acceptable Here", b"603 Decline", b"302 Moved"])
def test_a_final_refusal_reaches_the_caller_as_it_came(
    node: Node, caller: Endpoint, far: Endpoint, line: bytes
) -> None:
    invite = caller.invite()
    arrived = called(node, caller, far, invite)
    more = [b"Unsupported: X-odd", b'Warning: 304 192.0.2.1 "media"', b"Reason: SIP;cause=%s" % line[:3], *ODD]
    refusal = reply(arrived, line, far, tag=b"t", more=more, body=ISUP)
    far.send(refusal, node.sip)
    assert end_to_end(caller.final_reply(invite, node.sip)) == end_to_end(refusal)
