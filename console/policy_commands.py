"""`strowger policy`: the policy file, checked, applied and shown; its past is in `console.history_commands`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

import policyfile
from console import dryrun_output
from console.list_commands import parse_option
from console.output import Json, err, out, print_json, when
from console.waiting import confirmed
from model.settings import Settings
from operations import policy as operations
from state.store import Store

app = typer.Typer(no_args_is_help=True)

File = Annotated[
    Path, typer.Argument(help="The policy file; - reads standard input.", exists=True, dir_okay=False, allow_dash=True)
]

Message = Annotated[str, typer.Option("--message", "-m", help="Why, for the history.")]


@dataclass(frozen=True, slots=True)
class Applied:
    """A version that was put in force."""

    version: int
    nodes: tuple[str, ...]
    "Those that confirmed it."


def read(path: Path) -> policyfile.LoadedPolicy:
    """The policy in a file. Raises PolicyFileError, OSError."""
    raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    return policyfile.load(_decoded(raw, str(path)), name=str(path))


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = policyfile.Problem(name, line, "", f"not UTF-8: the byte 0x{error.object[error.start]:02x}")
        raise policyfile.PolicyFileError([problem]) from None


@app.command()
def validate(file: File, json: Json = False) -> None:
    """Check a policy file; nothing is applied."""
    loaded = read(file)
    found = operations.validated(loaded, Settings.from_env())
    if json:
        print_json(found)
        return
    for warning in found.pop("warnings"):
        err.print(f"{file}: warning: {warning}")
    del found["valid"]
    out.print(f"{file}: valid: " + ", ".join(f"{count} {what}" for what, count in found.items()))


@app.command()
def apply(
    file: File,
    expect: Annotated[
        int | None, typer.Option(help="Apply only if this version is in force: no one else's change is undone.")
    ] = None,
    message: Message = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Apply nothing: tell which past calls of this node would go elsewhere.")
    ] = False,
    since: Annotated[str, typer.Option(help="With --dry-run: how far back, as 90, 45s, 30m, 12h or 7d.")] = "1h",
    numbers: Annotated[
        bool, typer.Option("--numbers", help="With --dry-run: show whole numbers; otherwise they are masked.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a policy file in force on every node; returns when every live node decides by it."""
    if dry_run and (expect is not None or message):
        raise typer.BadParameter("--expect and --message say how to apply: --dry-run applies nothing")
    if numbers and not dry_run:
        raise typer.BadParameter("--numbers belongs to --dry-run")
    seconds = parse_option(since, "--since")
    loaded = read(file)
    if dry_run:
        dryrun_output.dry_run(loaded, seconds, numbers=numbers, json=json)
        return
    store = Store(Settings.from_env().redis_url)
    expected = store.policy_version() if expect is None else expect
    print_applied(put_in_force(store, loaded, expected, message), json)


def put_in_force(store: Store, loaded: policyfile.LoadedPolicy, expected: int, message: str) -> Applied:
    """Apply in the place of version ``expected``, and wait. Raises ConflictError, CommandFailed."""
    change = store.apply(
        text=loaded.text,
        policy=loaded.policy,
        routes=loaded.routes,
        expected=expected,
        author=store.user,
        message=message,
    )
    return Applied(int(change.value), confirmed(store, change).nodes)


def print_applied(applied: Applied, json: bool, **more: object) -> None:
    """Tell what came of an application; ``more`` is for programs."""
    if json:
        print_json({"version": applied.version, "nodes": applied.nodes, **more})
    else:
        out.print(f"policy version {applied.version} is in force on {', '.join(applied.nodes) or 'no node yet'}")


@app.command()
def show(
    version: Annotated[int | None, typer.Option(help="An earlier version; default: the one in force.")] = None,
    json: Json = False,
) -> None:
    """Print the policy in force, or an earlier one, as it was applied; its version goes to standard error."""
    store = Store(Settings.from_env().redis_url)
    applied = operations.of(store, version)
    if json:
        print_json(operations.shown(applied))
    else:
        said = f": {applied.message}" if applied.message else ""
        err.print(f"# version {applied.version}, applied {when(applied.applied)} by {applied.author}{said}")
        typer.echo(applied.text, nl=False)
