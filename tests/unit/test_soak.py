"""When the memory of a long run counts as flat."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.soak import Sample, verdicts

CALLS = 1000


def samples(megabytes: Callable[[float], float]) -> list[Sample]:
    return [Sample(calls, calls / 10, {"worker": megabytes(calls / CALLS)}) for calls in range(0, CALLS + 1, 10)]


@pytest.mark.parametrize(
    ("megabytes", "flat"),
    [
        (lambda share: 30.0, True),
        (lambda share: 30.0 * min(1.0, share * 10), True),  # fills up in the first tenth
        (lambda share: 30.0 + 2.0 * share, False),
        (lambda share: 30.0 if share < 0.95 else 33.0, False),
        (lambda share: 100.0 + 2.0 * share, True),  # less than what a sample varies by
        (lambda share: 30.0 - 20.0 * share, True),
    ],
)
def test_flat_is_what_needs_no_more_in_the_last_tenth_than_in_the_second(
    megabytes: Callable[[float], float], flat: bool
) -> None:
    (verdict,) = verdicts(samples(megabytes), CALLS)
    assert verdict.flat is flat


def test_a_process_that_came_or_went_has_no_verdict() -> None:
    early = [Sample(150, 1.0, {"a": 1.0, "gone": 1.0})]
    assert [verdict.process for verdict in verdicts([*early, Sample(950, 2.0, {"a": 1.0, "new": 1.0})], CALLS)] == ["a"]
