"""Gateways that ask who calls, on the wire: what they are told, and how the calls that follow are counted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from harness.dialog import from_caller, header, headers, reply
from harness.digest_phone import FUNCTIONS
from harness.node import ANSWER, Node
from harness.raw import Endpoint, acknowledge, cancel, reply_to, status

from model.policy import Auth, Gateway, Route

USER, SECRET = "account-7", "carrier-pw"
PASSWORD = 'a "pass" \\ word'
CHALLENGE = b'Proxy-Authenticate: Digest realm="carrier", nonce="n-1", algorithm=%b, qop="auth,auth-int", opaque="o"'
BOTH = [b'Proxy-Authenticate: Digest realm="carrier", nonce="x", algorithm=AKAv1-MD5', CHALLENGE % b"SHA-256"]
ROUTES = (Route("out", ("",), ("carrier", "other")),)


@pytest.fixture(scope="module")
def carrier() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def other() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def asking(node: Node, carrier: Endpoint, other: Endpoint) -> Iterator[Node]:
    """A node whose first gateway is the carrier's."""
    directory = node.stack.settings.secrets
    directory.mkdir(exist_ok=True)
    (directory / SECRET).touch(mode=0o600)
    (directory / SECRET).write_text(f"{PASSWORD}\n")
    apply(node, carrier, other, Auth(USER, SECRET))
    return node


def apply(node: Node, carrier: Endpoint, other: Endpoint, auth: Auth | None) -> None:
    first, second = (
        Gateway(name, endpoint.address, endpoint.port, no_reply=15.0, progress=15.0)
        for name, endpoint in (("carrier", carrier), ("other", other))
    )
    node.apply(ROUTES, [replace(first, auth=auth), second])


def begin(node: Node, caller: Endpoint) -> bytes:
    invite = caller.invite(uri=b"sip:02079460000@127.0.0.1")
    caller.send(invite, node.sip)
    return invite


def refuse(gateway: Endpoint, caller: Endpoint, line: bytes, headers: list[bytes]) -> tuple[bytes, bytes]:
    """The next INVITE, refused, and the ACK to that."""
    request = gateway.refuse_next(line, headers, to=caller)
    return request, gateway.receive(b"ACK")


def cseq(message: bytes) -> bytes:
    return header(message, b"CSeq")


