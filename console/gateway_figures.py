"""What all nodes know of gateways together: how well they carry calls, and whose breakers are open."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from console.list_commands import parse_option
from console.output import BAD_INPUT, CommandFailed, Json, print_json, print_table, when
from kemi import health as breakers
from kemi.health import UNKNOWN, Health
from kemi.quality import told
from model.open_breaker import OpenBreaker
from model.quality import NOTHING, SLOT, WINDOW_MAX, Figures, added, slot_of, slots, summed
from model.settings import Settings
from policyfile.problems import did_you_mean
from state import quality
from state.store import Store

# Seconds of the figures that are shown unless others are asked for.
WINDOW = "15m"
# Slots that make a line of `strowger gateway quality NAME`.
MINUTE = 60 // SLOT

Window = Annotated[str, typer.Option(help=f"Over how long the figures go: {SLOT}s to 1h.")]


def read_window(text: str) -> float:
    """The seconds of the option ``--window``."""
    seconds = parse_option(text, "--window")
    if not SLOT <= seconds <= WINDOW_MAX:
        raise typer.BadParameter(f"--window should be {SLOT}s to 1h, not {text!r}")
    return float(seconds)


def figures(store: Store, window: float, now: float) -> dict[str, Figures]:
    """What was counted of each gateway in the last ``window`` seconds."""
    return summed(quality.counted(store, slots(window, now)), window, now)


def cells(found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """ASR, ACD, PDD and number of attempts, as a table has them."""
    asr, acd, pdd = (found[name] for name in ("asr", "acd", "pdd"))
    return (
        "" if asr is None else f"{asr:.0f} %",
        "" if acd is None else f"{acd:.0f} s",
        "" if pdd is None else f"{pdd:.1f} s",
        str(found["attempts"]),
    )


def in_short(found: Mapping[str, Figures], name: str) -> str:
    """The figures of a gateway behind its state; empty where it had no attempt."""
    return f"; {told(found[name])}" if name in found and found[name].attempts else ""


def with_told(health: Health, trip: OpenBreaker | None, now: float) -> Health:
    """What this node knows of a gateway, with the breaker of another node that it goes by."""
    return health if trip is None else breakers.told(health or UNKNOWN, trip, now)


def on_nodes(found: Mapping[str, OpenBreaker], now: float) -> dict[str, dict[str, Any]]:
    """Each node on which a gateway is out of use, and by whose breaker."""
    return {
        node: {
            "state": "open" if trip.live(now) else "half-open",
            "until": trip.until,
            "told_by": None if trip.node == node else trip.node,
            "failures": dict(trip.failures),
            "address": trip.gateway.partition("/")[2] or None,
        }
        for node, trip in sorted(found.items())
    }


def elsewhere(nodes: Mapping[str, Mapping[str, Any]], own: str) -> str:
    """On which other nodes a gateway is out of use, in words; empty: on none."""
    parts = [
        f"{row['state']} on {node}{f' for {at}' if (at := row['address']) else ''}"
        f"{f', told by {by}' if (by := row['told_by']) else ''}"
        for node, row in nodes.items()
        if node != own
    ]
    return f"; {', '.join(parts)}" if parts else ""


def show(
    name: Annotated[str, typer.Argument(help="Name of a gateway, to see how it went minute by minute.")] = "",
    window: Window = WINDOW,
    json: Json = False,
) -> None:
    """How well gateways carry calls, over all nodes: answered attempts (ASR), call duration (ACD), delay (PDD)."""
    store, now, seconds = Store(Settings.from_env().redis_url), time.time(), read_window(window)
    known = store.policy().decode()[0].gateways
    if name and name not in known:
        raise CommandFailed(f"the policy has no gateway {name!r}{did_you_mean(name, known)}", status=BAD_INPUT)
    if name:
        _print_minutes(store, name, seconds, now, json)
        return
    found = figures(store, seconds, now)
    rows = [{"name": gateway, **found.get(gateway, NOTHING).as_dict()} for gateway in known]
    if json:
        print_json({"window": seconds, "gateways": rows})
    else:
        head = ("name", "asr", "acd", "pdd", "attempts")
        print_table(head, [(str(row["name"]), *cells(row)) for row in rows], empty="no gateways")


def _print_minutes(store: Store, name: str, seconds: float, now: float, json: bool) -> None:
    minutes: dict[int, Figures] = {}
    counted = quality.counted(store, slots(seconds, now))
    for slot, by_gateway in counted.items():
        minute = slot // MINUTE
        minutes[minute] = added(minutes.get(minute, NOTHING), by_gateway.get(name, NOTHING))
    rows = [{"at": minute * MINUTE * SLOT, **own.as_dict()} for minute, own in sorted(minutes.items())]
    if json:
        print_json({"name": name, "window": seconds, "minutes": rows, "slot": slot_of(now)})
    else:
        head = ("from", "asr", "acd", "pdd", "attempts")
        print_table(head, [(when(float(row["at"] or 0)), *cells(row)) for row in rows], empty="no calls")
