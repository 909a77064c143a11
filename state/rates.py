"""Rates as Redis and the snapshot hold them; pure.

In Redis each gateway's sheet is a hash: ``prefix starts`` to ``price fee initial increment ends``. In the snapshot a
prefix has one record with the rows of all gateways, so that one look-up serves twenty gateways. A row has a fixed size
and names its sheet by a number, which the index record knows.

Prefixes of more than :data:`SHORT` characters inherit: behind its own rows such a record has those of the shorter
prefixes that it begins with, down to but without the short ones. So the record of a number's longest prefix has all
that is to be known of it, but for what the short prefixes say; of these there are few, and a worker keeps them.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, cast

from model.rates import Rate, Row

RATES = b"%"
"How the keys of rates begin; until prefixes inherited it was ``$``, so that nobody reads the one as the other."
SHORT = 4
"A prefix of so many characters inherits nothing: with a plus, of three digits."
ROW = struct.Struct("<HBIIQQHH")
"Number of the sheet, length of the prefix, starts, ends, price, fee, initial, increment."
PackedRow = tuple[int, int, int, int, int, int, int, int]
unpacked = cast("Callable[[bytes], Iterator[PackedRow]]", ROW.iter_unpack)
"The rows of a record: those of the longest prefix first, and of one prefix those that begin latest."

# Sheet, prefix and beginning: of two such rows the later takes the place of the earlier.
_NAME = struct.Struct("<HBI")
_PERIOD = struct.Struct("<HBII")


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
    row = ROW.pack(sheet, len(prefix), int(starts), int(ends), int(price), int(fee), int(initial), int(increment))
    return RATES + prefix.encode(), row


def merged(record: bytes, row: bytes) -> bytes:
    """A record with one row more, or another in the place of the one of the same sheet, prefix and beginning."""
    name = row[: _NAME.size]
    rows = [old for old in _rows(record) if not old.startswith(name)]
    rows.append(row)
    rows.sort(key=_order, reverse=True)
    return b"".join(rows)


def without(record: bytes, sheet: int) -> bytes:
    """A record without the rows of a sheet."""
    number = sheet.to_bytes(2, "little")
    return b"".join(row for row in _rows(record) if not row.startswith(number))


def own(key: bytes, record: bytes) -> bytes:
    """What stands in a record for its very prefix; empty where all of it is inherited."""
    length, at = len(key) - len(RATES), 0
    # The byte that follows the number of the sheet.
    while at < len(record) and record[at + 2] == length:
        at += ROW.size
    return record[:at]


def inherits(key: bytes) -> bool:
    """Whether the record of a prefix has rows of shorter ones too."""
    return len(key) > len(RATES) + SHORT


def family(key: bytes) -> bytes:
    """How the keys of all begin that are to be settled together, where the record of this one has changed."""
    return key[: len(RATES) + SHORT + 2]


def settled(records: Iterable[tuple[bytes, bytes]], above: bytes = b"") -> Iterator[bytes]:
    """What becomes of records, in the order of their keys, once each inherits what it should.

    They are all that begin with one prefix, of which ``above`` is the record that has what all of them inherit.
    """
    line: list[tuple[bytes, bytes]] = [(b"", above)]
    for key, before in records:
        while not key.startswith(line[-1][0]):
            line.pop()
        record = own(key, before)
        record += _inherited(record, line[-1][1])
        line.append((key, record))
        yield record


def _inherited(record: bytes, above: bytes) -> bytes:
    """The rows of ``above`` that may count: not those in whose time a nearer row of the same sheet is in force."""
    if not above:
        return b""
    nearer = [_PERIOD.unpack_from(record, at) for at in range(0, len(record), ROW.size)]
    return b"".join([row for row in _rows(above) if not _hidden(_PERIOD.unpack_from(row), nearer)])


def _hidden(period: tuple[int, ...], nearer: Iterable[tuple[int, ...]]) -> bool:
    sheet, _, starts, ends = period
    return any(
        other == sheet and begins <= starts and (not until or (ends and ends <= until))
        for other, _, begins, until in nearer
    )


def _rows(record: bytes) -> list[bytes]:
    return [record[at : at + ROW.size] for at in range(0, len(record), ROW.size)]


def _order(row: bytes) -> tuple[int, ...]:
    return _NAME.unpack_from(row)[1:]


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
    long = sorted(item for item in made.items() if inherits(item[0]))
    made.update(zip((key for key, _ in long), settled(long), strict=True))
    return known, made
