"""`strowger trunk`: where calls come from, what its names are known to be, and how registrations stand."""

from __future__ import annotations

import time
from typing import Any

import typer

from console.output import Json, print_json, print_table, when
from model.settings import Settings
from operations import trunks
from state.store import Store

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_trunks(json: Json = False) -> None:
    """The trunks of the policy in force: their sources, and whether those that register are registered."""
    settings = Settings.from_env()
    rows = trunks.rows(Store(settings.redis_url), settings)
    if json:
        print_json(rows)
        return
    now = time.time()
    print_table(
        ("name", "sources", "registration"),
        [(row["name"], "\n".join(_sources(row)), _registration(row["registration"], now)) for row in rows],
        empty="no trunks",
    )


def _sources(row: dict[str, Any]) -> list[str]:
    told = [
        f"{one['name']}: {', '.join(one['addresses']) or 'no address'}"
        + (f" (since {when(one['since'])})" if one["since"] else "")
        + (f", {one['trouble']}" if one["trouble"] else "")
        for one in row["names"]
    ]
    return [*row["sources"], *told]


def _registration(told: dict[str, Any] | None, now: float) -> str:
    if told is None:
        return ""
    parts = [told["state"]]
    if told["reason"]:
        parts.append(told["reason"])
    if told["until"] and told["until"] > now:
        parts.append(f"until {when(told['until'])}")
    where = f" ({told['contact']} at {told['registrar']}, by {told['node']})" if "node" in told else ""
    return ", ".join(parts) + where
