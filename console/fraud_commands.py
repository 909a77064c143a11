"""`strowger fraud`: what guards against fraud have counted, whom they refuse, and releasing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from console.output import CommandFailed, Json, out, print_json, print_table, when
from console.waiting import confirmed
from model.fraud import PER, shown
from model.settings import Settings
from operations import fraud
from operations.errors import MissingError
from state.fraud import trips as live_trips
from state.store import Store

app = typer.Typer(no_args_is_help=True)

Limit = Annotated[int, typer.Option("-n", min=1, max=10_000, help="At most this many.")]


@app.command()
def status(
    per: Annotated[str, typer.Option(help=f"Only those counted by: {', '.join(PER)}.")] = "",
    guard: Annotated[str, typer.Option(help="Only this guard.")] = "",
    limit: Limit = 20,
    json: Json = False,
) -> None:
    """Who is nearest to being refused, over all nodes, and who is."""
    if per and per not in PER:
        raise typer.BadParameter(f"--per {per!r} is none of {', '.join(PER)}")
    store = Store(Settings.from_env().redis_url)
    rows = fraud.status(store, per=per, guard=guard, limit=limit)
    if json:
        print_json(rows)
        return
    print_table(
        ("guard", "counted", "prefix", "of", "reached", "state"),
        [(row["guard"], row["who"], row["prefix"], _counts(row), f"{row['reached']:.0%}", _state(row)) for row in rows],
        empty="nothing is counted" if fraud.guards(store, per, guard) else "no such guard",
    )


def _counts(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{found['count']} of {found['block'] or found['warn']} {measure}" for measure, found in row["measures"].items()
    )


def _state(row: dict[str, Any]) -> str:
    if not row["blocked"]:
        return ""
    return f"refused until {when(row['blocked_until'])}" if row["blocked_until"] else "refused until released"


@app.command()
def trips(
    past: Annotated[bool, typer.Option("--past", help="What was warned of, refused and released, too.")] = False,
    limit: Limit = 50,
    json: Json = False,
) -> None:
    """Whose calls are refused, since when and why; with --past, what happened before."""
    store = Store(Settings.from_env().redis_url)
    rows = fraud.past(store, limit) if past else fraud.trips(store)
    if json:
        print_json(rows)
        return
    print_table(
        ("guard", "counted", "prefix", "what", "when", "why"),
        [_cells(row) for row in rows],
        empty="nothing has happened" if past else "nobody is refused",
    )


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    limit, measure = shown(row["measure"], row["limit"]), row["measure"]
    why = f"{shown(measure, row['count'])} of at most {limit} {measure}"
    if row["kind"] == "release":
        why = f"by {row['author']}: {row['reason']}" if row["author"] else "by time"
    elif row["kind"] == "block":
        why += f", until {when(row['until'])}" if row["until"] else ", until released"
    return row["guard"], row["who"], row["prefix"], row["kind"], when(row["at"]), why


@app.command()
def release(
    who: Annotated[str, typer.Argument(help="Subscriber, trunk or caller, as `strowger fraud trips` has it.")],
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    guard: Annotated[str, typer.Option(help="Only this guard; otherwise every one that refuses them.")] = "",
    prefix: Annotated[str, typer.Option(help="Only this prefix, of a guard that counts each.")] = "",
    json: Json = False,
) -> None:
    """Let calls pass again, counted from nothing. Returns when every live node does so."""
    store = Store(Settings.from_env().redis_url)
    try:
        names, changes = fraud.released_by(store, who, reason=reason, guard=guard, prefix=prefix or None)
    except MissingError as error:
        raise CommandFailed(str(error)) from None
    nodes = confirmed(store, changes[-1]).nodes
    if json:
        print_json({"released": names, "nodes": nodes})
    else:
        out.print(f"{', '.join(names)} released: in force on {', '.join(nodes) or 'no node yet'}")


def status_part(store: Store) -> dict[str, Any]:
    """For `strowger status`: how many are refused. Raises :class:`state.store.StoreError`."""
    found = live_trips(store)
    most = ", ".join(f"{trip.guard} refuses {trip.who}" for trip in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return {"text": f"fraud: {most}{more}" if found else "", "blocked": len(found)}


def explained_line(row: dict[str, Any]) -> str:
    """The same for people."""
    return _counts(row)
