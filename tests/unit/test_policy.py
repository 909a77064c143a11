"""Decisions on new calls: what is looked at, in which order, and what the caller is told."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi import policy
from kemi.health import Health
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.entries import Action, Entry, Kind, pair_value
from model.narrowing import Narrowing, Window
from model.numbers import Dialling
from model.policy import Emergency, Gateway, Policy, Refusal, RetryRule, Rewrite, Route, Strategy, Trunk
from state import layout

NOW = 1_000_000.0
GB = Dialling(country_code="44")
TRUNK = Trunk("lab", ("192.0.2.0/24",), GB)
CALL = CallFacts(caller="1001", callee="02079460000", source="192.0.2.9", user_agent="Phone/1")
GATEWAYS = {name: Gateway(name, "192.0.2.1", 5060 + n) for n, name in enumerate("abc")}
ROUTE = Route("any", ("",), ("a", "b", "c"))


@dataclass(slots=True)
class Live:
    """What a node knows besides its snapshot."""

    held: dict[str, float] = field(default_factory=dict)
    turns: int = 0
    drawn: float = 0.0

    def health(self, gateway: str) -> Health | None:
        """As :class:`kemi.policy.Live` has it."""
        return Health(held=self.held[gateway]) if gateway in self.held else None

    def claim(self, gateway: str, now: float, until: float) -> bool:
        """As :class:`kemi.policy.Live` has it."""
        return True

    def probe(self, uri: str) -> int:
        """As :class:`kemi.policy.Live` has it."""
        return 0

    def turn(self, route: str) -> int:
        """As :class:`kemi.policy.Live` has it."""
        return self.turns

    def draw(self) -> float:
        """As :class:`kemi.policy.Live` has it."""
        return self.drawn


def decide(
    call: CallFacts = CALL,
    *entries: Entry,
    routes: tuple[Route, ...] = (ROUTE,),
    trunk: Trunk = TRUNK,
    gateways: dict[str, Gateway] = GATEWAYS,
    live: Live | None = None,
    emergency: Emergency | None = None,
) -> policy.Decision:
    """Decide one call over a snapshot made of these."""
    records = layout.build(Policy((trunk,), gateways, emergency=emergency), routes, entries, version=7)
    return policy.decide(call, View(records.get), live or Live(), NOW)


def refusal(decision: policy.Decision) -> Refusal | None:
    """The refusal of a decision; None if the call is relayed."""
    return decision.outcome.refusal if isinstance(decision.outcome, policy.Reject) else None


def refused_as(decision: policy.Decision) -> str:
    """The id of a decision's refusal; empty if the call is relayed."""
    found = refusal(decision)
    return found.id if found else ""


def plan(decision: policy.Decision) -> Plan:
    """The plan of a call that is relayed."""
    assert isinstance(decision.outcome, policy.Relay)
    return decision.outcome.plan


def gateways_of(decision: policy.Decision) -> str:
    """The gateways of a plan, each named by one letter."""
    return "".join(attempt.gateway for attempt in plan(decision).attempts)


# One entry of each kind that matches CALL.
MATCHING = {
    Kind.CALLER: "1001",
    Kind.CALLEE: "+442079460000",
    Kind.PAIR: pair_value("1001", "+442079460000"),
    Kind.CALLER_PREFIX: "10",
    Kind.CALLEE_PREFIX: "+4420",
    Kind.SOURCE: "192.0.2.0/28",
    Kind.USER_AGENT: "phone",
}


@pytest.mark.parametrize("kind", Kind)
def test_an_entry_of_each_kind_blocks(kind: Kind) -> None:
    found = refusal(decide(CALL, Entry(kind, MATCHING[kind])))
    assert found is not None
    assert (found.id, found.status, found.cause) == (f"blocked-{kind.value}", 403, 21)


@pytest.mark.parametrize(("block", "allow"), itertools.permutations(Kind, 2))
def test_allow_beats_block(block: Kind, allow: Kind) -> None:
    entries = Entry(block, MATCHING[block]), Entry(allow, MATCHING[allow], Action.ALLOW)
    assert not refused_as(decide(CALL, *entries))


