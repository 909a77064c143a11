"""`strowger audit`: who changed what."""

from __future__ import annotations

import json as jsons
from typing import Annotated

import typer

from console.output import Json, err, out, print_json, when
from model.settings import Settings
from operations import audit as operation
from operations.changes import Row
from state.store import Store


def audit(
    number: Annotated[int, typer.Option("-n", min=1, help="How many changes, the last one first.")] = 20,
    after: Annotated[str, typer.Option(help="Begin after this one, as the page before says.")] = "",
    json: Json = False,
) -> None:
    """Show who changed what, the last change first."""
    rows, end = operation.page(Store(Settings.from_env().redis_url), after, number)
    if json:
        print_json(rows)
    else:
        for row in rows:
            _show(row)
    if end:
        err.print(f"there are more: --after {end}")


def _show(row: Row) -> None:
    at = row["at"]
    assert isinstance(at, float)
    out.print(f"{when(at)}  {row['who']:<20}  {row['what']:<16} {row['subject']}")
    for name in ("before", "after"):
        if row[name] is not None:
            out.print(f"    {name:<6} {jsons.dumps(row[name], ensure_ascii=False)}", style="dim")
