"""Lists as CSV: what a line says, and what is said of a line that is wrong."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.entries import Action, Entry, Kind
from model.listfile import Flaw, expires_text, read_entries, read_prefixes
from model.numbers import Dialling

GB = Dialling(country_code="44")
NOW = 1_700_000_000.5


def read(text: str) -> list[tuple[int, Entry] | Flaw]:
    return list(read_entries(text.splitlines(keepends=True), action=Action.BLOCK, dialling=GB, now=NOW))


def flaws(text: str) -> list[tuple[int, str]]:
    return [(found.line, found.field) for found in read(text) if isinstance(found, Flaw)]


@pytest.mark.parametrize(
    "text",
    ["02079460000\n1001\n", "number\n+44 20 7946 0000\n1001", "Value\r\n00442079460000\r\n\r\n1001\r\n"],
)
def test_a_bare_list_is_of_callers(text: str) -> None:
    found = [item[1] for item in read(text) if not isinstance(item, Flaw)]
    assert [(entry.kind, entry.value) for entry in found] == [(Kind.CALLER, "+442079460000"), (Kind.CALLER, "1001")]
    assert {(entry.action, entry.expires, entry.created) for entry in found} == {(Action.BLOCK, 0.0, NOW)}


def test_columns_stand_in_any_order() -> None:
    text = 'reason,ttl,value,kind\n"why, so",90m,10>020,pair\n,,Bad Agent,user-agent\n'
    assert read(text) == [
        (2, Entry(Kind.PAIR, "10>020", expires=NOW + 5400, reason="why, so", created=NOW)),
        (3, Entry(Kind.USER_AGENT, "bad agent", created=NOW)),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [(1, "")]),
        ("\n\n", [(1, "")]),
        ("kind,number\ncaller,1\n", [(1, "")]),
        ("value,ttl,expires\n", [(1, "")]),
        ("value,value\n", [(1, "")]),
        ("kind,value\nfoo,1\ncaller,\ncaller,1,2\n", [(2, "kind"), (3, "value"), (4, "")]),
        ("kind,value\npair,1001\npair,>2\nsource,host\n", [(2, "value"), (3, "value"), (4, "value")]),
        ("value,ttl\n1,x\n2,0\n", [(2, "ttl"), (3, "ttl")]),
        ("value,expires\n1,x\n2,1960-01-01\n3,never\n4,2030-01-01\n", [(2, "expires"), (3, "expires")]),
        ("value,reason\n1," + "x" * 501 + "\n", [(2, "reason")]),
        ('kind,value\nuser-agent,"a\nb"\n', [(3, "value")]),
        ("1001\n\udcff\n1002\n", [(2, "")]),
        ('value,reason\n1,"open', [(2, "")]),
        ("1001\n1,2\n", [(2, "")]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_line_and_field(text: str, found: list[tuple[int, str]]) -> None:
    assert flaws(text) == found


@given(st.floats(1, 4e9))
def test_an_end_is_read_as_it_was_written(expires: float) -> None:
    (found,) = read(f"value,expires\n1001,{expires_text(expires)}\n")
    assert not isinstance(found, Flaw)
    assert found[1].expires == pytest.approx(expires, abs=1e-5)


@given(st.lists(st.lists(st.text(max_size=8), max_size=5), max_size=5))
def test_no_file_is_too_strange(rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    for header in ("", "kind,value,ttl,reason\n", "value,expires\n"):
        for found in read(header + text.getvalue()):
            assert isinstance(found, Flaw) or "\n" not in found[1].value
        list(read_prefixes((header + text.getvalue()).splitlines(keepends=True), GB))


def test_prefixes_are_normalised() -> None:
    lines = ["prefix,route\n", "020,home\n", "+1 , far\n", "10,home\n"]
    assert list(read_prefixes(lines, GB)) == [(2, "+4420", "home"), (3, "+1", "far"), (4, "10", "home")]


@pytest.mark.parametrize(
    ("line", "field"),
    [("1\n", ""), (",home\n", "prefix"), ("default,home\n", "prefix"), ("12,\n", "route"), ("1 x,home\n", "prefix")],
)  # fmt: skip
def test_a_wrong_prefix_is_said(line: str, field: str) -> None:
    (flaw,) = read_prefixes(["prefix,route\n", line], GB)
    assert isinstance(flaw, Flaw)
    assert (flaw.line, flaw.field) == (2, field)


def test_a_file_of_prefixes_has_a_header() -> None:
    (flaw,) = read_prefixes(["+44,home\n"], GB)
    assert isinstance(flaw, Flaw)
