"""Malformed and hostile SIP: a clear refusal or a call like any other, and never a worker the less."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness.dialog import header
from harness.node import Node
from harness.raw import Endpoint, status

from model.entries import Entry, Kind
from model.policy import Gateway, Route

BUSY = b"486 Busy Here"


@pytest.fixture
def caller() -> Iterator[Endpoint]:
    """Who sends the bad input."""
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def gateway(node: Node) -> Iterator[Endpoint]:
    """Where every call goes to; afterwards the node must be as sound as before."""
    before, log = node.processes(), len(node.stack.log("kamailio"))
    with Endpoint() as endpoint:
        node.apply([Route("r", ("",), ("g",))], [Gateway("g", "127.0.0.1", endpoint.port, no_reply=10.0)])
        yield endpoint
        plain_call_works(node, endpoint)
    assert set(before) <= set(node.processes()), "a process of Kamailio's is gone"
    written = node.stack.log("kamailio")[log:]
    for word in ("Traceback", "CRITICAL", "core dump", "on_call failed", "on_failure failed"):
        assert word not in written


def plain_call_works(node: Node, gateway: Endpoint) -> None:
    """Place a plain call and have it refused as busy."""
    with Endpoint() as caller:
        assert decided_call(node, caller, gateway, caller.invite()) == 486


def decided_call(node: Node, caller: Endpoint, gateway: Endpoint, invite: bytes) -> int:
    """Place a call that must reach the gateway; returns the status that the caller gets."""
    caller.send(invite, node.sip)
    gateway.refuse_next(BUSY, to=caller)
    return status(caller.final_reply(invite, node.sip))


NOISE = [
    b"\0" * 100,
    b"\xff" * 1400,
    b"INVITE",
    b"INVITE sip:1002@127.0.0.1 SIP/2.0\r\n",
    b"INVITE sip:1002@127.0.0.1 SIP/2.0\r\n\r\n",
    b"SIP/2.0 200 OK\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n\r\n\r\n\r\n",
    b"INVITE sip:%s SIP/2.0\r\nVia: \r\nFrom: \r\nTo: \r\nCall-ID: \r\nCSeq: \r\n\r\n" % (b"a" * 5000),
    b"INVITE " + b"sip:" * 10000,
    b"A" * 65000,
]


@pytest.mark.parametrize("noise", NOISE, ids=lambda noise: repr(noise[:30]))
def test_what_is_no_sip_is_ignored(node: Node, caller: Endpoint, gateway: Endpoint, noise: bytes) -> None:
    # Sent often enough that every worker has met it.
    for _ in range(20):
        caller.send(noise, node.sip)


def replaced(invite: bytes, old: bytes, new: bytes) -> bytes:
    """A request with one of its parts damaged."""
    assert old in invite
    return invite.replace(old, new, 1)


DAMAGES = [
    (b"CSeq: 1 INVITE", b"CSeq: 1 BYE"),
    (b"CSeq: 1 INVITE", b"CSeq: 99999999999 INVITE"),
    (b"CSeq: 1 INVITE", b"X-CSeq: 1"),
    (b"Content-Length: 0", b"Content-Length: 9999"),
    (b"SIP/2.0\r\nVia", b"SIP/7.0\r\nVia"),
    (b"sip:1002@127.0.0.1 SIP", b"http://127.0.0.1/ SIP"),
]


@pytest.mark.parametrize(("old", "new"), DAMAGES)
def test_a_damaged_request_is_refused_or_ignored(
    node: Node, caller: Endpoint, gateway: Endpoint, old: bytes, new: bytes
) -> None:
    damaged = replaced(caller.invite(), old, new)
    marker = caller.invite(uri=b"sip:" + b"9" * 200 + b"@127.0.0.1")
    caller.send(damaged, node.sip)
    caller.send(marker, node.sip)
    caller.final_reply(marker, node.sip)


REFUSED = [
    ({"hops": 0}, 483, b"too-many-hops"),
    ({"method": b"PUBLISHED"}, 405, b"Allow: INVITE"),
    ({"method": b"REGISTER"}, 405, b"Allow: INVITE"),
    ({"uri": b"sip:" + b"4" * 200 + b"@127.0.0.1"}, 484, b"invalid-number"),
    ({"uri": b"sip:+" + b"4" * 16 + b"@127.0.0.1"}, 484, b"invalid-number"),
    ({"uri": b"sip:127.0.0.1"}, 484, b"invalid-number"),
    ({"uri": b"sip:+@127.0.0.1"}, 484, b"invalid-number"),
    ({"uri": b"sip:" + b"a" * 5000 + b"@127.0.0.1"}, 484, b"invalid-number"),
    ({"uri": b"sip:1002@\xff.example"}, 400, b"SIP/2.0"),
    ({"sender": b"<sip:1001@\xff.example>"}, 400, b"Invalid From"),
    ({"method": b"OPTIONS", "uri": b"sip:127.0.0.1"}, 200, b""),
]


@pytest.mark.parametrize(("parts", "expected", "said"), REFUSED, ids=str)
def test_what_cannot_be_a_call_is_refused(
    node: Node, caller: Endpoint, gateway: Endpoint, parts: dict[str, Any], expected: int, said: bytes
) -> None:
    request = caller.invite(**parts)
    caller.send(request, node.sip)
    reply = caller.final_reply(request, node.sip)
    assert status(reply) == expected
    assert said in reply


BAD = b"\xff\xfe\x80"
DECIDED = [
    {"to": b"<sip:127.0.0.1>"},
    {"to": b"sip:127.0.0.1"},
    {"sender": b"<sip:127.0.0.1>"},
    {"sender": b'"' + BAD + b'" <sip:1001@127.0.0.1>'},
    {"sender": b"<sip:" + BAD + b"@127.0.0.1>"},
    {"uri": b"sip:1002@[::zz]"},
    {"sender": b"<sip:%zz%1@127.0.0.1>"},
    {"sender": b"<tel:+44-20-7946-0000>"},
    {"headers": [b"User-Agent: " + BAD]},
    {"headers": [b"User-Agent:"]},
    {"headers": [b"P-Asserted-Identity: <sip:" + BAD + b"@127.0.0.1>"]},
    {"headers": [b"P-Asserted-Identity: " + BAD]},
    {"headers": [b"P-Asserted-Identity: <sip:"]},
    {"headers": [b"Privacy: " + BAD + b";none"]},
    {"headers": [b"Privacy:"]},
    {"headers": [b"Reason: " + BAD]},
    {"headers": [b"Subject: " + b"x" * 20000]},
    {"headers": [b"X-%d: y" % n for n in range(2000)]},
    {"headers": [b"Privacy: none"] * 500},
    {"headers": [b"P-Asserted-Identity: <sip:1@x>"] * 200},
    {"headers": [b"Record-Route: <sip:10.0.0.%d;lr>" % n for n in range(200)]},
    {"headers": [b"Route: <sip:10.9.9.9;lr>"]},
]


@pytest.mark.parametrize("parts", DECIDED, ids=lambda parts: repr(parts)[:60])
def test_an_odd_call_is_decided_like_any_other(
    node: Node, caller: Endpoint, gateway: Endpoint, parts: dict[str, Any]
) -> None:
    assert decided_call(node, caller, gateway, caller.invite(**parts)) == 486


def test_a_call_id_that_is_not_utf_8_is_recorded(node: Node, caller: Endpoint, gateway: Endpoint) -> None:
    call_id = BAD + b"-%d" % caller.port
    assert decided_call(node, caller, gateway, caller.invite(call_id=call_id)) == 486
    decided, failed = node.records(call_id.decode("latin-1"))
    assert (decided["event"], failed["event"]) == ("decided", "failed")


@pytest.mark.parametrize(("part", "kind"), [("sender", Kind.CALLER), ("headers", Kind.USER_AGENT)])
def test_bytes_that_are_not_utf_8_hide_nothing_from_the_lists(
    node: Node, caller: Endpoint, gateway: Endpoint, part: str, kind: Kind
) -> None:
    node.put(Entry(Kind.CALLER, "1001"))
    node.put(Entry(Kind.USER_AGENT, "scanner"))
    bad: dict[str, Any] = {
        "sender": b'"' + BAD + b'" <sip:1001@127.0.0.1>',
        "headers": [b"User-Agent: " + BAD + b" Scanner " + BAD],
    }
    request = caller.invite(**{"sender": b"<sip:1003@127.0.0.1>", part: bad[part]})
    caller.send(request, node.sip)
    reply = caller.final_reply(request, node.sip)
    assert (status(reply), b"blocked-" + kind.value.encode() in reply) == (403, True)
    node.clear_entries()


def test_a_request_within_no_dialog_that_stands_is_refused(node: Node, caller: Endpoint, gateway: Endpoint) -> None:
    request = replaced(caller.invite(method=b"BYE"), b"To: <sip:1002@127.0.0.1>", b"To: <sip:1002@127.0.0.1>;tag=x")
    caller.send(request, node.sip)
    assert status(caller.final_reply(request, node.sip)) == 404


@pytest.mark.parametrize("method", [b"INVITE", b"BYE", b"MESSAGE", b"REFER"])
def test_a_dialog_that_was_invented_leads_nowhere(
    node: Node, caller: Endpoint, gateway: Endpoint, method: bytes
) -> None:
    own, there = b"%s:%d" % (node.sip[0].encode(), node.sip[1]), b"127.0.0.1:%d" % gateway.port
    # The proof that came with a call that was let in, in a request of another.
    caller.send(caller.invite(), node.sip)
    invite = gateway.refuse_next(b"486 Busy Here", to=caller)
    caller.receive(b"SIP/2.0 486")
    borrowed = header(invite, b"Record-Route")
    assert b";call=" in borrowed
    for route in (b"<sip:%s;lr>" % own, b"<sip:%s;lr>, <sip:%s;lr>" % (own, there), b"<sip:%s;lr>" % there, borrowed):
        request = caller.invite(
            method=method,
            uri=b"sip:1002@" + there,
            to=b"<sip:1002@127.0.0.1>;tag=invented",
            headers=[b"Route: " + route],
        )
        caller.send(request, node.sip)
        assert status(caller.final_reply(request, node.sip)) == 481
    caller.send(caller.invite(), node.sip)
    # What reached the gateway next is the call that the policy let in.
    assert b"tag=invented" not in gateway.refuse_next(b"486 Busy Here")
