"""The breaker: when it opens, when it lets calls through again, and what it leaves alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi import health, policy
from kemi.explain import Snapshot
from kemi.health import UNKNOWN, Health
from kemi.plan import Attempt, Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure, classify
from model.open_breaker import AFTER, OpenBreaker
from model.policy import DEFAULT_BREAKER, PENALTIES, Breaker, Drain, Gateway, Policy, RetryRule, Route, Trunk
from state import codec, layout

NOW = 1_000_000.0
OPEN = Health(wait=30.0, until=NOW + 30, last=NOW, failures={"time-out": 5})
HALF_OPEN = replace(OPEN, until=NOW)

kinds = st.sampled_from(sorted(PENALTIES))
times = st.floats(0, 2e9)
healths = st.builds(
    Health, score=st.integers(0, 9), wait=st.sampled_from((0.0, 30.0, 300.0)), until=times,
    passed=st.integers(0, 2), trial=times, held=times, last=times, failures=st.dictionaries(kinds, st.integers(1, 99)),
)  # fmt: skip


def call(known: Health, kind: str, now: float = NOW, breaker: Breaker = DEFAULT_BREAKER) -> Health:
    """A call after the one before; it fails with a kind, or not at all."""
    known = health.begun(known)
    return health.failed(known, breaker, kind, now, trial=False) if kind else known


def calls_until_open(kind: str, *, at_once: bool = False, breaker: Breaker = DEFAULT_BREAKER) -> int | None:
    """How many calls that all fail open the breaker; None: a thousand do not."""
    known = UNKNOWN
    for number in range(1, 1001):
        fail = health.failed(known, breaker, kind, NOW, trial=False)
        known = fail if at_once else call(known, kind, breaker=breaker)
        if known.tripped:
            return number
    return None


@pytest.mark.parametrize(
    ("kind", "in_a_row", "at_once"),
    [("transport", 9, 5), ("time-out", 9, 5), ("server-fault", 9, 5), ("capacity", None, 10)],
)
def test_a_gateway_that_fails_every_call_trips_at_its_threshold(kind: str, in_a_row: int | None, at_once: int) -> None:
    """Capacity alone trips it only where many calls fail at once: each one after another is made good by the next."""
    assert calls_until_open(kind) == in_a_row
    assert calls_until_open(kind, at_once=True) == at_once
    assert calls_until_open(kind, breaker=replace(DEFAULT_BREAKER, trip=1)) == 1


def test_it_opens_for_the_time_of_the_policy() -> None:
    known = UNKNOWN
    while not known.tripped:
        known = call(known, "time-out", breaker=replace(DEFAULT_BREAKER, open=12.5))
    assert (known.wait, known.until, known.score) == (12.5, NOW + 12.5, 0)
    assert dict(known.failures) == {"time-out": 9}
    assert known.is_open(NOW + 12.4)
    assert known.half_open(NOW + 12.5)


@pytest.mark.parametrize(("share", "trips"), [(0.2, False), (0.6, True), (0.8, True)])
def test_the_share_of_failures_that_trips(share: float, trips: bool) -> None:
    """Of many calls with failures at random; how soon is told by the other tests."""
    draw, known = random.Random(1), UNKNOWN
    for _ in range(100_000):
        known = call(known, "time-out" if draw.random() < share else "")
        if known.tripped:
            break
    assert known.tripped is trips


def test_one_call_in_five_never_trips_even_where_calls_ring_for_long() -> None:
    """Failures are known at once, successes after 200 further calls: credits must not wait for them."""
    known = UNKNOWN
    for number in range(100_000):
        known = call(known, "" if number % 5 else "time-out")
        assert known.score <= 2


def test_trials_in_a_row_close_it() -> None:
    known = HALF_OPEN
    for passed in (1, 2):
        known = health.passed(known, DEFAULT_BREAKER, NOW)
        assert (known.passed, known.half_open(NOW)) == (passed, True)
    assert health.passed(known, DEFAULT_BREAKER, NOW) == UNKNOWN
    assert health.passed(replace(known, held=NOW + 9), DEFAULT_BREAKER, NOW) == Health(held=NOW + 9)


def test_a_trial_that_fails_doubles_the_wait_up_to_its_limit() -> None:
    known, now, waits = replace(HALF_OPEN, passed=2), NOW, []
    for _ in range(5):
        known = health.failed(known, DEFAULT_BREAKER, "capacity", now, trial=True)
        assert known.passed == 0
        waits.append(known.wait)
        now = known.until
    assert waits == [60.0, 120.0, 240.0, 300.0, 300.0]


def test_a_trial_that_fails_without_blame_passes() -> None:
    free = Breaker(penalties={**PENALTIES, "capacity": 0})
    assert health.failed(HALF_OPEN, free, "capacity", NOW, trial=True).passed == 1


@given(kinds, st.booleans())
def test_stragglers_change_nothing(kind: str, half_open: bool) -> None:
    known = HALF_OPEN if half_open else OPEN
    assert health.failed(known, DEFAULT_BREAKER, kind, NOW, trial=False) == known
    assert health.begun(known) == known
    assert health.passed(OPEN, DEFAULT_BREAKER, NOW) == OPEN
    assert health.failed(OPEN, DEFAULT_BREAKER, kind, NOW, trial=True) == OPEN


def test_one_trial_at_a_time() -> None:
    known = health.claimed(HALF_OPEN, NOW, NOW + 9)
    assert known is not None
    assert health.claimed(known, NOW + 8, NOW + 20) is None
    assert health.claimed(known, NOW + 9, NOW + 20) is not None
    for ended in (health.freed(known), health.passed(known, DEFAULT_BREAKER, NOW)):
        assert health.claimed(ended, NOW + 1, NOW + 20) is not None


def test_a_claim_before_the_time_is_over_makes_it_half_open() -> None:
    """As where a probe says that the gateway is back."""
    known = health.claimed(OPEN, NOW, NOW + 9)
    assert known is not None
    assert known.half_open(NOW)


@given(healths)
def test_what_is_stored_is_read_again(known: Health) -> None:
    assert Health.loads(known.dumps()) == known


@given(st.text() | st.integers() | st.none() | healths.map(lambda known: known.dumps()[:-3]))
def test_what_cannot_be_read_is_healthy(text: object) -> None:
    assert Health.loads(text) is None


@given(healths)
def test_nothing_is_forgotten_before_its_time(known: Health) -> None:
    ends = NOW + known.expires(NOW)
    assert ends >= max(known.held, known.last)
    assert not known.last or ends >= known.last + 299
    assert not known.tripped or ends >= known.until


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure(477, local=True), "transport"),
        (Failure(408, local=True), "time-out"),
        (Failure(408, local=True, ringing=True), ""),
        (Failure(408), ""),
        (Failure(503), "server-fault"),
        (Failure(500, ringing=True), "server-fault"),
        (Failure(503, q850=34), "capacity"),
        (Failure(503, q850=17), ""),
        (Failure(486), ""),
        (Failure(404), ""),
        (Failure(403), ""),
        (Failure(482), ""),
        (Failure(487), ""),
        (Failure(603), ""),
    ],
)
def test_the_kinds_of_failure(failure: Failure, kind: str) -> None:
    assert health.kind_of(failure, classify(failure)) == kind


def plan(current: int = 0, breaker: Breaker | None = DEFAULT_BREAKER) -> Plan:
    """A plan of two gateways whose budget is over in 10 seconds."""
    own = breaker is DEFAULT_BREAKER or breaker or False
    attempts = tuple(Attempt(name, "sip:1@192.0.2.1", RetryRule(), 2.0, 8.0, own) for name in "ab")
    return Plan("any", 1, attempts, RetryRule(), NOW + 10, 60.0, current=current)


TIMEOUT = Failure(408, local=True)


def test_a_gateway_is_not_blamed_for_a_budget_that_others_used_up() -> None:
    blamed: Callable[[int, float], int] = lambda current, now: policy.judged(  # noqa: E731
        UNKNOWN, plan(current), TIMEOUT, now, trial=False
    ).score
    assert (blamed(0, NOW + 10), blamed(1, NOW + 10), blamed(1, NOW + 5)) == (2, 0, 2)


def test_a_trial_that_others_left_no_time_for_tells_nothing() -> None:
    under_way = replace(HALF_OPEN, trial=NOW + 99)
    assert policy.judged(under_way, plan(1), TIMEOUT, NOW + 10, trial=True) == HALF_OPEN
    assert policy.judged(under_way, plan(0), TIMEOUT, NOW + 10, trial=True).wait == 60


def test_a_trial_that_is_refused_by_the_called_side_passes() -> None:
    busy = policy.judged(HALF_OPEN, plan(), Failure(486), NOW, trial=True)
    assert (busy.passed, busy.half_open(NOW)) == (1, True)
    assert policy.judged(HALF_OPEN, plan(), Failure(486), NOW, trial=False) == HALF_OPEN


def test_a_breaker_that_is_off_remembers_retry_after_alone() -> None:
    assert policy.judged(UNKNOWN, plan(breaker=None), TIMEOUT, NOW, trial=False) == UNKNOWN
    asked = policy.judged(UNKNOWN, plan(breaker=None), Failure(503, retry_after=7.2), NOW, trial=False)
    assert asked == Health(held=NOW + 8)


@pytest.mark.parametrize("breaker", [DEFAULT_BREAKER, None, Breaker(trip=3, penalties={**PENALTIES, "capacity": 5})])
def test_a_plan_carries_its_breakers(breaker: Breaker | None) -> None:
    carried = plan(breaker=breaker)
    assert Plan.loads(carried.dumps()) == carried


GATEWAYS = {name: Gateway(name, "192.0.2.1", breaker=Breaker()) for name in "abc"}
CALL = CallFacts(caller="1001", callee="100", source="192.0.2.9")


def decided(
    live: Snapshot, *, drains: dict[str, Drain] | None = None, probe: str = "", order: str = "abc"
) -> tuple[str, dict[str, str]]:
    """The gateways that a call would be tried at in order, or the refusal, and what is said of each."""
    gateways = {name: replace(gateway, probe=name in probe) for name, gateway in GATEWAYS.items()}
    route = Route("any", ("",), tuple(order))
    snapshot = layout.build(Policy((Trunk("t", ("192.0.2.0/24",)),), gateways), (route,), ())
    index = layout.Index.decode(snapshot[layout.INDEX])
    index.drains = {name: codec.encode_drain(drain) for name, drain in (drains or {}).items()}
    snapshot[layout.INDEX] = index.encode()
    found = policy.decide(CALL, View(snapshot.get), live, NOW)
    said = {subject: text for what, subject, text in found.steps if what == "gateway"}
    if isinstance(found.outcome, policy.Reject):
        return f"{found.outcome.refusal.id} {found.outcome.refusal.retry_after}", said
    return "".join(attempt.gateway for attempt in found.outcome.plan.attempts), said


def test_an_open_gateway_is_left_out() -> None:
    tried, said = decided(Snapshot({"a": OPEN}))
    assert (tried, said) == ("bc", {"a": "breaker open for 30 s more: 5 time-out"})


def test_a_half_open_gateway_is_tried_first_by_one_call_and_last_by_the_others() -> None:
    live = Snapshot({"a": replace(HALF_OPEN, passed=1)})
    tried, said = decided(live)
    assert tried == "abc"
    assert said["a"] == "breaker half-open after 5 time-out: this call is a trial, 1 of 3 passed so far"
    assert decided(live) == ("bca", {"a": "breaker half-open after 5 time-out: it comes last"})


def test_a_half_open_gateway_that_is_not_the_calls_first_is_tried_last_and_takes_no_trial() -> None:
    live = Snapshot({"b": HALF_OPEN})
    assert decided(live)[0] == "acb"
    assert live.known["b"].trial == 0


def test_with_nobody_else_every_call_tries_the_half_open_ones() -> None:
    live = Snapshot({"a": HALF_OPEN, "b": HALF_OPEN, "c": OPEN})
    assert [decided(live)[0] for _ in range(3)] == ["ab", "ba", "ab"]


def test_all_open_is_refused_until_the_first_may_be_tried() -> None:
    known = {"a": OPEN, "b": replace(OPEN, until=NOW + 7.5), "c": Health(held=NOW + 20)}
    assert decided(Snapshot(known))[0] == "gateways-down 8"


def test_drains_by_their_time() -> None:
    drains = {"a": Drain("a", "cable", author="ann"), "b": Drain("b", "x", until=NOW), "q": Drain("q", "gone")}
    assert decided(Snapshot(), drains=drains) == ("bc", {"a": "drained by ann: cable"})
    drains = {name: Drain(name, "all", until=NOW + 90) for name in "abc"}
    assert decided(Snapshot(), drains=drains)[0] == "gateways-down 91"


def test_a_probe_that_fails_leaves_out_only_who_is_probed() -> None:
    live = Snapshot(probed={GATEWAYS["a"].uri: int(NOW) - 60})
    assert decided(live, probe="a") == ("bc", {"a": "answers no probe since 60 s"})
    assert decided(live)[0] == "abc"


def test_a_probe_that_comes_back_ends_the_wait() -> None:
    uri = GATEWAYS["a"].uri
    known = {"a": replace(OPEN, last=NOW - 10)}
    assert decided(Snapshot(dict(known), probed={uri: -int(NOW) + 20}), probe="a", order="a")[0] == "gateways-down 31"
    back = Snapshot(dict(known), probed={uri: -int(NOW) + 5})
    assert decided(back, probe="a")[0] == "abc"
    assert back.known["a"].half_open(NOW)


# Breakers of other nodes

TOLD = OpenBreaker("far", "a", at=NOW, until=NOW + 30, since=NOW - 3, failures={"time-out": 5})


def view_with(trip: OpenBreaker, breaker: Breaker | None = DEFAULT_BREAKER) -> View:
    """Gateways a and b, where another node's breaker of a is open."""
    gateways = {name: Gateway(name, "192.0.2.1", 5060 + n, breaker=breaker) for n, name in enumerate("ab")}
    policy_of_two = Policy((Trunk("lab", ("192.0.2.0/24",)),), gateways)
    records = layout.build(policy_of_two, [Route("r", ("",), ("a", "b"))], ())
    index = layout.Index.decode(records[layout.INDEX])
    index.breakers = {"a": trip.encode()}
    return View({**records, layout.INDEX: index.encode()}.get)


