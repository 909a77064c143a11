"""Least cost in the policy file: what is read, what is refused, what differs, and past calls decided anew."""

from __future__ import annotations

import json

import pytest

import policyfile
from kemi import dryrun
from kemi.explain import Snapshot, explain
from kemi.view import View
from model.call import CallFacts
from model.policy import LeastCost, Strategy
from model.rates import UNIT, Rate, Row
from policyfile.diff import FieldChange, Kind, PartChange, diff
from state import layout

BASE = """\
strowger: 1
currency: USD
exchange: {EUR: "1.5"}
trunks:
  lab: {sources: [192.0.2.0/24]}
gateways:
  a: {address: 203.0.113.1}
  b: {address: 203.0.113.2}
media:
  fs-1: {address: 203.0.113.3}
routes:
  - {name: r, prefixes: [default], gateways: [a, b], strategy: least_cost}
"""
SHEETS = {
    "a": ("USD", [("+44", Row(Rate(2 * UNIT)))]),
    "b": ("USD", [("+44", Row(Rate(UNIT))), ("+44", Row(Rate(3 * UNIT), starts=1000))]),
}


def loaded(old: str = "", new: str = "") -> policyfile.LoadedPolicy:
    assert old in BASE
    return policyfile.load(BASE.replace(old, new), name="p.yaml")


def said(old: str, new: str) -> list[str]:
    with pytest.raises(policyfile.PolicyFileError) as caught:
        loaded(old, new)
    return [f"{problem.line}: {problem.field}: {problem.message}" for problem in caught.value.problems]


STRATEGY = "strategy: least_cost"


def test_a_least_cost_route() -> None:
    (route,) = loaded().routes
    assert (route.strategy, route.least_cost) == (Strategy.LEAST_COST, LeastCost(10))
    options = f"{STRATEGY}, at_most: 2, max_price: 0.05, unrated: left_out"
    (route,) = loaded(STRATEGY, options).routes
    assert route.least_cost == LeastCost(2, UNIT // 20, "left_out")
    assert (loaded().policy.currency, loaded().policy.exchange) == ("USD", {"EUR": UNIT * 3 // 2})


def test_a_hundred_gateways_may_be_compared() -> None:
    names = [f"g{number}" for number in range(100)]
    gateways = "\n".join(f"  {name}: {{address: 203.0.113.9}}" for name in names)
    text = BASE.replace("  a: {", f"{gateways}\n  a: {{")
    found = policyfile.load(text.replace("[a, b]", f"[{', '.join(names)}]"), name="p")
    assert len(found.routes[0].gateways) == 100


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("currency: USD\nexchange: {EUR: \"1.5\"}\n", "", "10: routes[0].strategy: 'least_cost' needs 'currency'"),
        ("currency: USD\n", "", "2: exchange: means nothing without 'currency'"),
        ("USD", "usd", "2: currency: 'usd' is not a currency"),
        ("{EUR:", "{EURO:", "3: exchange.EURO: 'EURO' is not a currency"),
        ("{EUR:", "{USD:", "3: exchange.USD: is the file's own currency"),
        ('"1.5"', '"-1"', "3: exchange.EUR: '-1' is no amount"),
        ('"1.5"', "0", "3: exchange.EUR: should be more than 0"),
        (STRATEGY, f"{STRATEGY}, at_most: 0", "12: routes[0].at_most: should be"),
        (STRATEGY, f"{STRATEGY}, at_most: 11", "12: routes[0].at_most: should be"),
        (STRATEGY, f"{STRATEGY}, max_price: free", "12: routes[0].max_price: 'free' is no amount"),
        (STRATEGY, f"{STRATEGY}, max_price: true", "12: routes[0].max_price:"),
        (STRATEGY, f"{STRATEGY}, unrated: first", "12: routes[0].unrated: should be"),
        (STRATEGY, "at_most: 2", "12: routes[0].at_most: means nothing without 'strategy: least_cost'"),
        (STRATEGY, 'max_price: "1"', "12: routes[0].max_price: means nothing without"),
        (STRATEGY, f"{STRATEGY}, weights: {{a: 1}}", "12: routes[0].weights: means nothing without"),
        ("gateways: [a, b], strat", "media: x, strat", "12: routes[0]: media nodes cost nothing"),
        (f"[a, b], {STRATEGY}", f"[{', '.join('ab' * 6)}]", "12: routes[0].gateways: should have at most 10 items"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_line_and_field(old: str, new: str, expected: str) -> None:
    lines = said(old, new)
    assert any(line.startswith(expected) for line in lines), lines


def test_a_least_cost_route_differs_by_its_own_keys() -> None:
    new = loaded(STRATEGY, f'{STRATEGY}, at_most: 2, max_price: "0.05"')
    old = loaded()
    assert diff((old.policy, old.routes), (new.policy, new.routes)) == (
        PartChange(
            "route", "r", Kind.CHANGED, (FieldChange("at_most", 10, 2), FieldChange("max_price", None, "0.05"))
        ),
    )
    dearer = loaded('"1.5"', '"1.6"')
    assert diff((old.policy, old.routes), (dearer.policy, dearer.routes)) == (
        PartChange("policy", "", Kind.CHANGED, (FieldChange("exchange.EUR", "1.5", "1.6"),)),
    )
    plain = loaded(STRATEGY, "strategy: priority")
    (change,) = diff((plain.policy, plain.routes), (old.policy, old.routes))
    assert {field.field: field.new for field in change.fields} == {
        "strategy": "least_cost", "at_most": 10, "unrated": "last",
    }  # fmt: skip


def test_past_calls_are_decided_anew_by_the_rates_of_their_time() -> None:
    old, new = loaded(STRATEGY, "strategy: priority"), loaded()
    live = layout.build(old.policy, old.routes, (), sheets=SHEETS).get
    lines = []
    for at in (999.0, 1000.0):
        facts = {"caller": "1", "callee": "+4420", "source": "192.0.2.7"}
        lines.append(json.dumps({"event": "decided", "call": "c", "at": at, "facts": facts}).encode())
    report = dryrun.run(lines, View(live), View(dryrun.combined(live, new.policy, new.routes)), since=0.0)
    assert [(group.old, group.new, group.calls) for group in report.sorted_groups()] == [("a, b", "b, a", 1)]
    assert (report.calls, report.changed) == (2, 1)


def test_a_file_is_explained_by_the_rates_of_the_node() -> None:
    old, new = loaded(STRATEGY, "strategy: priority"), loaded()
    live = layout.build(old.policy, old.routes, (), sheets=SHEETS).get
    view = View(dryrun.with_rates(layout.build(new.policy, new.routes, (), version=0), live))
    found = explain(CallFacts("1", "+4420", "192.0.2.7"), view, Snapshot(), 0.0, {})
    assert found.gateway == "b"
    alone = View(dryrun.with_rates(layout.build(new.policy, new.routes, (), version=0), lambda _: None))
    assert explain(CallFacts("1", "+4420", "192.0.2.7"), alone, Snapshot(), 0.0, {}).gateway == "a"
