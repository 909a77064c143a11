"""The strategy `alternate`: each call begins one gateway further, and goes round as often as it may."""

from __future__ import annotations

import itertools

import pytest
from harness.node import Node, at

from model.policy import Route, Strategy

_names = itertools.count()


def alternate(node: Node, *statuses: int, attempts: int = 0) -> None:
    """Send every number to gateways ``1``, ``2`` ... that refuse with these statuses, in a route never used before."""
    gateways = {str(n): node.refusing(status) for n, status in enumerate(statuses, 1)}
    route = Route(
        f"alternate-{next(_names)}", ("",), tuple(gateways), strategy=Strategy.ALTERNATE, max_attempts=attempts
    )
    node.apply([route], [at(name, gateway) for name, gateway in gateways.items()])


def attempts_of_calls(node: Node, calls: int) -> list[str]:
    """The gateways tried by each of several calls, which all fail."""
    ids = [node.refused("1001", "1002", 500, "text=.gateways-failed").call_id for _ in range(calls)]
    return ["".join(node.attempts(call_id)) for call_id in ids]


@pytest.mark.parametrize(
    ("gateways", "attempts", "expected"),
    [
        (2, 3, ["121", "212", "121"]),
        (2, 0, ["12", "21", "12"]),
        (3, 0, ["123", "231", "312", "123"]),
        (3, 2, ["12", "23", "31"]),
        (1, 3, ["111", "111"]),
    ],
)
def test_each_call_begins_one_gateway_further(node: Node, gateways: int, attempts: int, expected: list[str]) -> None:
    alternate(node, *[503] * gateways, attempts=attempts)
    assert attempts_of_calls(node, len(expected)) == expected


def test_a_final_refusal_ends_the_round(node: Node) -> None:
    alternate(node, 503, 486, attempts=4)
    first, second = (node.refused("1001", "1002", 486, "As Asked") for _ in range(2))
    assert (node.attempts(first.call_id), node.attempts(second.call_id)) == (["1", "2"], ["2"])


def test_calls_are_shared_out_evenly_over_the_workers(node: Node) -> None:
    answering = {name: node.answering() for name in ("left", "right")}
    route = Route("evenly", ("",), tuple(answering), strategy=Strategy.ALTERNATE)
    node.apply([route], [at(name, gateway) for name, gateway in answering.items()])
    for _ in range(10):
        node.answered("1001", "1002")
    assert [len(gateway.calls()) for gateway in answering.values()] == [5, 5]
