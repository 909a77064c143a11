"""Which prefix leads to which route, those of the policy and those that were imported."""

from __future__ import annotations

import csv
import heapq
import io
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from model import listfile
from model.listfile import Flaw
from model.numbers import Dialling, normalise_beginning
from model.policy import Route
from operations import importing
from operations.changes import Row
from state import keys
from state.bulk import Import
from state.store import Store


class Prefix(NamedTuple):
    """A prefix and its route."""

    prefix: str
    route: str
    origin: str
    "``policy`` or ``import``."

    def row(self) -> Row:
        """As JSON shows it."""
        return {"prefix": self.prefix, "route": self.route, "from": self.origin}


def page(
    store: Store, *, prefix: str = "", search: str = "", after: str = "", offset: int = 0, limit: int
) -> tuple[list[Prefix], int, str]:  # fmt: skip
    """Prefixes in order, at most ``limit`` (0: all); how many match; and behind which the next page begins."""
    policy, routes = store.policy().decode()
    beginning, text, total = normalise_beginning(prefix, policy.dialling) if prefix else "", search.lower(), 0

    def matching() -> Iterator[Prefix]:
        nonlocal total
        for row in _all(store, routes):
            if row.prefix.startswith(beginning) and (text in row.prefix.lower() or text in row.route.lower()):
                total += 1
                if not after or row.prefix > after:
                    yield row

    # Of a hundred thousand only the page is kept.
    wanted = offset + limit
    rows = heapq.nsmallest(wanted + 1, matching()) if limit else sorted(matching())
    found = rows[offset:wanted] if limit else rows[offset:]
    return found, total, found[-1].prefix if limit and len(rows) > wanted else ""


def _all(store: Store, routes: tuple[Route, ...]) -> Iterator[Prefix]:
    yield from (Prefix(prefix, route.name, "policy") for route in routes for prefix in route.prefixes)
    yield from (Prefix(prefix, name, "import") for prefix, name in store.records(keys.PREFIXES))


def imported(store: Store, file: BinaryIO, *, replace: bool, skip_bad: bool) -> Row:
    """Import prefixes (CSV: prefix,route) for routes of the policy in force as one change. Raises ListFileError."""
    applied = store.policy()
    policy, routes = applied.decode()
    return importing.imported(
        store, Import(store, table="prefixes", replace=replace, created=0.0), file,
        lambda lines: records(lines, policy.dialling, routes), replace=replace, skip_bad=skip_bad, what="prefixes",
        policy_version=applied.version,
    )  # fmt: skip


def records(
    lines: Iterable[str], dialling: Dialling, routes: tuple[Route, ...]
) -> Iterator[tuple[str, str] | Flaw]:
    """Prefixes of a file as they are stored, or what is wrong with them."""
    names = {route.name for route in routes}
    own = {prefix: route.name for route in routes for prefix in route.prefixes}
    for found in listfile.read_prefixes(lines, dialling):
        if isinstance(found, Flaw):
            yield found
            continue
        line, prefix, name = found
        if name not in names:
            yield Flaw(line, "route", f"the policy in force has no route {name!r}")
        elif prefix in own:
            yield Flaw(line, "prefix", f"{prefix} stands in the policy file, at route {own[prefix]!r}")
        else:
            yield prefix, name


def exported(store: Store) -> Iterator[str]:
    """The imported prefixes as lines of a CSV file that :func:`imported` takes."""
    yield csv_line(listfile.PREFIX_COLUMNS)
    for record in store.records(keys.PREFIXES):
        yield csv_line(record)


def csv_line(cells: Iterable[object]) -> str:
    """A line of a CSV file."""
    target = io.StringIO()
    csv.writer(target).writerow(cells)
    return target.getvalue()
