"""Commands about this node: gateways, status, reload, and any RPC of Kamailio."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Annotated, Any

import typer
from rich.markup import escape

from agent.forgetting import forget
from console import fraud_commands, gateway_figures, media_commands, serve, voicemail_jobs
from console.gateway_figures import WINDOW, Window, elsewhere, in_short, read_window
from console.list_commands import parse_option
from console.output import BAD_INPUT, CommandFailed, Json, out, parse_time, print_json, print_table, when
from console.waiting import confirmed
from kemi.check import api_names
from kemi.explain import Snapshot
from kemi.node_state import kamcmd, live_state
from kemi.rpc import Kamcmd, RpcError, parse_argument
from model.policy import Drain
from model.settings import Settings
from operations import gateways
from operations.errors import MissingError
from state import audit, layout
from state.snapshot import NoSnapshotError, SnapshotReader
from state.store import Store, StoreError

gateway_app = typer.Typer(no_args_is_help=True)

CHECK_TIMEOUT = 30.0


@gateway_app.command("list")
def list_gateways(window: Window = WINDOW, json: Json = False) -> None:
    """The gateways of the policy in force, and which of them this node does not call, and why.

    ASR, ACD, PDD and attempts are those of all nodes together.
    """
    seconds = read_window(window)
    settings = Settings.from_env()
    store, now = Store(settings.redis_url), time.time()
    try:
        live = live_state(settings)
    except RpcError as error:
        if not json:
            out.print(f"Kamailio does not tell what it knows of its gateways: {error}")
        live = Snapshot()
    rows, figures = gateways.of_node(store, settings, live, window=seconds, now=now)
    if json:
        print_json(rows)
        return
    print_table(
        ("name", "kind", "address", "transport", "state"),
        [
            (*_what(row), _state(row, now) + elsewhere(row["nodes"], settings.node) + in_short(figures, row["name"]))
            for row in rows
        ],
        empty="no gateways",
    )


def _what(row: dict[str, Any]) -> tuple[str, ...]:
    return row["name"], row["kind"] or "", row["address"] or "", row["transport"] or ""


def _state(row: dict[str, Any], now: float) -> str:
    if "addresses" in row and row["state"] != "drained":
        count = len(row["addresses"])
        text = row["state"] if row["state"] != "up" else f"up, {count} address{'' if count == 1 else 'es'}"
        return "; ".join([text, *row["troubles"]])
    known = f" ({row['known']})" if row.get("known") else ""
    return _state_of_one(row, now) + known


def _state_of_one(row: dict[str, Any], now: float) -> str:
    breaker = row.get("breaker", {})
    failures = ", ".join(f"{count} {kind}" for kind, count in breaker.get("failures", {}).items())
    failures += f" on node {breaker['told_by']}" if breaker.get("told_by") else ""
    match row["state"]:
        case "drained" | "unknown":
            drained = row["drained"]
            until = f" until {when(drained['until'])}" if drained["until"] else ""
            where = "" if row["state"] == "drained" else "not in the policy, "
            return f"{where}drained by {drained['author']}{until}: {drained['reason']}"
        case "probe-down":
            return f"answers no probe since {when(row['probe_down_since'])}"
        case "held":
            return f"held for {row['held_until'] - now:.0f} s (Retry-After)"
        case "open":
            return f"breaker open for {breaker['open_until'] - now:.0f} s: {failures}"
        case "half-open":
            return f"breaker half-open, {breaker['trials_passed']} trial calls passed: {failures}"
        case "up" if breaker["score"]:
            return f"up, {breaker['score']} of {breaker['trip']} points: {failures}"
        case state:
            return str(state)


Name = Annotated[str, typer.Argument(help="Name of the gateway.")]


@gateway_app.command()
def drain(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why, for those who read it later.")],
    for_: Annotated[str | None, typer.Option("--for", help="How long: 90, 45s, 30m, 2h or 7d.")] = None,
    until: Annotated[str, typer.Option(help="Until when, as 2026-01-31T18:00 (local time unless it has a zone).")] = "",
    json: Json = False,
) -> None:
    """Let no new call go to a gateway, on any node; calls under way go on. Returns when every live node does so."""
    store, now = Store(Settings.from_env().redis_url), time.time()
    if for_ is not None and until:
        raise typer.BadParameter("either --for or --until")
    end = now + parse_option(for_, "--for") if for_ is not None else parse_time(until, "--until") if until else 0.0
    if end and end <= now:
        raise typer.BadParameter(f"--until {until!r} is over already")
    _require(name, store)
    drained = Drain(name, reason=reason, until=end, author=store.user, since=now)
    nodes = confirmed(store, store.drain(drained)).nodes
    if json:
        print_json({"name": name, **(gateways.drain_row(drained, now) or {}), "nodes": nodes})
    else:
        more = f" until {when(end)}" if end else ""
        out.print(f"{name} is drained{more}: in force on {', '.join(nodes) or 'no node yet'}")


@gateway_app.command()
def resume(name: Name, json: Json = False) -> None:
    """Let calls go to a drained gateway again. Returns when every live node does so."""
    store = Store(Settings.from_env().redis_url)
    change = store.resume(name)
    if change is None:
        # A drain may outlive its gateway, so only here a name that leads nowhere is a mistake.
        _require(name, store)
        raise CommandFailed(f"{name} is not drained")
    nodes = confirmed(store, change).nodes
    if json:
        print_json({"name": name, "nodes": nodes})
    else:
        out.print(f"{name} takes calls again: in force on {', '.join(nodes) or 'no node yet'}")


@gateway_app.command()
def reset(name: Name) -> None:
    """Forget on this node what failures told of a gateway: its breaker closes, its Retry-After is over."""
    settings = Settings.from_env()
    store = Store(settings.redis_url)
    _require(name, store)
    forget(settings, store, name)
    audit.write(store, "gateway reset", name, after={"nodes": [settings.node]})
    out.print(f"{name}: forgotten what this node knew of its health")


gateway_app.command("quality")(gateway_figures.show)


def _require(name: str, store: Store) -> None:
    try:
        gateways.require(store, name)
    except MissingError as error:
        raise CommandFailed(str(error), status=BAD_INPUT) from None


def status(json: Json = False) -> None:
    """Whether Redis, the nodes, this node's snapshot and Kamailio, media workers and voicemail services are well.

    Exit status 1 if not.
    """
    parts = node_status(Settings.from_env())
    well = all(part["ok"] for part in parts.values())
    if json:
        print_json({"ok": well, **parts})
    else:
        for line in status_lines(parts):
            out.print(line, markup=True)
    if not well:
        raise typer.Exit(1)


def node_status(settings: Settings) -> dict[str, dict[str, Any]]:
    """Part to what is known of it: ``ok``, ``text`` for people, and its figures."""
    return {
        "redis": _redis_status(settings),
        "snapshot": _snapshot_status(settings),
        "kamailio": _kamailio_status(settings),
        **media_commands.node_status(settings),
        **voicemail_jobs.node_status(settings),
    }


def status_lines(parts: dict[str, dict[str, Any]]) -> list[str]:
    """A line of rich markup for each part."""
    marks = {True: "[green]ok[/]  ", False: "[red]down[/]"}
    width = max(map(len, parts))
    return [f"{marks[part['ok']]} {name:<{width}}  {escape(part['text'])}" for name, part in parts.items()]


def _redis_status(settings: Settings) -> dict[str, Any]:
    store = Store(settings.redis_url)
    try:
        version, (generation, seq), (nodes, gone) = store.policy_version(), store.position(), store.nodes()
        refused = fraud_commands.status_part(store)
    except StoreError as error:
        return {"ok": False, "text": str(error)}
    late = [node.name for node in nodes if not node.has(generation, seq)]
    text = f"policy version {version}, change {seq}; live nodes: {', '.join(node.name for node in nodes) or 'none'}"
    text += f"; gone: {', '.join(gone)}" if gone else ""
    text += f"; behind: {', '.join(late)}" if late else ""
    here = any(node.name == settings.node for node in nodes)
    text += f"; {refused['text']}" if refused["text"] else ""
    text += "" if here else f"; the agent of {settings.node} is not live"
    return {
        "ok": here and not late, "text": text, "version": version, "seq": seq,
        "nodes": [node.name for node in nodes], "gone": gone, "behind": late, "fraud_blocked": refused["blocked"],
    }  # fmt: skip


def _snapshot_status(settings: Settings) -> dict[str, Any]:
    try:
        with SnapshotReader(settings.snapshot).read() as get:
            raw = get(layout.META)
    except NoSnapshotError as error:
        return {"ok": False, "text": str(error)}
    if raw is None:
        return {"ok": False, "text": f"the snapshot at {settings.snapshot} holds no policy"}
    meta = layout.Meta.decode(raw)
    text = f"policy version {meta.version}, change {meta.seq}"
    return {"ok": meta.version > 0, "text": text, "version": meta.version, "seq": meta.seq}


def _kamailio_status(settings: Settings) -> dict[str, Any]:
    try:
        with kamcmd(settings) as rpc:
            version, uptime = rpc.version(), rpc.uptime()
            dialogs = rpc.statistics("dialog")
    except RpcError as error:
        return {"ok": False, "text": str(error)}
    calls = dialogs.get("active_dialogs", 0)
    since = when(time.time() - uptime)
    text = f"{version.split(' (')[0]}, up since {since}, {calls} calls"
    return {"ok": True, "text": text, "version": version, "uptime": uptime, "calls": calls}


def reload(json: Json = False) -> None:
    """Check the routing code on disk, and if it is sound have every worker load it within its next calls."""
    settings = Settings.from_env()
    found = _check()
    if found:
        raise CommandFailed("refused, the code in force stays:\n" + "\n".join(found))
    with kamcmd(settings) as rpc:
        missing = _unknown_api_names(rpc)
        if missing:
            raise CommandFailed(f"refused, the code in force stays: Kamailio has no {', '.join(missing)}")
        done = rpc.reload()
    if json:
        print_json({"old": done.old, "new": done.new})
    else:
        out.print(f"the code is sound; every worker loads it within its next calls (version {done.old} -> {done.new})")


def _check() -> list[str]:
    # In a process of its own, which starts as bare as a worker and may crash or hang as it likes.
    try:
        done = subprocess.run(
            # -P, -S: neither the working directory nor this environment's own idea of where the code is. As in a
            # worker, PYTHONPATH alone says that.
            [sys.executable, "-P", "-S", "-m", "kemi.check", str(serve.CONFIG)],
            env=serve.kamailio_environment(Settings.from_env()),
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [f"the code did not load within {CHECK_TIMEOUT:.0f} s"]
    if done.returncode == 0:
        return []
    return (done.stdout or done.stderr).strip().splitlines() or [f"the check ended with status {done.returncode}"]


def _unknown_api_names(rpc: Kamcmd) -> list[str]:
    known = {f"{function.module}.{function.name}".lstrip(".") for function in rpc.api_list()}
    code = "".join(path.read_text() for path in (serve.ROOT / "kemi").glob("*.py"))
    return [name for name in api_names(code) if name not in known]


def kamcmd_command(
    method: Annotated[str, typer.Argument(help="An RPC of Kamailio, such as core.uptime or htable.dump.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="Numbers become numbers; s:5 is the text 5.")] = None,
    address: Annotated[str, typer.Option(help="unix:PATH or http://127.0.0.1:PORT/RPC; default: this node's.")] = "",
    timeout: Annotated[float, typer.Option(min=0.01, max=600, help="Seconds.")] = 2.0,
    json: Json = False,
) -> None:
    """Call any RPC of Kamailio; app_python3.reload is accepted for app_python.reload."""
    settings = Settings.from_env()
    try:
        with Kamcmd(address or f"unix:{settings.rpc_socket}", timeout=timeout) as rpc:
            result = rpc.call(method, *(parse_argument(argument) for argument in arguments or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if json or isinstance(result, dict | list):
        print_json(result)
    else:
        typer.echo(result)
