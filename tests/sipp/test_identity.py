"""Who a call shows as its caller, on the wire: by trunk, gateway and wish; a number that is withheld is nowhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from harness.dialog import from_callee, from_caller, header, headers, reply
from harness.digest_phone import DigestPhone
from harness.node import GB, Node
from harness.raw import Endpoint, acknowledge, cancel, method_of, reply_to, status
from harness.rtpengine import Rtpengine

from model.identity import Presentation, TrunkIdentity
from model.policy import Emergency, Gateway, Policy, Route, Subscribers, Trunk
from model.side import Side
from model.subscriber import Forwards, Subscriber, hashes

TRUSTED, UNTRUSTED, REMOTE, STRICT = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
NATED, RELAYED = "127.0.0.6", "127.0.0.7"
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
        contact: bytes = b'"Alice" <sip:+442079460123@%b:%d;x-own=yes>;+sip.instance="alice"',
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
            b"Contact: " + contact % (host, port),
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


REALM = "phones.example"


def subscriber(name: str, **more: object) -> Subscriber:
    return Subscriber(name=name, realm=REALM, ha1=hashes(name, REALM, f"secret-of-{name}"), **more)  # type: ignore[arg-type]


SUBSCRIBERS = (
    subscriber("1001", forwards=Forwards(always="1002")),
    subscriber("1002", forwards=Forwards(always="1003")),
    subscriber("1003", forwards=Forwards(always="+443000000003")),
    subscriber("1004", forwards=Forwards(busy="+443000000004")),
    subscriber("1005", forwards=Forwards(always="+443000000005"), withhold=True),
    subscriber("1006", forwards=Forwards(always="+442000000006"), withhold=True, numbers=("+442079460123",)),
    subscriber("1007", reject_anonymous=True),
    subscriber("1008", numbers=("+442079460123",)),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    relay = Rtpengine(tmp_path_factory.mktemp("relay"))
    more = {"STROWGER_RTPENGINE": relay.address}
    node = Node.create(tmp_path_factory.mktemp("identity"), name="identity", workers=2, **more)
    gateways = {name: Endpoint() for name in (*RULES, "help")}
    try:
        relay.__enter__()
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
                    Trunk("nated", (f"{NATED}/32",), GB, side=Side("yes")),
                    Trunk("relayed", (f"{RELAYED}/32",), GB, side=Side(relay="always")),
                    Trunk("strict", (f"{STRICT}/32",), GB, identity=TrunkIdentity(numbers=("+44161",))),
                ),
                gateways=known,
                dialling=GB,
                emergency=Emergency(("112",), ("help",)),
                subscribers=Subscribers(REALM, GB),
            ),
            (
                Route("phones", ("10",), subscribers=True, ring=5.0),
                *(Route(name, (f"+44{place}",), (name,)) for place, name in enumerate(RULES, 1)),
                Route("both", ("+449",), ("careful", "trusted", "plain")),
            ),
        )
        for one in SUBSCRIBERS:
            node.confirmed(node.store.put_subscriber(one, None))
        yield Site(node, gateways)
    finally:
        node.close()
        relay.__exit__(None, None, None)
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
        assert not headers(answered, b"P-Asserted-Identity")
        assert not headers(answered, b"Remote-Party-ID")
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


@pytest.mark.parametrize("mark", [b"2079460123@pbx.example", b"0044-207-946-0123@pbx.example"])
def test_a_number_in_the_call_id_cannot_be_withheld_and_no_gateway_is_told(site: Site, mark: bytes) -> None:
    with Endpoint(TRUSTED) as caller:
        sent = site.invite(caller, number_for("careful"), more=(b"Privacy: id",), body=b"", call_id=mark)
        caller.send(sent, site.node.sip)
        final = caller.final_reply(sent, site.node.sip)
        assert (status(final), b"not-withheld" in header(final, b"Reason")) == (500, True)
        # A gateway that is trusted with the number may have the call.
        caller.send(site.invite(caller, "+44900000000", more=(b"Privacy: id",), body=b"", call_id=mark), site.node.sip)
        got, _ = site.gateways["trusted"].next_invite(caller)
        assert header(got, b"P-Asserted-Identity")
        site.refused_by("trusted", got)


# Trunk, From and headers that came; gateway; From, P-Asserted-Identity, P-Preferred-Identity, Remote-Party-ID, Privacy.
ALICE = b'"Alice" <sip:+442079460123@pbx.example>'
PAI = b"P-Asserted-Identity: <sip:+442079460111@pbx.example>"
RPID = b"Remote-Party-ID: <sip:02079460222@pbx.example>;party=calling;privacy=off"
SHOWN = {
    "all as it came, where nobody has a rule": (
        TRUSTED, ALICE, (PAI, RPID), "plain",
        (ALICE, b"<sip:+442079460111@pbx.example>", b"", RPID[17:], b""),
    ),
    "what an untrusted peer asserts goes nowhere": (UNTRUSTED, ALICE, (PAI,), "plain", (ALICE, b"", b"", b"", b"")),
    "nor to a trusted gateway": (
        UNTRUSTED, ALICE, (PAI,), "trusted",
        (ALICE, b'"Alice" <sip:+442079460123@pbx.example>', b"",
         b'"Alice" <sip:+442079460123@pbx.example>;party=calling;screen=yes;privacy=off', b""),
    ),
    "a trusted peer's word is passed on": (
        TRUSTED, ALICE, (PAI,), "careful", (ALICE, b'"Alice" <sip:+442079460111@pbx.example>', b"", b"", b""),
    ),
    "a wish is passed on with the number": (
        TRUSTED, ALICE, (PAI, b"Privacy: id"), "trusted",
        (b'"Anonymous" <sip:anonymous@anonymous.invalid>', b"<sip:+442079460111@pbx.example>", b"",
         b"<sip:+442079460111@pbx.example>;party=calling;screen=yes;privacy=full", b"id"),
    ),
    "one who says it by From only": (
        TRUSTED, b"<sip:anonymous@anonymous.invalid>", (PAI,), "trusted",
        (b'"Anonymous" <sip:anonymous@anonymous.invalid>', b"<sip:+442079460111@pbx.example>", b"",
         b"<sip:+442079460111@pbx.example>;party=calling;screen=yes;privacy=full", b"id"),
    ),
    "national numbers at our domain": (
        TRUSTED, ALICE, (PAI,), "national",
        (b'"Alice" <sip:02079460123@sip.ours.example>', b"", b'"Alice" <sip:02079460111@sip.ours.example>', b"", b""),
    ),
    "digits at the gateway's": (
        TRUSTED, ALICE, (), "digits",
        (b'"Alice" <sip:442079460123@127.0.0.1>', b"", b"",
         b'"Alice" <sip:442079460123@127.0.0.1>;party=calling;screen=yes;privacy=off', b""),
    ),
    "another number than the trunk may show": (
        REMOTE, b'"Mallory" <sip:+13125550100@pbx.example>', (PAI,), "careful",
        (b'"Mallory" <sip:+442079460000@pbx.example>', b'"Mallory" <sip:+442079460000@pbx.example>', b"", b"", b""),
    ),
    "Remote-Party-ID where it is believed": (
        REMOTE, ALICE, (PAI, RPID), "careful",
        (ALICE, b'"Alice" <sip:+442079460222@pbx.example>', b"", b"", b""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SHOWN)
def test_each_gateway_is_told_by_its_rule(site: Site, case: str) -> None:
    source, sender, more, gateway, wanted = SHOWN[case]
    with Endpoint(source) as caller:
        _, got = site.place(caller, number_for(gateway), gateway, sender=sender, more=more, body=b"")
        site.refused_by(gateway, got)
        names = (b"P-Asserted-Identity", b"P-Preferred-Identity", b"Remote-Party-ID", b"Privacy")
        assert (header(got, b"From").partition(b";tag=")[0], *(header(got, name) for name in names)) == wanted


def test_a_trunk_that_may_not_show_a_number_is_refused(site: Site) -> None:
    with Endpoint(STRICT) as caller:
        sent = site.invite(caller, number_for("plain"), more=(), body=b"")
        caller.send(sent, site.node.sip)
        final = caller.final_reply(sent, site.node.sip)
        assert (status(final), b"not-your-number" in header(final, b"Reason")) == (403, True)


def test_each_attempt_begins_with_the_original(site: Site) -> None:
    """Withheld from the first, told to the second with the wish, and to the third as it came."""
    with Endpoint(TRUSTED) as caller:
        sent, first = site.place(caller, "+44900000000", "careful", more=(*LADEN, b"Privacy: id"))
        assert not NAMES.search(first)
        site.refused_by("careful", first, b"503 Full")
        second, _ = site.gateways["trusted"].next_invite(caller)
        assert header(second, b"P-Asserted-Identity") == b"<sip:+442079460123@pbx.example>"
        assert header(second, b"Subject") == b"Alice calls"
        assert second.partition(b"\r\n\r\n")[2] == SDP
        site.refused_by("trusted", second, b"503 Full")
        third, _ = site.gateways["plain"].next_invite(caller)
        for name in (b"From", b"Contact", b"P-Asserted-Identity", b"Privacy", b"Remote-Party-ID", b"Identity"):
            assert headers(third, name) == headers(sent, name), name
        assert b"shown=" not in third
        gateway = site.gateways["plain"]
        gateway.send(reply(third, b"200 OK", gateway, tag=b"g"), site.node.sip)
        answered = caller.receive(b"SIP/2.0 200")
        caller.send(from_caller(b"ACK", 1, caller, answered), site.node.sip)
        assert header(gateway.receive(b"ACK"), b"From") == header(sent, b"From")
        caller.send(from_caller(b"BYE", 2, caller, answered), site.node.sip)
        bye = gateway.receive(b"BYE")
        assert header(bye, b"From") == header(sent, b"From")
        gateway.send(reply_to(bye, b"200 OK"), site.node.sip)
        caller.receive(b"SIP/2.0 200")


def test_another_spelling_is_undone_within_the_dialog(site: Site) -> None:
    gateway = site.gateways["national"]
    with Endpoint(TRUSTED) as caller:
        contact = b"<sip:alice@%b:%d>"
        sent, got = site.place(caller, number_for("national"), "national", more=(), body=b"", contact=contact)
        established = reply(got, b"200 OK", gateway, tag=b"g")
        gateway.send(established, site.node.sip)
        answered = caller.receive(b"SIP/2.0 200")
        assert header(answered, b"From") == header(sent, b"From")
        caller.send(from_caller(b"ACK", 1, caller, answered), site.node.sip)
        assert header(gateway.receive(b"ACK"), b"From") == header(got, b"From")
        gateway.send(from_callee(b"BYE", 1, gateway, got, established), site.node.sip)
        bye = caller.receive(b"BYE")
        assert header(bye, b"To") == header(sent, b"From")
        caller.send(reply_to(bye, b"200 OK").replace(b";tag=gateway", b""), site.node.sip)
        over = gateway.receive(b"SIP/2.0 200")
        assert header(over, b"To") == header(got, b"From")


@pytest.mark.parametrize("source", [TRUSTED, UNTRUSTED])
def test_who_calls_for_help_is_told(site: Site, source: str) -> None:
    with Endpoint(source) as caller:
        sender, more = b"<sip:anonymous@anonymous.invalid>", (PAI, b"Privacy: id")
        _, got = site.place(caller, "112", "help", sender=sender, more=more, body=b"")
        site.refused_by("help", got, b"600 Busy Everywhere")
        if source == TRUSTED:
            assert header(got, b"From").startswith(b"<sip:+442079460111@")
            assert header(got, b"P-Asserted-Identity") == b"<sip:+442079460111@pbx.example>"
        assert NAMES.search(header(got, b"Contact"))


def diversions(message: bytes) -> list[tuple[bytes, bytes]]:
    found = (re.match(rb"<sip:([^@]*)@[^>]*>;reason=([^;]*)", value) for value in headers(message, b"Diversion"))
    return [(one[1], one[2]) for one in found if one is not None]


@pytest.mark.parametrize(
    ("first", "by"), [("1003", ["1003"]), ("1002", ["1003", "1002"]), ("1001", ["1003", "1002", "1001"])]
)
def test_forwards_are_told_newest_first_and_as_a_history(site: Site, first: str, by: list[str]) -> None:
    with Endpoint(TRUSTED) as caller:
        _, got = site.place(caller, first, "careful", more=(), body=b"")
        site.refused_by("careful", got)
        assert diversions(got) == [(name.encode(), b"unconditional") for name in by]
        history = headers(got, b"History-Info")
        assert [header.split(b";")[-1 if b"mp=" not in header else -2] for header in history] == [
            b"index=" + b".".join([b"1"] * place) for place in range(1, len(by) + 2)
        ]
        assert history[0].startswith(b"<sip:" + first.encode() + b"@strowger.example>")
        assert history[-1].startswith(b"<sip:+443000000003@strowger.example;cause=302>")
        assert history[-1].endswith(b";mp=" + b".".join([b"1"] * len(by)))


def test_what_a_trusted_peer_tells_of_diversions_is_kept_and_what_others_tell_is_not(site: Site) -> None:
    told = (
        b"Diversion: <sip:+442079460777@pbx.example>;reason=user-busy",
        b"History-Info: <sip:+442079460777@p>;index=1",
    )
    for source, kept in ((TRUSTED, 1), (UNTRUSTED, 0)):
        with Endpoint(source) as caller:
            _, got = site.place(caller, "1003", "careful", more=told, body=b"")
            site.refused_by("careful", got)
            assert diversions(got) == [(b"1003", b"unconditional"), (b"+442079460777", b"user-busy")][: 1 + kept]
            indices = [value.split(b"index=")[1].split(b";")[0] for value in headers(got, b"History-Info")]
            assert indices == ([b"1", b"1.1", b"1.1.1"] if kept else [b"1", b"1.1"])


def test_who_forwards_and_withholds_their_number_is_not_named(site: Site) -> None:
    with Endpoint(TRUSTED) as caller:
        _, got = site.place(caller, "1005", "careful", more=(), body=b"")
        site.refused_by("careful", got)
        assert header(got, b"Diversion").startswith(b"<sip:anonymous@anonymous.invalid>;reason=unconditional")
        assert headers(got, b"History-Info")[0] == b"<sip:anonymous@anonymous.invalid?Privacy=history>;index=1"
        assert b"<sip:1005" not in re.sub(rb"\r\nTo: [^\r]*", b"", got)


def test_a_busy_phone_forwards_and_phones_learn_nothing_that_is_withheld(site: Site) -> None:
    with DigestPhone(site.node.sip, "1004", "secret-of-1004", "MD5") as phone, Endpoint(TRUSTED) as caller:
        assert status(phone.register()) == 200
        sent = site.invite(caller, "1004", more=(*LADEN, b"Privacy: id"))
        caller.send(sent, site.node.sip)
        rings = phone.endpoint.receive(b"INVITE")
        assert not NAMES.search(rings), rings
        phone.endpoint.send(reply_to(rings, b"180 Ringing"), site.node.sip)
        # RFC 3261 section 20.20: one From, which is the caller's own.
        assert headers(caller.receive(b"SIP/2.0 180"), b"From") == headers(sent, b"From")
        phone.endpoint.send(reply_to(rings, b"486 Busy Here"), site.node.sip)
        got, _ = site.gateways["careful"].next_invite(caller)
        assert not NAMES.search(got), got
        assert diversions(got) == [(b"1004", b"user-busy")]
        assert b"?Reason=SIP%3Bcause%3D486>;index=1" in headers(got, b"History-Info")[0]
        site.refused_by("careful", got)
        caller.send(site.invite(caller, "1004", more=(PAI,), body=b""), site.node.sip)
        rings = phone.endpoint.receive(b"INVITE")
        assert header(rings, b"From").startswith(ALICE)
        assert not headers(rings, b"P-Asserted-Identity")
        phone.endpoint.send(reply_to(rings, b"603 Decline"), site.node.sip)
        phone.register(0)


def test_a_subscriber_may_refuse_callers_who_withhold_theirs(site: Site) -> None:
    with Endpoint(TRUSTED) as caller:
        sent = site.invite(caller, "1007", more=(b"Privacy: id",), body=b"")
        caller.send(sent, site.node.sip)
        final = caller.final_reply(sent, site.node.sip)
        assert (status(final), b"anonymous" in header(final, b"Reason")) == (433, True)


def test_a_subscriber_may_withhold_their_number_always(site: Site) -> None:
    """Even where the gateway has no rule: nobody has told it of a wish."""
    with DigestPhone(site.node.sip, "1006", "secret-of-1006", "MD5") as phone:
        request = phone.request("INVITE", number_for("plain"), sender="1006")
        challenge = phone.ask(request)
        assert status(challenge) == 407
        answer = phone.answer(challenge, "INVITE", number_for("plain"))
        phone.endpoint.send(phone.request("INVITE", number_for("plain"), sender="1006", more=[answer]), site.node.sip)
        got, _ = site.gateways["plain"].next_invite()
        assert header(got, b"From").startswith(b'"Anonymous" <sip:anonymous@anonymous.invalid>')
        assert b"1006" not in got.replace(b"%d" % phone.endpoint.port, b""), got
        site.refused_by("plain", got)


def test_a_caller_behind_nat_is_withheld_and_still_reached(site: Site) -> None:
    contact = b"<sip:+442079460123@10.99.99.9:5060>"
    gateway = site.gateways["careful"]
    with Endpoint(NATED) as caller:
        sent = site.invite(caller, "+44900000000", more=(b"Privacy: id",), body=b"")
        sent = re.sub(rb"Contact: [^\r]*", b"Contact: " + contact, sent)
        caller.send(sent, site.node.sip)
        got, _ = gateway.next_invite(caller)
        assert not NAMES.search(got), got
        assert header(got, b"Contact") == b"<sip:anonymous@10.99.99.9:5060>"
        gateway.send(reply(got, b"200 OK", gateway, tag=b"g"), site.node.sip)
        answered = caller.receive(b"SIP/2.0 200")
        again = re.sub(rb"Contact: [^\r]*", b"Contact: " + contact, from_caller(b"INVITE", 2, caller, answered))
        caller.send(from_caller(b"ACK", 1, caller, answered), site.node.sip)
        caller.send(again, site.node.sip)
        second = gateway.receive(b"INVITE")
        assert not NAMES.search(second), second
        assert header(second, b"Contact") == b"<sip:anonymous@10.99.99.9:5060>"
        gateway.send(reply(second, b"200 OK", gateway), site.node.sip)
        caller.receive(b"SIP/2.0 200")
        bye = from_callee(b"BYE", 1, gateway, got, reply(got, b"200 OK", gateway, tag=b"g"))
        gateway.send(bye, site.node.sip)
        arrived = caller.receive(b"BYE")
        assert arrived.startswith(b"BYE sip:+442079460123@10.99.99.9:5060 SIP/2.0")
        caller.send(reply_to(arrived, b"200 OK").replace(b";tag=gateway", b""), site.node.sip)
        gateway.receive(b"SIP/2.0 200")
        # The next attempt of such a call has the Contact that came.
        caller.send(sent.replace(b"identity-", b"another-").replace(b"z9hG4bK-", b"z9hG4bK-a"), site.node.sip)
        first, _ = gateway.next_invite(caller)
        site.refused_by("careful", first, b"503 Full")
        told, _ = site.gateways["trusted"].next_invite(caller)
        assert header(told, b"Contact") == contact
        site.refused_by("trusted", told, b"503 Full")
        plain, _ = site.gateways["plain"].next_invite(caller)
        assert header(plain, b"Contact") == header(told, b"Contact")
        site.refused_by("plain", plain)


def test_what_the_media_relay_makes_of_a_session_names_nobody(site: Site) -> None:
    with Endpoint(RELAYED) as caller:
        more = (b"Privacy: id", b"Content-Type: application/sdp")
        _, got = site.place(caller, number_for("careful"), "careful", more=more)
        assert not NAMES.search(got), got
        body = got.partition(b"\r\n\r\n")[2]
        assert body.count(b"v=0") == 1
        assert b"m=audio 4000 " not in body
        assert header(got, b"Content-Length") == b"%d" % len(body)
        site.refused_by("careful", got)


@pytest.mark.parametrize("source", [TRUSTED, RELAYED])
def test_a_body_that_may_name_the_caller_is_left_out(site: Site, source: str) -> None:
    with Endpoint(source) as caller:
        more = (b"Privacy: id", b"Content-Type: application/isup;version=itu-t92+", b"Content-Disposition: signal")
        _, got = site.place(caller, number_for("careful"), "careful", more=more, body=b"\x01\x10 2079460123")
        assert not NAMES.search(got), got
        assert (got.partition(b"\r\n\r\n")[2], header(got, b"Content-Length")) == (b"", b"0")
        assert not headers(got, b"Content-Type")
        site.refused_by("careful", got)


def test_of_several_bodies_the_session_description_is_left(site: Site) -> None:
    with Endpoint(TRUSTED) as caller:
        parts = (b"application/sdp\r\n\r\n" + SDP, b"application/isup\r\n\r\n\x01\xff\xfe 2079460123\r\n")
        body = b"".join(b"--b\r\nContent-Type: " + part for part in parts) + b"--b--\r\n"
        more = (b"Privacy: id", b"MIME-Version: 1.0", b"Content-Type: multipart/mixed;boundary=b")
        _, got = site.place(caller, number_for("careful"), "careful", more=more, body=body)
        assert not NAMES.search(got), got
        left = got.partition(b"\r\n\r\n")[2]
        assert left.startswith(b"v=0")
        assert headers(got, b"Content-Type") == [b"application/sdp"]
        assert header(got, b"Content-Length") == b"%d" % len(left)
        site.refused_by("careful", got)
