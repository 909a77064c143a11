"""The order in which a weighted route tries its gateways, from one number."""

from __future__ import annotations

from collections.abc import Sequence


def weighted_order(gateways: Sequence[str], weights: Sequence[int], draw: float) -> tuple[str, ...]:
    """The gateways drawn one after the other by weight, none twice; those of weight 0 come last, as listed.

    ``draw`` is at least 0 and at most 1. Where it falls within the share of the gateway that it hits is as evenly
    spread as it was itself, so it serves for the next drawing too: the whole order can be told again from one number.
    Leaving out gateways afterwards gives the same odds as leaving them out beforehand.
    """
    left, order = list(zip(gateways, weights, strict=True)), []
    while total := sum(weight for _, weight in left):
        index, draw = _hit([weight for _, weight in left], draw * total)
        order.append(left.pop(index)[0])
    return (*order, *(name for name, _ in left))


def _hit(weights: Sequence[int], mark: float) -> tuple[int, float]:
    """Which of the weights, laid side by side, ``mark`` falls on, and how far into it, from 0 to 1."""
    last = 0
    for index, weight in enumerate(weights):
        if mark < weight:
            return index, mark / weight
        if weight:
            last = index
        mark -= weight
    # A draw of 1, or one that rounding took to the end.
    return last, 1.0
