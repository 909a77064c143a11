"""Rate sheets in the snapshot: written row by row into the records that all gateways share.

What changes a family of prefixes is followed, within the same transaction, by :func:`settle`, once for all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from state import bulk, rates
from state.layout import Index
from state.rates import RATES, Sheet

Families = set[bytes]
"Those that have to be settled."


def open_sheet(index: Index, gateway: str, currency: str) -> int:
    """The number of a gateway's sheet, which it gets with its first import."""
    known = index.sheets.get(gateway)
    number = rates.free_number(index.sheets.values()) if known is None else known.number
    index.sheets[gateway] = Sheet(number, currency)
    return number


def write(txn: Any, index: Index, rows: Iterable[tuple[str, str]], *, sheet: int, changed: Families) -> None:
    """Write rows of a sheet as Redis has them."""
    for field, value in rows:
        key, row = rates.packed(sheet, field, value)
        if txn.put(key, row, overwrite=False):
            index.count_rated(key)
        else:
            txn.put(key, rates.merged(txn.get(key), row))
        if rates.inherits(key):
            changed.add(rates.family(key))


def remove(txn: Any, index: Index, sheet: int, busy: Callable[[], None], changed: Families) -> None:
    """Remove a sheet's rows."""
    cursor, seen = txn.cursor(), 0
    more = cursor.set_range(RATES)
    while more and cursor.key().startswith(RATES):
        seen += 1
        if not seen % bulk.CHUNK:
            busy()
        key, before = cursor.item()
        left = rates.without(before, sheet)
        if len(left) != len(before) and rates.inherits(key):
            changed.add(rates.family(key))
        if not rates.own(key, left):
            index.count_rated(key, -1)
            # Leaves the cursor at the record that follows.
            more = cursor.delete()
            continue
        if len(left) != len(before):
            cursor.put(key, left)
        more = cursor.next()


def settle(txn: Any, changed: Families, busy: Callable[[], None]) -> None:
    """Have the records of these families inherit what they should."""
    cursor, seen, done = txn.cursor(), 0, None
    for family in sorted(changed):
        if done is not None and family.startswith(done):
            continue
        done = family
        for record in rates.settled(_records(cursor, family), _above(txn, family)):
            seen += 1
            if not seen % bulk.CHUNK:
                busy()
            if record != cursor.value():
                cursor.put(cursor.key(), record)
    changed.clear()


def _above(txn: Any, family: bytes) -> bytes:
    """What a family inherits."""
    key = family[:-1]
    while rates.inherits(key):
        if (record := txn.get(key)) is not None:
            return bytes(record)
        key = key[:-1]
    return b""


def _records(cursor: Any, beginning: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and records, with the cursor at each while it is looked at."""
    more = cursor.set_range(beginning)
    while more and cursor.key().startswith(beginning):
        yield cursor.item()
        more = cursor.next()
