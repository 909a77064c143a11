"""What imports have in common: files read with a progress bar, all errors at once, and one change at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from console.output import err, out, print_json
from console.waiting import confirmed
from operations import importing as operations
from operations.importing import CONFIRM_TIMEOUT, FLAWS_MAX
from state.bulk import Import
from state.store import Change, Store

File = Annotated[
    Path, typer.Argument(help="A CSV file; - reads standard input.", exists=True, dir_okay=False, allow_dash=True)
]
Replace = Annotated[bool, typer.Option("--replace", help="The file becomes the whole list; what it lacks goes.")]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Import the other lines where some are wrong.")]


class Reading(operations.Reading):
    """The lines of a file, as they are imported."""

    def __init__(self, path: Path, progress: Progress, *, skip_bad: bool) -> None:
        super().__init__(str(path), skip_bad=skip_bad)
        self._path = path
        self._progress = progress

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

    def say_flaws(self) -> None:
        """Tell of the lines that were skipped."""
        for flaw in self.flaws[:FLAWS_MAX]:
            err.print(f"skipped: {self.text(flaw)}", style="yellow")
        if len(self.flaws) > FLAWS_MAX:
            err.print(f"skipped: {len(self.flaws) - FLAWS_MAX:,} lines more", style="yellow")


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
        print_json({**reading.row(), "replaced": replaced, "nodes": nodes})
        return
    reading.say_flaws()
    verb = "replaced by" if replaced else "extended by"
    out.print(f"{what} {verb} {reading.records:,} from the file: in force on {', '.join(nodes) or 'no node yet'}")