@pytest.mark.parametrize("kind", Kind)
def test_an_expired_entry_is_none(kind: Kind) -> None:
    blocking = Entry(kind, MATCHING[kind])
    assert refused_as(decide(CALL, replace(blocking, expires=NOW + 0.001)))
    assert not refused_as(decide(CALL, replace(blocking, expires=NOW)))
    allowing = Entry(Kind.CALLER if kind is not Kind.CALLER else Kind.CALLEE, "", Action.ALLOW)
    allowing = replace(allowing, value=MATCHING[allowing.kind], expires=NOW)
    assert refused_as(decide(CALL, blocking, allowing))


def test_an_expired_longer_prefix_gives_way_to_the_shorter() -> None:
    shorter, longer = Entry(Kind.CALLEE_PREFIX, "+44"), Entry(Kind.CALLEE_PREFIX, "+4420", Action.ALLOW, expires=NOW)
    assert refused_as(decide(CALL, shorter, longer)) == "blocked-callee-prefix"


entries = st.lists(
    st.builds(
        lambda kind, action, live: Entry(kind, MATCHING[kind], action, expires=0.0 if live else NOW - 1),
        st.sampled_from(list(Kind)),
        st.sampled_from(list(Action)),
        st.booleans(),
    ),
    unique_by=lambda entry: entry.kind,
)


@given(entries)
def test_a_call_is_blocked_by_a_live_block_and_no_live_allow(found: list[Entry]) -> None:
    actions = {entry.action for entry in found if entry.live(NOW)}
    assert bool(refused_as(decide(CALL, *found))) == (actions == {Action.BLOCK})


def test_the_steps_tell_what_was_read_and_found() -> None:
    decision = decide(CALL, Entry(Kind.CALLER, "1001", Action.ALLOW, reason="the boss"))
    assert [tuple(step) for step in decision.steps[:6]] == [
        ("trunk", "192.0.2.9", "lab"),
        ("caller", "1001", "1001"),
        ("callee", "02079460000", "+442079460000"),
        ("allow caller", "1001", "the boss"),
        ("route", "any number", "any"),
        ("attempt", "a", "sip:+442079460000@192.0.2.1:5060"),
    ]


ANONYMOUS = [
    replace(CALL, private=True),
    replace(CALL, caller=""),
    replace(CALL, caller="Anonymous"),
    replace(CALL, caller_host="ANONYMOUS.invalid"),
]


@pytest.mark.parametrize("call", ANONYMOUS, ids=str)
def test_anonymous_callers_are_refused_where_the_trunk_says_so(call: CallFacts) -> None:
    strict = replace(TRUNK, anonymous=False)
    assert refused_as(decide(call, trunk=strict)) == "anonymous"
    assert not refused_as(decide(call, trunk=TRUNK))
    assert not refused_as(decide(call, Entry(Kind.SOURCE, "192.0.2.0/24", Action.ALLOW), trunk=strict))


def test_an_asserted_identity_counts_on_a_trusting_trunk_only() -> None:
    call, block = replace(CALL, asserted="02079460001"), Entry(Kind.CALLER, "+442079460001")
    assert refused_as(decide(call, block, trunk=replace(TRUNK, trust_identity=True))) == "blocked-caller"
    assert not refused_as(decide(call, block))


REFUSED = [
    (decide(replace(CALL, source="198.51.100.1")), "unknown-source", 403),
    (decide(replace(CALL, source="2001:db8::1")), "unknown-source", 403),
    (decide(replace(CALL, callee="")), "invalid-number", 484),
    (decide(replace(CALL, callee="9" * 65)), "invalid-number", 484),
    (decide(replace(CALL, callee="+" + "9" * 16)), "invalid-number", 484),
    (decide(routes=(replace(ROUTE, prefixes=("+33",)),)), "no-route", 404),
    (decide(routes=()), "no-route", 404),
    (decide(gateways={n: replace(g, enabled=False) for n, g in GATEWAYS.items()}), "gateways-down", 503),
    (decide(live=Live(dict.fromkeys("abc", NOW + 5))), "gateways-down", 503),
]


@pytest.mark.parametrize(("decision", "name", "status"), REFUSED, ids=lambda value: str(value)[:20])
def test_each_refusal_has_its_own_id(decision: policy.Decision, name: str, status: int) -> None:
    found = refusal(decision)
    assert found is not None
    assert (found.id, found.status) == (name, status)


def test_gateways_down_says_when_the_first_is_back() -> None:
    found = refusal(decide(live=Live({"a": NOW + 50, "b": NOW + 7.2, "c": NOW + 90})))
    assert found is not None
    assert found.retry_after == 8


