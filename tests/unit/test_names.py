"""Names of gateways and trunks: what the DNS is asked, what becomes of the answers, and where calls go by them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from harness.dns_server import DnsServer

from agent import resolving
from agent.dns_lookup import Away, Lookup, NoSuchName, Outcome
from agent.resolving import Resolving
from kemi import policy
from kemi.explain import Snapshot
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.policy import ANY, Auth, Drain, Emergency, Gateway, Place, Policy, Registration, Route, Trunk
from model.settings import Settings
from policyfile import load
from state import codec, layout, names
from state.names import Answer, Found, Question
from state.snapshot import SnapshotWriter

NOW = 1_800_000_000.0
SBC = Question("sbc.example", 0, "udp")
ZONE = {
    ("_sip._udp.sbc.example", "SRV"): [
        "20 1 5060 c.sbc.example.",
        "10 3 5070 a.sbc.example.",
        "10 1 5060 b.sbc.example.",
    ],
    ("sbc.example", "A"): ["192.0.2.99"],
    ("a.sbc.example", "A"): ["192.0.2.1"],
    ("b.sbc.example", "A"): ["192.0.2.2"],
    ("c.sbc.example", "A"): ["192.0.2.3", "192.0.2.4"],
    ("plain.example", "A"): ["192.0.2.11", "192.0.2.10"],
    ("plain.example", "AAAA"): ["2001:db8::1"],
    ("none.example", "TXT"): ["nothing"],
    ("_sip._udp.off.example", "SRV"): ["0 0 0 ."],
    ("off.example", "A"): ["192.0.2.99"],
}


def asked(question: Question, *addresses: str, zone: dict[tuple[str, str], list[str]] | None = None) -> Outcome:
    with DnsServer(zone or ZONE, ttl=7) as server:
        return Lookup([server.address], addresses or ("127.0.0.1",)).ask(question)


def test_servers_are_found_as_rfc_3263_says() -> None:
    first = [Found("192.0.2.1", 5070, 10, 3), Found("192.0.2.2", 5060, 10, 1)]
    assert asked(SBC) == Outcome((*first, Found("192.0.2.3", 5060, 20, 1), Found("192.0.2.4", 5060, 20, 1)), 7.0)
    # With a port it is the name alone.
    assert asked(SBC._replace(port=5080)).found == (Found("192.0.2.99", 5080),)
    # Without SRV for this transport too.
    assert asked(SBC._replace(transport="tcp")).found == (Found("192.0.2.99", 5060),)
    # A trunk's source is whatever belongs to the name.
    everything = {one.address for one in asked(SBC._replace(transport=ANY)).found}
    assert everything == {f"192.0.2.{last}" for last in (1, 2, 3, 4, 99)}


def test_only_families_that_the_node_speaks_are_asked_for() -> None:
    plain = Question("plain.example", 0, "udp")
    assert [one.address for one in asked(plain).found] == ["192.0.2.10", "192.0.2.11"]
    assert [one.address for one in asked(plain, "192.0.2.50", "2001:db8::50").found] == [
        "192.0.2.10", "192.0.2.11", "[2001:db8::1]",
    ]  # fmt: skip
    assert [one.address for one in asked(plain, "2001:db8::50").found] == ["[2001:db8::1]"]


@pytest.mark.parametrize("host", ["nobody.example", "none.example", "off.example"])
def test_a_name_without_servers(host: str) -> None:
    with pytest.raises(NoSuchName):
        asked(Question(host, 0, "udp"))


def test_no_answer_is_not_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.dns_lookup.LIFETIME", 0.2)
    with DnsServer(ZONE) as server:
        server.away = True
        lookup = Lookup([server.address], ["127.0.0.1"])
        with pytest.raises(Away):
            lookup.ask(SBC)


# The agent


class Dns:
    """What Resolving asks, answered at once as the test says."""

    def __init__(self) -> None:
        self.answer: Callable[[], Outcome] = lambda: Outcome((Found("192.0.2.1", 5060),), 30.0)
        self.asked = 0

    def submit(self, _question: Question) -> Future[Outcome]:
        self.asked += 1
        future: Future[Outcome] = Future()
        try:
            future.set_result(self.answer())
        except Exception as error:
            future.set_exception(error)
        return future


def raising(error: Exception) -> Callable[[], Outcome]:
    def answer() -> Outcome:
        raise error

    return answer


POLICY = Policy(
    trunks=(Trunk("office", ("198.51.100.0/24",)),),
    gateways={
        "a": Gateway("a", "", 0, places=(Place("sbc.example", 0),)),
        "b": Gateway("b", "192.0.2.100"),
        "many": Gateway("many", "", 0, places=(Place("192.0.2.201", 5060), Place("192.0.2.202", 5070))),
    },
)
ROUTES = (Route("out", ("",), ("a", "b")), Route("many", ("5",), ("many", "b")), Route("only", ("6",), ("a",)))


def test_what_is_known_is_kept_up_to_date_and_over_an_outage(tmp_path: Path) -> None:
    writer = SnapshotWriter(tmp_path / "snapshot")
    with writer.begin() as txn:
        txn.put(layout.POLICY, layout.policy_record(POLICY, 1))
    dns, now = Dns(), NOW

    def known() -> Answer:
        return names.decode(writer.get(names.NAMES))[str(SBC)]

    service = Resolving(Settings.from_env({}), writer, lambda: False)

    def step(seconds: float) -> Answer:
        nonlocal now
        now += seconds
        # Once to ask, and once to take in what was answered.
        service.step(dns.submit, now)
        service.step(dns.submit, now)
        return known()

    assert step(0) == Answer((Found("192.0.2.1", 5060),), now)
    step(29)
    assert dns.asked == 1
    # The same answer changes nothing, another counts from now on.
    assert (step(1).since, dns.asked) == (NOW, 2)
    dns.answer = lambda: Outcome((Found("192.0.2.2", 5060),), 0.0)
    assert step(30) == Answer((Found("192.0.2.2", 5060),), now)
    # A time to live of 0 is not taken at its word.
    dns.answer = raising(Away("DNS does not answer"))
    step(resolving.SHORTEST - 0.1)
    assert dns.asked == 3
    away = step(0.1)
    assert away == Answer((Found("192.0.2.2", 5060),), away.since, "DNS does not answer", now)
    for _ in range(50):
        assert step(60)._replace(trouble_since=0) == away._replace(trouble_since=0)
    assert known().trouble_since == away.trouble_since
    # Over a restart too.
    again = Resolving(Settings.from_env({}), writer, lambda: True)
    again.run()
    assert known() == away
    dns.answer = raising(NoSuchName("no such name"))
    assert step(60) == Answer((), 0.0, "no such name", now)
    dns.answer = lambda: Outcome((Found("192.0.2.3", 5060),), 1e9)
    assert step(60) == Answer((Found("192.0.2.3", 5060),), now)
    step(resolving.LONGEST - 1)
    asked_before = dns.asked
    step(1)
    assert dns.asked == asked_before + 1
    # The clock is set back.
    step(-7200)
    assert dns.asked == asked_before + 2
    writer.close()


def test_a_disk_that_is_full_for_a_while_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SnapshotWriter(tmp_path / "snapshot")
    with writer.begin() as txn:
        txn.put(layout.POLICY, layout.policy_record(POLICY, 1))
    begin, full = writer.begin, [OSError("no space left"), OSError("no space left")]
    monkeypatch.setattr(writer, "begin", lambda: begin() if not full else raising(full.pop())())
    monkeypatch.setattr(resolving, "TICK", 0.01)
    monkeypatch.setattr(Lookup, "ask", lambda *_: Outcome((Found("192.0.2.1", 5060),), 30.0))
    Resolving(Settings.from_env({}), writer, lambda: writer.get(names.NAMES) is not None).run()
    assert (full, str(SBC) in names.decode(writer.get(names.NAMES))) == ([], True)
    writer.close()


# Where calls go


def view(answer: Answer | None = None, of: Policy = POLICY, routes: tuple[Route, ...] = ROUTES, **more: Answer) -> View:
    records = layout.build(of, routes, ())
    known = {**({str(SBC): answer} if answer else {}), **more}
    return View({**records, names.NAMES: names.encode(known)}.get if known else records.get)


RESOLVED = Answer((Found("192.0.2.1", 5060, 1), Found("[2001:db8::2]", 5070, 2)), NOW - 60)
CALL = CallFacts("1001", "7000", "198.51.100.1")


def decided(facts: CallFacts, at: View, live: Snapshot | None = None) -> policy.Decision:
    return policy.decide(facts, at, live or Snapshot(), NOW)


def planned(facts: CallFacts, at: View, live: Snapshot | None = None) -> Plan:
    outcome = decided(facts, at, live).outcome
    assert not isinstance(outcome, policy.Reject), outcome.refusal
    return Plan.loads(outcome.plan.dumps())


def gateways(plan: Plan) -> list[str]:
    return [attempt.gateway for attempt in plan.attempts]


def test_each_address_is_an_attempt_of_its_own() -> None:
    plan = planned(CALL, view(RESOLVED))
    assert [(one.gateway, one.uri) for one in plan.attempts] == [
        ("a/192.0.2.1", "sip:7000@192.0.2.1:5060"), ("a/[2001:db8::2]:5070", "sip:7000@[2001:db8::2]:5070"),
        ("b", "sip:7000@192.0.2.100:5060"),
    ]  # fmt: skip
    assert ("address", "a/192.0.2.1", "sbc.example, known since 2027-01-15 07:59:00Z") in decided(
        CALL, view(RESOLVED)
    ).steps
    listed = planned(replace(CALL, callee="5000"), view())
    assert gateways(listed) == ["many/192.0.2.201", "many/192.0.2.202:5070", "b"]


def test_addresses_of_one_priority_share_the_calls() -> None:
    shared = view(
        Answer((Found("192.0.2.1", 5060, 1, 3), Found("192.0.2.2", 5060, 1, 1), Found("192.0.2.3", 5060, 2, 9)), NOW)
    )
    firsts = [gateways(planned(CALL, shared, Snapshot(drawn=draw)))[:2] for draw in (0.1, 0.7, 0.8, 0.95)]
    assert [first[0] for first in firsts] == ["a/192.0.2.1"] * 2 + ["a/192.0.2.2"] * 2
    assert gateways(planned(CALL, shared))[2] == "a/192.0.2.3"
    step = next(step for step in decided(CALL, shared, Snapshot(drawn=0.8)).steps if step[0] == "share")
    assert step == ("share", "0.8", "begins with a/192.0.2.2")


def test_a_name_that_is_not_resolved_is_a_gateway_that_cannot_be_used() -> None:
    for answer, why in (
        (None, "sbc.example: is not resolved yet"),
        (Answer((), 0.0, "no such name", NOW), "sbc.example: no such name since 2027-01-15 08:00:00Z"),
    ):
        assert gateways(planned(CALL, view(answer))) == ["b"]
        decision = decided(replace(CALL, callee="6000"), view(answer))
        assert isinstance(decision.outcome, policy.Reject)
        assert decision.outcome.refusal.id == "gateways-down"
        assert ("gateway", "a", why) in decision.steps


def after(plan: Plan, failure: Failure) -> str:
    outcome = policy.next_attempt(plan, failure, Snapshot(), NOW).outcome
    assert isinstance(outcome, policy.Retry)
    return outcome.plan.attempt.gateway


def test_the_next_address_is_for_silence_and_503() -> None:
    plan = planned(CALL, view(RESOLVED))
    for failure in (Failure(503), Failure(408, local=True), Failure(477, local=True)):
        assert after(plan, failure) == "a/[2001:db8::2]:5070"
    for failure in (Failure(500), Failure(403), Failure(482), Failure(407)):
        assert after(plan, failure) == "b"


def test_drains_are_of_the_gateway_or_of_one_address() -> None:
    records = dict(layout.build(POLICY, ROUTES, ()))
    records[names.NAMES] = names.encode({str(SBC): RESOLVED})

    def drained(name: str) -> list[str]:
        index = layout.Index.decode(records[layout.INDEX])
        index.drains = {name: codec.encode_drain(Drain(name, "x", author="anna"))}
        return gateways(planned(CALL, View({**records, layout.INDEX: index.encode()}.get)))

    assert drained("a") == ["b"]
    assert drained("a/192.0.2.1") == ["a/[2001:db8::2]:5070", "b"]


def test_an_emergency_call_goes_to_every_address() -> None:
    of = replace(POLICY, emergency=Emergency(("112",), ("a", "b")))
    plan = planned(replace(CALL, callee="112"), view(RESOLVED, of))
    assert gateways(plan) == ["a/192.0.2.1", "a/[2001:db8::2]:5070", "b"]


def test_a_plan_has_ten_attempts_however_many_addresses_there_are() -> None:
    many = Answer(tuple(Found(f"192.0.2.{last}", 5060, last) for last in range(1, 40)), NOW)
    assert len(planned(CALL, view(many)).attempts) == 10


# Where calls come from

REGISTERED = Policy(
    trunks=(
        Trunk("named", ("203.0.113.0/24",), names=("sbc.example",)),
        Trunk("one", (), registration=Registration(Place("sbc.example", 0), "one", Auth("one", "s"))),
        Trunk("two", (), registration=Registration(Place("192.0.2.50", 5060), "u", Auth("u", "s"), contact="two")),
    )
)


def test_trunks_by_name_and_by_registration() -> None:
    known = {f"sbc.example:0/{ANY}": Answer((Found("192.0.2.1", 5060), Found("[2001:db8::2]", 5070)), NOW)}
    at = view(of=REGISTERED, **known)

    def trunk(source: str, callee: str = "7000") -> str:
        found = at.trunk(source, callee)
        return found.name if found else ""

    assert [trunk(source) for source in ("203.0.113.9", "192.0.2.1", "2001:db8::2", "192.0.2.2")] == [
        "named", "named", "named", "",
    ]  # fmt: skip
    assert (trunk("192.0.2.1", "one"), trunk("192.0.2.50", "two"), trunk("192.0.2.50", "u")) == ("one", "two", "")
    assert set(names.questions(REGISTERED)) == {"sbc.example:0/any", "sbc.example:0/udp"}


def test_what_is_stored_comes_back() -> None:
    for whole in (POLICY, REGISTERED):
        assert codec.decode_policy(codec.encode_policy(whole)) == whole
    auth = replace(POLICY, gateways={"a": replace(POLICY.gateways["b"], auth=Auth("u", "s", True, "r"))})
    assert codec.decode_policy(codec.encode_policy(auth)) == auth
    assert "places" not in codec.encode_policy(Policy(gateways={"b": Gateway("b", "192.0.2.1")}))


FILE = """\
strowger: 1
trunks:
  t: {sources: [192.0.2.0/24, SBC.example., 192.0.2.200]}
  r: {registration: {registrar: "reg.example:5070", user: "4420", auth_user: acc, secret: pw, contact: inbound}}
gateways:
  ip: {address: 192.0.2.1}
  name: {address: sbc.example, auth: {user: acc, secret: pw}}
  list: {address: ["[2001:db8::1]:5070", sbc.example, "sbc.example:5080"], auth: {user: x, ha1_secret: h, realm: r}}
"""


def test_what_the_file_says() -> None:
    loaded = load(FILE, name="p.yaml").policy
    t, r = loaded.trunks
    assert (t.sources, t.names) == (("192.0.2.0/24", "192.0.2.200/32"), ("sbc.example",))
    assert r.registration == Registration(Place("reg.example", 5070), "4420", Auth("acc", "pw"), contact="inbound")
    ip, name, several = loaded.gateways.values()
    assert (ip.address, ip.port, ip.places) == ("192.0.2.1", 5060, ())
    assert (name.places, name.auth, name.written) == ((Place("sbc.example", 0),), Auth("acc", "pw"), "sbc.example")
    assert several.places == (Place("[2001:db8::1]", 5070), Place("sbc.example", 0), Place("sbc.example", 5080))
    assert several.auth == Auth("x", "h", hashed=True, realm="r")
