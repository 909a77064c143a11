from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kemi import policy
from kemi.explain import TYPICAL, Explanation, FailureSpecError, Snapshot, explain, parse_failure
from kemi.health import Health
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Cause, Failure, classify
from model.entries import Entry, Kind
from model.policy import Gateway, Policy, Refusal, RetryRule, Route, Strategy, Trunk
from state import layout

NOW = 1_800_000_000.25
CALL = CallFacts("1001", "+442079460000", "192.0.2.9")
GATEWAYS = {name: Gateway(name, f"198.51.100.{number}") for number, name in enumerate("abc", 1)}
ROUTE = Route("any", ("",), ("a", "b", "c"))


def view(route: Route = ROUTE, *entries: Entry, gateways: Mapping[str, Gateway] = GATEWAYS) -> View:
    whole = Policy((Trunk("office", ("192.0.2.0/24",)),), dict(gateways))
    return View(layout.build(whole, (route,), entries, version=7).get)


def explained(
    failures: Mapping[str, Failure] | None = None, route: Route = ROUTE, live: policy.Live | None = None
) -> Explanation:
    return explain(CALL, view(route), live or Snapshot(), NOW, failures or {})


# Failures as operators write them


@pytest.mark.parametrize(
    ("written", "gateway", "failure"),
    [
        ("a=503", "a", Failure(503)),
        ("carrier-a=timeout", "carrier-a", Failure(408, local=True)),
        ("a=unsendable", "a", Failure(477, local=True)),
        ("a=408", "a", Failure(408)),
        ("a=503,q850=34", "a", Failure(503, q850=34)),
        ("a=480,q850=21,location=u", "a", Failure(480, q850=21, location="U")),
        ("a=503,retry-after=120", "a", Failure(503, retry_after=120.0)),
        ("a=503,ringing", "a", Failure(503, ringing=True)),
        ("a=timeout,ringing", "a", Failure(408, local=True, ringing=True)),
        ("a.b_c=699,ringing,q850=0", "a.b_c", Failure(699, q850=0, ringing=True)),
    ],
)
def test_a_failure_is_read(written: str, gateway: str, failure: Failure) -> None:
    assert parse_failure(written) == (gateway, failure)


@pytest.mark.parametrize(
    "written",
    ["", "a", "a=", "=503", "a=200", "a=700", "a=5o3", "a=50", "a=5033", "a=TIMEOUT", "a=503,", "a=503,,ringing",
     "a,b=503", "a=b=503", "a=503 ", "a=503;q850=34"],
)  # fmt: skip
def test_what_is_no_failure_is_refused_and_an_example_given(written: str) -> None:
    with pytest.raises(FailureSpecError, match="as in carrier-a=503,q850=34"):
        parse_failure(written)


@pytest.mark.parametrize("detail", ["q850", "q850=", "cause=3", "ring", "ringing=1", "retry-after=1.5", "q850=-1"])
def test_a_detail_that_is_unknown_is_refused_by_name(detail: str) -> None:
    with pytest.raises(FailureSpecError, match="is none of q850=N, location=L") as raised:
        parse_failure(f"a=503,{detail}")
    assert repr(detail) in str(raised.value)


@pytest.mark.parametrize("name", ["q850", "retry-after"])
@pytest.mark.parametrize("value", ["x", "0x1", "1_0", "1" * 10, "9" * 5000])
def test_a_number_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(FailureSpecError, match=f"{name} is a number"):
        parse_failure(f"a=503,{name}={value}")


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("ab=,0123q85retry-afteringlocation", max_size=40))
def test_any_text_is_a_failure_or_refused(text: str) -> None:
    try:
        gateway, failure = parse_failure(text)
    except FailureSpecError:
        return
    assert gateway
    assert 300 <= failure.status <= 699


# A call


def test_a_call_without_failures_is_answered_by_its_first_gateway() -> None:
    found = explained()
    assert (found.outcome, found.gateway, found.status, found.refusal) == ("answered", "a", 200, "")
    assert (found.route, found.version, found.facts) == ("any", 7, CALL)
    (attempt,) = found.attempts
    assert (attempt.number, attempt.gateway, attempt.result) == (1, "a", "answered")
    assert attempt.uri == "sip:+442079460000@198.51.100.1:5060"
    assert (attempt.cause, attempt.why, attempt.following) == (None, "", "")


def test_a_refused_call_has_no_attempts_and_says_what_was_read() -> None:
    found = explain(CALL, view(ROUTE, Entry(Kind.CALLER, "1001")), Snapshot(), NOW, {})
    assert (found.outcome, found.refusal, found.status) == ("refused", "blocked-caller", 403)
    assert (found.attempts, found.route, found.gateway) == ((), "", "")
    assert [step[0] for step in found.steps] == ["trunk", "caller", "callee", "block caller"]


