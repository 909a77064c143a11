"""Calls that go by price: real gateways, real rates, and a record that says what the call costs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

import pytest
from harness.node import GB, TRUNK, Node, at

from model.policy import Gateway, LeastCost, Policy, Route, Strategy
from model.rates import UNIT, Rate, Row, billed, cost, cost_text
from model.record import Outcome
from state.bulk import Import
from state.rates import SheetInfo, encode_row
from state.store import Change

CALLER, LONDON = "1001", "02079460000"


@pytest.fixture
def rated(node: Node) -> Iterator[Node]:
    """The shared node, and no rates left behind."""
    yield node
    for gateway in node.store.sheets():
        change = node.store.remove_sheet(gateway)
        assert change is not None
        node.confirmed(change)


def give(node: Node, gateway: str, rows: Mapping[str, Row], currency: str = "USD") -> Change:
    """Import a gateway's sheet."""
    sheet = SheetInfo(currency, time.time())
    work = Import(node.store, table="rates", replace=True, created=0.0, gateway=gateway, sheet=sheet)
    with work:
        work.send([encode_row(prefix, row) for prefix, row in rows.items()])
        for _ in work.build():
            pass
        change = work.commit()
    node.confirmed(change)
    return change


def price(text: str, **options: int) -> Row:
    return Row(Rate(int(float(text) * UNIT), 0, 1, 1), **options)


def by_cost(node: Node, *gateways: Gateway, at_most: int = 10, unrated: str = "last") -> None:
    """Send every number to the cheapest of these."""
    names = tuple(gateway.name for gateway in gateways)
    least = LeastCost(at_most, unrated=unrated)
    route = Route("cheapest", ("",), names, Strategy.LEAST_COST, least_cost=least)
    by_name = {gateway.name: gateway for gateway in gateways}
    policy = Policy((TRUNK,), by_name, GB, currency="USD", exchange={"EUR": 2 * UNIT})
    node.put_in_force(policy, [route])


def test_a_call_goes_to_the_cheapest_and_then_to_the_second(rated: Node) -> None:
    dear, answers, refuses, unused = rated.answering(), rated.answering(), rated.refusing(503), rated.answering()
    by_cost(rated, at("dear", dear), at("answers", answers), at("refuses", refuses), at("unrated", unused), at_most=2)
    give(rated, "dear", {"+44207": price("0.001"), "+4420": price("0.001"), "+442079": price("0.5")})
    give(rated, "answers", {"+44": price("0.06")}, "EUR")
    give(rated, "refuses", {"+4420794": price("0.11")})
    call = rated.answered(CALLER, LONDON)
    record = rated.record(call.call_id)
    assert [(attempt.gateway, attempt.status) for attempt in record.attempts] == [("refuses", 503), ("answers", 200)]
    assert [step for step in record.steps if step[0] == "rate"] == [
        ("rate", "refuses", "0.11 USD by +4420794"),
        ("rate", "answers", "0.06 EUR by +44"),
        ("rate", "others", "dearer, and not tried: dear"),
        ("rate", "none", "not tried: unrated"),
    ]
    rate = price("0.06").rate
    milliseconds = round(record.duration * 1000)
    assert (record.outcome, record.currency) == (Outcome.ANSWERED, "EUR")
    assert record.cost == cost_text(cost(rate, milliseconds))
    assert billed(rate, milliseconds) == max(1, math.ceil(record.duration))
    assert not dear.calls(call.call_id)


def test_a_rate_counts_from_its_time_on_without_any_change(rated: Node) -> None:
    a, b = rated.answering(), rated.answering()
    by_cost(rated, at("a", a), at("b", b))
    begins = math.ceil(time.time()) + 4
    give(rated, "a", {"+44": price("0.1")})
    give(rated, "b", {"+44": price("0.2"), "+4420": price("0.05", starts=begins)})
    position = rated.store.position()
    before = rated.record(rated.answered(CALLER, LONDON, explained=False).call_id)
    assert time.time() < begins, "the machine is too busy to tell"
    time.sleep(begins - time.time())
    after = rated.record(rated.answered(CALLER, LONDON).call_id)
    assert (before.gateway, after.gateway) == ("a", "b")
    assert rated.store.position() == position


def test_no_gateway_with_a_rate_is_told_apart(rated: Node) -> None:
    by_cost(rated, at("a", rated.answering()), unrated="left_out")
    give(rated, "a", {"+33": price("0.1")})
    call = rated.refused(CALLER, LONDON, 503, "cause=3;text=.no-rate")
    record = rated.record(call.call_id)
    assert (record.refusal, record.cost, record.currency) == ("no-rate", "", "")


def test_rates_outlive_the_agent(rated: Node) -> None:
    a, b = rated.answering(), rated.answering()
    by_cost(rated, at("a", a), at("b", b))
    give(rated, "a", {"+44": price("0.2")})
    give(rated, "b", {"+44": price("0.1")})
    rated.stack.processes["agent"].kill()
    rated.stack.start_agent()
    assert rated.record(rated.answered(CALLER, LONDON).call_id).gateway == "b"
