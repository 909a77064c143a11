"""`strowger route`: which prefix leads to which route, those of the policy file and those that were imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console import importing
from console.importing import File, Replace, SkipBad
from console.list_files import Target, write
from console.output import Json, err, print_json, print_table
from model.listfile import ListFileError
from model.settings import Settings
from operations import routes
from state.bulk import Import
from state.store import Store

app = typer.Typer(no_args_is_help=True)

# Prefixes that are listed at once unless another number is asked for.
PAGE = 100


@app.command("import")
def import_(file: File, replace: Replace = False, skip_bad: SkipBad = False, json: Json = False) -> None:
    """Import prefixes (CSV: prefix,route) for routes of the policy in force, beside the policy's own, as one change."""
    store = Store(Settings.from_env().redis_url)
    applied = store.policy()
    policy, known = applied.decode()
    work = Import(store, table="prefixes", replace=replace, created=0.0)
    with importing.progress() as bar:
        reading = importing.Reading(file, bar, skip_bad=skip_bad)
        with work:
            reading.send(routes.records(reading.lines(), policy.dialling, known), work)
            if not reading.records and not replace:
                raise ListFileError(f"{file}: no prefixes; nothing was imported")
            _, nodes = importing.put_in_force(store, work, reading, bar, applied.version)
    importing.say_done(reading, "imported prefixes", nodes, replaced=replace, json=json)


@app.command()
def export(file: Target = Path("-")) -> None:
    """Write the imported prefixes as a CSV file that import takes."""
    count = write(file, routes.exported(Store(Settings.from_env().redis_url)))
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
    found, total, _ = routes.page(store, prefix=prefix, search=search, offset=offset, limit=limit)
    if json:
        print_json([row.row() for row in found])
    else:
        shown = [(row.prefix or "any number", row.route, row.origin) for row in found]
        print_table(("prefix", "route", "from"), shown, empty="no prefixes")
    if offset + len(found) < total:
        err.print(f"{len(found):,} of {total:,}; the next: --offset {offset + len(found)}")

