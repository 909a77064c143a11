"""`strowger up` and `strowger demo`: a whole node on this machine, with its first calls."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from console import demo, serve
from console import switch as switches
from console.explain_command import describe
from console.node_commands import node_status, status_lines
from console.output import CommandFailed, err, out
from console.ports import free_port
from console.sipp import authority
from console.spool_tail import SpoolTail
from console.stack import Stack, StackError
from console.switch import Switch
from model.settings import Settings
from state import tokens
from state.store import Store
from state.tokens import Role

DIRECTORY = serve.ROOT / "var"
Directory = Annotated[Path, typer.Option(help="Where Redis's data, the snapshot, records and logs are.")]
WhichSwitch = Annotated[
    switches.Kind, typer.Option("--switch", help="freeswitch: FREESWITCH_BIN, or the one on PATH, instead of our own.")
]
EMBEDDED = switches.Kind.EMBEDDED

# Ports next to the usual ones, so that the services that Debian's packages start are not in the way.
SIP_PORT, RPC_PORT, REDIS_PORT = 15060, 15059, 16379
SWITCH_PORT, ESL_PORT, WORKER_PORT, HTTP_PORT, WEB_PORT = demo.SWITCH, 15021, 15086, 15087, 15088
DRAIN = "3"
"Seconds that calls of scripts have to end, after Ctrl-C."
REFRESH = 0.5
CALLS_SHOWN = 12


def up(directory: Directory = DIRECTORY, switch: WhichSwitch = EMBEDDED) -> None:
    """Start a whole node with switch, media worker and voicemail, place the first calls, and stay up until Ctrl-C."""
    with _node(directory, switch) as stack, demo.carriers(stack, directory / "demo") as lamp:
        _write_environment(stack)
        demo.place_first_calls(stack, directory / "demo", lamp)
        _announce(stack)
        with contextlib.suppress(KeyboardInterrupt):
            _watch(stack)


def show_demo(directory: Directory = DIRECTORY, switch: WhichSwitch = EMBEDDED) -> None:
    """Start everything, place the first calls, and stop; exit status 0 if each did what it should."""
    with _node(directory, switch) as stack, demo.carriers(stack, directory / "demo") as lamp:
        right = demo.place_first_calls(stack, directory / "demo", lamp)
    if not right:
        raise CommandFailed("not every call did what it should")
    out.print("every call did what it should", style="green")


@contextlib.contextmanager
def _node(directory: Path, kind: switches.Kind) -> Iterator[Stack]:
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    node = Stack(_settings(directory), directory, _switch(directory, kind), hook=True, web=True)
    with _only_one(directory), node as stack:
        signal.signal(signal.SIGTERM, _interrupt)
        began = time.monotonic()
        try:
            stack.start(lambda name: err.print(f"starting {name} ..."))
        except StackError as error:
            raise CommandFailed(str(error)) from error
        err.print(f"the node is up after {time.monotonic() - began:.1f} s\n")
        yield stack
        err.print("stopping ...")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(f"a node is running in {directory} already; name another with --directory") from None
        yield


def _settings(directory: Path) -> Settings:
    own = {
        "STROWGER_SIP_PORT": str(free_port(SIP_PORT)),
        "STROWGER_RPC_PORT": str(free_port(RPC_PORT)),
        "STROWGER_REDIS_URL": f"redis://127.0.0.1:{free_port(REDIS_PORT)}/0",
        "STROWGER_SNAPSHOT": str(directory / "snapshot"),
        "STROWGER_SPOOL": str(directory / "spool"),
        "STROWGER_SECRET_FILE": str(directory / "secret"),
        "STROWGER_MEDIA_SECRET_FILE": str(directory / "media-secret"),
        "STROWGER_SECRETS": str(directory / "secrets"),
        "STROWGER_RUN": str(directory / "run"),
        "STROWGER_ESL_ADDRESS": f"127.0.0.1:{free_port(ESL_PORT)}",
        "STROWGER_ESL_PASSWORD_FILE": str(directory / "esl-password"),
        "STROWGER_WORKER_ADDRESS": f"127.0.0.1:{free_port(WORKER_PORT)}",
        "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port(HTTP_PORT)}",
        "STROWGER_WORKER_DRAIN": DRAIN,
        "STROWGER_WEB_ADDRESS": f"127.0.0.1:{free_port(WEB_PORT)}",
        "STROWGER_MEDIA_STATE": str(directory / "media"),
        "STROWGER_VOICEMAIL": str(directory / "voicemail"),
        "STROWGER_SPEECH_CACHE": str(directory / "speech"),
    }
    return Settings.from_env({**own, **os.environ})


def _switch(directory: Path, kind: switches.Kind) -> Switch:
    return Switch(kind=kind, sip_port=free_port(SWITCH_PORT), directory=directory / "switch")


def _announce(stack: Stack) -> None:
    settings = stack.settings
    out.rule("up", align="left")
    listeners = ", ".join(authority(address, settings.sip_port) for address in settings.sip_addresses)
    out.print(f"SIP       {listeners}, UDP and TCP; try 1001 calling 02079460000", markup=False)
    out.print(f"scripts   {settings.scripts}: 5000, 5001 and 6000 lead there", markup=False)
    if stack.switch:
        out.print(f"switch    127.0.0.1:{stack.switch.sip_port}: the address of a policy's media node")
    out.print("voicemail 2001 takes a message after five seconds; *97 plays it: mailbox 2001, PIN 7203", markup=False)
    out.print(f"web       http://{settings.web_address}, with the token in {_token(stack)}", markup=False)
    out.print(f"commands  . {shlex.quote(str(stack.directory))}/env; .venv/bin/strowger status")
    out.print(f"logs      {stack.directory}/*.log")


def _token(stack: Stack) -> Path:
    """A file with a token that may do everything, made where there is none that is good."""
    file, store = stack.directory / "admin-token", Store(stack.settings.redis_url)
    try:
        if not file.exists() or tokens.check(store, file.read_text().strip(), time.time()) is None:
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            file.write_text(tokens.make(store, "up", Role.ADMIN)[1] + "\n")
    finally:
        store.close()
    return file


def _write_environment(stack: Stack) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in stack.settings.to_env().items()]
    (stack.directory / "env").write_text("\n".join(lines) + "\n")


def _watch(stack: Stack) -> None:
    """Show the node's state and newest calls until interrupted, or until a process ends by itself."""
    tail = SpoolTail(stack.settings.spool)
    calls: deque[str] = deque(maxlen=CALLS_SHOWN)
    with Live(console=out, auto_refresh=False, transient=True) as live:
        while True:
            _fail_if_gone(stack)
            calls.extend(line for event in tail.new() if "call" in event for line in describe(event)[:1])
            live.update(_screen(stack, calls), refresh=out.is_terminal)
            time.sleep(REFRESH)


def _fail_if_gone(stack: Stack) -> None:
    for name, process in stack.processes.items():
        if not process.running:
            raise CommandFailed(f"{name} has stopped; see {process.log}")


def _screen(stack: Stack, calls: Iterable[str]) -> RenderableType:
    lines = [Text.from_markup(line) for line in status_lines(node_status(stack.settings))]
    return Group(Text(), *lines, Text(), *(Text(call) for call in calls), Text("Ctrl-C stops everything", style="dim"))
