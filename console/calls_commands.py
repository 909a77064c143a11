"""`strowger calls`: calls that are under way on all nodes, one call with all that is known, and acts on live ones."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from console import cdr_output
from console.output import Json, err, out, print_json, print_table, when
from model.record import CallRecord, Outcome
from model.settings import Settings
from operations import call_control, calls, live_calls
from operations.live_calls import State
from state.store import Store
from telemetry.logs import Line, about, parsed

app = typer.Typer(no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="A call's id or its Call-ID.", metavar="CALL")]
Number = Annotated[str, typer.Option(help="Number as the call has it; 4420* for all that begin so.")]

AROUND = 2.0
"Seconds before a call and after it in which something may be said of it."


@app.command("list")
def list_(
    trunk: Annotated[str, typer.Option(help="Name of the trunk.")] = "",
    gateway: Annotated[str, typer.Option(help="Name of the gateway that it is at.")] = "",
    caller: Number = "",
    callee: Number = "",
    state: Annotated[State | None, typer.Option(help="How far it is.")] = None,
    node: Annotated[str, typer.Option(help="Name of the node.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    after: Annotated[str, typer.Option(help="What the page before said.")] = "",
    json: Json = False,
) -> None:
    """Calls that are under way, the newest first."""
    wanted = live_calls.Filter(
        trunk=trunk, gateway=gateway, caller=caller, callee=callee, state=state or "", node=node
    )  # fmt: skip
    page = live_calls.page(_store(), wanted, after=after, limit=limit)
    if json:
        print_json(page)
        return
    rows = [
        (
            row["call"], row["state"], f"{row['seconds']:.0f} s", row["caller"] or "-", row["callee"],
            row["trunk"] or "-", row["gateway"] or "-", row["app"] or "-", row["node"],
        )
        for row in page["calls"]
    ]  # fmt: skip
    print_table(
        ("call", "state", "for", "caller", "callee", "trunk", "gateway", "app", "node"), rows, empty="no live calls"
    )
    if page["after"]:
        err.print(f"{page['total']:,} in all; go on with --after {page['after']}")


@app.command()
def show(call: Id, json: Json = False) -> None:
    """One call, live or past: what was decided, tried and told."""
    settings = Settings.from_env()
    found = calls.one(Store(settings.redis_url), call, settings)
    if json:
        print_json(found)
        return
    _show(found)


@app.command()
def trace(
    call: Id,
    logs: Annotated[
        list[str] | None,
        typer.Option(help="File of log lines of another host, - for standard input; those of this call are shown."),
    ] = None,
    json: Json = False,
) -> None:
    """A call, every call that belongs to it, and what was said of them, in order."""
    settings = Settings.from_env()
    found = calls.trace(Store(settings.redis_url), call, settings)
    lines = _said(settings, found["calls"], logs or ())
    if json:
        print_json({**found, "logs": [line.as_dict() for line in lines]})
        return
    for one in found["calls"]:
        _show(one, events=False)
    told = [(event["at"], _event(event)) for event in found["events"]]
    said = [(line.at or 0.0, f"{_clock(line.at or 0.0)} {line.source}: {line.text}") for line in lines]
    for _, text in sorted((*told, *said), key=lambda item: item[0]):
        out.print(text)


@app.command()
def hangup(call: Id, json: Json = False) -> None:
    """End a live call, on whichever node it is."""
    done = calls.hangup(_store(), call)
    _report(done, json, f"call {done['call']} on node {done['node']}: {done['how']} is sent")


@app.command()
def play(
    call: Id,
    text: Annotated[str, typer.Option(help="Words, spoken by machine.")] = "",
    prompt: Annotated[str, typer.Option(help="Name of a prompt.")] = "",
    tone: Annotated[str, typer.Option(help="%(milliseconds on, off, Hz)")] = "",
    side: Annotated[str, typer.Option(help="caller, callee or both.")] = "both",
    json: Json = False,
) -> None:
    """Play into a live call that a call script has."""
    done = call_control.play(_store(), call, text=text, prompt=prompt, tone=tone, side=side)
    _report(done, json, f"call {done['call']} hears it, by worker {done['worker']}")


@app.command()
def transfer(
    call: Id, number: Annotated[str, typer.Argument(help="Routed as the policy has it.")], json: Json = False
) -> None:
    """Take a live call from its script, and send it on to a number."""
    done = call_control.transfer(_store(), call, number)
    _report(done, json, f"call {done['call']} goes to {number}, by worker {done['worker']}")


@app.command()
def run(
    call: Id,
    script: Annotated[str, typer.Argument(help="Name of a call script.")],
    args: Annotated[str, typer.Argument(help="What it gets as args.")] = "",
    json: Json = False,
) -> None:
    """Take a live call from its script, and give it to another."""
    done = call_control.run(_store(), call, script, args)
    _report(done, json, f"call {done['call']} has the script {script}, by worker {done['worker']}")


@app.command()
def originate(
    to: Annotated[str, typer.Argument(help="Who is called, as the policy has it.")],
    script: Annotated[str, typer.Option(help="Call script that who answers is given to.")] = "",
    args: Annotated[str, typer.Option(help="What the script gets as args.")] = "",
    bridge: Annotated[str, typer.Option(help="Number that who answers is bridged to.")] = "",
    caller: Annotated[str, typer.Option(help="The number that is shown.")] = "",
    timeout: Annotated[int, typer.Option(min=1, max=120, help="Seconds that it may ring.")] = call_control.RING,
    json: Json = False,
) -> None:
    """Call somebody, and give who answers to a script or bridge them to another number."""
    done = call_control.originate(
        _store(), to, script=script, args=args, bridge=bridge, caller=caller, timeout=timeout
    )  # fmt: skip
    _report(done, json, f"{to} is called by worker {done['worker']}; its call has the origin {done['call']}")


def _store() -> Store:
    return Store(Settings.from_env().redis_url)


def _report(done: dict[str, Any], json: bool, text: str) -> None:
    if json:
        print_json(done)
    else:
        out.print(text)


def _show(found: dict[str, Any], *, events: bool = True) -> None:
    live = str(found["state"] or "ends") if found["live"] else ""
    record = CallRecord.decode(jsonlib.dumps({**found, "outcome": found["outcome"] or Outcome.INTERRUPTED}))
    out.print(f"call {found['call']}  Call-ID {found['call_id']}" + (f"  of {found['origin']}" * bool(found["origin"])))
    for line in cdr_output.explained(record, live=live):
        out.print(line)
    for one in found["recorded"]:
        long = "" if one["seconds"] is None else f", {one['seconds']:.1f} s"
        gone = "" if one["here"] else f"  not there: {one['why']}"
        out.print(f"  {one['kind']:<9} {one['number']:<4} {one['name']}{long}{gone}")
    for leg in found["legs"]:
        out.print(f"  sent on as     {leg['call']}" + ("  live" if leg["live"] else ""))
    if events:
        for event in found["events"]:
            out.print(_event(event))


def _event(event: dict[str, Any]) -> str:
    known = ("call", "call_id", "node", "trunk", "caller", "callee", "route")
    rest = {name: value for name, value in event["data"].items() if name not in known and value not in ("", None)}
    told = " ".join(f"{name}={value}" for name, value in rest.items())
    return f"{_clock(event['at'])} event {event['kind']:<16} {told}".rstrip()


def _said(settings: Settings, found: list[dict[str, Any]], files: Iterable[str]) -> list[Line]:
    """What this host's logs say of these calls, and those files."""
    ids = [text for one in found for text in (one["call"], one["call_id"]) if text]
    ends = [one["ended"] for one in found]
    until = time.time() if None in ends else max(ends)
    lines = about(settings, ids, min(one["began"] for one in found) - AROUND, until + AROUND)
    for file in files:
        with sys.stdin if file == "-" else Path(file).open(encoding="utf-8", errors="replace") as texts:
            lines += [parsed(Path(file).name, text.rstrip("\n")) for text in texts if any(id in text for id in ids)]
    return lines


def _clock(unix_time: float) -> str:
    if not unix_time:
        return when(0)
    return datetime.fromtimestamp(unix_time, UTC).strftime("%H:%M:%S.%f")[:-3]