def test_no_route_and_no_usable_gateway_are_told_apart() -> None:
    nowhere = explain(CALL, view(replace(ROUTE, prefixes=("9",))), Snapshot(), NOW, {})
    down = explained(live=Snapshot({name: Health(held=NOW + 5) for name in GATEWAYS}))
    assert (nowhere.refusal, nowhere.status) == ("no-route", 404)
    assert (down.refusal, down.status) == ("gateways-down", 503)


def test_a_route_that_refuses_says_so() -> None:
    barred = replace(ROUTE, gateways=(), refusal=Refusal("barred", 403, "Barred", 21))
    assert explained(route=barred).refusal == "barred"


def test_the_attempts_go_on_until_a_gateway_answers() -> None:
    found = explained({"a": Failure(503), "b": Failure(408, local=True)})
    assert [(trace.number, trace.gateway, trace.following) for trace in found.attempts] == [
        (1, "a", "b"),
        (2, "b", "c"),
        (3, "c", ""),
    ]
    assert [trace.cause for trace in found.attempts] == [Cause.SERVER_FAULT, Cause.NO_REPLY, None]
    assert [trace.result for trace in found.attempts] == ["503", "no reply", "answered"]
    assert (found.outcome, found.gateway) == ("answered", "c")


def test_a_final_failure_is_passed_on() -> None:
    found = explained({"a": Failure(486)})
    assert (found.outcome, found.status, found.refusal, found.gateway) == ("reply passed on", 486, "", "")
    assert found.attempts[-1].following == "reply passed on"


def test_when_every_gateway_fails_the_call_is_refused() -> None:
    found = explained(dict.fromkeys(GATEWAYS, Failure(503)))
    assert (found.outcome, found.refusal, found.status) == ("refused", "gateways-failed", 500)
    assert found.attempts[-1].following == "500 gateways-failed"


def test_timers_use_up_the_post_dial_delay() -> None:
    slow = {name: replace(gateway, no_reply=4.0) for name, gateway in GATEWAYS.items()}
    tight = replace(ROUTE, post_dial_delay=7.0)
    silent = dict.fromkeys(GATEWAYS, Failure(408, local=True))
    found = explain(CALL, view(tight, gateways=slow), Snapshot(), NOW, silent)
    assert [trace.gateway for trace in found.attempts] == ["a", "b"]
    assert (found.refusal, found.status) == ("post-dial-delay", 408)


def test_a_gateway_that_asks_to_be_left_alone_is_not_tried_again_in_the_same_call() -> None:
    round_and_round = replace(ROUTE, gateways=("a", "b"), max_attempts=4)
    failures = {"a": Failure(503, retry_after=30.0), "b": Failure(500)}
    found = explained(failures, round_and_round)
    assert [trace.gateway for trace in found.attempts] == ["a", "b", "b"]
    again = explained({**failures, "a": Failure(503)}, round_and_round)
    assert [trace.gateway for trace in again.attempts] == ["a", "b", "a", "b"]


def test_a_look_does_not_take_a_turn() -> None:
    alternate = replace(ROUTE, strategy=Strategy.ALTERNATE)
    live = Snapshot(turns={"any": 4})
    assert [explained(route=alternate, live=live).gateway for _ in range(3)] == ["b", "b", "b"]


def test_every_class_that_may_be_retried_or_not_has_a_consequence() -> None:
    (attempt,) = explained().attempts
    assert attempt.consequences == {
        "no-reply": "b",
        "server-fault": "b",
        "capacity": "b",
        "gateway-policy": "b",
        "ambiguous": "reply passed on",
        "loop": "b",
        "final": "reply passed on",
        "identity": "reply passed on",
        "after-ringing": "500 gateways-failed",
        "no-answer": "reply passed on",
    }
    for name, failure in TYPICAL.items():
        assert name in ("after-ringing", "no-answer", classify(failure).value)


def test_consequences_heed_the_rules_of_gateway_and_route() -> None:
    stubborn = replace(ROUTE, retry=RetryRule(also=("ambiguous",), never=("capacity",), after_ringing=True))
    consequences = explained(route=stubborn).attempts[0].consequences
    assert consequences["ambiguous"] == consequences["after-ringing"] == "b"
    assert consequences["capacity"] == "500 gateways-failed"


def test_a_consequence_of_silence_counts_the_time_that_the_silence_takes() -> None:
    slow = {name: replace(gateway, no_reply=4.0) for name, gateway in GATEWAYS.items()}
    found = explain(CALL, view(replace(ROUTE, post_dial_delay=4.0), gateways=slow), Snapshot(), NOW, {})
    consequences = found.attempts[0].consequences
    assert consequences["no-reply"] == "408 post-dial-delay"
    assert consequences["capacity"] == "b"


