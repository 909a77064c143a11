"""Rate sheets as CSV files; docs/rates.md describes the columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from model.listfile import Flaw, rows_of
from model.numbers import E164_MAX_DIGITS, Dialling, normalise_beginning
from model.rates import Rate, Row, amount_text, parse_amount, parse_billing

COLUMNS = ("prefix", "price", "fee", "billing", "from", "until")
"As they are exported."
_NEEDED = frozenset(COLUMNS[:2])
# What sheets tell people beside them, and nothing here reads.
_IGNORED = frozenset(("destination", "country", "comment"))
_HEADER = f"the first line names the columns: {', '.join(COLUMNS)}; prefix and price are needed"
# The latest time that a record of the snapshot can hold.
_LATEST = 2**32 - 1


class Reader:
    """Reads the rows of one sheet."""

    def __init__(self, dialling: Dialling, *, e164: bool = False, starts: int = 0, billing: tuple[int, int]) -> None:
        """``e164``: prefixes are of public numbers, without a plus. ``starts``, ``billing``: of rows that say none."""
        self._dialling = dialling
        self._e164 = e164
        self._starts = starts
        self._billing = billing

    def read(self, lines: Iterable[str]) -> Iterator[tuple[int, str, Row] | Flaw]:
        """Each row's number of line, normalised prefix and content, or what is wrong with it."""
        rows = rows_of(lines)
        first = next(rows, None)
        if first is None or isinstance(first, Flaw):
            yield Flaw(1, "", "the file is empty") if first is None else first
            return
        names = tuple(cell.lower() for cell in first[1])
        if wrong := _wrong_header(names):
            yield Flaw(first[0], "", wrong)
            return
        places = {name: names.index(name) for name in COLUMNS if name in names}
        for row in rows:
            yield row if isinstance(row, Flaw) else self._row(row[0], row[1], places, len(names))

    def _row(self, line: int, cells: list[str], places: Mapping[str, int], count: int) -> tuple[int, str, Row] | Flaw:
        if len(cells) != count:
            return Flaw(line, "", f"{len(cells)} fields, where the first line names {count}")
        given = {name: cells[place] for name, place in places.items()}
        column = "prefix"
        try:
            prefix = self._prefix(given["prefix"])
            column = "price"
            price = parse_amount(given["price"])
            column = "fee"
            fee = parse_amount(fee_text) if (fee_text := given.get("fee")) else 0
            column = "billing"
            initial, increment = parse_billing(text) if (text := given.get("billing")) else self._billing
            column = "from"
            starts = moment(begin) if (begin := given.get("from")) else self._starts
            column = "until"
            ends = moment(end) if (end := given.get("until")) else 0
            if ends and ends <= starts:
                raise ValueError("is not after its beginning")
        except ValueError as error:
            return Flaw(line, column, str(error))
        return line, prefix, Row(Rate(price, fee, initial, increment), starts, ends)

    def _prefix(self, text: str) -> str:
        if text == "default":
            return ""
        if self._e164 and not text.startswith("+"):
            text = "+" + text
        plain = text[:1] == "+" and text[1:].isdigit() and text.isascii()
        prefix = text if plain else normalise_beginning(text, self._dialling)
        if not prefix:
            raise ValueError("empty: write default for a rate of every number")
        if not plain and (not prefix.isascii() or not prefix.isprintable() or " " in prefix):
            raise ValueError(f"{text!r} is no beginning of a number")
        if len(prefix) > (E164_MAX_DIGITS + 1 if prefix.startswith("+") else 32):
            raise ValueError(f"{text!r} is longer than numbers are")
        return prefix


def written(prefix: str, row: Row) -> tuple[str, ...]:
    """A row as the cells of :data:`COLUMNS`."""
    rate = row.rate
    return (
        prefix or "default", amount_text(rate.price), amount_text(rate.fee), rate.billing,
        moment_text(row.starts), moment_text(row.ends),
    )  # fmt: skip


def _wrong_header(names: tuple[str, ...]) -> str:
    unknown = [name for name in names if name not in COLUMNS and name not in _IGNORED]
    if unknown or not set(names) >= _NEEDED:
        return f"{_HEADER}; not {unknown[0]!r}" if unknown else _HEADER
    return "the first line names a column twice" if len(set(names)) != len(names) else ""


# Few different times stand in a sheet.
@lru_cache(maxsize=1024)
def moment(text: str) -> int:
    """A Unix time as it stands in a sheet, UTC unless it has an offset. Raises ValueError."""
    try:
        found = datetime.fromisoformat(text)
        seconds = int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        seconds = 0
    if not 0 < seconds <= _LATEST:
        raise ValueError(f"{text!r} is not a time such as 2026-12-01 or 2026-12-01T06:00:00Z")
    return seconds


def moment_text(unix_time: int) -> str:
    """A time as :func:`moment` reads it; empty for 0."""
    return datetime.fromtimestamp(unix_time, UTC).isoformat().replace("+00:00", "Z") if unix_time else ""
