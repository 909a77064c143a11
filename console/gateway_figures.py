"""What all nodes know of gateways together: how well they carry calls, and whose breakers are open."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from console.list_commands import parse_option
from console.output import BAD_INPUT, CommandFailed, Json, print_json, print_table, when
from kemi.quality import told
from model.quality import SLOT, WINDOW_MAX, Figures, slot_of
from model.settings import Settings
from operations import gateways
from operations.errors import MissingError
from state.store import Store

# Seconds of the figures that are shown unless others are asked for.
WINDOW = "15m"

Window = Annotated[str, typer.Option(help=f"Over how long the figures go: {SLOT}s to 1h.")]


def read_window(text: str) -> float:
    """The seconds of the option ``--window``."""
    seconds = parse_option(text, "--window")
    if not SLOT <= seconds <= WINDOW_MAX:
        raise typer.BadParameter(f"--window should be {SLOT}s to 1h, not {text!r}")
    return float(seconds)


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
    if name:
        _print_minutes(store, name, seconds, now, json)
        return
    rows = gateways.figure_rows(store, window=seconds, now=now)
    if json:
        print_json({"window": seconds, "gateways": rows})
    else:
        head = ("name", "asr", "acd", "pdd", "attempts")
        print_table(head, [(str(row["name"]), *cells(row)) for row in rows], empty="no gateways")


def _print_minutes(store: Store, name: str, seconds: float, now: float, json: bool) -> None:
    try:
        rows = gateways.minutes(store, name, window=seconds, now=now)
    except MissingError as error:
        raise CommandFailed(str(error), status=BAD_INPUT) from None
    if json:
        print_json({"name": name, "window": seconds, "minutes": rows, "slot": slot_of(now)})
    else:
        head = ("from", "asr", "acd", "pdd", "attempts")
        print_table(head, [(when(float(row["at"] or 0)), *cells(row)) for row in rows], empty="no calls")
