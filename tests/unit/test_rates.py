"""What a call costs, and what stands in a rate sheet: exact, and as other arithmetic has it."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.listfile import Flaw
from model.numbers import Dialling
from model.ratefile import COLUMNS, Reader, moment, moment_text, written
from model.rates import (
    SECONDS_MAX,
    UNIT,
    Rate,
    Row,
    amount_text,
    billed,
    cost,
    cost_text,
    parse_amount,
    parse_billing,
)

GB = Dialling(country_code="44")
amounts = st.integers(0, 100 * UNIT)
rates = st.builds(Rate, amounts, amounts, st.integers(0, SECONDS_MAX), st.integers(1, SECONDS_MAX))


@given(amounts)
def test_an_amount_is_read_as_it_is_written(amount: int) -> None:
    assert parse_amount(amount_text(amount)) == amount
    assert Decimal(amount_text(amount)) * UNIT == amount


@pytest.mark.parametrize(
    ("text", "amount"), [("0", 0), ("0.0125", 1_250_000), ("12", 12 * UNIT), ("1.10", 110_000_000), ("0.00000001", 1)]
)
def test_amounts(text: str, amount: int) -> None:
    assert parse_amount(text) == amount


@pytest.mark.parametrize("text", ["", ".5", "1.", "-1", "1e-3", "0,01", "0.000000001", "1 ", "\u0661", "NaN", "9" * 10])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("billing", "seconds", "charged"),
    [
        ("60/60", 0, 60), ("60/60", 0.001, 60), ("60/60", 60, 60), ("60/60", 60.001, 120), ("60/60", 3600, 3600),
        ("1/1", 0, 1), ("1/1", 0.5, 1), ("1/1", 59.2, 60), ("30/6", 12, 30), ("30/6", 30, 30), ("30/6", 30.001, 36),
        ("30/6", 41, 42), ("0/1", 0, 0), ("0/1", 0.1, 1),
    ],
)  # fmt: skip
def test_every_begun_step_is_charged(billing: str, seconds: float, charged: int) -> None:
    assert billed(Rate(1, 0, *parse_billing(billing)), round(seconds * 1000)) == charged


@pytest.mark.parametrize("text", ["60", "60/0", "60/", "/60", "6 0/60", "3601/1", "1/3601", "-1/1", "60/60/60"])
def test_what_is_no_billing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"INITIAL/INCREMENT|at most"):
        parse_billing(text)


@given(rates, st.integers(0, 10**9))
def test_a_cost_is_what_decimals_have(rate: Rate, milliseconds: int) -> None:
    over = max(Decimal(0), Decimal(milliseconds) / 1000 - rate.initial)
    seconds = rate.initial + math.ceil(over / rate.increment) * rate.increment
    exact = Decimal(rate.fee) / UNIT + Decimal(rate.price) * seconds / (60 * UNIT)
    expected = exact.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP)
    assert Decimal(cost_text(cost(rate, milliseconds))) == expected


@pytest.mark.parametrize(
    ("rate", "milliseconds", "text"),
    [
        (Rate(1_200_000, 0, 60, 60), 59_265, "0.012000"),
        (Rate(1_200_000, 0, 1, 1), 59_265, "0.012000"),
        (Rate(1_200_000, 5_000_000, 30, 6), 59_265, "0.062000"),
        # 0.0001 / 60 = 0.0000016666..., and a half goes up.
        (Rate(10_000, 0, 1, 1), 1000, "0.000002"),
        (Rate(3_000, 0, 1, 1), 1000, "0.000001"),
        (Rate(2_999, 0, 1, 1), 1000, "0.000000"),
    ],
)
def test_costs_are_rounded_once_half_up(rate: Rate, milliseconds: int, text: str) -> None:
    assert cost_text(cost(rate, milliseconds)) == text


def reader(**options: object) -> Reader:
    return Reader(GB, **{"billing": (60, 60), **options})  # type: ignore[arg-type]


def read(text: str, **options: object) -> list[tuple[int, str, Row] | Flaw]:
    return list(reader(**options).read(text.splitlines(keepends=True)))


def test_a_sheet_is_read() -> None:
    text = (
        "Destination,Prefix,Price,Fee,Billing,From,Until\n"
        "London,020,0.0041,,1/1,,\n"
        '"France, mobile",+336,0.012,0.05,30/6,2026-12-01,2027-01-01T06:00:00+01:00\n'
        "\n"
        "rest,default,1,0,,,\n"
    )
    assert read(text, starts=5) == [
        (2, "+4420", Row(Rate(410_000, 0, 1, 1), 5)),
        (3, "+336", Row(Rate(1_200_000, 5_000_000, 30, 6), 1_796_083_200, 1_798_779_600)),
        (5, "", Row(Rate(UNIT), 5)),
    ]
    carriers = [(2, "+4420", Row(Rate(UNIT))), (3, "+33", Row(Rate(2 * UNIT)))]
    assert read("prefix,price\n4420,1\n+33,2\n", e164=True) == carriers


@pytest.mark.parametrize(
    ("line", "column", "says"),
    [
        ("+44,0.01,0,60/60,,,,", "", "8 fields, where the first line names 6"),
        (",0.01,0,60/60,,", "prefix", "empty: write default"),
        ("+44 x y,0.01,0,60/60,,", "prefix", "no beginning of a number"),
        ("+4412345678901234,0.01,0,60/60,,", "prefix", "longer than"),
        ("+44,free,0,60/60,,", "price", "is no amount"),
        ("+44,,0,60/60,,", "price", "is no amount"),
        ("+44,1,x,60/60,,", "fee", "is no amount"),
        ("+44,1,0,60,,", "billing", "INITIAL/INCREMENT"),
        ("+44,1,0,60/60,soon,", "from", "is not a time"),
        ("+44,1,0,60/60,,1960-01-01", "until", "is not a time"),
        ("+44,1,0,60/60,2026-12-02,2026-12-02", "until", "not after its beginning"),
        ('"+44', "", "not CSV"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_column(line: str, column: str, says: str) -> None:
    good, flaw = read(f"{','.join(COLUMNS)}\n+1,1,0,1/1,,\n{line}")
    assert isinstance(good, tuple)
    assert isinstance(flaw, Flaw)
    assert (flaw.line, flaw.field) == (3, column)
    assert says in flaw.message


@pytest.mark.parametrize(
    ("header", "says"),
    [("", "empty"), ("prefix\n", "needed"), ("price,fee\n", "needed"), ("prefix,price,colour\n", "'colour'"),
     ("prefix,price,price\n", "twice")],
)  # fmt: skip
def test_a_wrong_header_is_told(header: str, says: str) -> None:
    (flaw,) = read(header + ("+44,1,1\n" if header else ""))
    assert isinstance(flaw, Flaw)
    assert says in flaw.message


rows = st.builds(
    Row, rates, st.integers(0, 2**31), st.integers(2**31 + 1, 2**32 - 1) | st.just(0)
)  # fmt: skip


@given(st.from_regex(r"\+[0-9]{1,15}|[1-9][0-9]{0,4}|", fullmatch=True), rows)
def test_a_row_is_read_as_it_is_written(prefix: str, row: Row) -> None:
    text = f"{','.join(COLUMNS)}\n{','.join(written(prefix, row))}\n"
    plain = Reader(Dialling(), billing=(1, 1))
    # A literal keeps its spelling where no plan reads it.
    assert list(plain.read(text.splitlines(keepends=True))) == [(2, prefix, row)]


@given(st.integers(1, 2**32 - 1))
def test_a_time_is_read_as_it_is_written(unix_time: int) -> None:
    assert moment(moment_text(unix_time)) == unix_time
