"""`strowger rates`: what gateways charge, by prefix, as sheets that are imported."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from console import importing
from console.importing import File, Replace, SkipBad
from console.list_files import Target, write
from console.output import Json, err, out, parse_time, print_json, print_table, when
from console.waiting import confirmed
from model import ratefile
from model.listfile import ListFileError
from model.settings import Settings
from operations import rates
from operations.importing import CONFIRM_TIMEOUT
from operations.rate_dryrun import Comparison
from state.rates import SheetInfo
from state.store import Store

app = typer.Typer(no_args_is_help=True)

# Rows that are listed at once unless another number is asked for.
PAGE = 100

Gateway = Annotated[str, typer.Argument(help="Name of a gateway of the policy in force.")]


@app.command("import")
def import_(
    gateway: Gateway,
    file: File,
    currency: Annotated[
        str, typer.Option(help="Of the sheet, as USD; may be left out where a sheet is extended or replaced.")
    ] = "",
    starts: Annotated[
        str, typer.Option("--from", help="From when rows count that do not say so: 2026-12-01; UTC without an offset.")
    ] = "",
    billing: Annotated[str, typer.Option(help="Of rows that do not say so: first and further seconds.")] = "60/60",
    e164: Annotated[bool, typer.Option("--e164", help="Prefixes are of public numbers, and have no plus.")] = False,
    replace: Replace = False,
    skip_bad: SkipBad = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    json: Json = False,
) -> None:
    """Import a gateway's rates (CSV: prefix,price,fee,billing,from,until) as one change."""
    store = Store(Settings.from_env().redis_url)
    taking = rates.Taking(
        gateway=gateway, currency=currency, starts=starts, billing=billing, e164=e164, replace=replace,
        skip_bad=skip_bad,
    )  # fmt: skip
    reader = rates.reader_of(store, taking)
    sheet = SheetInfo(rates.currency_of(store, taking), time.time(), store.user)
    if dry_run:
        _compare(store, taking, reader, file, json=json)
        return
    work = rates.importing_of(store, taking, sheet)
    with importing.progress() as bar:
        reading = importing.Reading(file, bar, skip_bad=skip_bad)
        with work:
            reading.send(rates.records(reader, reading.lines()), work)
            if not reading.records and not replace:
                raise ListFileError(f"{file}: no rates; nothing was imported")
            _, nodes = importing.put_in_force(store, work, reading, bar)
    importing.say_done(reading, f"rates of {gateway} ({sheet.currency})", nodes, replaced=replace, json=json)


@app.command("list")
def list_(
    gateway: Annotated[str, typer.Argument(help="Whose rates; otherwise all sheets are listed.")] = "",
    prefix: Annotated[str, typer.Option(help="Only prefixes that begin with this one.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = PAGE,
    offset: Annotated[int, typer.Option(min=0, help="Leave out the first so many.")] = 0,
    json: Json = False,
) -> None:
    """List the sheets, or the rates of one, a page at a time."""
    store = Store(Settings.from_env().redis_url)
    if not gateway:
        _list_sheets(store, json=json)
        return
    page, total, _ = rates.page(store, gateway, prefix=prefix, offset=offset, limit=limit)
    if json:
        print_json([dict(zip(ratefile.COLUMNS, cells, strict=True)) for cells in page])
    else:
        print_table(ratefile.COLUMNS, page, empty="no rates")
    if offset + len(page) < total:
        err.print(f"{len(page):,} of {total:,}; the next: --offset {offset + len(page)}")


@app.command()
def show(
    number: Annotated[str, typer.Argument(help="A called number, as operators write it.")],
    at: Annotated[str, typer.Option(help="When, as 2026-01-31T18:00 (local time unless it has a zone).")] = "",
    json: Json = False,
) -> None:
    """Show what each gateway charges for a number, as this node has it, the cheapest first."""
    moment = parse_time(at, "--at") if at else time.time()
    rows = rates.quotes(Settings.from_env(), number, moment)
    if json:
        print_json(rows)
    else:
        shown = [{**row, "prefix": row["prefix"] or "any number"}.values() for row in rows]
        print_table(tuple(rows[0] if rows else ()), map(tuple, shown), empty="no gateway has a rate for it")


@app.command()
def export(gateway: Gateway, file: Target = Path("-")) -> None:
    """Write a gateway's rates as a CSV file that import takes, those that are over included."""
    count = write(file, rates.exported(Store(Settings.from_env().redis_url), gateway))
    err.print(f"{count:,} rates written")


@app.command()
def remove(gateway: Annotated[str, typer.Argument(help="Whose sheet.")], json: Json = False) -> None:
    """Remove a gateway's whole sheet; one change."""
    store = Store(Settings.from_env().redis_url)
    change = store.remove_sheet(gateway)
    if change is None:
        raise rates.no_sheet(store, gateway)
    nodes = confirmed(store, change, CONFIRM_TIMEOUT).nodes
    if json:
        print_json({"removed": gateway, "nodes": nodes})
    else:
        out.print(f"rates of {gateway} removed: in force on {', '.join(nodes) or 'no node yet'}")


def _compare(store: Store, taking: rates.Taking, reader: ratefile.Reader, file: Path, *, json: bool) -> None:
    comparison = Comparison(store, taking.gateway)
    with importing.progress() as bar:
        reading = importing.Reading(file, bar, skip_bad=taking.skip_bad)
        reading.send(rates.records(reader, reading.lines()), comparison)
    found = comparison.result(replace=taking.replace)
    if json:
        print_json({**found, "skipped": len(reading.flaws)})
        return
    reading.say_flaws()
    said = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in found.items())
    out.print(f"{said}; nothing was imported")


def _list_sheets(store: Store, *, json: bool) -> None:
    rows = rates.sheets(store)
    if json:
        print_json([{**row, "imported": when(row["imported"])} for row in rows])
    else:
        columns = ("gateway", "currency", "rates", "imported", "by")
        shown = [tuple({**row, "imported": when(row["imported"])}.values()) for row in rows]
        print_table(columns, shown, empty="no rate sheets")
