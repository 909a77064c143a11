"""Who a call shows as its caller, on the wire: by trunk, gateway and wish; a number that is withheld is nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from harness.dialog import from_callee, from_caller, header, headers, reply
from harness.node import GB, Node
from harness.raw import Endpoint, acknowledge, cancel, method_of, reply_to, status

from model.identity import Presentation, TrunkIdentity
from model.policy import Emergency, Gateway, Policy, Route, Trunk

TRUSTED, UNTRUSTED, REMOTE, STRICT = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
NUMBER = "+442079460123"
# Any spelling of the number, and what else of these tests says who calls.
NAMES = re.compile(rb"2079460123|Alice|alice", re.IGNORECASE)
SDP = (
    b"v=0\r\no=02079460123 1 1 IN IP4 127.0.0.1\r\ns=Alice calls\r\ni=from 020 7946 0123\r\nc=IN IP4 127.0.0.1\r\n"
    b"t=0 0\r\nm=audio 4000 RTP/AVP 0\r\na=x-from:+442079460123\r\na=sendrecv\r\n"
)
LADEN = (
    b"P-Asserted-Identity: \"Alice\" <sip:+442079460123@pbx.example>",
    b"P-Asserted-Identity: <tel:+442079460123>",
    b"P-Preferred-Identity: <sip:02079460123@pbx.example>",
    b"Remote-Party-ID: \"Alice\" <sip:02079460123@pbx.example>;party=calling;privacy=off",
    b"User-Agent: Alice's phone",
    b"Subject: Alice calls",
    b"Organization: Alice Ltd",
    b"Reply-To: <sip:alice@pbx.example>",
    b"Call-Info: <http://pbx.example/alice.png>;purpose=icon",
    b"In-Reply-To: 2079460123@pbx.example",
    b"Identity: eyJvcmlnIjp7InRuIjoiNDQyMDc5NDYwMTIzIn19;info=<https://cert.example>",
    b"Geolocation: <sips:alice@lis.example>",
    b"Referred-By: <sip:+442079460123@pbx.example>",
    b"X-Account: 442079460123",
    b"Allow: INVITE, ACK, BYE, CANCEL",
    b"Supported: timer",
    b"Content-Type: application/sdp",
)


@dataclass(slots=True)
class Site:
    node: Node
    gateways: dict[str, Endpoint]
    _numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def invite(
        self, caller: Endpoint, callee: str, *, sender: bytes = b'"Alice" <sip:+442079460123@pbx.example>',
        more: Sequence[bytes] = LADEN, body: bytes = SDP, call_id: bytes = b"",
    ) -> bytes:  # fmt: skip
        number = next(self._numbers)
        host, port = caller.address.encode(), caller.port
        lines = (
            b"INVITE sip:%b@%b:%d SIP/2.0" % (callee.encode(), self.node.sip[0].encode(), self.node.sip[1]),
            b"Via: SIP/2.0/UDP %b:%d;branch=z9hG4bK-id-%d-%d" % (host, port, port, number),
            b"From: " + sender + b";tag=caller%d" % number,
            b"To: <sip:%b@strowger.example>" % callee.encode(),
            b"Call-ID: " + (call_id or b"identity-%d-%d" % (port, number)),
            b"CSeq: 1 INVITE",
            b'Contact: "Alice" <sip:+442079460123@%b:%d;x-own=yes>;+sip.instance="alice"' % (host, port),
            b"Max-Forwards: 70",
            *more,
            b"Content-Length: %d" % len(body),
        )
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def place(self, caller: Endpoint, callee: str, gateway: str, **options: object) -> tuple[bytes, bytes]:
        """The INVITE as sent, and as the gateway got it."""
        sent = self.invite(caller, callee, **options)  # type: ignore[arg-type]
        caller.send(sent, self.node.sip)
        got, _ = self.gateways[gateway].next_invite(caller)
        return sent, got

    def refused_by(self, gateway: str, invite: bytes, line: bytes = b"486 Busy Here") -> None:
        self.gateways[gateway].send(reply_to(invite, line), self.node.sip)


RULES = {
    "plain": None,
    "trusted": Presentation(privacy="pass", headers=("pai", "rpid"), diversion=("diversion", "history-info")),
    "careful": Presentation(diversion=("diversion", "history-info"), connected=False),
    "national": Presentation(headers=("ppi",), number="national", domain="sip.ours.example", dialling=GB),
    "digits": Presentation(headers=("rpid",), number="e164_without_plus", domain="gateway"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    node = Node.create(tmp_path_factory.mktemp("identity"), name="identity", workers=2)
    gateways = {name: Endpoint() for name in (*RULES, "help")}
    try:
        node.stack.start()
        patient = {"no_reply": 15.0, "progress": 15.0, "breaker": None}
        known = {
            name: Gateway(name, "127.0.0.1", one.port, identity=RULES.get(name, RULES["careful"]), **patient)  # type: ignore[arg-type]
            for name, one in gateways.items()
        }
        node.put_in_force(
            Policy(
                trunks=(
                    Trunk("trusted", (f"{TRUSTED}/32",), GB, trust_identity=True),
                    Trunk("untrusted", (f"{UNTRUSTED}/32",), GB),
                    Trunk(
                        "remote", (f"{REMOTE}/32",), GB, trust_identity=True,
                        identity=TrunkIdentity(believe=("rpid", "pai"), numbers=("+4420",), default="+442079460000"),
                    ),
                    Trunk("strict", (f"{STRICT}/32",), GB, identity=TrunkIdentity(numbers=("+44161",))),
                ),
                gateways=known,
                dialling=GB,
                emergency=Emergency(("112",), ("help",)),
            ),
            (
                *(Route(name, (f"+44{place}",), (name,)) for place, name in enumerate(RULES, 1)),
                Route("both", ("+449",), ("careful", "trusted", "plain")),
            ),
        )
        yield Site(node, gateways)
    finally:
        node.close()
        for one in gateways.values():
            one.socket.close()


def number_for(gateway: str) -> str:
    return f"+44{list(RULES).index(gateway) + 1}0000000"


PRIVATE = [
    (b'"Alice" <sip:+442079460123@pbx.example>', b"Privacy: id"),
    (b'"Alice" <sip:02079460123@pbx.example>', b"Privacy: user;id"),
    (b'"Alice" <sip:+442079460123@pbx.example;user=phone>', b"Privacy: header;user;session"),
    (b'"Anonymous" <sip:anonymous@anonymous.invalid>', b"Privacy: id;critical"),
    (b'"Anonymous" <sip:anonymous@anonymous.invalid>', b"X-Nothing: here"),
]


@pytest.mark.parametrize("source", [TRUSTED, UNTRUSTED])
@pytest.mark.parametrize(("sender", "privacy"), PRIVATE, ids=[f"{p.decode()}-{s[1:6].decode()}" for s, p in PRIVATE])
def test_what_is_withheld_is_nowhere(site: Site, sender: bytes, privacy: bytes, source: str) -> None:
    """INVITE, CANCEL and ACK of a gateway that is not trusted name nobody, header by header and in the body."""
    with Endpoint(source) as caller:
        sent, got = site.place(caller, number_for("careful"), "careful", sender=sender, more=(*LADEN, privacy))
        assert not NAMES.search(got), got
        assert header(got, b"From").startswith(b'"Anonymous" <sip:anonymous@anonymous.invalid>;tag=caller')
        assert header(got, b"Contact") == b"<sip:anonymous@%b:%d>" % (source.encode(), caller.port)
        body = got.partition(b"\r\n\r\n")[2]
        assert b"m=audio 4000 RTP/AVP 0\r\na=sendrecv\r\n" in body
        assert header(got, b"Content-Length") == b"%d" % len(body)
        assert (header(got, b"Allow"), header(got, b"Supported")) == (b"INVITE, ACK, BYE, CANCEL", b"timer")
        gateway = site.gateways["careful"]
        gateway.send(reply(got, b"180 Ringing", gateway, tag=b"g"), site.node.sip)
        ringing = caller.receive(b"SIP/2.0 180")
        assert header(ringing, b"From") == header(sent, b"From")
        caller.send(cancel(sent), site.node.sip)
        cancelled = gateway.receive(b"CANCEL")
        assert not NAMES.search(cancelled), cancelled
        gateway.send(reply_to(cancelled, b"200 OK"), site.node.sip)
        gateway.send(reply(got, b"487 Request Terminated", gateway, tag=b"g"), site.node.sip)
        acknowledged = gateway.receive(b"ACK")
        assert not NAMES.search(acknowledged), acknowledged
        while status(final := caller.receive(b"SIP/2.0")) < 300:
            pass
        assert (status(final), header(final, b"From")) == (487, header(sent, b"From"))
        caller.send(acknowledge(sent, final), site.node.sip)


def test_a_whole_call_withheld(site: Site) -> None:
    """Both sides go on in the dialog as each knows it, and nothing of the caller gets through."""
    gateway = site.gateways["careful"]
    with Endpoint(TRUSTED) as caller:
        sent, got = site.place(caller, number_for("careful"), "careful", more=(*LADEN, b"Privacy: id"))
        mine = (b"P-Asserted-Identity: <sip:+441619460999@far.example>", b"Remote-Party-ID: <sip:callee@far.example>")
        gateway.send(reply(got, b"200 OK", gateway, tag=b"g", more=mine), site.node.sip)
        answered = caller.receive(b"SIP/2.0 200")
        assert header(answered, b"From") == header(sent, b"From")
        # The gateway's rule: the caller is not told who has answered.
        assert not headers(answered, b"P-Asserted-Identity") and not headers(answered, b"Remote-Party-ID")
        named = b'Contact: "Alice" <sip:+442079460123@%b:%d;x-own=yes>' % (TRUSTED.encode(), caller.port)

        def of_caller(method: bytes, number: int, **more: object) -> bytes:
            request = from_caller(method, number, caller, answered, **more)  # type: ignore[arg-type]
            request = re.sub(rb"Contact: [^\r]*", named, request)
            caller.send(request, site.node.sip)
            seen = gateway.receive(method)
            assert not NAMES.search(seen), seen
            assert header(seen, b"From") == header(got, b"From")
            return seen

        of_caller(b"ACK", 1)
        again = of_caller(b"INVITE", 2, more=LADEN, body=SDP)
        assert header(again, b"Contact") == b"<sip:anonymous@%b:%d>" % (TRUSTED.encode(), caller.port)
        gateway.send(reply(again, b"200 OK", gateway), site.node.sip)
        second = caller.receive(b"SIP/2.0 200")
        assert header(second, b"From") == header(sent, b"From")
        of_caller(b"ACK", 2)

        request = from_callee(b"INVITE", 1, gateway, got, reply(got, b"200 OK", gateway, tag=b"g"))
        gateway.send(request, site.node.sip)
        arrived = caller.receive(b"INVITE")
        assert header(arrived, b"To") == header(sent, b"From")
        assert arrived.startswith(b"INVITE sip:+442079460123@%b:%d;x-own=yes SIP" % (TRUSTED.encode(), caller.port))
        own = reply(arrived, b"200 OK", caller, more=LADEN, body=SDP)
        caller.send(re.sub(rb"Contact: [^\r]*", named, own), site.node.sip)
        taken = gateway.receive(b"SIP/2.0 200")
        assert not NAMES.search(taken), taken
        assert header(taken, b"To") == header(got, b"From")
        gateway.send(from_callee(b"ACK", 1, gateway, got, reply(got, b"200 OK", gateway, tag=b"g")), site.node.sip)
        caller.receive(b"ACK")
        bye = of_caller(b"BYE", 3)
        gateway.send(reply_to(bye, b"200 OK"), site.node.sip)
        assert method_of(caller.receive(b"SIP/2.0 200")) == b"BYE"
