"""Limits without Redis: what a plan asks for, what a node decides by itself, and what is written in a policy file."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from harness.shared_memory import Tables
from hypothesis import given
from hypothesis import strategies as st

from kemi import limits, policy
from kemi.explain import Snapshot, explain
from kemi.leasing import ANSWERED, HELD, LEASES, REDIS, SETUP, Leasing
from kemi.limits import CALLS, RATE, Claim, Verdict
from kemi.plan import Limit, Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.limits import CLOSED, LOCAL, OPEN, PREFIX, Limits
from model.policy import Emergency, Gateway, Policy, Route, Subscribers, Trunk, Voicemail
from model.subscriber import Forwards, Subscriber
from policyfile import PolicyFileError, load
from state import codec, layout, wire

NOW = 1_000_000.0
CALL = CallFacts(caller="1001", callee="200", source="192.0.2.9")
NOWHERE = "redis://127.0.0.1:1/0"


def plan_of(
    trunk: Limits | None = None,
    route: Limits | None = None,
    gateways: tuple[Limits | None, ...] = (None,),
    emergency: str = "",
) -> Plan:
    """The plan of a call under these limits, to the gateways a, b, …"""
    named = {name: Gateway(name, "192.0.2.1", limits=own) for name, own in zip("abc", gateways, strict=False)}
    rules = Policy(
        (Trunk("lab", ("192.0.2.0/24",), limits=trunk),), named,
        emergency=Emergency((emergency,), ("a",)) if emergency else None,
    )  # fmt: skip
    records = layout.build(rules, [Route("r", ("",), tuple(named), limits=route)], ())
    outcome = policy.decide(replace(CALL, callee=emergency or "200"), View(records.get), Snapshot(), NOW).outcome
    assert isinstance(outcome, policy.Relay)
    return Plan.loads(outcome.plan.dumps())


def alone(nodes: int = 1) -> tuple[Leasing, Tables]:
    """The leases of a node that has no Redis, one of so many."""
    tables = Tables()
    tables.sht_seti(REDIS, "nodes", nodes)
    return tables.leasing(NOWHERE), tables


def claim(plan: Plan) -> Claim:
    """What a plan asks for at first."""
    return limits.claim(plan.limits, tuple(attempt.limits for attempt in plan.attempts))


def admit(leasing: Leasing, call: str, plan: Plan, now: float = NOW) -> limits.Admission:
    """Ask for the first attempt of a call, or for one that follows."""
    return leasing.admit(call, plan, range(plan.current, len(plan.attempts)), now)


class TestPlan:
    def test_names_the_limits_of_trunk_route_and_gateways(self) -> None:
        plan = plan_of(Limits(1), Limits(2, 3, OPEN), (Limits(4), None))
        assert [limit.name for limit in limits.named(plan)] == ["trunk:lab", "route:r", "gateway:a"]
        assert plan.limits[1] == limits.of("route", "r", Limits(2, 3, OPEN))
        assert limits.limited(plan)

    def test_names_the_prefix_of_a_route_that_counts_each(self) -> None:
        rules = Policy((Trunk("lab", ("192.0.2.0/24",)),), {"a": Gateway("a", "192.0.2.1")})
        routes = [Route("far", ("+44909", "+44871", ""), ("a",), limits=Limits(2, each=PREFIX))]
        view = View(layout.build(rules, routes, ()).get)
        found = []
        for callee in ("+449091", "+448711", "9"):
            outcome = policy.decide(replace(CALL, callee=callee), view, Snapshot(), NOW).outcome
            assert isinstance(outcome, policy.Relay)
            found += outcome.plan.limits
        assert [limit.name for limit in found] == ["prefix:far/+44909", "prefix:far/+44871", "prefix:far/any"]
        assert {limit.calls for limit in found} == {2}

    @pytest.mark.parametrize(
        ("own", "each", "expected"),
        [
            ({}, None, ()),
            ({}, Limits(2, when_away=CLOSED), (2, 0, CLOSED)),
            ({"calls": 0}, Limits(2), ()),
            ({"calls": 0}, Limits(2, 1), (0, 1, LOCAL)),
            ({"calls": 5, "per_second": 3}, Limits(2, when_away=OPEN), (5, 3, OPEN)),
            ({"per_second": 3}, None, (0, 3, LOCAL)),
        ],
    )
    def test_a_subscribers_own_numbers_come_first(
        self, own: dict[str, int], each: Limits | None, expected: tuple[object, ...]
    ) -> None:
        found = limits.of_subscriber(Subscriber(name="1001", ha1={}, **own), each)  # type: ignore[arg-type]
        assert found == ((Limit("subscriber:1001", *expected),) if expected else ())  # type: ignore[arg-type]

    def test_names_the_subscriber_who_calls_and_who_forwards(self) -> None:
        rules = Policy(
            gateways={"a": Gateway("a", "192.0.2.1")}, subscribers=Subscribers("example", limits=Limits(2))
        )  # fmt: skip
        routes = [Route("inside", ("10",), subscribers=True), Route("out", ("2",), ("a",))]
        people = [
            Subscriber(name="1001", ha1={}, calls=7),
            Subscriber(name="1002", ha1={}, forwards=Forwards(always="200")),
            Subscriber(name="1003", ha1={}, forwards=Forwards(busy="200")),
        ]
        records = dict(layout.build(rules, routes, ()))
        records.update((layout.subscriber_key(one.name), one.encode().encode()) for one in people)
        view = View(records.get)
        own = Limit("subscriber:1001", 7, 0, LOCAL)

        def plan(callee: str) -> Plan:
            facts = CallFacts("1001", callee, "198.51.100.9", subscriber="1001")
            outcome = policy.decide(facts, view, Snapshot(), NOW).outcome
            assert isinstance(outcome, policy.Relay)
            return outcome.plan

        assert plan("200").limits == (own,)
        assert set(plan("1002").limits) == {own, Limit("subscriber:1002", 2, 0, LOCAL)}
        at_phones = plan("1003")
        assert at_phones.limits == (own,)
        ended = policy.next_attempt(at_phones, Failure(486), Snapshot(), NOW)
        after = policy.forwarded(at_phones, Failure(486), ended, "198.51.100.9", view, Snapshot(), NOW).outcome
        assert isinstance(after, policy.Retry)
        assert set(after.plan.limits) == {own, Limit("subscriber:1003", 2, 0, LOCAL)}

    def test_has_none_where_the_policy_has_none(self) -> None:
        plan = plan_of()
        assert not limits.limited(plan)

    def test_of_an_emergency_call_has_none(self) -> None:
        plan = plan_of(Limits(1), Limits(1), (Limits(1),), emergency="112")
        assert not limits.limited(plan)

    def test_at_voicemail_keeps_those_of_the_call(self) -> None:
        rules = Policy(
            (Trunk("lab", ("192.0.2.0/24",), limits=Limits(1)),),
            {"a": Gateway("a", "192.0.2.1", limits=Limits(1)), "m": Gateway("m", "192.0.2.2", media=True)},
        )
        view = View(layout.build(rules, [Route("r", ("",), ("a",), voicemail=Voicemail())], ()).get)
        outcome = policy.decide(CALL, view, Snapshot(), NOW).outcome
        assert isinstance(outcome, policy.Relay)
        busy = Failure(486)
        ended = policy.next_attempt(outcome.plan, busy, Snapshot(), NOW)
        reason = policy.voicemail_reason(outcome.plan, busy, ended)
        assert reason is not None
        after = policy.to_voicemail(outcome.plan, busy, reason, ended, view, Snapshot(), NOW).outcome
        assert isinstance(after, policy.Retry)
        assert [limit.name for limit in limits.named(after.plan)] == ["trunk:lab"]

    def test_a_gateway_that_is_skipped_comes_last(self) -> None:
        plan = plan_of(gateways=(Limits(1), Limits(1), None))
        found = limits.admission(plan, range(3), claim(plan), Verdict(1, {"gateway:a": CALLS}))
        assert found.plan is not None
        assert [attempt.gateway for attempt in found.plan.attempts] == ["b", "c", "a"]
        assert found.grant.names == ("gateway:b",)
        assert ("limit", "gateway:a", "has no room for another call") in found.steps

    @pytest.mark.parametrize(
        ("verdict", "status", "reason", "retry_after"),
        [
            (Verdict(None, {"trunk:lab": CALLS}, refused=True), 503, "trunk-calls-limit", 0),
            (Verdict(None, {"route:r": RATE}, refused=True), 503, "route-rate-limit", 1),
            (Verdict(None, {"gateway:a": CALLS}), 503, "gateways-full", 0),
            (Verdict(None, {"trunk:lab": limits.AWAY}, refused=True), 503, "limits-away", 5),
        ],
    )
    def test_refusals(self, verdict: Verdict, status: int, reason: str, retry_after: int) -> None:
        plan = plan_of(Limits(1), Limits(1), (Limits(1),))
        refusal = limits.admission(plan, range(1), claim(plan), verdict).refusal
        assert refusal is not None
        assert (refusal.status, refusal.id, refusal.retry_after) == (status, reason, retry_after)

    def test_explain_shows_them(self) -> None:
        rules = Policy((Trunk("lab", ("192.0.2.0/24",)),), {"a": Gateway("a", "192.0.2.1", limits=Limits(3))})
        view = View(layout.build(rules, [Route("r", ("",), ("a",))], ()).get)
        found = explain(CALL, view, Snapshot(), NOW, {}).as_dict()
        assert found["limits"] == [{"name": "gateway:a", "calls": 3, "per_second": 0, "when_away": LOCAL}]


class TestWithoutRedis:
    def test_open_lets_all_through(self) -> None:
        leasing, _ = alone()
        plan = plan_of(Limits(1, 1, OPEN))
        assert all(admit(leasing, str(call), plan).plan for call in range(5))

    def test_closed_lets_nobody_through(self) -> None:
        leasing, tables = alone()
        found = admit(leasing, "1", plan_of(Limits(5, when_away=CLOSED)))
        assert found.refusal is not None
        assert found.refusal.id == "limits-away"
        assert not tables.rows.get(LEASES)

    @pytest.mark.parametrize(("nodes", "share"), [(1, 5), (2, 2), (6, 0)])
    def test_local_keeps_to_its_share(self, nodes: int, share: int) -> None:
        leasing, tables = alone(nodes)
        plan = plan_of(Limits(5))
        assert [admit(leasing, str(call), plan).plan is not None for call in range(6)].count(True) == share
        assert tables.rows[HELD]["trunk:lab"] == share
        if share:
            leasing.release("0")
            assert admit(leasing, "7", plan).plan is not None

    def test_local_counts_calls_a_second_by_the_clock(self) -> None:
        leasing, _ = alone(2)
        plan = plan_of(Limits(per_second=4))
        found = [admit(leasing, str(call), plan, now=NOW + call // 3).plan is not None for call in range(6)]
        assert found == [True, True, False] * 2

    def test_closed_gateways_are_skipped(self) -> None:
        leasing, _ = alone()
        found = admit(leasing, "1", plan_of(gateways=(Limits(1, when_away=CLOSED), None)))
        assert found.plan is not None
        assert found.plan.attempt.gateway == "b"

    def test_what_is_refused_leaves_nothing_counted(self) -> None:
        leasing, tables = alone()
        plan = plan_of(Limits(5), Limits(5), (Limits(5, when_away=CLOSED),))
        assert admit(leasing, "1", plan).plan is None
        assert set(tables.rows[HELD].values()) == {0}

    def test_the_next_attempt_gives_back_the_gateway_before(self) -> None:
        leasing, tables = alone()
        plan = plan_of(Limits(5), None, (Limits(5), Limits(5)))
        assert admit(leasing, "1", plan).plan is not None
        after = policy.next_attempt(plan, Failure(503), Snapshot(), NOW).outcome
        assert isinstance(after, policy.Retry)
        found = leasing.admit("1", after.plan, policy.candidates(after.plan, Snapshot(), NOW), NOW)
        assert found.grant.names == ("gateway:b",)
        assert tables.rows[HELD] == {"trunk:lab": 1, "gateway:a": 0, "gateway:b": 1}
        leasing.release("1")
        leasing.release("1")
        assert set(tables.rows[HELD].values()) == {0}

    def test_the_timer_forgets_calls_that_never_were(self) -> None:
        leasing, tables = alone()
        for call in "12":
            assert admit(leasing, call, plan_of(Limits(5))).plan is not None
        tables.sht_seti(ANSWERED, "2", 1)
        # One that still rings has its place as long as tm may have it.
        cfg = (Path(__file__).parents[2] / "kamailio" / "kamailio.cfg").read_text()
        lifetime = re.search(r'"tm", "max_inv_lifetime", (\d+)\)', cfg)
        assert lifetime is not None
        assert len(leasing._live(tables.iterate(LEASES), NOW + int(lifetime[1]) / 1000)) == 2
        assert leasing._live(tables.iterate(LEASES), NOW + SETUP + 1) == [("node/2", "trunk:lab")]
        assert set(tables.rows[LEASES]) == {"2"}

    def test_a_url_that_is_none_of_ours_means_away(self) -> None:
        said: list[str] = []
        leasing = Tables().leasing("rediss://127.0.0.1", log=said.append)
        leasing.tick(NOW)
        leasing.tick(NOW)
        assert len(said) == 1
        assert "redis://" in said[0]

    def test_full_gateways_end_a_call_as_exhausted_ones_do(self) -> None:
        plan = plan_of(gateways=(Limits(1), Limits(1)))
        decision = policy.next_attempt(plan, Failure(503), Snapshot(), NOW)
        after = policy.full(Failure(503), decision, (("limit", "gateway:b", "has no room for another call"),))
        assert isinstance(after.outcome, policy.Reject)
        assert after.outcome.refusal.id == "gateways-failed"


Reply = st.recursive(
    st.one_of(st.integers(-(2**62), 2**62), st.text(max_size=20), st.none()), lambda inner: st.lists(inner, max_size=4)
)


class TestWire:
    @given(Reply, st.data())
    def test_replies_are_read_whole_or_not_at_all(self, reply: object, data: st.DataObject) -> None:
        raw = _encoded(reply)
        assert wire.parsed(raw) == (reply, len(raw))
        cut = data.draw(st.integers(0, len(raw) - 1))
        with pytest.raises(wire._Incomplete):
            wire.parsed(raw[:cut])

    def test_commands_count_bytes(self) -> None:
        assert wire.packed("SET", "é", 5) == b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa9\r\n$1\r\n5\r\n"

    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("redis://127.0.0.1:7000/3", wire.Target("127.0.0.1", 7000, database=3)),
            ("redis://:p%40ss@r", wire.Target("r", password="p@ss")),
            ("redis://u:p@[::1]:1", wire.Target("::1", 1, username="u", password="p")),
            ("unix:///run/r.sock", wire.Target("", path="/run/r.sock")),
        ],
    )
    def test_addresses(self, url: str, target: wire.Target) -> None:
        assert wire.Target.parse(url) == target


def _encoded(reply: object) -> bytes:
    if isinstance(reply, list):
        return b"*%d\r\n" % len(reply) + b"".join(map(_encoded, reply))
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    raw = str(reply).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


FILE = """
strowger: 1
trunks:
  office:
    sources: [192.0.2.0/24]
    limits: {TRUNK}
