"""What a benchmark says of itself: bounds, goals, and the search for a limit."""

from __future__ import annotations

import json
import math

import pytest

from bench.capacity import CLOSE, Search
from bench.figures import Figure, Goal, mean_interval, paired, percentile, percentile_interval
from bench.world import draw

FIELDS = {
    "figure", "value", "unit", "peer", "peer_value", "ratio", "low", "high", "goal", "met", "machine", "command",
}  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "low", "high", "met"),
    [
        (Goal(1.1), 1.0, 1.1, True),
        (Goal(1.1), 1.0, 1.11, None),
        (Goal(1.1), 1.11, 1.2, False),
        (Goal(0.95, at_least=True), 0.95, 1.2, True),
        (Goal(0.95, at_least=True), 0.94, 1.2, None),
        (Goal(0.95, at_least=True), 0.8, 0.94, False),
        (Goal(1.1), math.nan, math.nan, None),
    ],
)
def test_a_goal_is_met_only_where_all_of_the_interval_is_on_its_side(
    goal: Goal, low: float, high: float, met: bool | None
) -> None:
    figure = Figure("x", 1.0, "s", low=low, high=high, goal=goal)
    assert figure.met is met
    assert json.loads(figure.line())["met"] is met


def test_a_line_has_every_field_and_no_number_that_is_none() -> None:
    line = json.loads(Figure("x", 1.0, "s").line())
    assert set(line) == FIELDS
    assert (line["low"], line["high"], line["goal"], line["met"]) == (None, None, None, None)


def test_paired_blocks_hide_what_changes_for_both() -> None:
    load = [1.0, 3.0, 2.0, 5.0]
    figure = paired("cpu", "µs", [1.05 * each for each in load], "native", load, Goal(1.1))
    assert figure.ratio == pytest.approx(1.05)
    assert figure.high == pytest.approx(1.05)
    assert figure.met is True


def test_blocks_that_differ_more_than_the_goal_is_away_leave_it_open() -> None:
    assert paired("cpu", "µs", [1.0, 1.2, 1.0], "native", [1.0, 1.0, 1.0], Goal(1.1)).met is None


def test_bounds_of_a_mean_are_those_of_student() -> None:
    # Mean 2, standard deviation 1, two degrees of freedom: 2.920 / sqrt(3).
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 1.6859, 2 + 1.6859), abs=1e-3)


def test_one_block_has_no_bounds() -> None:
    assert all(map(math.isnan, (*mean_interval([1.0]), *percentile_interval([1.0], 0.5))))


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_bounds_of_a_percentile_hold_it(share: float) -> None:
    values = [float(number) for number in range(1000)]
    low, high = percentile_interval(values, share)
    assert low < percentile(values, share) < high
    assert high - low < 60


@pytest.mark.parametrize("limit", [20.0, 99.0, 150.0, 5000.0])
def test_a_search_ends_just_below_what_is_carried(limit: float) -> None:
    search = Search(100.0, 200.0)
    for _ in range(30):
        if search.done:
            break
        search.tell(search.rate <= limit)
    assert limit / CLOSE <= search.low <= limit


def test_callers_who_must_be_answered_are_on_no_list() -> None:
    world = draw(2000, 200, 400)
    listed = {value for kind, value in world.entries if kind == "caller"}
    refused = {_number(call.caller) for call in world.refused}
    answered = {_number(call.caller) for call in world.answered}
    assert (len(world.entries), len(world.prefixes)) == (2000, 200)
    assert refused <= listed
    assert not answered & listed


def _number(dialled: str) -> str:
    if dialled.startswith("00"):
        return "+" + dialled[2:]
    return "+44" + dialled[1:] if dialled.startswith("0") else dialled
