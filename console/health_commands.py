"""`strowger health` and `strowger node`: whether processes and nodes are ready, and nodes that take no new calls."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from console.list_commands import parse_option
from console.output import Json, out, parse_time, print_json, when
from model.settings import Settings
from operations import draining
from operations import health as operation
from state.store import Store

node_app = typer.Typer(no_args_is_help=True)

MARKS = {True: "[green]ok[/]  ", False: "[red]not [/]"}


def health(json: Json = False) -> None:
    """Whether every process of this node is ready, and every node well; exit status 1 if not.

    A process that does not listen is not looked for, but the agent. docs/alerts.md says what to do.
    """
    found: dict[str, Any] = operation.everything(Settings.from_env())
    if json:
        print_json(found)
    else:
        _show(found)
    if not found["ready"]:
        raise typer.Exit(1)


def _show(found: dict[str, Any]) -> None:
    for row in found["processes"]:
        out.print(f"{MARKS[row['ready']]} {row['process']:<10} {row['address']}", markup=True)
        for check in row["checks"]:
            if not check["ok"]:
                out.print(f"       {check['name']}: {check['text']}")
    for row in found["nodes"]:
        said = "; ".join([*(["takes no new calls"] if row["draining"] else []), *row["troubles"]])
        out.print(f"{MARKS[row['ready']]} node {row['node']}", markup=True)
        if said:
            out.print(f"       {said}")
    if found["redis"]:
        out.print(f"no node can be asked for: {found['redis']}", style="red")


Name = Annotated[str, typer.Argument(help="Name of the node; default: this one.")]


@node_app.command()
def drain(
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    name: Name = "",
    for_: Annotated[str | None, typer.Option("--for", help="How long: 90, 45s, 30m, 2h or 7d.")] = None,
    until: Annotated[str, typer.Option(help="Until when, as 2026-01-31T18:00 (local time unless it has a zone).")] = "",
    json: Json = False,
) -> None:
    """Let a node take no new calls; calls under way go on, and emergency calls are taken.

    It answers OPTIONS with 503, so that who probes it sends calls elsewhere. `strowger top` tells how many are left.
    """
    settings = Settings.from_env()
    store, name = Store(settings.redis_url), name or settings.node
    if for_ is not None and until:
        raise typer.BadParameter("either --for or --until")
    end = time.time() + parse_option(for_, "--for") if for_ is not None else 0.0
    end = parse_time(until, "--until") if until else end
    row = draining.drain(store, name, reason, end)
    if json:
        print_json(row)
    else:
        more = f" until {when(end)}" if end else ""
        away = f"{name} will be drained{more}: it is away"
        out.print(f"{name} takes no new calls{more}" if row["in_force"] else away)


@node_app.command()
def resume(name: Name = "", json: Json = False) -> None:
    """Let a drained node take calls again."""
    settings = Settings.from_env()
    store, name = Store(settings.redis_url), name or settings.node
    row = draining.resume(store, name)
    if json:
        print_json(row)
    else:
        out.print(f"{name} takes calls again" if row["in_force"] else f"{name} will take calls again: it is away")

