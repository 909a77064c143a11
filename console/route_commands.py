"""`strowger route`: which prefix leads to which route, those of the policy file and those that were imported."""

from __future__ import annotations

import csv
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from console import importing
from console.importing import File, Replace, SkipBad
from console.list_files import Target, writing
from console.output import Json, err, print_json, print_table
from model import listfile
from model.listfile import Flaw, ListFileError
from model.numbers import Dialling, normalise_beginning
from model.policy import Route
from model.settings import Settings
from state import keys
from state.bulk import Import
from state.store import Store

app = typer.Typer(no_args_is_help=True)

# Prefixes that are listed at once unless another number is asked for.
PAGE = 100


class Row(NamedTuple):
    """A prefix and its route."""

    prefix: str
    route: str
    origin: str
    "``policy`` or ``import``."


@app.command("import")
def import_(file: File, replace: Replace = False, skip_bad: SkipBad = False, json: Json = False) -> None:
    """Import prefixes (CSV: prefix,route) for routes of the policy in force, beside the policy's own, as one change."""
    store = Store(Settings.from_env().redis_url)
    applied = store.policy()
    policy, routes = applied.decode()
    work = Import(store, table="prefixes", replace=replace, created=0.0)
    with importing.progress() as bar:
        reading = importing.Reading(file, bar, skip_bad=skip_bad)
        with work:
            reading.send(_records(reading, policy.dialling, routes), work)
            if not reading.records and not replace:
                raise ListFileError(f"{file}: no prefixes; nothing was imported")
            _, nodes = importing.put_in_force(store, work, reading, bar, applied.version)
    importing.say_done(reading, "imported prefixes", nodes, replaced=replace, json=json)


@app.command()
def export(file: Target = Path("-")) -> None:
    """Write the imported prefixes as a CSV file that import takes."""
    store, count = Store(Settings.from_env().redis_url), 0
    with writing(file) as target:
        rows = csv.writer(target)
        rows.writerow(listfile.PREFIX_COLUMNS)
        for record in store.records(keys.PREFIXES):
            rows.writerow(record)
            count += 1
    err.print(f"{count:,} prefixes written")


@app.command("list")
def list_(
    prefix: Annotated[str, typer.Option(help="Only prefixes that begin with this one.")] = "",
    search: Annotated[str, typer.Option(help="Only those whose prefix or route holds this text.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = PAGE,
    offset: Annotated[int, typer.Option(min=0, help="Leave out the first so many.")] = 0,
    json: Json = False,
) -> None:
    """List prefixes and their routes, a page at a time."""
    store = Store(Settings.from_env().redis_url)
    policy, routes = store.policy().decode()
    beginning, text, total = normalise_beginning(prefix, policy.dialling) if prefix else "", search.lower(), 0

    def rows() -> Iterator[Row]:
        nonlocal total
        for row in _rows(store, routes):
            if row.prefix.startswith(beginning) and (text in row.prefix.lower() or text in row.route.lower()):
                total += 1
                yield row

    # Of a hundred thousand only the page is kept.
    found = (heapq.nsmallest(offset + limit, rows()) if limit else sorted(rows()))[offset:]
    if json:
        print_json([{"prefix": row.prefix, "route": row.route, "from": row.origin} for row in found])
    else:
        shown = [(row.prefix or "any number", row.route, row.origin) for row in found]
        print_table(("prefix", "route", "from"), shown, empty="no prefixes")
    if offset + len(found) < total:
        err.print(f"{len(found):,} of {total:,}; the next: --offset {offset + len(found)}")


def _rows(store: Store, routes: tuple[Route, ...]) -> Iterator[Row]:
    yield from (Row(prefix, route.name, "policy") for route in routes for prefix in route.prefixes)
    yield from (Row(prefix, name, "import") for prefix, name in store.records(keys.PREFIXES))


def _records(
    reading: importing.Reading, dialling: Dialling, routes: tuple[Route, ...]
) -> Iterator[tuple[str, str] | Flaw]:
    names = {route.name for route in routes}
    own = {prefix: route.name for route in routes for prefix in route.prefixes}
    for found in listfile.read_prefixes(reading.lines(), dialling):
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
