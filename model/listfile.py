"""Lists of entries and of route prefixes as CSV files (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from model.entries import PAIR_SEPARATOR, Action, Entry, EntryError, Kind, parse_entry_value, parse_pair, parse_ttl
from model.numbers import Dialling, normalise_beginning

COLUMNS = ("kind", "value", "expires", "reason")
"As they are exported; ``ttl`` may stand for ``expires``."
_KNOWN = {*COLUMNS, "ttl"}
# A file of one column may name it.
_NAMES_OF_ONE = frozenset(("value", "number", "caller"))
PREFIX_COLUMNS = ("prefix", "route")
REASON_MAX = 500


class ListFileError(EntryError):
    """A file is refused; the message lists what is wrong with it, a line each."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with a line."""

    line: int
    "Where the record ends, if it has several lines."
    field: str
    "Name of the column; empty: the line as such."
    message: str


def read_entries(
    lines: Iterable[str], *, action: Action, dialling: Dialling, now: float
) -> Iterator[tuple[int, Entry] | Flaw]:
    """Each entry of a file with its line, or what is wrong with it.

    The first line names the columns, unless there is only one: that one lists callers.
    """
    rows = rows_of(lines)
    first = next(rows, None)
    if first is None or isinstance(first, Flaw):
        yield Flaw(1, "", "the file is empty") if first is None else first
        return
    names, is_header = _columns(first[1])
    if isinstance(names, str):
        yield Flaw(first[0], "", names)
        return
    if not is_header:
        yield _entry(first, names, action, dialling, now)
    for row in rows:
        yield row if isinstance(row, Flaw) else _entry(row, names, action, dialling, now)


def read_prefixes(lines: Iterable[str], dialling: Dialling) -> Iterator[tuple[int, str, str] | Flaw]:
    """Each line's number, normalised prefix and name of a route, or what is wrong with it."""
    rows = rows_of(lines)
    for number, row in enumerate(rows):
        if isinstance(row, Flaw):
            yield row
            continue
        line, cells = row
        if number == 0:
            if tuple(cell.lower() for cell in cells) != PREFIX_COLUMNS:
                yield Flaw(line, "", "the first line is: prefix,route")
                return
        elif len(cells) != len(PREFIX_COLUMNS):
            yield Flaw(line, "", f"{len(cells)} fields, where the first line names 2")
        else:
            yield _prefix(line, cells, dialling)


def expires_text(expires: float) -> str:
    """A Unix time as :func:`read_entries` reads it; empty for never."""
    return datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z") if expires else ""


def rows_of(lines: Iterable[str]) -> Iterator[tuple[int, list[str]] | Flaw]:
    """Rows that are not blank, stripped, each with the number of its line."""
    reader = csv.reader(lines, strict=True)
    while True:
        try:
            for cells in reader:
                stripped = [cell.strip() for cell in cells]
                if not any(stripped):
                    continue
                if any(not cell.isascii() and _is_broken(cell) for cell in stripped):
                    yield Flaw(reader.line_num, "", "not UTF-8")
                else:
                    yield reader.line_num, stripped
        except csv.Error as error:
            yield Flaw(reader.line_num, "", f"not CSV: {error}")
        else:
            return


def _is_broken(text: str) -> bool:
    # What was no UTF-8 comes as halves of surrogate pairs.
    return any("\ud800" <= char <= "\udfff" for char in text)


def _columns(cells: list[str]) -> tuple[tuple[str, ...] | str, bool]:
    """Names of the columns, or what is wrong; and whether the line was a header."""
    names = tuple(cell.lower() for cell in cells)
    if len(names) == 1:
        return ("value",), names[0] in _NAMES_OF_ONE
    unknown = [name for name in names if name not in _KNOWN]
    if unknown or "value" not in names:
        return f"the first line names the columns, of kind, value, ttl or expires, and reason; not {unknown}", True
    if len(set(names)) != len(names) or {"ttl", "expires"} <= set(names):
        return "the first line names a column twice, or both ttl and expires", True
    return names, True


def _entry(
    row: tuple[int, list[str]], names: tuple[str, ...], action: Action, dialling: Dialling, now: float
) -> tuple[int, Entry] | Flaw:
    line, cells = row
    if len(cells) != len(names):
        return Flaw(line, "", f"{len(cells)} fields, where the first line has {len(names)}")
    given = dict(zip(names, cells, strict=True))
    field = "kind"
    try:
        kind = _kind(given.get("kind") or Kind.CALLER)
        field = "value"
        value = _value(kind, given["value"], dialling)
        field = "ttl" if given.get("ttl") else "expires"
        expires = now + parse_ttl(given["ttl"]) if field == "ttl" else _expires(given.get("expires", ""))
        field = "reason"
        reason = given.get("reason", "")
        if len(reason) > REASON_MAX:
            raise EntryError(f"longer than {REASON_MAX} characters")
    except EntryError as error:
        return Flaw(line, field, str(error))
    return line, Entry(kind, value, action, expires=expires, reason=reason, created=now)


def _kind(text: str) -> Kind:
    try:
        return Kind(text)
    except ValueError:
        raise EntryError(f"{text!r} is none of {', '.join(Kind)}") from None


def _value(kind: Kind, text: str, dialling: Dialling) -> str:
    if any(char in text for char in "\n\r\0"):
        raise EntryError(f"{text!r} holds a control character")
    if kind is not Kind.PAIR:
        return parse_entry_value(kind, text, dialling)
    caller, separator, callee = text.partition(PAIR_SEPARATOR)
    if not separator:
        raise EntryError(f"{text!r} is not CALLER{PAIR_SEPARATOR}CALLEE")
    sides = (parse_entry_value(Kind.CALLER, caller, dialling), parse_entry_value(Kind.CALLEE, callee, dialling))
    return parse_pair(*sides)


def _expires(text: str) -> float:
    if text in ("", "never"):
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        seconds = 0.0
    if seconds <= 0:
        raise EntryError(f"{text!r} is not a time such as 2026-01-31T18:00:00Z")
    return seconds


def _prefix(line: int, cells: list[str], dialling: Dialling) -> tuple[int, str, str] | Flaw:
    text, route = cells
    prefix = normalise_beginning(text, dialling)
    if not text or prefix in ("", "default"):
        return Flaw(line, "prefix", "empty: the default prefix belongs in the policy file")
    if not prefix.isascii() or not prefix.isprintable() or any(char.isspace() for char in prefix) or len(prefix) > 64:
        return Flaw(line, "prefix", f"{text!r} is no beginning of a number")
    if not route:
        return Flaw(line, "route", "empty")
    return line, prefix, route
