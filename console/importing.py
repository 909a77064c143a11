"""What imports have in common: files read with a progress bar, all errors at once, and one change at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from console.output import err, out, print_json
from console.waiting import confirmed
from model.listfile import Flaw, ListFileError
from state.bulk import CHUNK, Import
from state.store import Change, Store

# Errors that are listed before reading stops.
FLAWS_MAX = 100
# Seconds that a node may take to say that it has begun.
CONFIRM_TIMEOUT = 30.0

File = Annotated[
    Path, typer.Argument(help="A CSV file; - reads standard input.", exists=True, dir_okay=False, allow_dash=True)
]
Replace = Annotated[bool, typer.Option("--replace", help="The file becomes the whole list; what it lacks goes.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Import the other lines where some are wrong.")]


class Sending(Protocol):
    """Where records go: an import, or what is done instead."""

    def send(self, records: list[tuple[str, str]]) -> None:
        """Send a chunk."""


class Reading:
    """The lines of a file, as they are imported."""

    def __init__(self, path: Path, progress: Progress, *, skip_bad: bool) -> None:
        self._path = path
        self._progress = progress
        self._skip_bad = skip_bad
        self.flaws: list[Flaw] = []
        self.records = 0

    def lines(self) -> Iterator[str]:
        """The lines; what is no UTF-8 comes as lone surrogates. Raises OSError."""
        if str(self._path) == "-":
            yield from (raw.decode("utf-8-sig", "surrogateescape") for raw in sys.stdin.buffer)
            return
        task = self._progress.add_task("reading", total=self._path.stat().st_size)
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            unsaid = 0
            for line in file:
                yield line
                unsaid += len(line)
                if unsaid > 1 << 16:
                    self._progress.advance(task, unsaid)
                    unsaid = 0
            self._progress.advance(task, unsaid)

    def send(self, records: Iterable[tuple[str, str] | Flaw], work: Sending) -> None:
        """Send what is sound. Raises :class:`ListFileError` where something is not, and nothing may be skipped."""
        chunk: list[tuple[str, str]] = []
        for record in records:
            if isinstance(record, Flaw):
                self._note(record)
                continue
            self.records += 1
            chunk.append(record)
            if len(chunk) == CHUNK:
                if self._skip_bad or not self.flaws:
                    work.send(chunk)
                chunk = []
        if self.flaws and not self._skip_bad:
            raise self._error()
        work.send(chunk)

    def say_flaws(self) -> None:
        """Tell of the lines that were skipped."""
        for flaw in self.flaws[:FLAWS_MAX]:
            err.print(f"skipped: {self._text(flaw)}", style="yellow")
        if len(self.flaws) > FLAWS_MAX:
            err.print(f"skipped: {len(self.flaws) - FLAWS_MAX:,} lines more", style="yellow")

    def _note(self, flaw: Flaw) -> None:
        self.flaws.append(flaw)
        if not self._skip_bad and len(self.flaws) >= FLAWS_MAX:
            raise self._error()

    def _error(self) -> ListFileError:
        lines = [self._text(flaw) for flaw in self.flaws]
        more = ", and reading stopped here" if len(lines) >= FLAWS_MAX else ""
        return ListFileError("\n".join([*lines, f"{len(lines)} lines are wrong{more}; nothing was imported"]))

    def _text(self, flaw: Flaw) -> str:
        where = f"{self._path}:{flaw.line}: "
        return f"{where}{flaw.field}: {flaw.message}" if flaw.field else where + flaw.message


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress bar on standard error, if that is a terminal."""
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        yield bar


def put_in_force(
    store: Store, work: Import, reading: Reading, bar: Progress, policy_version: int | None = None
) -> tuple[Change, tuple[str, ...]]:
    """Make the new table, exchange it, and wait for the nodes; the change, and who has it."""
    task = bar.add_task("building", total=None)
    for done, total in work.build():
        bar.update(task, completed=done, total=total)
    change = work.commit(policy_version)
    bar.add_task(f"{reading.records:,} records; waiting for the nodes", total=None)
    return change, confirmed(store, change, CONFIRM_TIMEOUT).nodes


def say_done(reading: Reading, what: str, nodes: tuple[str, ...], *, replaced: bool, json: bool) -> None:
    """Tell what was imported."""
    if json:
        skipped = [{"line": flaw.line, "field": flaw.field, "message": flaw.message} for flaw in reading.flaws]
        print_json({"imported": reading.records, "skipped": skipped, "replaced": replaced, "nodes": nodes})
        return
    reading.say_flaws()
    verb = "replaced by" if replaced else "extended by"
    out.print(f"{what} {verb} {reading.records:,} from the file: in force on {', '.join(nodes) or 'no node yet'}")
