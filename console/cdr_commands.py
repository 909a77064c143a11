"""`strowger cdr`: the records of calls that are over, of all nodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from console import cdr_output, importing
from console.list_commands import parse_option
from console.list_files import writing
from console.output import Json, err, out, parse_time, print_json, when
from model.record import CallRecord, Outcome
from model.settings import Settings
from operations import records as operations
from operations.records import Filter, Format
from state import records
from state.store import Store, StoreAwayError

# Seconds before Redis is tried again.
RETRY_EVERY = 0.5

app = typer.Typer(no_args_is_help=True)

Caller = Annotated[str, typer.Option(help="Number of the caller, as the record has it.")]
Callee = Annotated[str, typer.Option(help="Number that is called, as the record has it.")]
Gateway = Annotated[str, typer.Option(help="Name of a gateway that was tried.")]
OfOutcome = Annotated[Outcome | None, typer.Option(help="How it went.")]
Route = Annotated[str, typer.Option(help="Name of the route.")]


@app.command()
def tail(
    number: Annotated[int, typer.Option("-n", min=0, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    caller: Caller = "",
    callee: Callee = "",
    gateway: Gateway = "",
    outcome: OfOutcome = None,
    route: Route = "",
    json: Json = False,
) -> None:
    """Show the newest call records, the last one at the bottom; with --json an object on each line."""
    store = Store(Settings.from_env().redis_url)
    wanted = Filter(caller, callee, gateway, outcome, route)
    after, found = _newest(store, wanted, number)
    for record in found:
        _print(record, json)
    while follow:
        after = _follow(store, wanted, after, json)


def _newest(store: Store, wanted: Filter, number: int) -> tuple[str, list[CallRecord]]:
    """Where the stream ends, and the last records that are wanted, oldest first."""
    found = records.newest(store)
    last = next(found, None)
    if last is None:
        return "0-0", []
    after, record = last
    passed = (item for item in _chained(record, found) if wanted.passes(item))
    return after, list(islice(passed, number))[::-1]


def _chained(first: CallRecord, others: Iterator[tuple[str, CallRecord]]) -> Iterator[CallRecord]:
    yield first
    yield from (record for _, record in others)


def _follow(store: Store, wanted: Filter, after: str, json: bool) -> str:
    """Print what comes within a second; the id behind which to go on."""
    try:
        found = records.following(store, after, block=1.0)
    except StoreAwayError as error:
        err.print(f"{error}; waiting for it")
        _wait(store)
        return after
    for _, record in found:
        if wanted.passes(record):
            _print(record, json)
    return found[-1][0] if found else after


def _wait(store: Store) -> None:
    while True:
        try:
            store.ping()
        except StoreAwayError:
            time.sleep(RETRY_EVERY)
        else:
            return


def _print(record: CallRecord, json: bool) -> None:
    if json:
        typer.echo(record.encode())
    else:
        out.print(cdr_output.line(record))


@app.command()
def webhook(json: Json = False) -> None:
    """How far `strowger serve records` has told the webhook, and what it met last."""
    known = operations.webhook(Store(Settings.from_env().redis_url))
    if json:
        print_json(known)
        return
    last, waiting = f", the last one {when(known['at'])}" if known["at"] else "", known["waiting"]
    out.print(f"{known['delivered']:,} records told{last}; {'some' if waiting is None else f'{waiting:,}'} wait")
    if known["lost"]:
        out.print(f"{known['lost']:,} were never told: Redis kept them no longer")
    if known["error"]:
        out.print(f"tried {known['tries']} times in vain: {known['error']}")


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write; - writes standard output.", dir_okay=False)],
    format: Annotated[Format, typer.Option(help="csv: a row a call; jsonl: an object a line.")] = Format.CSV,
    since: Annotated[str, typer.Option(help="How far back: 45s, 30m, 12h or 7d; or a time: 2026-01-31T18:00.")] = "",
    until: Annotated[str, typer.Option(help="Up to when, in the same way.")] = "",
    caller: Caller = "",
    callee: Callee = "",
    gateway: Gateway = "",
    outcome: OfOutcome = None,
    route: Route = "",
) -> None:
    """Write the records of calls that began in a span of time, or all; docs/records.md describes the columns."""
    begin, end = _moment(since, "--since", 0.0), _moment(until, "--until", float("inf"))
    store, count = Store(Settings.from_env().redis_url), 0
    wanted = Filter(caller, callee, gateway, outcome, route, begin, end)
    with importing.progress() as bar, writing(file) as target:
        task = bar.add_task("reading", total=records.count(store))
        for text in operations.exported(store, wanted, format, lambda: bar.advance(task)):
            target.write(text)
            count += 1
    err.print(f"{count - (format is Format.CSV):,} records written")


def _moment(text: str, option: str, default: float) -> float:
    if not text:
        return default
    if "-" in text:
        return parse_time(text, option)
    return time.time() - parse_option(text, option)