def test_a_held_or_disabled_gateway_is_passed_over() -> None:
    some = {**GATEWAYS, "a": replace(GATEWAYS["a"], enabled=False)}
    assert gateways_of(decide(gateways=some)) == "bc"
    assert gateways_of(decide(gateways=some, live=Live({"b": NOW + 1}))) == "c"
    assert gateways_of(decide(live=Live({"b": NOW}))) == "abc"


def test_a_routes_refusal_is_its_callers() -> None:
    own = Refusal("premium-rate", 603, "Declined", cause=21)
    assert refusal(decide(routes=(ROUTE, Route("london", ("+4420",), refusal=own)))) == own


@given(st.integers(1, 3), st.integers(0, 12))
def test_a_plan_has_as_many_attempts_as_the_route_allows(gateways: int, allowed: int) -> None:
    route = replace(ROUTE, gateways=tuple("abc"[:gateways]), max_attempts=allowed)
    found = gateways_of(decide(routes=(route,)))
    assert len(found) == (allowed or gateways)
    assert found == ("abc"[:gateways] * 12)[: len(found)]


@given(st.integers(0, 1000), st.integers(0, 7))
def test_alternating_begins_one_further_on_each_call(turn: int, allowed: int) -> None:
    route = replace(ROUTE, strategy=Strategy.ALTERNATE, max_attempts=allowed)
    found = gateways_of(decide(routes=(route,), live=Live(turns=turn)))
    assert found == ("abc" * 5)[turn % 3 : turn % 3 + (allowed or 3)]


REWRITES = {"a": Rewrite(strip=3, prefix="0"), "b": Rewrite(), "c": Rewrite(match=r"^\+(\d\d)", replace=r"\1-")}


@given(st.permutations("abc"), st.integers(1, 9))
def test_rewriting_does_not_depend_on_what_was_tried_before(order: list[str], allowed: int) -> None:
    gateways = {name: replace(gateway, rewrite=REWRITES[name]) for name, gateway in GATEWAYS.items()}
    route = replace(ROUTE, gateways=tuple(order), max_attempts=allowed, rewrite=Rewrite(strip=0, prefix=""))
    users = {"a": "02079460000", "b": "+442079460000", "c": "44-2079460000"}
    for attempt in plan(decide(routes=(route,), gateways=gateways)).attempts:
        assert attempt.uri.partition("@")[0] == f"sip:{users[attempt.gateway]}"


@pytest.mark.parametrize(
    ("callee", "user"),
    [
        ("bob%20smith", "bob%20smith"),
        ("bob%3bsmith", "bob%3Bsmith"),
        ("a@b", "a%40b"),
        ("*21#", "*21#"),
        ("%2B442079460000", "+442079460000"),
        ("02079460000;phone-context=x", "+442079460000"),
    ],
)
def test_the_number_stands_escaped_in_the_request_uri(callee: str, user: str) -> None:
    assert plan(decide(replace(CALL, callee=callee))).attempts[0].uri == f"sip:{user}@192.0.2.1:5060"


def test_a_plan_carries_everything_that_its_failures_need() -> None:
    route = replace(ROUTE, post_dial_delay=12.0, ring=34.0)
    tcp = {**GATEWAYS, "a": replace(GATEWAYS["a"], address="[2001:db8::1]", transport="tcp")}
    found = plan(decide(routes=(route,), gateways=tcp))
    assert (found.route, found.version, found.deadline, found.ring) == ("any", 7, NOW + 12.0, 34.0)
    assert found.attempt.uri == "sip:+442079460000@[2001:db8::1]:5060;transport=tcp"


texts = st.text(max_size=80)


@given(texts, texts, texts, texts, texts)
def test_any_text_is_decided(caller: str, callee: str, asserted: str, user_agent: str, host: str) -> None:
    call = CallFacts(caller, callee, "192.0.2.9", asserted, user_agent, False, host)
    entry = Entry(Kind.CALLER_PREFIX, "1"), Entry(Kind.USER_AGENT, "x")
    decision = decide(call, *entry, trunk=replace(TRUNK, trust_identity=True))
    if isinstance(decision.outcome, policy.Relay):
        user, _, rest = decision.outcome.plan.attempt.uri.removeprefix("sip:").rpartition("@")
        assert rest == "192.0.2.1:5060"
        assert user.isascii()
        assert not set(user) & set('@ \r\n\t<>"')


