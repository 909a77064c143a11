"""`strowger block import` and `export`, and the same of the allow list: whole lists as CSV files."""

from __future__ import annotations

import csv
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, TextIO

import typer

from console import importing
from console.importing import File, Replace, SkipBad
from console.output import Json, err
from model import listfile
from model.entries import Action, Entry, Kind
from model.listfile import Flaw
from model.numbers import Dialling
from model.settings import Settings
from state import codec, keys
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
                reading.send(_records(reading, action, dialling, now), work)
                _, nodes = importing.put_in_force(store, work, reading, bar)
        importing.say_done(reading, f"{action} list", nodes, replaced=replace, json=json)

    @app.command(help="Write the list in force as a CSV file that import takes.")
    def export(file: Target = Path("-")) -> None:
        store, now, count = Store(Settings.from_env().redis_url), time.time(), 0
        mark = f'["{action}"'
        with writing(file) as target:
            rows = csv.writer(target)
            rows.writerow(listfile.COLUMNS)
            for name, content in store.records(keys.ENTRIES):
                if not content.startswith(mark):
                    continue
                entry = codec.decode_entry(name, content)
                if entry.live(now):
                    rows.writerow((entry.kind, entry.value, listfile.expires_text(entry.expires), entry.reason))
                    count += 1
        err.print(f"{count:,} entries written")


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


def _records(
    reading: importing.Reading, action: Action, dialling: Dialling, now: float
) -> Iterator[tuple[str, str] | Flaw]:
    for found in listfile.read_entries(reading.lines(), action=action, dialling=dialling, now=now):
        if isinstance(found, Flaw):
            yield found
        else:
            _, entry = found
            yield codec.entry_field(entry.kind, entry.value), _content(entry.action, entry.expires, entry.reason, now)


# Most entries of a list say the same.
@lru_cache(maxsize=4096)
def _content(action: Action, expires: float, reason: str, created: float) -> str:
    # Kind and value are not part of it.
    return codec.encode_entry(Entry(Kind.CALLER, "", action, expires=expires, reason=reason, created=created))
