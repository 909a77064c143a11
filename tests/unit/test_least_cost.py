"""Which gateway is cheapest, compared with looking at every row of every sheet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from agent.cost import is_rates
from kemi import least_cost, policy, records
from kemi.explain import Snapshot, explain
from kemi.health import Health
from kemi.least_cost import SETUP, every
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Cause, Failure
from model.policy import Drain, Gateway, LeastCost, Policy, Route, Strategy, Trunk
from model.rates import UNIT, Rate, Row, amount_text
from state import codec, layout, rates
from state.rates import SHORT

NOW = 1_000_000
NAMES = ("a", "b", "c", "d")
POLICY = Policy(
    (Trunk("lab", ("192.0.2.0/24",)),),
    {name: Gateway(name, "192.0.2.1", 5060 + n) for n, name in enumerate(NAMES)},
    currency="USD",
    exchange={"EUR": 2 * UNIT},
)
Sheets = Mapping[str, tuple[str, list[tuple[str, Row]]]]
ANY = LeastCost(10)


def sheet(prices: dict[str, str], currency: str = "USD", **fields: int) -> tuple[str, list[tuple[str, Row]]]:
    """A sheet of prefixes and prices."""
    return currency, [(prefix, Row(Rate(int(float(price) * UNIT)), **fields)) for prefix, price in prices.items()]


def view_of(sheets: Sheets, least: LeastCost, whole: Policy = POLICY, **drains: Drain) -> View:
    route = Route("r", ("",), NAMES, Strategy.LEAST_COST, least_cost=least)
    snapshot = layout.build(whole, (route,), (), version=7, sheets=sheets)
    index = layout.Index.decode(snapshot[layout.INDEX])
    index.drains = {name: codec.encode_drain(drain) for name, drain in drains.items()}
    return View({**snapshot, layout.INDEX: index.encode()}.get)


def decided(
    sheets: Sheets, number: str = "12345", least: LeastCost = ANY, *, live: Snapshot | None = None,
    now: float = NOW, whole: Policy = POLICY, **drains: Drain,
) -> policy.Decision:  # fmt: skip
    call = CallFacts("77", number, "192.0.2.9")
    return policy.decide(call, view_of(sheets, least, whole, **drains), live or Snapshot(), now)


def plan(decision: policy.Decision) -> Plan:
    assert isinstance(decision.outcome, policy.Relay), decision
    return decision.outcome.plan


def order(decision: policy.Decision) -> str:
    return "".join(attempt.gateway for attempt in plan(decision).attempts)


def rate_steps(decision: policy.Decision) -> list[tuple[str, str]]:
    return [(subject, found) for what, subject, found in decision.steps if what == "rate"]


# The longest prefix of each gateway, against a naive model

# No number of them begins with 0 or 00, which would be normalised away.
digits = st.text("12", max_size=SHORT + 3)
times = st.sampled_from((0, NOW - 10, NOW, NOW + 10))


@st.composite
def all_sheets(draw: st.DrawFn) -> Sheets:
    made: dict[str, tuple[str, list[tuple[str, Row]]]] = {}
    for name in draw(st.sets(st.sampled_from(NAMES))):
        rows = draw(
            st.dictionaries(
                st.tuples(digits, times), st.tuples(st.integers(1, 4), st.integers(0, 1), times), max_size=10
            )
        )
        made[name] = (
            draw(st.sampled_from(("USD", "EUR"))),
            [(prefix, Row(Rate(price, fee), starts, ends)) for (prefix, starts), (price, fee, ends) in rows.items()],
        )
    return made


def naive(rows: list[tuple[str, Row]], number: str, now: int) -> tuple[str, Row] | None:
    """The rate of one sheet: the longest prefix that has a row in force, and of those the one that began last."""
    fitting = [
        (prefix, row)
        for prefix, row in rows
        if number.startswith(prefix) and row.starts <= now and (not row.ends or now < row.ends)
    ]
    return max(fitting, key=lambda found: (len(found[0]), found[1].starts), default=None)


@given(all_sheets(), digits, st.sampled_from((NOW - 10, NOW - 1, NOW, NOW + 10)))
def test_the_longest_prefix_of_each_gateway_is_found(sheets: Sheets, number: str, now: int) -> None:
    found = every(number, view_of(sheets, LeastCost(1)), now)
    expected = {name: naive(rows, number, now) for name, (_, rows) in sheets.items()}
    assert {one.gateway: (one.prefix, one.rate) for one in found} == {
        name: (one[0], one[1].rate) for name, one in expected.items() if one
    }
    assert {one.gateway: one.currency for one in found} == {
        name: sheets[name][0] for name, one in expected.items() if one
    }


def ranked(view: View, number: str, at: float = NOW) -> list[least_cost.Quote]:
    ranking = least_cost.Ranking(NAMES, LeastCost(4), number, view, at)
    return [least_cost.quote(one, number) for one in ranking.fitting]


asked = st.tuples(digits, st.sampled_from((NOW - 10, NOW - 1, NOW, NOW + 10)))


@given(all_sheets(), st.lists(asked, min_size=1, max_size=5), st.sampled_from((1, 10_000)))
def test_what_is_kept_of_short_prefixes_changes_nothing(
    sheets: Sheets, calls: list[tuple[str, float]], most: int
) -> None:
    """In a view that has seen other numbers, at other times; also where there is no room to keep much."""
    view = view_of(sheets, LeastCost(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(least_cost, "KEPT_MAX", most)
        found = [ranked(view, number, at) for number, at in calls]
    assert found == [every(number, view, at) for number, at in calls]


def test_rates_that_changed_are_read_anew() -> None:
    for prices, order in (("4321", "dcba"), ("1234", "abcd"), ("4321", "dcba")):
        sheets = {name: sheet({"1": price}) for name, price in zip(NAMES, prices, strict=True)}
        view = view_of(sheets, ANY)
        assert "".join(one.gateway for one in ranked(view, "12")) == order


@given(all_sheets(), st.text("12", min_size=1, max_size=SHORT + 3), st.integers(1, 4), st.booleans())
def test_the_cheapest_come_first(sheets: Sheets, number: str, at_most: int, left_out: bool) -> None:
    least = LeastCost(at_most, unrated="left_out" if left_out else "last")
    quotes = {
        name: (currency, one[1].rate) for name, (currency, rows) in sheets.items() if (one := naive(rows, number, NOW))
    }
    worth = {"USD": 1, "EUR": 2}
    key = {
        name: (rate.price * worth[currency], rate.fee * worth[currency]) for name, (currency, rate) in quotes.items()
    }
    # sorted() is stable: ties stay as the route lists them.
    expected = sorted((name for name in NAMES if name in key), key=lambda name: key[name])
    if not left_out:
        expected += [name for name in NAMES if name not in key]
    decision = decided(sheets, number, least)
    if expected:
        assert order(decision) == "".join(expected[:at_most])
    else:
        assert isinstance(decision.outcome, policy.Reject)
        assert decision.outcome.refusal.id == "no-rate"


class TestOrder:
    sheets: ClassVar[Sheets] = {
        "a": sheet({"12": "0.03", "": "0.5"}),
        "b": sheet({"123": "0.02"}),
        "c": sheet({"1": "0.01"}, "EUR"),
        "d": sheet({"9": "0.001"}),
    }

    def test_a_shorter_prefix_of_another_gateway_counts(self) -> None:
        decision = decided(self.sheets)
        assert order(decision) == "bcad"
        assert rate_steps(decision) == [
            ("b", "0.02 USD by 123"),
            ("c", "0.01 EUR by 1"),
            ("a", "0.03 USD by 12"),
            ("d", "none for this number: it comes last"),
        ]

    def test_at_most(self) -> None:
        decision = decided(self.sheets, least=LeastCost(2, unrated="left_out"))
        assert order(decision) == "bc"
        assert rate_steps(decision)[2:] == [
            ("others", "dearer, and not tried: a"),
            ("none", "left out: d"),
        ]

    def test_max_price_is_in_the_policys_currency(self) -> None:
        decision = decided(self.sheets, least=LeastCost(10, max_price=UNIT // 50, unrated="left_out"))
        assert order(decision) == "bc"
        assert rate_steps(decision)[-1] == ("above 0.02", "left out: a")
        refused = decided(self.sheets, least=LeastCost(10, max_price=1, unrated="left_out"))
        assert isinstance(refused.outcome, policy.Reject)
        assert (refused.outcome.refusal.id, refused.outcome.refusal.status) == ("no-rate", 503)

    def test_a_currency_without_an_exchange_rate_is_no_rate(self) -> None:
        decision = decided(self.sheets, whole=replace(POLICY, exchange={}))
        assert order(decision) == "bacd"

    def test_a_changed_exchange_rate_counts_although_the_sheets_are_the_same(self) -> None:
        assert order(decided(self.sheets, whole=replace(POLICY, exchange={"EUR": UNIT}))) == "cbad"
        assert order(decided(self.sheets, whole=replace(POLICY, exchange={"EUR": 4 * UNIT}))) == "bacd"

    def test_the_cheapest_of_those_that_are_well(self) -> None:
        live = Snapshot(known={"b": Health(held=NOW + 60.0)})
        decision = decided(self.sheets, least=LeastCost(2), live=live, c=Drain("c", "works"))
        assert order(decision) == "ad"
        assert [what for what, _, _ in decision.steps[-5:]] == ["gateway", "rate", "rate", "attempt", "attempt"]
        assert [rates[0] for rates in plan(decision).rates] == ["b", "c", "a"]

    def test_all_held_is_told_as_ever(self) -> None:
        live = Snapshot(known={name: Health(held=NOW + 60.0) for name in NAMES})
        decision = decided(self.sheets, live=live)
        assert isinstance(decision.outcome, policy.Reject)
        assert decision.outcome.refusal.id == "gateways-down"

    def test_explain_tells_every_gateways_rate(self) -> None:
        view = view_of(self.sheets, LeastCost(1))
        found = explain(CallFacts("77", "12345", "192.0.2.9"), view, Snapshot(), NOW, {"b": Failure(503)})
        assert [(one.gateway, one.prefix, amount_text(one.rate.price)) for one in found.rates] == [
            ("b", "123", "0.02"), ("c", "1", "0.01"), ("a", "12", "0.03"),
        ]  # fmt: skip
        assert str(found.rates[1]) == "0.01 EUR a minute, 60/60, by 1"
        assert found.as_dict()["rates"][0] == {  # type: ignore[index]
            "gateway": "b", "price": "0.02", "currency": "USD", "fee": "0", "billing": "60/60", "prefix": "123",
        }  # fmt: skip
        assert (found.refusal, len(found.attempts)) == ("gateways-failed", 1)


class TestTime:
    rising: ClassVar[Sheets] = {
        "a": ("USD", [("1", Row(Rate(1), 0)), ("1", Row(Rate(9), NOW + 10))]),
        "b": ("USD", [("1", Row(Rate(5), 0, NOW + 20)), ("", Row(Rate(7)))]),
    }

    @pytest.mark.parametrize(
        ("now", "first"), [(NOW, "ab"), (NOW + 9.99, "ab"), (NOW + 10, "ba"), (NOW + 19.9, "ba"), (NOW + 20, "ba")]
    )
    def test_a_rate_changes_at_its_time(self, now: float, first: str) -> None:
        assert order(decided(self.rising, now=now))[:2] == first

    def test_what_changes_until_the_answer_is_told_with_the_plan(self) -> None:
        found = {name: steps for name, _, steps in plan(decided(self.rising)).rates}
        assert found == {
            "a": ((0, 1, 0, 60, 60), (NOW + 10, 9, 0, 60, 60), (NOW + 20, 9, 0, 60, 60)),
            "b": ((0, 5, 0, 60, 60), (NOW + 10, 5, 0, 60, 60), (NOW + 20, 7, 0, 60, 60)),
        }

    def test_a_rate_that_ends_with_none_to_follow(self) -> None:
        ends: Sheets = {"a": ("USD", [("1", Row(Rate(1), 0, NOW + 10))])}
        assert plan(decided(ends)).rates == (("a", "USD", ((0, 1, 0, 60, 60), (NOW + 10,))),)

    def test_what_changes_later_is_not_told(self) -> None:
        later: Sheets = {"a": ("USD", [("1", Row(Rate(1))), ("1", Row(Rate(2), NOW + int(SETUP) + 1))])}
        assert plan(decided(later)).rates == (("a", "USD", ((0, 1, 0, 60, 60),)),)


def test_a_plan_with_rates_comes_back_the_same() -> None:
    made = plan(decided(TestOrder.sheets))
    assert Plan.loads(made.dumps()) == made
    assert Plan.loads(made.dumps()).rates


# Rows in records


@dataclass(frozen=True, slots=True)
class Packed:
    sheet: int
    row: Row


packed = st.builds(
    Packed,
    st.integers(0, 3),
    st.builds(Row, st.integers(0, 9).map(Rate), st.integers(0, 3), st.integers(0, 3)),
)


@given(st.lists(packed))
def test_a_record_has_the_last_row_of_each_sheet_and_beginning_latest_first(rows: list[Packed]) -> None:
    record, expected = b"", {}
    for one in rows:
        _, raw = rates.packed(one.sheet, *rates.encode_row("1", one.row))
        record = rates.merged(record, raw)
        expected[one.sheet, one.row.starts] = one.row
    found = list(rates.unpacked(record))
    assert {(sheet, starts): Row(Rate(*rate), starts, ends) for sheet, _, starts, ends, *rate in found} == expected
    assert [row[2] for row in found] == sorted((row[2] for row in found), reverse=True)
    left = list(rates.unpacked(rates.without(record, 1)))
    assert left == [row for row in found if row[0] != 1]


def sheet_of(*rows: tuple[str, Row]) -> dict[str, list[str]]:
    """Prefix to the prefixes whose rows its record has, of one sheet."""
    _, made = rates.records({"a": ("USD", rows)})
    return {
        key[1:].decode(): [key[1 : row[1] + 1].decode() for row in rates.unpacked(raw)] for key, raw in made.items()
    }


def test_long_prefixes_inherit_down_to_the_short_ones() -> None:
    begun = Row(Rate(1), NOW)
    assert sheet_of(("1234", begun), ("12345", Row(Rate(2))), ("1234567", begun), ("1234568", begun)) == {
        "1234": ["1234"],
        "12345": ["12345"],
        # Before it begins, what it hides counts.
        "1234567": ["1234567", "12345"],
        "1234568": ["1234568", "12345"],
    }


@pytest.mark.parametrize(
    ("near", "far", "hidden"),
    [
        ((0, 0), (0, 0), True), ((0, 0), (5, 9), True), ((5, 0), (5, 0), True), ((5, 0), (4, 0), False),
        ((5, 9), (5, 9), True), ((5, 9), (5, 10), False), ((5, 9), (5, 0), False), ((0, 0), (0, 9), True),
    ],
)  # fmt: skip
def test_what_can_never_count_is_not_inherited(near: tuple[int, int], far: tuple[int, int], hidden: bool) -> None:
    found = sheet_of(("12345", Row(Rate(1), *far)), ("123456", Row(Rate(1), *near)))
    assert found["123456"] == ["123456"] if hidden else ["123456", "12345"]


@given(st.from_regex(r"\+?[0-9]{0,15}", fullmatch=True), st.integers(0, 2**32 - 1), st.integers(0, 2**63))
def test_a_row_comes_back_the_same(prefix: str, starts: int, price: int) -> None:
    row = Row(Rate(price, 1, 2, 3), starts, 7)
    assert rates.decode_row(*rates.encode_row(prefix, row)) == (prefix, row)


# What is written down


def test_the_rates_stand_with_the_decision() -> None:
    decision = decided(TestOrder.sheets, least=LeastCost(2))
    event = records.decided("c", "id", "tag", CallFacts("77", "12345", "192.0.2.9"), decision, 7, 0.0)
    assert is_rates(json.loads(msgspec.json.encode(event))["rates"])
    assert [rates[0] for rates in event["rates"]] == ["b", "c"]  # type: ignore[attr-defined]
    plain = View(layout.build(POLICY, (Route("r", ("",), NAMES),), ()).get)
    elsewhere = policy.decide(CallFacts("77", "12345", "192.0.2.9"), plain, Snapshot(), NOW)
    assert "rates" not in records.decided("c", "id", "tag", CallFacts("", "", ""), elsewhere, 7, 0.0)


def test_the_rates_stand_with_a_failure_only_where_the_call_is_decided_anew() -> None:
    before, failure = plan(decided(TestOrder.sheets)), Failure(503)
    after = policy.next_attempt(before, failure, Snapshot(), NOW)
    assert "rates" not in records.failed("c", before, failure, after, None, 0.0)
    anew = structs.replace(before, used=1)
    sent_on = policy.FailureDecision(policy.Retry(anew), Cause.REDIRECT, "sent on")
    assert records.failed("c", before, Failure(302), sent_on, None, 0.0)["rates"] == before.rates
    unrated = policy.FailureDecision(policy.Retry(structs.replace(anew, rates=())), Cause.REDIRECT, "sent on")
    assert records.failed("c", before, Failure(302), unrated, None, 0.0)["rates"] == ()
    assert "rates" not in records.failed("c", structs.replace(before, rates=()), Failure(302), unrated, None, 0.0)