# Routes that share a prefix


def took(decision: policy.Decision) -> str:
    """The name of the route that a call took."""
    return plan(decision).route


def only(name: str, narrowing: Narrowing | None = None, prefix: str = "") -> Route:
    """A route, narrowed."""
    return Route(name, (prefix,), ("a",), narrowing=narrowing)


STAFF = replace(TRUNK, tags=("staff",))


def test_the_first_route_of_a_prefix_that_is_there_for_the_call_takes_it() -> None:
    routes = only("none", Narrowing(tags=("gold",))), only("staff", Narrowing(tags=("staff",))), only("all")
    assert took(decide(routes=routes, trunk=STAFF)) == "staff"
    assert took(decide(routes=routes)) == "all"
    assert took(decide(routes=tuple(reversed(routes)), trunk=STAFF)) == "all"


def test_where_no_route_of_a_prefix_is_there_the_next_shorter_is_looked_at() -> None:
    routes = only("any"), only("london", Narrowing(callers=("+33",)), "+4420"), only("uk", Narrowing(("10",)), "+44")
    decision = decide(routes=routes)
    assert took(decision) == "uk"
    assert [step for step in decision.steps if step[0] in ("route", "passed over")] == [
        ("passed over", "+4420", "london: the caller begins with none of +33"),
        ("route", "+44", "uk"),
    ]


def test_where_none_is_there_at_all_each_is_named() -> None:
    night = Narrowing(times=(Window("UTC", start=0, end=60),))
    decision = decide(routes=(only("gold", Narrowing(tags=("gold",))), only("night", night)))
    assert refused_as(decision) == "no-route"
    assert decision.steps[-3:] == (
        ("passed over", "any number", "gold: trunk lab has no tag gold"),
        ("passed over", "any number", "night: not at this time: Mon 1970-01-12 13:46 in UTC"),
        ("route", "+442079460000", "no other prefix matches"),
    )


@pytest.mark.parametrize(("trusted", "expected"), [(True, "asserted"), (False, "from")])
def test_who_calls_is_the_asserted_number_where_the_trunk_is_trusted_with_it(trusted: bool, expected: str) -> None:
    routes = only("asserted", Narrowing(callers=("+4416",))), only("from", Narrowing(callers=("1001",)))
    call = replace(CALL, asserted="01611234567")
    assert took(decide(call, routes=routes, trunk=replace(TRUNK, trust_identity=trusted))) == expected


# Weights

WEIGHTED = replace(ROUTE, strategy=Strategy.WEIGHTED, weights=(5, 3, 2))


@pytest.mark.parametrize(
    ("drawn", "order"), [(0.0, "abc"), (0.499, "acb"), (0.5, "bac"), (0.79, "bca"), (0.8, "cab"), (1.0, "cba")]
)
def test_a_draw_decides_on_the_order(drawn: float, order: str) -> None:
    decision = decide(routes=(WEIGHTED,), live=Live(drawn=drawn))
    assert gateways_of(decision) == order
    assert ("draw", repr(drawn), f"begins with {order[0]}") in decision.steps


def test_the_order_that_was_drawn_goes_round_and_passes_over_who_is_away() -> None:
    route = replace(WEIGHTED, max_attempts=5)
    assert gateways_of(decide(routes=(route,), live=Live(drawn=0.5))) == "bacba"
    assert gateways_of(decide(routes=(route,), live=Live({"b": NOW + 1}, drawn=0.5))) == "acaca"


# Emergency calls

EMERGENCY = Emergency(("112", "999"), ("c", "b"))
HELP = replace(CALL, callee="112")


def test_an_emergency_call_takes_its_own_gateways_and_no_route() -> None:
    decision = decide(HELP, routes=(replace(ROUTE, gateways=("a",)),), emergency=EMERGENCY)
    assert decision.emergency
    assert gateways_of(decision) == "cb"
    assert (plan(decision).route, plan(decision).emergency) == ("emergency", True)
    assert ("emergency", "112", "passes lists and routes, takes its own gateways") in decision.steps
    other = decide(CALL, emergency=EMERGENCY)
    assert not other.emergency
    assert not plan(other).emergency


