"""`strowger block import` and `export`, and the same of the allow list: whole lists as CSV files."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from console import importing
from console.importing import File, Replace, SkipBad
from console.output import Json, err
from model.entries import Action
from model.settings import Settings
from operations import lists
from state.bulk import Import
from state.store import Store

Target = Annotated[Path, typer.Argument(help="The file to write; - or nothing writes standard output.", dir_okay=False)]


def add_commands(app: typer.Typer, action: Action) -> None:
    """Add ``import`` and ``export`` of the entries that ``action`` calls."""

    @app.command("import", help="Import a list as one change; returns when every live node has it.")
    def import_(file: File, replace: Replace = False, skip_bad: SkipBad = False, json: Json = False) -> None:
        store, now = Store(Settings.from_env().redis_url), time.time()
        dialling = store.policy().decode()[0].dialling
        work = Import(store, table="entries", replace=replace, created=now, action=action)
        with importing.progress() as bar:
            reading = importing.Reading(file, bar, skip_bad=skip_bad)
            with work:
                reading.send(lists.records(reading.lines(), action, dialling, now), work)
                _, nodes = importing.put_in_force(store, work, reading, bar)
        importing.say_done(reading, f"{action} list", nodes, replaced=replace, json=json)

    @app.command(help="Write the list in force as a CSV file that import takes.")
    def export(file: Target = Path("-")) -> None:
        count = write(file, lists.exported(Store(Settings.from_env().redis_url), action))
        err.print(f"{count:,} entries written")


def write(file: Path, lines: Iterable[str]) -> int:
    """Write a file whose first line is a heading; how many others there are."""
    with writing(file) as target:
        return sum(1 for line in lines if target.write(line)) - 1


@contextmanager
def writing(file: Path) -> Iterator[TextIO]:
    """A text file to write, which is there only once it is whole; or standard output."""
    if str(file) == "-":
        yield sys.stdout
        return
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as target:
            yield target
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
