"""Rate sheets in the snapshot: written row by row into the records that all gateways share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from state import bulk, rates
from state.layout import Index
from state.rates import RATES, Sheet


def open_sheet(index: Index, gateway: str, currency: str) -> int:
    """The number of a gateway's sheet, which it gets with its first import."""
    known = index.sheets.get(gateway)
    number = rates.free_number(index.sheets.values()) if known is None else known.number
    index.sheets[gateway] = Sheet(number, currency)
    return number


def write(txn: Any, index: Index, rows: Iterable[tuple[str, str]], *, sheet: int) -> None:
    """Write rows of a sheet as Redis has them."""
    for field, value in rows:
        key, row = rates.packed(sheet, field, value)
        if txn.put(key, row, overwrite=False):
            index.count_rated(key)
        else:
            txn.put(key, rates.merged(txn.get(key), row))


def remove(txn: Any, index: Index, sheet: int, busy: Callable[[], None]) -> None:
    """Remove a sheet's rows."""
    cursor, seen = txn.cursor(), 0
    more = cursor.set_range(RATES)
    while more and cursor.key().startswith(RATES):
        seen += 1
        if not seen % bulk.CHUNK:
            busy()
        before = cursor.value()
        left = rates.without(before, sheet)
        if not left:
            index.count_rated(cursor.key(), -1)
            # Leaves the cursor at the record that follows.
            more = cursor.delete()
            continue
        if len(left) != len(before):
            cursor.put(cursor.key(), left)
        more = cursor.next()
