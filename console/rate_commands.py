"""`strowger rates`: what gateways charge, by prefix, as sheets that are imported."""

from __future__ import annotations

import csv
import getpass
import heapq
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from console import importing
from console.importing import File, Replace, SkipBad
from console.list_files import Target, writing
from console.output import CommandFailed, Json, err, out, parse_time, print_json, print_table, when
from console.rate_dryrun import Comparison
from console.waiting import confirmed
from kemi import least_cost
from kemi.view import NoPolicyError, View
from model import ratefile
from model.listfile import Flaw, ListFileError
from model.numbers import normalise, normalise_beginning
from model.policy import Policy
from model.rates import CURRENCY, parse_billing
from model.settings import Settings
from policyfile.problems import did_you_mean
from state import keys
from state.bulk import Import
from state.rates import SheetInfo, decode_row, encode_row
from state.snapshot import NoSnapshotError, SnapshotReader
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
    policy = store.policy().decode()[0]
    _check_gateway(gateway, policy)
    sheet = SheetInfo(_currency(store, gateway, currency, replace=replace), time.time(), getpass.getuser())
    reader = ratefile.Reader(
        policy.dialling, e164=e164, starts=_moment(starts), billing=_billing(billing)
    )  # fmt: skip
    if dry_run:
        _compare(store, gateway, reader, file, replace=replace, skip_bad=skip_bad, json=json)
        return
    work = Import(store, table="rates", replace=replace, created=0.0, gateway=gateway, sheet=sheet)
    with importing.progress() as bar:
        reading = importing.Reading(file, bar, skip_bad=skip_bad)
        with work:
            reading.send(_records(reading, reader), work)
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
    _sheet(store, gateway)
    beginning, total = normalise_beginning(prefix, store.policy().decode()[0].dialling) if prefix else "", 0

    def rows() -> Iterator[tuple[str, int, tuple[str, ...]]]:
        nonlocal total
        for record in store.records(keys.rates(gateway)):
            found, row = decode_row(*record)
            if found.startswith(beginning):
                total += 1
                yield found, row.starts, ratefile.written(found, row)

    # Of a million only the page is kept.
    page = (heapq.nsmallest(offset + limit, rows()) if limit else sorted(rows()))[offset:]
    if json:
        print_json([dict(zip(ratefile.COLUMNS, cells, strict=True)) for _, _, cells in page])
    else:
        print_table(ratefile.COLUMNS, [cells for _, _, cells in page], empty="no rates")
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
    try:
        with SnapshotReader(Settings.from_env().snapshot).read() as get:
            view = View(get)
            found = least_cost.every(normalise(number, view.policy.dialling), view, moment)
    except (NoSnapshotError, NoPolicyError) as error:
        raise CommandFailed("this node has no policy, and so no rates") from error
    rows = [quote.as_dict() for quote in found]
    if json:
        print_json(rows)
    else:
        shown = [{**row, "prefix": row["prefix"] or "any number"}.values() for row in rows]
        print_table(tuple(rows[0] if rows else ()), map(tuple, shown), empty="no gateway has a rate for it")


@app.command()
def export(gateway: Gateway, file: Target = Path("-")) -> None:
    """Write a gateway's rates as a CSV file that import takes, those that are over included."""
    store, count = Store(Settings.from_env().redis_url), 0
    _sheet(store, gateway)
    with writing(file) as target:
        rows = csv.writer(target)
        rows.writerow(ratefile.COLUMNS)
        for record in store.records(keys.rates(gateway)):
            rows.writerow(ratefile.written(*decode_row(*record)))
            count += 1
    err.print(f"{count:,} rates written")


@app.command()
def remove(gateway: Annotated[str, typer.Argument(help="Whose sheet.")], json: Json = False) -> None:
    """Remove a gateway's whole sheet; one change."""
    store = Store(Settings.from_env().redis_url)
    change = store.remove_sheet(gateway)
    if change is None:
        raise _no_sheet(store, gateway)
    nodes = confirmed(store, change, importing.CONFIRM_TIMEOUT).nodes
    if json:
        print_json({"removed": gateway, "nodes": nodes})
    else:
        out.print(f"rates of {gateway} removed: in force on {', '.join(nodes) or 'no node yet'}")


def _check_gateway(name: str, policy: Policy) -> None:
    known = tuple(gateway.name for gateway in policy.gateways.values() if not gateway.media)
    if name not in known:
        raise typer.BadParameter(f"the policy in force has no gateway {name!r}{did_you_mean(name, known)}")


def _currency(store: Store, gateway: str, given: str, *, replace: bool) -> str:
    if given and not CURRENCY.fullmatch(given):
        raise typer.BadParameter(f"--currency {given!r} is not three capital letters such as USD")
    known = store.sheets().get(gateway)
    if known is None and not given:
        raise typer.BadParameter(f"--currency is needed with the first sheet of {gateway}")
    if known is not None and given not in ("", known.currency) and not replace:
        raise typer.BadParameter(f"the sheet of {gateway} is in {known.currency}; --replace makes another of it")
    return given or (known.currency if known else "")


def _moment(text: str) -> int:
    try:
        return ratefile.moment(text) if text else 0
    except ValueError as error:
        raise typer.BadParameter(f"--from {error}") from None


def _billing(text: str) -> tuple[int, int]:
    try:
        return parse_billing(text)
    except ValueError as error:
        raise typer.BadParameter(f"--billing {error}") from None


def _records(reading: importing.Reading, reader: ratefile.Reader) -> Iterator[tuple[str, str] | Flaw]:
    for found in reader.read(reading.lines()):
        yield found if isinstance(found, Flaw) else encode_row(found[1], found[2])


def _compare(
    store: Store, gateway: str, reader: ratefile.Reader, file: Path, *, replace: bool, skip_bad: bool, json: bool
) -> None:
    comparison = Comparison(store, gateway)
    with importing.progress() as bar:
        reading = importing.Reading(file, bar, skip_bad=skip_bad)
        reading.send(_records(reading, reader), comparison)
    found = comparison.result(replace=replace)
    if json:
        print_json({**found, "skipped": len(reading.flaws)})
        return
    reading.say_flaws()
    out.print(f"{', '.join(f'{count:,} {what}' for what, count in found.items())}; nothing was imported")


def _list_sheets(store: Store, *, json: bool) -> None:
    rows = [
        (gateway, info.currency, store.count(keys.rates(gateway)), when(info.imported), info.author)
        for gateway, info in sorted(store.sheets().items())
    ]
    columns = ("gateway", "currency", "rates", "imported", "by")
    if json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows, empty="no rate sheets")


def _sheet(store: Store, gateway: str) -> SheetInfo:
    found = store.sheets().get(gateway)
    if found is None:
        raise _no_sheet(store, gateway)
    return found


def _no_sheet(store: Store, gateway: str) -> CommandFailed:
    known = tuple(store.sheets())
    return CommandFailed(f"there is no rate sheet of a gateway {gateway!r}{did_you_mean(gateway, known)}")
