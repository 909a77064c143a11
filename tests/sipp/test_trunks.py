"""Trunks and gateways by name, and trunks that register, on the wire."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness.cli import Cli, fresh
from harness.dialog import header
from harness.dns_server import DnsServer
from harness.load import until
from harness.node import GB, Node
from harness.raw import Endpoint, reply_to, status

from model.policy import ANY, Auth, Gateway, Place, Policy, Registration, Route, Trunk
from state import names, registrations
from state.names import Answer, Question
from state.snapshot import shared_reader

OFFICE, CARRIER, SPARE = "127.0.0.1", "127.0.0.11", "127.0.0.12"
SECRET, PASSWORD = "reg-pw", "let us in"


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer({}, ttl=1) as server:
        yield server


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, dns: DnsServer) -> Iterator[Node]:
    """A node that asks the test for names."""
    directory = tmp_path_factory.mktemp("trunks")
    own = Node.create(directory, name="trunks", workers=2, STROWGER_DNS=str(dns.address))
    (directory / "secrets").mkdir()
    (directory / "secrets" / SECRET).touch(mode=0o600)
    (directory / "secrets" / SECRET).write_text(PASSWORD)
    try:
        own.stack.start()
        yield own
    finally:
        own.close()


def cli(node: Node, *arguments: str) -> Any:
    """What a command prints as JSON."""
    return Cli(fresh, node.stack.settings.to_env())(*arguments).data


def known(node: Node, question: Question) -> Answer:
    with shared_reader(node.stack.settings.snapshot).read() as get:
        return names.decode(get(names.NAMES)).get(str(question), Answer())


def knows(node: Node, question: Question, *addresses: str) -> None:
    """Wait until the node knows these addresses of a name."""
    until(
        lambda: [one.address for one in known(node, question).found] == list(addresses),
        f"{question} is not {addresses}: {known(node, question)}",
        20,
    )


def carriers(*places: Place, **options: Any) -> Policy:
    whole = {"no_reply": 0.5, "progress": 15.0, "breaker": None, **options}
    return Policy(
        trunks=(Trunk("office", (f"{OFFICE}/32",), GB), Trunk("partner", (), GB, names=("partner.example",))),
        gateways={"carrier": Gateway("carrier", "", 0, places=places, **whole)},
        dialling=GB,
    )


ROUTES = (Route("out", ("",), ("carrier",)),)


def call(node: Node, caller: Endpoint, callee: bytes = b"02079460000") -> bytes:
    invite = caller.invite(uri=b"sip:%b@127.0.0.1" % callee)
    caller.send(invite, node.sip)
    return invite


def test_calls_follow_the_dns(node: Node, dns: DnsServer) -> None:
    asked = Question("sbc.example", 0, "udp")
    with Endpoint(CARRIER) as first, Endpoint(SPARE) as second, Endpoint() as caller:
        service = ("_sip._udp.sbc.example", "SRV")
        dns.records = {
            service: [f"1 1 {first.port} a.sbc.example.", f"2 1 {second.port} b.sbc.example."],
            ("a.sbc.example", "A"): [CARRIER],
            ("b.sbc.example", "A"): [SPARE],
        }
        node.put_in_force(carriers(Place("sbc.example", 0)), ROUTES)
        knows(node, asked, CARRIER, SPARE)
        invite = call(node, caller)
        # The first says nothing.
        assert first.next_invite(caller)[0].startswith(b"INVITE sip:+442079460000@127.0.0.11:%d " % first.port)
        second.refuse_next(b"486 Busy Here", to=caller)
        assert status(caller.final_reply(invite, node.sip)) == 486
        record = node.record(header(invite, b"Call-ID").decode())
        assert [attempt.gateway for attempt in record.attempts] == [
            f"carrier/{CARRIER}:{first.port}", f"carrier/{SPARE}:{second.port}",
        ]  # fmt: skip
        assert any(step[:2] == ("address", f"carrier/{SPARE}:{second.port}") for step in record.steps)
        # Another answer counts for the next call,
        dns.records = {**dns.records, service: [f"1 1 {second.port} b.sbc.example."]}
        knows(node, asked, SPARE)
        invite = call(node, caller)
        second.refuse_next(b"486 Busy Here", to=caller)
        assert status(caller.final_reply(invite, node.sip)) == 486
        # and the last one while nobody answers.
        dns.away = True
        until(lambda: known(node, asked).trouble != "", "that DNS is away goes unnoticed", 20)
        # Not even a new version of the policy forgets it.
        node.put_in_force(carriers(Place("sbc.example", 0)), ROUTES)
        invite = call(node, caller)
        second.refuse_next(b"486 Busy Here", to=caller)
        assert status(caller.final_reply(invite, node.sip)) == 486
        listed = cli(node, "gateway", "list", "--json")
        assert [(row["name"], row["state"]) for row in listed] == [
            ("carrier", "up"), (f"carrier/{SPARE}:{second.port}", "up"),
        ]  # fmt: skip
        assert "DNS does not answer" in listed[0]["troubles"][0]
        assert "sbc.example, known since" in listed[1]["known"]
        dns.away = False
        until(lambda: known(node, asked).trouble == "", "that DNS is back goes unnoticed", 20)


def test_a_name_that_is_not_there_is_a_gateway_that_cannot_be_used(node: Node, dns: DnsServer) -> None:
    dns.records = {}
    node.put_in_force(carriers(Place("nobody.example", 5060)), ROUTES)
    question = Question("nobody.example", 5060, "udp")
    until(lambda: known(node, question).trouble == "no such name", "it is not found out", 20)
    with Endpoint() as caller:
        invite = call(node, caller)
        reply = caller.final_reply(invite, node.sip)
        assert (status(reply), b"gateways-down" in header(reply, b"Reason")) == (503, True)
    decided = node.records(header(invite, b"Call-ID").decode())[0]
    assert any(step[:2] == ["gateway", "carrier"] and "no such name" in step[2] for step in decided["steps"])


def test_a_trunk_by_name(node: Node, dns: DnsServer) -> None:
    with Endpoint(CARRIER) as gateway, Endpoint("127.0.0.21") as partner:
        dns.records = {("partner.example", "A"): ["127.0.0.21"]}
        node.put_in_force(carriers(Place(CARRIER, gateway.port), Place(SPARE, 5060)), ROUTES)
        knows(node, Question("partner.example", 0, ANY), "127.0.0.21")
        invite = partner.invite(uri=b"sip:02079460000@127.0.0.1")
        partner.send(invite.replace(b"UDP 127.0.0.1", b"UDP 127.0.0.21"), node.sip)
        request, kamailio = gateway.next_invite()
        gateway.send(reply_to(request, b"486 Busy Here"), kamailio)
        assert status(partner.final_reply(invite, node.sip)) == 486
    assert node.record(header(invite, b"Call-ID").decode()).trunk == "partner"


# Registration


def registered(registrar: Place, user: str = "account") -> Policy:
    told = Registration(registrar, user, Auth(user, SECRET), domain="carrier.example", expires=120, contact="inbound")
    policy = carriers(Place(SPARE, 5060))
    return Policy((Trunk("acme", (), GB, registration=told),), policy.gateways, GB)


def answer(registrar: Endpoint, node: Node, line: bytes, *headers: bytes) -> bytes:
    """The next REGISTER, answered."""
    request = registrar.receive(b"REGISTER")
    registrar.send(reply_to(request, line, headers), node.sip)
    return request


def accept(registrar: Endpoint, node: Node, expires: int = 120) -> bytes:
    request = registrar.receive(b"REGISTER")
    contact = header(request, b"Contact").partition(b">")[0] + b">"
    other = b"Contact: <sip:inbound@192.0.2.77:5060>;expires=9"
    kept = [other, b"Contact: %b;expires=%d" % (contact, expires)] if expires else []
    registrar.send(reply_to(request, b"200 OK", kept), node.sip)
    return request


def stands(node: Node, trunk: str = "acme") -> dict[str, Any]:
    return registrations.read(node.store).get(trunk, {})


def is_state(node: Node, state: str, reason: str = "") -> None:
    until(
        lambda: stands(node).get("state") == state and reason in stands(node)["reason"],
        f"it is not {state} {reason}: {stands(node)}",
        20,
    )


CHALLENGE = b'WWW-Authenticate: Digest realm="carrier", nonce="n-1", qop="auth", algorithm=MD5'


def test_a_trunk_registers_and_takes_calls_and_takes_itself_back(node: Node, dns: DnsServer) -> None:
    with Endpoint(CARRIER) as registrar, Endpoint(SPARE) as gateway:
        dns.records = {
            ("_sip._udp.reg.example", "SRV"): [f"1 1 {registrar.port} reg.example."],
            ("reg.example", "A"): [CARRIER],
        }
        policy = registered(Place("reg.example", 0))
        policy.gateways["carrier"] = Gateway("carrier", SPARE, gateway.port, breaker=None)
        node.put_in_force(policy, ROUTES)
        first = answer(registrar, node, b"401 Unauthorized", CHALLENGE)
        assert first.startswith(b"REGISTER sip:carrier.example SIP/2.0")
        assert header(first, b"To") == b"<sip:account@carrier.example>"
        assert re.fullmatch(rb"<sip:account@carrier\.example>;tag=reg-[0-9a-f]+", header(first, b"From"))
        second = accept(registrar, node)
        assert b'username="account"' in header(second, b"Authorization")
        assert PASSWORD.encode() not in second
        assert header(second, b"CSeq") == b"2 REGISTER"
        host, port = node.sip
        assert header(second, b"Contact") == b"<sip:inbound@%b:%d>;expires=120" % (host.encode(), port)
        is_state(node, "registered")
        until_ = stands(node)["until"]
        assert 100 < until_ - time.time() < 121
        (listed,) = cli(node, "trunk", "list", "--json")
        assert listed["registration"]["state"] == "registered"
        # A call in, for the contact,
        invite = registrar.invite(uri=b"sip:inbound@127.0.0.1")
        registrar.send(invite, node.sip)
        request, kamailio = gateway.next_invite()
        gateway.send(reply_to(request, b"486 Busy Here"), kamailio)
        assert status(registrar.final_reply(invite, node.sip)) == 486
        assert node.record(header(invite, b"Call-ID").decode()).trunk == "acme"
        # and for somebody else, whom nobody registered.
        invite = registrar.invite(uri=b"sip:outbound@127.0.0.1")
        registrar.send(invite, node.sip)
        assert status(registrar.final_reply(invite, node.sip)) == 403
        # A new agent goes on, and Kamailio remembers nothing.
        for name in ("agent", "kamailio"):
            node.stack.processes[name].stop()
        node.stack.start_kamailio()
        node.stack.start_agent()
        accept(registrar, node, 60)
        is_state(node, "registered")
        # Out of the policy, out of the registrar.
        node.put_in_force(carriers(Place(SPARE, gateway.port)), ROUTES)
        answer(registrar, node, b"401 Unauthorized", CHALLENGE)
        gone = accept(registrar, node, 0)
        assert (header(gone, b"Expires"), header(gone, b"Contact")[-10:]) == (b"0", b";expires=0")
        assert header(gone, b"Authorization")
        until(lambda: stands(node) == {}, "it still stands", 20)


def test_a_registration_that_fails_says_why(node: Node, dns: DnsServer) -> None:
    with Endpoint(CARRIER) as registrar:
        place = Place(CARRIER, registrar.port)
        node.put_in_force(registered(place, "one"), ROUTES)
        answer(registrar, node, b"403 Forbidden")
        is_state(node, "failing", "403 Forbidden")
        # A wrong password is tried once.
        node.put_in_force(registered(place, "two"), ROUTES)
        answer(registrar, node, b"401 Unauthorized", CHALLENGE)
        answer(registrar, node, b"401 Unauthorized", CHALLENGE)
        is_state(node, "failing", "does not believe that we are two: user or secret reg-pw is wrong")
        node.put_in_force(registered(place, "three"), ROUTES)
        brief = answer(registrar, node, b"423 Interval Too Brief", b"Min-Expires: 1800")
        longer = accept(registrar, node, 1800)
        assert (header(brief, b"Expires"), header(longer, b"Expires")) == (b"120", b"1800")
        is_state(node, "registered")
        log = (node.directory / "agent.log").read_text() if (node.directory / "agent.log").exists() else ""
        assert PASSWORD not in log


def test_an_agent_that_starts_without_redis_registers_once_it_is_there(node: Node) -> None:
    with Endpoint(CARRIER) as registrar:
        node.put_in_force(registered(Place(CARRIER, registrar.port), "four"), ROUTES)
        before = accept(registrar, node)
        is_state(node, "registered")
        for name in ("agent", "redis"):
            node.stack.processes[name].stop()
        away = node.stack.log("agent").count("Redis does not answer")
        node.stack.start_agent()
        until(lambda: node.stack.log("agent").count("Redis does not answer") > away, "the agent misses no Redis", 20)
        node.stack.start_redis()
        after = accept(registrar, node)
        assert header(after, b"Call-ID") != header(before, b"Call-ID")
        is_state(node, "registered")
