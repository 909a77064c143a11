"""`strowger top`: calls, gateways and nodes, as they are now."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from console.output import Json, out, print_json
from model.policy import owner
from model.quality import NOTHING, slots, summed
from model.settings import Settings
from operations import draining, overview
from state import breakers, node_drains, quality
from state.store import NoPolicyAppliedError, Store, StoreError

WINDOW = 15
"Minutes over which calls and gateways are looked at."
BARS = " ▁▂▃▄▅▆▇█"


def top(
    every: Annotated[float, typer.Option(min=0.5, max=60, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Show it once, as it is now.")] = False,
    json: Json = False,
) -> None:
    """Calls a second, concurrent calls, answer-seizure ratio, post-dial delay, gateways and nodes; Ctrl-C ends it."""
    store = Store(Settings.from_env().redis_url)
    if json:
        print_json(seen(store, time.time()))
        return
    if once or not out.is_terminal:
        out.print(frame(seen(store, time.time())))
        return
    with Live(console=out, auto_refresh=False, screen=True) as live:
        while True:
            live.update(_looked(store), refresh=True)
            time.sleep(every)


def _looked(store: Store) -> RenderableType:
    try:
        return frame(seen(store, time.time()))
    except StoreError as error:
        # It may come back while somebody watches.
        return Text(str(error), style="red")


def seen(store: Store, now: float) -> dict[str, Any]:
    """What a frame shows. Raises StoreError."""
    drains = node_drains.all_of(store)
    live, gone = store.nodes()
    nodes = [{"name": node.name, "live": True, **draining.standing(node, drains, now)} for node in live]
    nodes += [{"name": name, "live": False} for name in gone]
    return {"at": now, "calls": overview.figures(store, WINDOW, now), "gateways": _gateways(store, now), "nodes": nodes}


def _gateways(store: Store, now: float) -> list[dict[str, Any]]:
    try:
        known = store.policy().decode()[0].gateways
    except NoPolicyAppliedError:
        return []
    counted = summed(quality.counted(store, slots(WINDOW * 60, now)), WINDOW * 60, now)
    tripped, drains = breakers.by_node(store, now), store.drains()
    rows = []
    for name in known:
        open_on = sorted({node for one, on in tripped.items() if owner(one) == name for node in on})
        drained = name in drains and drains[name].live(now)
        state = "drained" if drained else f"breaker open on {', '.join(open_on)}" if open_on else "up"
        state = state if known[name].enabled else "disabled"
        rows.append({"name": name, "state": state, "quality": counted.get(name, NOTHING).as_dict()})
    return sorted(rows, key=lambda row: (-row["quality"]["attempts"], row["name"]))


def frame(found: dict[str, Any]) -> RenderableType:
    """One picture of what was seen."""
    calls = found["calls"]
    now = calls["now"]
    at = time.strftime("%H:%M:%S", time.localtime(found["at"]))
    lines = [
        Text(f"strowger top   {at}   the last {calls['minutes']} minutes, all nodes", style="bold"),
        Text(f"calls/s     {now['calls_per_second']:>8.1f}  {bars(calls['calls_per_second'])}"),
        Text(f"concurrent  {now['concurrent']:>8}  {bars(calls['concurrent'])}"),
        Text(f"ASR         {_percent(now['asr']):>8}  {bars(calls['asr'], most=100.0)}"),
        Text(f"PDD         {_seconds(now['pdd']):>8}  {bars(calls['pdd'])}"),
        Text(f"failures    {now['failures']:>8}  {_causes(calls['failures'])}"),
    ]
    return Group(*lines, Text(), _of_gateways(found["gateways"]), Text(), _of_nodes(found["nodes"]))


def bars(values: list[float | None], *, most: float = 0.0, width: int = 60) -> str:
    """The last values as a row of bars, up to ``most`` or the largest; a blank where nothing is known."""
    shown = values[-width:]
    top = most or max((value for value in shown if value), default=0.0)
    # What is there at all is to be seen.
    return "".join(BARS[max(1, round(value / top * 8))] if value and top else " " for value in shown)


def _causes(failures: dict[str, list[int]]) -> str:
    counts = {cause: sum(points) for cause, points in failures.items()}
    return ", ".join(f"{count} {cause}" for cause, count in counts.items() if count)


def _of_gateways(rows: list[dict[str, Any]]) -> RenderableType:
    table = _table("gateway", "state", "attempts", "ASR", "ACD", "PDD")
    for row in rows:
        told = row["quality"]
        style = "" if row["state"] == "up" else "red" if "breaker" in row["state"] else "dim"
        cells = (row["name"], row["state"], str(told["attempts"]), _percent(_hundredfold(told["asr"])))
        table.add_row(*cells, _seconds(told["acd"]), _seconds(told["pdd"]), style=style)
    return table if rows else Text("no gateways", style="dim")


def _of_nodes(rows: list[dict[str, Any]]) -> RenderableType:
    table = _table("node", "state", "calls", "troubles")
    for row in rows:
        if not row["live"]:
            table.add_row(row["name"], "gone", "", "", style="red")
            continue
        state = "drained" if row["draining"] else "up"
        calls = "" if row["calls"] is None else str(row["calls"])
        table.add_row(row["name"], state, calls, "; ".join(row["troubles"]), style="red" if row["troubles"] else "")
    return table if rows else Text("no node is live", style="red")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _hundredfold(part: float | None) -> float | None:
    return None if part is None else 100 * part


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} %"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
