"""`strowger nodes`: every node, what it goes by, and how many calls it has."""

from __future__ import annotations

from typing import Any

from console.output import Json, out, print_json, print_table, when
from model.settings import Settings
from operations import nodes as operation
from state.store import Store


def nodes(json: Json = False) -> None:
    """The nodes: live or gone, what of the state is in force there, calls, drains."""
    store = Store(Settings.from_env().redis_url)
    rows = operation.rows(store)
    if json:
        print_json(rows)
        return
    wanted = operation.position(store)
    out.print(f"policy version {wanted['version']}, change {wanted['seq']} are to be in force", style="dim")
    columns = ("node", "state", "policy", "snapshot", "calls", "since")
    print_table(columns, map(_cells, rows), empty="none was ever live")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    if not row["live"]:
        return row["name"], "gone: nobody has heard of it for more than three seconds", "", "", "", ""
    behind = row["behind"]
    snapshot = "of another Redis" if behind is None else f"{behind} changes behind" if behind else "complete"
    calls = "Kamailio does not answer" if row["calls"] is None else str(row["calls"])
    return row["name"], _state(row), str(row["version"]), snapshot, calls, when(row["started"])


def _state(row: dict[str, Any]) -> str:
    drain = row["drain"]
    said = [*(["busy with an import"] if row["busy"] else []), *row["troubles"]]
    if drain is not None:
        until = f" until {when(drain['until'])}" if drain["until"] else ""
        said.insert(0, f"drained by {drain['author']}{until}: {drain['reason']}")
    elif row["draining"]:
        said.insert(0, "takes no new calls yet")
    return "; ".join(said) or "up"
