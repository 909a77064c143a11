"""What a call cost, from the rates that its decision wrote down (:data:`kemi.plan.Rated`); pure."""

from __future__ import annotations

from typing import Any

from model.rates import Rate, cost, cost_text


def cost_of(rates: list[Any], gateway: str, answered: float, duration: float) -> tuple[str, str]:
    """Cost and currency of a call that a gateway answered at a Unix time, and that lasted ``duration`` seconds.

    By the rate that was in force at the answer. Both are empty where there was none.
    """
    for name, currency, steps in rates:
        if name == gateway:
            charged: list[int] = next((step for step in reversed(steps) if step[0] <= answered), [])
            if len(charged) > 1:
                return cost_text(cost(Rate(*charged[1:]), round(duration * 1000))), currency
    return "", ""


def is_rates(found: Any) -> bool:
    """Whether something that stood in a file is a list of rates."""
    return isinstance(found, list) and all(
        isinstance(item, list)
        and [type(cell) for cell in item] == [str, str, list]
        and all(
            isinstance(step, list) and len(step) in (1, 5) and all(type(cell) is int and cell >= 0 for cell in step)
            and (len(step) == 1 or step[-1] > 0)
            for step in item[2]
        )
        for item in found
    )  # fmt: skip