def begins_with(live: Snapshot, now: float, view: View) -> list[str]:
    outcome = policy.decide(CallFacts("1", "2", "192.0.2.9"), view, live, now).outcome
    assert isinstance(outcome, policy.Relay)
    return [attempt.gateway for attempt in outcome.plan.attempts]


def test_another_nodes_breaker_is_gone_by_until_this_nodes_own_trials() -> None:
    live, view = Snapshot(), view_with(TOLD)
    assert begins_with(live, NOW + 29, view) == ["b"]
    assert live.known == {}, "nothing is taken over yet"
    # One call at a time is the trial, as with a breaker of its own.
    assert begins_with(live, NOW + 30, view) == ["a", "b"]
    assert begins_with(live, NOW + 30, view) == ["b", "a"]
    for _ in range(DEFAULT_BREAKER.restore):
        live.known["a"] = health.passed(health.freed(live.known["a"]), DEFAULT_BREAKER, NOW + 31)
    assert not live.known["a"].tripped
    assert begins_with(live, NOW + 32, view) == ["a", "b"], "what is over is not taken over again"


def test_a_trial_of_this_nodes_own_that_fails_opens_its_own_breaker() -> None:
    live, view = Snapshot(), view_with(TOLD)
    begins_with(live, NOW + 30, view)
    live.known["a"] = health.failed(live.known["a"], DEFAULT_BREAKER, "time-out", NOW + 31, trial=True)
    found = live.known["a"]
    assert health.opened(found, NOW + 31)
    assert (found.wait, found.teller, dict(found.failures), found.since) == (60.0, "", {"time-out": 1}, NOW - 3)
    assert begins_with(live, NOW + 40, view) == ["b"]


