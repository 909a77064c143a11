"""`strowger policy`: the policy file, checked, applied and shown."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated

import typer

import policyfile
from console.output import Json, err, out, print_json, when
from console.waiting import confirmed
from model.settings import Settings
from state.store import Store

app = typer.Typer(no_args_is_help=True)

File = Annotated[
    Path, typer.Argument(help="The policy file; - reads standard input.", exists=True, dir_okay=False, allow_dash=True)
]


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
    policy = loaded.policy
    counts = {"trunks": len(policy.trunks), "gateways": len(policy.gateways), "routes": len(loaded.routes)}
    if json:
        print_json({"valid": True, **counts})
    else:
        out.print(f"{file}: valid: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


@app.command()
def apply(
    file: File,
    expect: Annotated[
        int | None, typer.Option(help="Apply only if this version is in force: no one else's change is undone.")
    ] = None,
    json: Json = False,
) -> None:
    """Put a policy file in force on every node; returns when every live node decides by it."""
    loaded = read(file)
    store = Store(Settings.from_env().redis_url)
    change = store.apply(
        text=loaded.text,
        policy=loaded.policy,
        routes=loaded.routes,
        expected=store.policy_version() if expect is None else expect,
        author=getpass.getuser(),
    )
    confirmation = confirmed(store, change)
    if json:
        print_json({"version": int(change.value), "nodes": confirmation.nodes})
    else:
        out.print(f"policy version {change.value} is in force on {', '.join(confirmation.nodes) or 'no node yet'}")


@app.command()
def show(json: Json = False) -> None:
    """Print the policy in force, as it was applied."""
    applied = Store(Settings.from_env().redis_url).policy()
    if json:
        print_json(
            {
                "version": applied.version,
                "applied": applied.applied,
                "author": applied.author,
                "text": applied.text,
            }
        )
    else:
        err.print(f"# version {applied.version}, applied {when(applied.applied)} by {applied.author}")
        typer.echo(applied.text, nl=False)