@pytest.mark.parametrize("kind", Kind)
def test_an_emergency_call_passes_every_list(kind: Kind) -> None:
    matching = {**MATCHING, Kind.CALLEE: "112", Kind.PAIR: pair_value("1001", "112"), Kind.CALLEE_PREFIX: "1"}
    assert refused_as(decide(HELP, Entry(kind, matching[kind]))) == f"blocked-{kind}"
    assert not refused_as(decide(HELP, Entry(kind, matching[kind]), emergency=EMERGENCY))


def test_an_emergency_call_needs_no_identity_and_no_route_but_a_trunk() -> None:
    silent = replace(TRUNK, anonymous=False)
    assert not refused_as(decide(replace(HELP, private=True), trunk=silent, routes=(), emergency=EMERGENCY))
    stranger = decide(replace(HELP, source="198.51.100.1"), emergency=EMERGENCY)
    assert (refused_as(stranger), stranger.emergency) == ("unknown-source", False)


@pytest.mark.parametrize(
    "dialling",
    [
        Dialling(),
        Dialling("44", extension_digits=2, e164_without_plus=True),
        Dialling("1", ("1",), "9", (3,), extension_digits=0),
    ],
)
@pytest.mark.parametrize("callee", ["112", "1-1-2", "112;phone-context=+44", "9%399"])
def test_an_emergency_number_is_known_as_it_is_dialled_whatever_the_plan(dialling: Dialling, callee: str) -> None:
    trunk = replace(TRUNK, dialling=dialling)
    assert decide(replace(HELP, callee=callee), trunk=trunk, emergency=EMERGENCY).emergency


@pytest.mark.parametrize("callee", ["1121", "11", "+112", "00112", "0112", "sip112"])
def test_what_only_looks_like_an_emergency_number_is_none(callee: str) -> None:
    assert not decide(replace(HELP, callee=callee), emergency=EMERGENCY).emergency


def test_only_the_sections_own_rewriting_is_made() -> None:
    gateways = {name: replace(gateway, rewrite=Rewrite(prefix="00")) for name, gateway in GATEWAYS.items()}
    plain = plan(decide(HELP, gateways=gateways, emergency=EMERGENCY))
    assert plain.attempt.uri == "sip:112@192.0.2.1:5062"
    rewritten = replace(EMERGENCY, rewrite=Rewrite(prefix="1"))
    assert plan(decide(HELP, gateways=gateways, emergency=rewritten)).attempt.uri == "sip:1112@192.0.2.1:5062"
    nothing = replace(EMERGENCY, rewrite=Rewrite(strip=3))
    assert plan(decide(HELP, gateways=gateways, emergency=nothing)).attempt.uri == "sip:112@192.0.2.1:5062"


def test_a_gateway_that_asked_to_be_left_alone_comes_last_and_is_tried() -> None:
    assert gateways_of(decide(HELP, live=Live({"c": NOW + 9}), emergency=EMERGENCY)) == "bc"
    assert gateways_of(decide(HELP, live=Live({"b": NOW + 9, "c": NOW + 9}), emergency=EMERGENCY)) == "cb"


def test_a_disabled_gateway_is_out_of_use_for_emergency_calls_too() -> None:
    def with_disabled(*names: str) -> policy.Decision:
        gateways = {name: replace(gateway, enabled=name not in names) for name, gateway in GATEWAYS.items()}
        return decide(HELP, gateways=gateways, emergency=EMERGENCY)

    assert gateways_of(with_disabled("c")) == "b"
    down = with_disabled("b", "c")
    assert (refused_as(down), down.emergency) == ("gateways-down", True)


@pytest.mark.parametrize("status", [302, 403, 404, 408, 428, 482, 486, 500, 503, 603])
@pytest.mark.parametrize("ringing", [False, True])
def test_an_emergency_call_goes_on_after_any_failure_but_the_callers(status: int, ringing: bool) -> None:
    never = {name: replace(gateway, retry=RetryRule(never=(str(status),))) for name, gateway in GATEWAYS.items()}
    made = plan(decide(HELP, gateways=never, emergency=EMERGENCY))
    outcome = policy.next_attempt(made, Failure(status, ringing=ringing), Live(), NOW).outcome
    assert isinstance(outcome, policy.Retry)
    assert isinstance(policy.next_attempt(made, Failure(487), Live(), NOW).outcome, policy.PassOn)