def is_right(invite: bytes, name: bytes, algorithm: str, ha1: str = "") -> bool:
    """Whether the credentials of an INVITE were made with the password, as RFC 7616 section 3.4.1 has it."""
    text = header(invite, name).decode()
    told = {key: quoted or bare for key, quoted, bare in re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', text)}

    def hashed(value: str) -> str:
        return hashlib.new(FUNCTIONS[algorithm], value.encode()).hexdigest()

    uri = invite.split(b" ", 2)[1].decode()
    ha1 = ha1 or hashed(f"{USER}:carrier:{PASSWORD}")
    middle = f"{told['nc']}:{told['cnonce']}:{told['qop']}"
    method = invite.split(b" ", 1)[0].decode()
    wanted = hashed(f"{ha1}:n-1:{middle}:{hashed(f'{method}:{uri}')}")
    known = (told["username"], told["realm"], told["nonce"], told["uri"], told["opaque"], told["qop"])
    return known == (USER, "carrier", "n-1", uri, "o", "auth") and told["response"] == wanted


def test_a_gateway_is_told_who_calls_and_the_caller_notices_nothing(
    asking: Node, carrier: Endpoint
) -> None:  # fmt: skip
    node = asking
    with Endpoint() as caller:
        invite = begin(node, caller)
        first, ack = refuse(carrier, caller, b"407 Proxy Authentication Required", BOTH)
        assert (cseq(first), cseq(ack)) == (b"1 INVITE", b"1 ACK")
        assert not header(first, b"Proxy-Authorization")
        second, kamailio = carrier.next_invite(caller)
        assert is_right(second, b"Proxy-Authorization", "SHA-256")
        assert cseq(second) == b"2 INVITE"
        assert second.split(b"\r\n", 1)[0] == first.split(b"\r\n", 1)[0]
        carrier.send(reply(second, b"180 Ringing", carrier, tag=b"c"), kamailio)
        assert cseq(caller.receive(b"SIP/2.0 180")) == b"1 INVITE"
        carrier.send(reply(second, b"200 OK", carrier, tag=b"c"), kamailio)
        established = caller.receive(b"SIP/2.0 200")
        assert cseq(established) == b"1 INVITE"
        caller.send(from_caller(b"ACK", 1, caller, established), node.sip)
        assert cseq(carrier.receive(b"ACK")) == b"2 ACK"
        # What follows in the dialog is counted on, and back.
        for number, method in ((2, b"INFO"), (3, b"BYE")):
            caller.send(from_caller(method, number, caller, established), node.sip)
            request = carrier.receive(method)
            assert cseq(request) == b"%d %b" % (number + 1, method)
            carrier.send(reply(request, b"200 OK", carrier), node.sip)
            assert cseq(caller.receive(b"SIP/2.0 200")) == b"%d %b" % (number, method)
    record = node.record(header(invite, b"Call-ID").decode())
    assert [(attempt.gateway, attempt.status) for attempt in record.attempts] == [("carrier", 200)]
    assert node.live().health("carrier") is None


def test_progress_that_is_acknowledged_is_counted_on_as_well(asking: Node, carrier: Endpoint) -> None:
    """RFC 3262 section 7.2: RAck has the number of the INVITE, which is another one for the gateway."""
    with Endpoint() as caller:
        begin(asking, caller)
        refuse(carrier, caller, b"407 Proxy Authentication Required", BOTH)
        second, kamailio = carrier.next_invite(caller)
        reliable = reply(second, b"183 Session Progress", carrier, tag=b"c", more=[b"Require: 100rel", b"RSeq: 7001"])
        carrier.send(reliable, kamailio)
        progress = caller.receive(b"SIP/2.0 183")
        caller.send(from_caller(b"PRACK", 2, caller, progress, more=[b"RAck:  7001  1 INVITE"]), asking.sip)
        prack = carrier.receive(b"PRACK")
        assert (cseq(prack), header(prack, b"RAck").split()) == (b"3 PRACK", [b"7001", b"2", b"INVITE"])
        carrier.send(reply(prack, b"200 OK", carrier), kamailio)
        assert cseq(caller.receive(b"SIP/2.0 200")) == b"2 PRACK"
        carrier.send(reply(second, b"486 Busy Here", carrier, tag=b"c"), kamailio)
        assert status(caller.receive(b"SIP/2.0 4")) == 486


@pytest.mark.parametrize("algorithm", ["SHA-256", "MD5"])
def test_a_stored_hash_is_for_its_own_algorithm(
    asking: Node, carrier: Endpoint, other: Endpoint, algorithm: str
) -> None:
    ha1 = hashlib.new(FUNCTIONS[algorithm], f"{USER}:carrier:{PASSWORD}".encode()).hexdigest()
    path = asking.stack.settings.secrets / f"ha1-{algorithm.lower()}"
    path.touch(mode=0o600)
    path.write_text(ha1)
    apply(asking, carrier, other, Auth(USER, path.name, hashed=True, realm="carrier"))
    with Endpoint() as caller:
        begin(asking, caller)
        asked = [CHALLENGE % b"SHA-256", CHALLENGE % b"MD5"]
        challenge = [line.replace(b"Proxy-Authenticate", b"WWW-Authenticate") for line in asked]
        refuse(carrier, caller, b"401 Unauthorized", challenge)
        second, _ = refuse(carrier, caller, b"486 Busy Here", [])
        assert is_right(second, b"Authorization", algorithm, ha1)
        assert status(caller.receive(b"SIP/2.0 4")) == 486


def test_a_wrong_password_is_told_once_and_the_next_gateway_is_tried(
    asking: Node, carrier: Endpoint, other: Endpoint
) -> None:
    with Endpoint() as caller:
        invite = begin(asking, caller)
        for _ in range(2):
            refuse(carrier, caller, b"407 Proxy Authentication Required", BOTH)
        third, ack = refuse(other, caller, b"486 Busy Here", [])
        # Nobody else gets the answer; that it is counted on does no harm there.
        assert not header(third, b"Proxy-Authorization")
        assert (cseq(third), cseq(ack)) == (b"2 INVITE", b"2 ACK")
        final = caller.receive(b"SIP/2.0 4")
        assert (status(final), cseq(final)) == (486, b"1 INVITE")
    record = asking.record(header(invite, b"Call-ID").decode())
    why = f"it does not believe that we are {USER}: user or secret {SECRET} is wrong"
    assert [(one.gateway, one.status, one.cause, one.why) for one in record.attempts] == [
        ("carrier", 407, "gateway-policy", why), ("other", 486, "final", "by the table of causes"),
    ]  # fmt: skip
    assert ("auth", "carrier", why) in record.steps
    spool = "".join(path.read_text() for path in asking.stack.settings.spool.glob("*.jsonl"))
    assert "pass" not in spool.replace("passed", "").replace("passes", "")


@pytest.mark.parametrize(
    ("auth", "challenges", "why"),
    [
        (Auth(USER, "not-there"), BOTH, "not-there: No such file or directory"),
        (Auth(USER, SECRET, realm="else"), BOTH, "it asks for realm 'carrier', and ours is 'else'"),
        (Auth(USER, SECRET), BOTH[:1], "it asks for AKAv1-MD5, which is not known"),
        (Auth(USER, SECRET), [b"Proxy-Authenticate: Basic realm=x"], "it asks who calls, but not by digest"),
    ],
)
def test_what_cannot_be_answered_is_a_failure_with_its_reason(
    asking: Node, carrier: Endpoint, other: Endpoint, auth: Auth, challenges: list[bytes], why: str
) -> None:
    apply(asking, carrier, other, auth)
    with Endpoint() as caller:
        invite = begin(asking, caller)
        refuse(carrier, caller, b"407 Proxy Authentication Required", challenges)
        refuse(other, caller, b"486 Busy Here", [])
        assert status(caller.receive(b"SIP/2.0 4")) == 486
    record = asking.record(header(invite, b"Call-ID").decode())
    assert record.attempts[0].why.endswith(why)


def test_a_cancelled_call_is_not_called_again(asking: Node, carrier: Endpoint) -> None:
    with Endpoint() as caller:
        invite = begin(asking, caller)
        refuse(carrier, caller, b"407 Proxy Authentication Required", BOTH)
        second, kamailio = carrier.next_invite(caller)
        carrier.send(reply_to(second, b"100 Trying"), kamailio)
        caller.send(cancel(invite), asking.sip)
        cancelled = carrier.receive(b"CANCEL")
        # RFC 3261 section 9.1: the number of the request that it cancels.
        assert cseq(cancelled) == b"2 CANCEL"
        carrier.send(reply_to(cancelled, b"200 OK"), kamailio)
        carrier.send(reply_to(second, b"487 Request Terminated"), kamailio)
        final = caller.receive(b"SIP/2.0 487")
        assert cseq(final) == b"1 INVITE"
        caller.send(acknowledge(invite, final), asking.sip)


def established(node: Node, carrier: Endpoint, caller: Endpoint) -> bytes:
    """A call that the carrier has answered, having asked who calls; the 200 as the caller has it."""
    begin(node, caller)
    refuse(carrier, caller, b"407 Proxy Authentication Required", BOTH)
    second, kamailio = carrier.next_invite(caller)
    carrier.send(reply(second, b"200 OK", carrier, tag=b"c"), kamailio)
    answer = caller.receive(b"SIP/2.0 200")
    caller.send(from_caller(b"ACK", 1, caller, answer), node.sip)
    assert cseq(carrier.receive(b"ACK")) == b"2 ACK"
    return answer


def counted(carrier: Endpoint, method: bytes, number: int) -> bytes:
    """The next request of this CSeq; those before it may have been sent again."""
    while cseq(request := carrier.receive(method)) != b"%d %b" % (number, method):
        pass
    return request


def test_a_gateway_that_asks_again_within_the_call_is_told_again(asking: Node, carrier: Endpoint) -> None:
    node = asking
    with Endpoint() as caller:
        answer = established(node, carrier, caller)
        challenge = CHALLENGE.replace(b"Proxy-Authenticate", b"WWW-Authenticate") % b"MD5"
        for number, method in ((2, b"INVITE"), (3, b"INFO"), (4, b"BYE")):
            caller.send(from_caller(method, number, caller, answer), node.sip)
            first = counted(carrier, method, 2 * number - 1)
            carrier.send(reply(first, b"401 Unauthorized", carrier, more=[challenge]), node.sip)
            if method == b"INVITE":
                counted(carrier, b"ACK", 3)
            second = counted(carrier, method, 2 * number)
            assert is_right(second, b"Authorization", "MD5")
            assert second.split(b"\r\n", 1)[0] == first.split(b"\r\n", 1)[0]
            carrier.send(reply(second, b"200 OK", carrier), node.sip)
            assert cseq(caller.receive(b"SIP/2.0 200")) == b"%d %b" % (number, method)
            if method == b"INVITE":
                caller.send(from_caller(b"ACK", number, caller, answer), node.sip)
                counted(carrier, b"ACK", 4)


def test_what_is_not_believed_or_cannot_be_answered_within_the_call_goes_to_the_caller(
    asking: Node, carrier: Endpoint
) -> None:
    node = asking
    with Endpoint() as caller:
        answer = established(node, carrier, caller)
        caller.send(from_caller(b"INFO", 2, caller, answer), node.sip)
        for number in (3, 4):
            request = counted(carrier, b"INFO", number)
            carrier.send(reply(request, b"407 Proxy Authentication Required", carrier, more=BOTH), node.sip)
        assert cseq(caller.receive(b"SIP/2.0 407")) == b"2 INFO"
        (node.stack.settings.secrets / SECRET).unlink()
        caller.send(from_caller(b"BYE", 3, caller, answer), node.sip)
        request = counted(carrier, b"BYE", 5)
        carrier.send(reply(request, b"407 Proxy Authentication Required", carrier, more=BOTH), node.sip)
        assert cseq(caller.receive(b"SIP/2.0 407")) == b"3 BYE"


def test_a_call_is_counted_on_after_a_restart(asking: Node, carrier: Endpoint) -> None:
    node = asking
    with Endpoint() as caller:
        answer = established(node, carrier, caller)
        node.stack.processes["kamailio"].stop()
        node.stack.start_kamailio()
        for number, method in ((2, b"INFO"), (3, b"BYE")):
            caller.send(from_caller(method, number, caller, answer), node.sip)
            carrier.send(reply(counted(carrier, method, number + 1), b"200 OK", carrier), node.sip)
            assert cseq(caller.receive(b"SIP/2.0 200")) == b"%d %b" % (number, method)


def test_a_call_that_changes_its_transport_is_counted_on(asking: Node, carrier: Endpoint) -> None:
    """Two Record-Routes (RFC 5658), of which each side meets the one or the other first."""
    node = asking
    with ThreadPoolExecutor(1) as callers:
        call = callers.submit(node.call, ANSWER.name, "1001", "02079460000", transport="t1", explained=False)
        request, kamailio = carrier.next_invite()
        carrier.send(reply_to(request, b"407 Proxy Authentication Required", BOTH), kamailio)
        while cseq(request) != b"2 INVITE":
            request, kamailio = carrier.next_invite()
        assert len(headers(request, b"Record-Route")) == 2
        carrier.send(reply(request, b"200 OK", carrier, tag=b"c"), kamailio)
        counted(carrier, b"ACK", 2)
        carrier.send(reply(counted(carrier, b"BYE", 3), b"200 OK", carrier), node.sip)
        call.result()
