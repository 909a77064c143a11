"""Rates in a snapshot, change by change, compared with a snapshot that is made at once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import rates as sheets
from model.rates import Rate, Row
from state import layout, rates
from state.layout import Index
from state.rates import RATES, SHORT, encode_row
from state.snapshot import SnapshotWriter

NAMES = ("a", "b", "c")
Rows = dict[tuple[str, int], Row]

# Most are of one line, so that they inherit from one another.
prefixes = st.builds("{:.{}}{}".format, st.just("0" * 9), st.integers(SHORT - 1, SHORT + 4), st.sampled_from(("", "1")))
times = st.sampled_from((0, 5, 9))
rows = st.dictionaries(
    st.tuples(prefixes, times), st.builds(Row, st.integers(1, 3).map(Rate), st.just(0), times), max_size=8
).map(lambda made: {(prefix, starts): row._replace(starts=starts) for (prefix, starts), row in made.items()})
changes = st.lists(st.tuples(st.sampled_from(NAMES), rows, st.booleans()), max_size=6)


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> SnapshotWriter:
    return SnapshotWriter(tmp_path_factory.mktemp("snapshot"))


@given(changes)
def test_a_snapshot_is_the_same_however_it_came_about(
    writer: SnapshotWriter, changes: list[tuple[str, Rows, bool]]
) -> None:
    index, truth = Index(), dict[str, Rows]()
    with writer.begin() as txn:
        writer.clear(txn)
        # Not of rates, before and behind them in the file.
        others = {RATES[:-1] + b"$x": b"1", b"e": b"2"}
        for key, value in others.items():
            txn.put(key, value)
        for name, added, anew in changes:
            families = sheets.Families()
            number = sheets.open_sheet(index, name, "USD")
            if anew:
                sheets.remove(txn, index, number, lambda: None, families)
                truth.pop(name, None)
            truth.setdefault(name, {}).update(added)
            written = (encode_row(prefix, row) for (prefix, _), row in added.items())
            sheets.write(txn, index, written, sheet=number, changed=families)
            sheets.settle(txn, families, lambda: None)
        held = {bytes(key): bytes(value) for key, value in txn.cursor()}
    expected = rates.records(
        {name: ("USD", [(prefix, row) for (prefix, _), row in truth[name].items()]) for name in index.sheets}
    )[1]
    assert {key: normal(value) for key, value in held.items() if key not in others} == {
        key: normal(value) for key, value in expected.items()
    }
    assert index.lengths.get(layout.RATED, Counter()) == Counter(len(key) - len(RATES) for key in expected)


def normal(record: bytes) -> list[rates.PackedRow]:
    """Rows of different sheets with the same prefix and beginning have no order."""
    return sorted(rates.unpacked(record), key=lambda row: (-row[1], -row[2], row[0]))
