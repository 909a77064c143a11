"""The order in which a weighted route tries its gateways."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kemi.weighting import weighted_order

weights = st.lists(st.integers(0, 1000), min_size=1, max_size=10)
draws = st.floats(0, 1)


def named(given_weights: list[int]) -> list[str]:
    """A name for each weight."""
    return [f"g{index}" for index in range(len(given_weights))]


@given(weights, draws)
def test_each_gateway_comes_once_and_those_without_weight_last(some: list[int], draw: float) -> None:
    names = named(some)
    order = weighted_order(names, some, draw)
    assert sorted(order) == sorted(names)
    idle = [name for name, weight in zip(names, some, strict=True) if not weight]
    assert list(order[len(names) - len(idle) :]) == idle


@given(weights, draws)
def test_the_same_number_gives_the_same_order(some: list[int], draw: float) -> None:
    assert weighted_order(named(some), some, draw) == weighted_order(named(some), some, float(repr(draw)))


@given(weights.filter(any), st.integers(0, 9999))
def test_the_first_is_the_one_in_whose_share_the_draw_falls(some: list[int], cell: int) -> None:
    draw = (cell + 0.5) / 10_000
    names, mark = named(some), draw * sum(some)
    edges = [sum(some[:index]) for index in range(len(some) + 1)]
    expected = next(name for name, low, high in zip(names, edges, edges[1:], strict=False) if low <= mark < high)
    assert weighted_order(names, some, draw)[0] == expected


def odds(names: tuple[str, ...], some: dict[str, int]) -> float:
    """How likely an order is when gateways are drawn by weight, none twice."""
    left, product = sum(some.values()), 1.0
    for name in names:
        product *= some[name] / left if left else 1.0
        left -= some[name]
    return product


@pytest.mark.parametrize("some", [{"a": 1, "b": 1, "c": 1}, {"a": 70, "b": 25, "c": 5}, {"a": 3, "b": 0, "c": 1}])
def test_orders_are_as_frequent_as_their_odds(some: dict[str, int]) -> None:
    """Numbers evenly spread over the whole range, so that nothing here is left to chance."""
    count = 60_000
    orders = Counter(weighted_order(tuple(some), tuple(some.values()), (n + 0.5) / count) for n in range(count))
    for order, times in orders.items():
        assert times / count == pytest.approx(odds(order, some), abs=0.001)
    assert sum(odds(order, some) for order in orders) == pytest.approx(1.0)


def test_random_draws_are_shared_out_by_weight_whoever_is_left_out() -> None:
    some, seeded = {"a": 50, "b": 30, "c": 15, "d": 5}, random.Random(20261121)
    orders = [weighted_order(tuple(some), tuple(some.values()), seeded.random()) for _ in range(20_000)]
    for away in ("", "a", "b", "ac"):
        firsts = Counter(next(name for name in order if name not in away) for order in orders)
        total = sum(weight for name, weight in some.items() if name not in away)
        for name, times in firsts.items():
            assert times / len(orders) == pytest.approx(some[name] / total, abs=0.015)
