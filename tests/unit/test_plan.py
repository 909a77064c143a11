"""The plan on its way through a transaction, and the walk through its attempts, for plans of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kemi import policy
from kemi.failure import SHORTEST_ATTEMPT
from kemi.health import Health
from kemi.plan import Attempt, Media, Plan
from model.causes import TREATMENTS, Cause, Failure, classify
from model.handover import HOPS_MAX
from model.policy import Breaker, RetryRule

NOW = 1_000_000.0


@dataclass(slots=True)
class Live:
    """Gateways that asked to be left alone."""

    held: dict[str, float] = field(default_factory=dict)

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
        return 0

    def draw(self) -> float:
        """As :class:`kemi.policy.Live` has it."""
        return 0.0


seconds = st.floats(0.1, 100.0)
names = st.sampled_from(["a", "b", "c", "d"])
tokens = st.tuples() | st.lists(
    st.sampled_from([*Cause, "404", "480", "486", "487", "503", "q850:17", "q850:41"]), max_size=3
).map(lambda items: tuple(str(item) for item in items))
rules = st.builds(RetryRule, also=tokens, never=tokens, only=tokens, after_ringing=st.sampled_from([None, True, False]))
attempts = st.builds(
    Attempt,
    gateway=names,
    uri=st.text(max_size=20).map(lambda user: f"sip:{user}@192.0.2.1:5060"),
    retry=rules,
    no_reply=seconds,
    progress=seconds,
    own_breaker=st.booleans() | st.builds(Breaker, trip=st.integers(1, 99), open=seconds, open_max=seconds),
)
plans = st.builds(
    Plan,
    route=st.text(max_size=10),
    version=st.integers(0, 1 << 40),
    attempts=st.lists(attempts, min_size=1, max_size=8).map(tuple),
    retry=rules,
    deadline=seconds.map(lambda left: NOW + left),
    ring=seconds,
    retry_after_max=seconds,
    emergency=st.booleans(),
    media=st.none()
    | st.builds(Media, app=names, args=st.text(), caller=names, callee=names, hops=st.integers(1, HOPS_MAX)),
    used=st.integers(0, 11),
)
failures = st.builds(
    Failure,
    status=st.sampled_from([302, 401, 403, 404, 408, 410, 428, 480, 482, 483, 486, 487, 488, 500, 503, 600, 603]),
    local=st.just(False),
    q850=st.none() | st.sampled_from([1, 3, 16, 17, 21, 34, 38, 41, 57, 88, 102, 127]),
    location=st.sampled_from(["", "U", "LN", "RPN"]),
    ringing=st.booleans(),
    retry_after=st.sampled_from([0.0, 1.0, 1e6]),
)


@given(plans, st.lists(names, max_size=3), st.integers(0, 7))
def test_a_plan_comes_back_from_its_text(plan: Plan, excluded: list[str], current: int) -> None:
    plan = replace(plan, excluded=tuple(excluded), current=current % len(plan.attempts))
    assert Plan.loads(plan.dumps()) == plan


@dataclass(slots=True)
class Walk:
    """What became of a plan."""

    tried: list[Attempt]
    causes: list[Cause]
    outcome: policy.Retry | policy.PassOn | policy.Reject | None = None


def walk(plan: Plan, endings: list[Failure], live: Live, pace: float = 0.0) -> Walk:
    """Fail the attempts of a plan one after the other, each after ``pace`` seconds, until it ends or endings do."""
    seen, now = Walk([plan.attempt], []), NOW
    for failure in endings:
        now += pace
        if held := policy.hold(plan, failure):
            live.held[plan.attempt.gateway] = now + held
        decision = policy.next_attempt(plan, failure, live, now)
        seen.causes.append(decision.cause)
        seen.outcome = decision.outcome
        if not isinstance(decision.outcome, policy.Retry):
            return seen
        plan = Plan.loads(decision.outcome.plan.dumps())
        seen.tried.append(plan.attempt)
    return seen


endings = st.lists(failures, max_size=12)


@given(plans, endings)
def test_attempts_are_those_of_the_plan_in_order_and_no_more(plan: Plan, ways: list[Failure]) -> None:
    remaining = iter(plan.attempts)
    assert all(any(tried is other or tried == other for other in remaining) for tried in walk(plan, ways, Live()).tried)


@given(plans, endings)
def test_a_gateway_that_saw_a_loop_is_never_tried_again(plan: Plan, ways: list[Failure]) -> None:
    seen = walk(plan, ways, Live())
    for number, cause in enumerate(seen.causes):
        if not TREATMENTS[cause].same_gateway:
            later = [attempt.gateway for attempt in seen.tried[number + 1 :]]
            assert seen.tried[number].gateway not in later


@given(plans, endings)
def test_nothing_follows_a_cancelled_call_whatever_the_rules_say(plan: Plan, ways: list[Failure]) -> None:
    seen = walk(plan, ways, Live())
    if Cause.CANCELLED in seen.causes:
        assert seen.causes.index(Cause.CANCELLED) == len(seen.causes) - 1
        assert isinstance(seen.outcome, policy.PassOn)


@given(plans, endings)
def test_nothing_follows_ringing_unless_the_policy_says_so(plan: Plan, ways: list[Failure]) -> None:
    seen = walk(plan, ways, Live())
    for failure, attempt in zip(ways, seen.tried[: len(seen.tried) - 1], strict=False):
        own = attempt.retry.after_ringing
        assert not failure.ringing or (plan.retry.after_ringing if own is None else own)


@given(plans, endings, seconds)
def test_no_attempt_begins_when_the_budget_is_nearly_used_up(plan: Plan, ways: list[Failure], pace: float) -> None:
    seen = walk(plan, ways, Live(), pace)
    begun = NOW + pace * (len(seen.tried) - 1)
    assert len(seen.tried) == 1 or plan.deadline - begun >= SHORTEST_ATTEMPT


@given(plans, endings)
def test_a_gateway_that_asked_to_be_left_alone_is_not_tried_again(plan: Plan, ways: list[Failure]) -> None:
    live, plan = Live(), replace(plan, emergency=False, media=None)
    seen = walk(plan, ways, live)
    for number, failure in enumerate(ways[: len(seen.causes)]):
        if failure.status in (500, 503) and failure.retry_after:
            assert seen.tried[number].gateway not in [attempt.gateway for attempt in seen.tried[number + 1 :]]


def test_an_emergency_call_is_tried_even_there() -> None:
    attempts = tuple(Attempt(name, "sip:112@192.0.2.1", RetryRule(), 1.0, 1.0) for name in "ab")
    plan = Plan("emergency", 1, attempts, RetryRule(), NOW + 9, 1.0, emergency=True)
    assert len(walk(plan, [Failure(503)], Live({"b": NOW + 99})).tried) == 2
    assert len(walk(replace(plan, emergency=False), [Failure(503)], Live({"b": NOW + 99})).tried) == 1


def test_a_plan_of_a_version_without_emergency_calls_is_read() -> None:
    plan = Plan("r", 1, (Attempt("a", "sip:1@192.0.2.1", RetryRule(), 1.0, 1.0),), RetryRule(), NOW, 1.0)
    assert Plan.loads(plan.dumps().replace(",false]", "]")) == plan


@given(plans, endings)
def test_a_503_is_never_passed_on(plan: Plan, ways: list[Failure]) -> None:
    seen = walk(plan, ways, Live())
    if isinstance(seen.outcome, policy.PassOn):
        assert ways[len(seen.causes) - 1].status != 503
    if isinstance(seen.outcome, policy.Reject):
        assert seen.outcome.refusal.id in ("gateways-failed", "post-dial-delay")


@given(plans, failures)
def test_the_table_decides_where_no_rule_speaks(plan: Plan, failure: Failure) -> None:
    silent = RetryRule()
    plan = replace(plan, retry=silent, attempts=tuple(replace(attempt, retry=silent) for attempt in plan.attempts))
    decision = policy.next_attempt(plan, failure, Live(), NOW)
    if isinstance(decision.outcome, policy.Retry):
        assert TREATMENTS[classify(failure)].retry
        assert not failure.ringing


@given(plans, seconds)
def test_no_attempt_is_waited_for_beyond_the_deadline(plan: Plan, late: float) -> None:
    now = NOW + late
    left = max(0.0, plan.deadline - now)
    assert 0.0 <= plan.progress_at(now) <= min(left, plan.attempt.progress)
    assert 0.0 <= plan.no_reply_at(now) <= min(left, plan.attempt.no_reply)


def test_a_hold_is_for_servers_and_has_a_longest_time() -> None:
    plan = Plan("r", 1, (Attempt("a", "sip:1@192.0.2.1", RetryRule(), 1.0, 1.0),), RetryRule(), NOW, 1.0)
    plan = replace(plan, retry_after_max=60.0)
    held = {
        (status, asked): policy.hold(plan, Failure(status, retry_after=asked))
        for status in (480, 486, 500, 502, 503)
        for asked in (0.0, 30.0, 3600.0)
    }
    assert {key: value for key, value in held.items() if value} == {
        (500, 30.0): 30.0,
        (500, 3600.0): 60.0,
        (503, 30.0): 30.0,
        (503, 3600.0): 60.0,
    }
