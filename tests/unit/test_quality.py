"""The order of gateways by their figures: what holds one back, what never happens to it, and how it comes back."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi import policy
from kemi.explain import Snapshot
from kemi.health import Health
from kemi.quality import CRITICAL, WELL, judge, score
from kemi.view import View
from model.call import CallFacts
from model.policy import Gateway, LeastCost, Policy, Route, Strategy, Trunk
from model.quality import SLOT, Bounds, Figures, Quality, merged, slot_of, summed
from model.rates import Rate, Row
from state import codec, figures, layout

NOW = 1_000_000.0
NAMES = ("a", "b", "c", "d")
GATEWAYS = {name: Gateway(name, "192.0.2.1", 5060 + n) for n, name in enumerate(NAMES)}
POLICY = Policy((Trunk("lab", ("192.0.2.0/24",)),), GATEWAYS, currency="USD")
RULE = Quality(min_samples=10, asr=Bounds(40, 15), acd=Bounds(60, 10), pdd=Bounds(4, 8))
GOOD = Figures(100, 60, 90, 90 * 1500, 60, 60 * 120_000)
POOR = GOOD._replace(answered=30)
BAD = GOOD._replace(answered=5)

counts = st.builds(
    lambda attempts, answered, rang, delay, ended, talk: Figures(
        attempts, min(answered, attempts), rang, delay * rang, ended, talk * ended
    ),
    st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(0, 20_000), st.integers(0, 200),
    st.integers(0, 300_000),
)  # fmt: skip
known = st.dictionaries(st.sampled_from(NAMES), counts)
rules = st.builds(
    Quality, min_samples=st.integers(1, 100), critical=st.sampled_from(("last", "left_out")),
    asr=st.sampled_from((Bounds(), Bounds(40), Bounds(0, 20), Bounds(40, 15))),
    acd=st.sampled_from((Bounds(), Bounds(60, 10))), pdd=st.sampled_from((Bounds(), Bounds(4, 8))),
)  # fmt: skip


def view_of(route: Route, counted: Mapping[str, Figures], sheets: Any = None, at: float = NOW) -> View:
    records = layout.build(POLICY, (route,), (), version=7, sheets=sheets)
    if route.quality is not None:
        records[layout.QUALITY] = figures.record({slot_of(NOW): dict(counted)}, [route.quality.window], NOW)
        raw = figures.read(records[layout.QUALITY])
        assert raw[0] == NOW
    return View(records.get)


def decided(route: Route, counted: Mapping[str, Figures], live: Snapshot | None = None, **more: Any) -> policy.Decision:
    now = more.pop("now", NOW)
    view = view_of(route, counted, **more)
    return policy.decide(CallFacts("77", "12345", "192.0.2.9"), view, live or Snapshot(), now)


def order(route: Route, counted: Mapping[str, Figures], live: Snapshot | None = None, **more: Any) -> list[str]:
    outcome = decided(route, counted, live, **more).outcome
    assert isinstance(outcome, policy.Relay), outcome
    return [attempt.gateway for attempt in outcome.plan.attempts]


def route(strategy: Strategy = Strategy.PRIORITY, rule: Quality | None = RULE, **more: Any) -> Route:
    weights = (4, 3, 2, 1) if strategy is Strategy.WEIGHTED else ()
    return Route("r", ("",), NAMES, strategy, weights, quality=rule, **more)


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        ({}, "abcd"),
        ({"a": POOR}, "bcda"),
        ({"a": BAD, "b": POOR}, "cdba"),
        ({"a": BAD, "b": POOR, "c": POOR, "d": BAD}, "bcad"),
        (dict.fromkeys(NAMES, BAD), "abcd"),
        ({"a": BAD._replace(attempts=9, answered=0, ended=9, rang=9)}, "abcd"),
        ({"b": GOOD._replace(talk=60 * 5000)}, "acdb"),
        ({"b": GOOD._replace(delay=90 * 5000), "c": GOOD._replace(delay=90 * 9000)}, "adbc"),
    ],
)
def test_who_is_held_back(counted: dict[str, Figures], expected: str) -> None:
    assert "".join(order(route(), counted)) == expected


def test_what_is_held_against_a_gateway_is_said() -> None:
    steps = decided(route(), {"b": Figures(240, 29)}).steps
    why = "ASR 12.1 % of 240 attempts in 15 min, critical below 15 %: last"
    assert [step for step in steps if step[0] == "quality"] == [("quality", "b", why)]
    steps = decided(route(rule=replace(RULE, asr=Bounds(30))), {"b": Figures(240, 29)}).steps
    assert ("quality", "b", "ASR 12.1 % of 240 attempts in 15 min, warn below 30 %: behind the others") in steps


def test_a_critical_gateway_may_be_left_out_but_never_the_last_one() -> None:
    out = replace(RULE, critical="left_out")
    assert order(route(rule=out), {"a": BAD, "c": POOR}) == ["b", "d", "c"]
    assert order(route(rule=out), dict.fromkeys(NAMES, BAD)) == list(NAMES)
    # The others are not to be called.
    held = Snapshot({name: Health(held=NOW + 60) for name in "bcd"})
    found = decided(route(rule=out), {"a": BAD}, held)
    assert isinstance(found.outcome, policy.Relay)
    assert [attempt.gateway for attempt in found.outcome.plan.attempts] == ["a"]
    assert ("quality", "left out", "nobody else is to be called: a") in found.steps


def test_strategies_keep_their_order_among_equals() -> None:
    assert order(route(Strategy.ALTERNATE), {"c": POOR}, Snapshot(turns={"r": 1})) == ["b", "d", "a", "c"]
    assert order(route(Strategy.WEIGHTED), {"a": POOR}, Snapshot(drawn=0.0))[-1] == "a"
    prices = {name: ("USD", [("", Row(Rate(price)))]) for name, price in zip("abcd", (4, 3, 2, 1), strict=True)}
    least = route(Strategy.LEAST_COST, least_cost=LeastCost(2))
    assert order(least, {}, sheets=prices) == ["d", "c"]
    # The cheapest of the well, and at most so many.
    assert order(least, {"d": POOR}, sheets=prices) == ["c", "b"]
    assert order(least, {"d": BAD, "c": POOR, "b": BAD}, sheets=prices) == ["a", "c"]


def test_the_strategy_quality_takes_the_best_first() -> None:
    best = GOOD._replace(answered=80)
    rule = Quality(min_samples=10)
    assert order(route(Strategy.QUALITY, rule), {"a": POOR, "b": GOOD, "c": BAD, "d": best}) == ["d", "b", "a", "c"]
    # Who has too few samples is tried first, as nobody else will tell.
    assert order(route(Strategy.QUALITY, rule), {"a": GOOD, "b": BAD, "d": best}) == ["c", "d", "a", "b"]
    assert order(route(Strategy.QUALITY, RULE), {"a": best, "b": GOOD._replace(delay=90 * 9000)})[-1] == "b"


def test_the_score() -> None:
    assert score(GOOD._replace(attempts=9), RULE) is None
    assert score(GOOD, RULE) == 60 - 1.5
    assert score(GOOD._replace(talk=60 * 30_000), RULE) == 30 - 1.5
    assert score(GOOD._replace(ended=9, talk=9, rang=9), RULE) == 60


@given(known, rules, st.sampled_from((Strategy.PRIORITY, Strategy.ALTERNATE, Strategy.WEIGHTED)), st.floats(0, 1))
def test_nobody_is_lost_and_equals_keep_their_order(
    counted: dict[str, Figures], rule: Quality, strategy: Strategy, draw: float
) -> None:
    plain = order(route(strategy, None), {}, Snapshot(drawn=draw))
    found = order(route(strategy, rule), counted, Snapshot(drawn=draw))
    grades = {name: judge(counted.get(name, Figures()), rule)[0] for name in NAMES}
    kept = [name for name in plain if grades[name] != CRITICAL or rule.critical == "last"] or plain
    assert found == sorted(kept, key=grades.__getitem__)


@given(known, rules)
def test_the_best_come_first(counted: dict[str, Figures], rule: Quality) -> None:
    found = order(route(Strategy.QUALITY, replace(rule, asr=Bounds(), acd=Bounds(), pdd=Bounds())), counted)
    scores = [score(counted.get(name, Figures()), rule) for name in found]
    assert sorted(found) == list(NAMES)
    told = [own for own in scores if own is not None]
    assert scores == [None] * (4 - len(told)) + sorted(told, reverse=True)


@given(counts, rules)
def test_too_few_samples_hold_nobody_back(counted: Figures, rule: Quality) -> None:
    rule = replace(rule, min_samples=201)
    assert judge(counted, rule) == (WELL, "")
    assert score(counted, rule) is None


@given(counts, rules, st.integers(0, 100))
def test_a_better_figure_is_never_judged_worse(counted: Figures, rule: Quality, more: int) -> None:
    better = counted._replace(answered=min(counted.attempts, counted.answered + more), talk=counted.talk + more * 1000)
    assert judge(better, rule)[0] <= judge(counted, rule)[0]


def test_figures_of_long_ago_are_held_against_nobody() -> None:
    assert order(route(), {"a": BAD}, now=NOW + RULE.window - 1) == ["b", "c", "d", "a"]
    # The agent has been away for as long as the window.
    assert order(route(), {"a": BAD}, now=NOW + RULE.window) == list(NAMES)
    # A past call that is decided anew.
    assert order(route(), {"a": BAD}, now=NOW - 1) == list(NAMES)


@given(st.lists(st.tuples(st.floats(NOW - 100, NOW), st.sampled_from("ab"), counts)), st.integers(SLOT, 200))
def test_a_window_sums_its_slots(events: Sequence[tuple[float, str, Figures]], window: int) -> None:
    parts = [{slot_of(at): {name: figures}} for at, name, figures in events]
    found = summed(merged(parts), window, NOW)
    for name in "ab":
        reached = [f for at, own, f in events if own == name and slot_of(at) >= slot_of(NOW - window)]
        assert found.get(name, Figures()) == Figures(*map(sum, zip(Figures(), *reached, strict=True)))


def test_the_codec_keeps_it() -> None:
    whole = route(Strategy.QUALITY, replace(RULE, critical="left_out"))
    assert codec.decode_route(codec.encode_route(whole)) == whole
    assert "quality" not in codec.encode_route(route(rule=None))
    routes = whole, route(rule=None)
    assert codec.decode_document(codec.encode_document(POLICY, routes))[1] == routes


def simulated(recovers: float, until: float, *, rate: float = 2.0, window: float = 120.0) -> list[tuple[float, str]]:
    """Which gateway calls begin with: a that answers 1 in 20 until ``recovers`` and then 3 in 4; b that does always."""
    rule = Quality(window=window, min_samples=20, asr=Bounds(40))
    way, draw, counted = Route("r", ("",), ("a", "b"), quality=rule), random.Random(3), {}
    found = []
    for number in range(int(until * rate)):
        now = NOW + number / rate
        records = layout.build(POLICY, (way,), (), version=7)
        records[layout.QUALITY] = figures.record(counted, [window], now)
        outcome = policy.decide(CallFacts("77", "12345", "192.0.2.9"), View(records.get), Snapshot(), now).outcome
        assert isinstance(outcome, policy.Relay)
        first = outcome.plan.attempt.gateway
        share = 0.75 if first == "b" or now - NOW >= recovers else 0.05
        one = Figures(1, int(draw.random() < share))
        counted = merged((counted, {slot_of(now): {first: one}}))
        found.append((now - NOW, first))
    return found


def test_a_gateway_that_stays_bad_gets_a_few_calls_in_each_window() -> None:
    found = simulated(recovers=1e9, until=1200)
    turns = sum(one[1] != other[1] for one, other in pairwise(found))
    to_a = sum(name == "a" for _, name in found)
    # Ten windows: each time it is found out by some 20 calls.
    assert 100 <= to_a <= 400
    assert turns <= 10 * 2 * 4


def test_a_gateway_that_recovers_is_back_within_two_windows_and_stays() -> None:
    found = simulated(recovers=300, until=1200)
    assert all(name == "a" for at, name in found if at > 300 + 2 * 120)
