"""What commands print: tables for people, JSON for programs, errors in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

# Long lines are the terminal's to wrap: a line is a line for grep, too. Names and addresses may hold brackets, so
# markup is only where a call says so.
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)

# Characters of a row that no terminal shows.
WIDE = 2000

# Exit statuses.
FAILED = 1
BAD_INPUT = 2


class CommandFailed(Exception):
    """A command could not do what it was asked; the message is all that the operator sees."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
        "Exit status."


def print_json(value: object) -> None:
    """``value`` as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "none") -> None:
    """Rows under headings; ``empty`` where there are none."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        # The first names the row, and is what is copied.
        table.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    if table.row_count:
        # A terminal shows a row on several lines; for grep and awk it is one.
        to = out if out.is_terminal else Console(file=out.file, width=WIDE, highlight=False, markup=False)
        to.print(table)
    else:
        out.print(empty)


def when(unix_time: float) -> str:
    """A Unix time in seconds as people and programs read it, in UTC; ``never`` for 0."""
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if unix_time else "never"


def parse_time(text: str, option: str) -> float:
    """A Unix time as people type it, local unless it has a zone. Raises typer.BadParameter, which names the option."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
        # The calendar ends with the year 9999, in some time zones a day earlier than here.
        if not 1 < moment.year < 9999:
            raise ValueError
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{option} {text!r} is not a time such as 2026-01-31T18:00") from None