def test_an_explanation_is_json() -> None:
    found = explained({"a": Failure(503)})
    data = json.loads(json.dumps(found.as_dict()))
    assert data["facts"]["callee"] == "+442079460000"
    assert data["steps"][0] == {"what": "trunk", "subject": "192.0.2.9", "found": "office"}
    assert [attempt["gateway"] for attempt in data["attempts"]] == ["a", "b"]
    assert data["attempts"][0]["cause"] == "server-fault"
    assert (data["outcome"], data["gateway"], data["status"]) == ("answered", "b", 200)


# The walk is the decision, repeated

failures = st.one_of(
    st.builds(Failure, status=st.sampled_from((500, 503)), retry_after=st.sampled_from((0.0, 2.0, 600.0))),
    st.builds(Failure, status=st.sampled_from((408, 477)), local=st.just(True), ringing=st.booleans()),
    st.builds(
        Failure,
        status=st.sampled_from((301, 403, 404, 408, 428, 480, 482, 486, 487, 488, 500, 503, 603)),
        q850=st.sampled_from((None, 3, 17, 21, 34, 41)),
        location=st.sampled_from(("", "U", "LN")),
        ringing=st.booleans(),
    ),
)
routes = st.builds(
    Route,
    name=st.just("any"),
    prefixes=st.just(("",)),
    gateways=st.permutations("abc").map(tuple),
    strategy=st.sampled_from(Strategy),
    weights=st.sampled_from(((1, 1, 1), (5, 0, 3))),
    max_attempts=st.sampled_from((0, 2, 5, 8)),
    retry=st.builds(
        RetryRule,
        also=st.sampled_from(((), ("ambiguous",), ("486",))),
        never=st.sampled_from(((), ("503",))),
        after_ringing=st.sampled_from((None, True)),
    ),
    post_dial_delay=st.sampled_from((3.0, 10.0, 30.0)),
)


class Replay:
    """A call as the routing code would run it, with a clock that the timers move."""

    def __init__(self, plan: Plan, failing: Mapping[str, Failure], live: Snapshot) -> None:
        self.now, self.failing = NOW, failing
        self.live = replace(live, known=dict(live.known))
        self.rows: list[tuple[str, str]] = []
        while (next_plan := self.attempt(plan)) is not None:
            plan = next_plan

    def attempt(self, plan: Plan) -> Plan | None:
        gateway = plan.attempt.gateway
        failure = self.failing.get(gateway)
        if failure is None:
            self.rows.append((gateway, "answered"))
            return None
        began = self.now
        if failure.local and failure.status == 408:
            wait = plan.ring if failure.ringing else min(plan.no_reply_at(self.now), plan.progress_at(self.now))
            self.now += wait
        self.live.fail(plan, failure, began, self.now)
        outcome = policy.next_attempt(plan, failure, self.live, self.now).outcome
        if isinstance(outcome, policy.Retry):
            self.rows.append((gateway, outcome.plan.attempt.gateway))
            return outcome.plan
        end = f"{outcome.refusal.status} {outcome.refusal.id}" if isinstance(outcome, policy.Reject) else ""
        self.rows.append((gateway, end or "reply passed on"))
        return None


@settings(deadline=None, max_examples=200)
@given(
    routes,
    st.dictionaries(st.sampled_from("abc"), failures, min_size=2),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from((NOW - 1, NOW + 1.5, NOW + 900))),
    st.integers(0, 5),
    st.floats(0, 1),
)
def test_the_walk_is_what_becomes_of_the_call(
    route: Route, failing: dict[str, Failure], held: dict[str, float], turn: int, drawn: float
) -> None:
    known = {name: Health(held=until) for name, until in held.items()}
    live = Snapshot(dict(known), turns={"any": turn}, drawn=drawn)
    found = explained(failing, route, live)
    outcome = policy.decide(CALL, view(route), live, NOW).outcome
    if isinstance(outcome, policy.Reject):
        assert (found.refusal, found.attempts) == (outcome.refusal.id, ())
        return
    rows = [(trace.gateway, trace.following or trace.result) for trace in found.attempts]
    assert rows == Replay(outcome.plan, failing, live).rows
    assert live == Snapshot(known, turns={"any": turn}, drawn=drawn)


@settings(deadline=None, max_examples=100)
@given(routes, st.dictionaries(st.sampled_from("abc"), failures), st.sampled_from(sorted(TYPICAL)))
def test_each_consequence_is_what_follows_that_failure(route: Route, failing: dict[str, Failure], name: str) -> None:
    first = explained(failing, route).attempts[0]
    then = explained({**failing, first.gateway: TYPICAL[name]}, route).attempts[0]
    assert then.gateway == first.gateway
    assert first.consequences[name] == then.following
