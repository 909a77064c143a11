"""Rates as Redis and the snapshot hold them; pure.

In Redis each gateway's sheet is a hash: ``prefix starts`` to ``price fee initial increment ends``. In the snapshot a
prefix has one record with the rows of all gateways, those that begin latest first, so that one look-up serves twenty
gateways. A row has a fixed size and names its sheet by a number, which the index record knows.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, cast

from model.rates import Rate, Row

RATES = b"$"
"How the keys of rates begin."
ROW = struct.Struct("<HIIQQHH")
"Number of the sheet, starts, ends, price, fee, initial, increment."
PackedRow = tuple[int, int, int, int, int, int, int]
unpacked = cast("Callable[[bytes], Iterator[PackedRow]]", ROW.iter_unpack)
"The rows of a record."

# Sheet and beginning: of two such rows the later takes the place of the earlier.
_NAME = struct.Struct("<HI")


Sheets = Mapping[str, tuple[str, Iterable[tuple[str, Row]]]]
"Gateway to the currency of its sheet, and to prefixes with their rows."


class Sheet(NamedTuple):
    """A gateway's sheet, as the index of a snapshot knows it."""

    number: int
    currency: str


@dataclass(frozen=True, slots=True)
class SheetInfo:
    """A gateway's sheet, as Redis knows it."""

    currency: str
    imported: float
    "Unix time of the last import."
    author: str = ""

    def encode(self) -> str:
        """As stored."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> SheetInfo:
        """From what :meth:`encode` made."""
        return cls(**json.loads(text))


def encode_row(prefix: str, row: Row) -> tuple[str, str]:
    """Field and value of a row in Redis."""
    return (
        f"{prefix} {row.starts}",
        f"{row.rate.price} {row.rate.fee} {row.rate.initial} {row.rate.increment} {row.ends}",
    )


def decode_row(field: str, value: str) -> tuple[str, Row]:
    """Prefix and row."""
    prefix, _, starts = field.rpartition(" ")
    price, fee, initial, increment, ends = map(int, value.split(" "))
    return prefix, Row(Rate(price, fee, initial, increment), int(starts), ends)


def rate_key(prefix: str) -> bytes:
    """The key of the rates for ``prefix``."""
    return RATES + prefix.encode()


def packed(sheet: int, field: str, value: str) -> tuple[bytes, bytes]:
    """Key and packed row, from field and value in Redis."""
    prefix, _, starts = field.rpartition(" ")
    price, fee, initial, increment, ends = value.split(" ")
    row = ROW.pack(sheet, int(starts), int(ends), int(price), int(fee), int(initial), int(increment))
    return RATES + prefix.encode(), row


def merged(record: bytes, row: bytes) -> bytes:
    """A record with one row more, or another in the place of the one of the same sheet and beginning."""
    name = row[: _NAME.size]
    rows = [old for old in _rows(record) if not old.startswith(name)]
    rows.append(row)
    rows.sort(key=_starts, reverse=True)
    return b"".join(rows)


def without(record: bytes, sheet: int) -> bytes:
    """A record without the rows of a sheet; empty where nothing is left."""
    number = sheet.to_bytes(2, "little")
    return b"".join(row for row in _rows(record) if not row.startswith(number))


def _rows(record: bytes) -> list[bytes]:
    return [record[at : at + ROW.size] for at in range(0, len(record), ROW.size)]


def _starts(row: bytes) -> int:
    return int(_NAME.unpack_from(row)[1])


def free_number(sheets: Iterable[Sheet]) -> int:
    """The lowest number that no sheet has."""
    taken = {sheet.number for sheet in sheets}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def records(sheets: Sheets) -> tuple[dict[str, Sheet], dict[bytes, bytes]]:
    """What a snapshot holds of sheets: what the index knows of them, and the records."""
    known: dict[str, Sheet] = {}
    made: dict[bytes, bytes] = {}
    for gateway, (currency, rows) in sheets.items():
        known[gateway] = Sheet(free_number(known.values()), currency)
        for prefix, row in rows:
            key, packed_row = packed(known[gateway].number, *encode_row(prefix, row))
            made[key] = merged(made.get(key, b""), packed_row)
    return known, made