def test_whose_word_is_not_gone_by() -> None:
    assert begins_with(Snapshot(), NOW, view_with(TOLD, replace(DEFAULT_BREAKER, shared=False))) == ["a", "b"]
    assert begins_with(Snapshot(), NOW, view_with(TOLD, None)) == ["a", "b"]
    # A past call that is decided anew knew nothing of it.
    assert begins_with(Snapshot(), NOW - 4, view_with(TOLD)) == ["a", "b"]
    # Without the agent nobody takes it out of the snapshot.
    known = Snapshot()
    assert begins_with(known, TOLD.until + AFTER, view_with(TOLD)) == ["a", "b"]
    assert known.known == {}


def test_the_streak_that_opens_a_breaker_begins_with_the_first_failure_that_was_not_made_good() -> None:
    known = health.failed(UNKNOWN, DEFAULT_BREAKER, "capacity", NOW - 100, trial=False)
    known = health.begun(known)
    for second in range(5):
        known = health.failed(known, DEFAULT_BREAKER, "time-out", NOW + second, trial=False)
    assert health.opened(known, NOW + 4)
    assert known.since == NOW
    assert not health.opened(known, NOW + 5)
    assert Health.loads(known.dumps()) == known


def test_a_record_of_an_earlier_version_is_read() -> None:
    assert Health.loads('[3,0.0,0.0,0,0.0,0.0,5.0,{"time-out":2}]') == Health(
        score=3, last=5.0, failures={"time-out": 2}
    )