gateways:
  carrier: {address: 198.51.100.1, limits: {calls: 30, per_second: 5, when_away: open}}
routes:
  - {name: r, prefixes: [default], gateways: [carrier], limits: {calls: 2, when_away: closed}}
  - {name: each, prefixes: ["9"], gateways: [carrier], limits: {calls: 2, each: prefix}}
subscribers: {realm: example, limits: {calls: 3}}
"""


class TestPolicyFile:
    def test_limits_are_read_and_kept(self) -> None:
        loaded = load(FILE.replace("{TRUNK}", "{per_second: 3}"), name="p.yaml")
        assert loaded.policy.trunks[0].limits == Limits(0, 3, LOCAL)
        assert loaded.policy.gateways["carrier"].limits == Limits(30, 5, OPEN)
        assert loaded.routes[0].limits == Limits(2, 0, CLOSED)
        assert loaded.routes[1].limits == Limits(2, each=PREFIX)
        assert loaded.policy.subscribers is not None
        assert loaded.policy.subscribers.limits == Limits(3)
        assert codec.decode_document(codec.encode_document(loaded.policy, loaded.routes)) == (
            loaded.policy, loaded.routes,
        )  # fmt: skip
        assert [codec.decode_route(codec.encode_route(route)) for route in loaded.routes] == list(loaded.routes)

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("{}", "limits nothing"),
            ("{when_away: open}", "limits nothing"),
            ("{calls: 0}", "greater than or equal to 1"),
            ("{calls: 5, when_away: shut}", "'open', 'closed' or 'local'"),
            ("{cals: 5}", "did you mean"),
        ],
    )
    def test_mistakes_name_line_and_field(self, written: str, said: str) -> None:
        with pytest.raises(PolicyFileError) as raised:
            load(FILE.replace("{TRUNK}", written), name="p.yaml")
        assert said in str(raised.value)
        assert "trunks.office.limits" in str(raised.value)
        assert ":6" in str(raised.value) or "line 6" in str(raised.value)
