"""The worked example of docs/rates.md, done."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from agent.cost import cost_of
from kemi.explain import Snapshot, explain
from kemi.least_cost import every
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.ratefile import COLUMNS, Reader
from model.rates import Row
from policyfile import LoadedPolicy, load
from state import layout

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rates.md").read_text(encoding="utf-8")
SHEET = re.compile(r"`(carrier-\w)\.csv`, in (\w{3}):\n\n(?:<!--[^\n]*\n)?```\n(.*?)```", re.DOTALL)
TRIED = re.compile(r"^\| `(\S+)` \| (\d\S+Z) \| ([^|]+) \|", re.MULTILINE)
COST = re.compile(r"^\| `(\S+)` \| (carrier-\w) \| (\S+) (\w{3}) \|", re.MULTILINE)
DECEMBER = datetime.fromisoformat("2026-12-05T12:00:00Z").timestamp()
GATEWAYS = ("carrier-a", "carrier-b", "carrier-c", "carrier-d", "incumbent")


def loaded() -> LoadedPolicy:
    return load((ROOT / "examples" / "least-cost.yaml").read_text(encoding="utf-8"), name="example")


def sheets() -> Iterator[tuple[str, tuple[str, list[tuple[str, Row]]]]]:
    reader = Reader(loaded().policy.dialling, billing=(60, 60))
    for gateway, currency, text in SHEET.findall(PAGE):
        rows = list(reader.read(text.splitlines(keepends=True)))
        assert all(isinstance(row, tuple) for row in rows), rows
        yield gateway, (currency, [(prefix, row) for _, prefix, row in rows])  # type: ignore[misc]


def view() -> View:
    example = loaded()
    return View(layout.build(example.policy, example.routes, (), sheets=dict(sheets())).get)


def test_the_page_has_its_examples() -> None:
    assert (len(SHEET.findall(PAGE)), len(TRIED.findall(PAGE)), len(COST.findall(PAGE))) == (3, 5, 4)


@pytest.mark.parametrize(("number", "when", "gateways"), TRIED.findall(PAGE))
def test_calls_go_where_the_page_says(number: str, when: str, gateways: str) -> None:
    now = datetime.fromisoformat(when).timestamp()
    failures = dict.fromkeys(GATEWAYS, Failure(503))
    found = explain(CallFacts("1001", number, "192.0.2.1"), view(), Snapshot(), now, failures)
    assert ", ".join(attempt.gateway for attempt in found.attempts) == gateways


def test_the_page_shows_the_trace_of_its_first_call() -> None:
    now = datetime.fromisoformat("2026-11-30T23:59:59Z").timestamp()
    found = explain(CallFacts("1001", "02079460000", "192.0.2.1"), view(), Snapshot(), now, {})
    lines = [f"  {what:<14} {subject:<24} {text}" for what, subject, text in found.steps if what == "rate"]
    assert "\n".join(lines) in PAGE


@pytest.mark.parametrize(("number", "gateway", "cost", "currency"), COST.findall(PAGE))
def test_calls_cost_what_the_page_says(number: str, gateway: str, cost: str, currency: str) -> None:
    quotes = {one.gateway: one for one in every(number, view(), DECEMBER)}
    rates = [[gateway, quotes[gateway].currency, [[0, *quotes[gateway].rate]]]]
    assert cost_of(rates, gateway, DECEMBER, 61.5) == (cost, currency)


def test_the_page_names_every_column() -> None:
    table = PAGE[PAGE.index("| column | what it holds |") : PAGE.index("- `--e164`")]
    assert set(COLUMNS) <= set(re.findall(r"`(\w+)`", table))
