"""Commands about this node: gateways, status, reload, and any RPC of Kamailio."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Annotated, Any

import typer
from rich.markup import escape

from console import serve
from console.node_state import kamcmd, live_state
from console.output import CommandFailed, Json, out, print_json, print_table, when
from kemi.check import api_names
from kemi.rpc import Kamcmd, RpcError, parse_argument
from model.settings import Settings
from state import layout
from state.snapshot import NoSnapshotError, SnapshotReader
from state.store import Store, StoreError

gateway_app = typer.Typer(no_args_is_help=True)

CHECK_TIMEOUT = 30.0


@gateway_app.command("list")
def list_gateways(json: Json = False) -> None:
    """The gateways of the policy in force, and which of them this node holds back."""
    settings = Settings.from_env()
    gateways = Store(settings.redis_url).policy().decode()[0].gateways
    now = time.time()
    try:
        held = live_state(settings).held
    except RpcError as error:
        if not json:
            out.print(f"Kamailio does not tell which gateways it holds back: {error}")
        held = {}
    rows = [
        {
            "name": gateway.name,
            "address": f"{gateway.address}:{gateway.port}",
            "transport": gateway.transport,
            "enabled": gateway.enabled,
            "held_until": held[gateway.name] if held.get(gateway.name, 0) > now else None,
        }
        for gateway in gateways.values()
    ]
    if json:
        print_json(rows)
        return
    print_table(
        ("name", "address", "transport", "state"),
        [(row["name"], row["address"], row["transport"], _state(row, now)) for row in rows],
        empty="no gateways",
    )


def _state(row: dict[str, Any], now: float) -> str:
    if not row["enabled"]:
        return "disabled"
    return f"held for {row['held_until'] - now:.0f} s (Retry-After)" if row["held_until"] else "in use"


def status(json: Json = False) -> None:
    """Whether Redis, the nodes, this node's snapshot and its Kamailio are well; exit status 1 if not."""
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
    }


def status_lines(parts: dict[str, dict[str, Any]]) -> list[str]:
    """A line of rich markup for each part."""
    marks = {True: "[green]ok[/]  ", False: "[red]down[/]"}
    return [f"{marks[part['ok']]} {name:<9} {escape(part['text'])}" for name, part in parts.items()]


def _redis_status(settings: Settings) -> dict[str, Any]:
    store = Store(settings.redis_url)
    try:
        version, (generation, seq), (nodes, gone) = store.policy_version(), store.position(), store.nodes()
    except StoreError as error:
        return {"ok": False, "text": str(error)}
    late = [node.name for node in nodes if not node.has(generation, seq)]
    text = f"policy version {version}, change {seq}; live nodes: {', '.join(node.name for node in nodes) or 'none'}"
    text += f"; gone: {', '.join(gone)}" if gone else ""
    text += f"; behind: {', '.join(late)}" if late else ""
    here = any(node.name == settings.node for node in nodes)
    text += "" if here else f"; the agent of {settings.node} is not live"
    return {
        "ok": here and not late, "text": text, "version": version, "seq": seq,
        "nodes": [node.name for node in nodes], "gone": gone, "behind": late,
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
    return [name for name in api_names((serve.ROOT / "kemi" / "routing.py").read_text()) if name not in known]


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
