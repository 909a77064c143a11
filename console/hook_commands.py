"""`strowger hook`: what route hooks do on this node, and one asked by hand."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from console import explain_command
from console.output import CommandFailed, Json, out, print_json, print_table
from model.settings import Settings
from operations import hooks
from operations.errors import MissingError

app = typer.Typer(no_args_is_help=True)


@app.command("status")
def status(json: Json = False) -> None:
    """Hooks of the policy in force: whether they are asked, how fast they answer, and what came of questions."""
    found = hooks.report(Settings.from_env())
    if json:
        print_json(found)
        return
    if not found["process"] and found["hooks"]:
        out.print("The hook process of this node does not run: every call takes its hook's fallback.", style="red")
    print_table(
        ("hook", "state", "waiting", "p50", "p99", "answered", "without an answer"),
        [_cells(row) for row in found["hooks"]],
        empty="no hooks",
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    times = ("" if row[name] is None else f"{row[name] * 1000:.1f} ms" for name in ("p50", "p99"))
    fallbacks = ", ".join(f"{count} {why}" for why, count in row["fallbacks"].items())
    waiting = f"{row['outstanding']} of {row['at_most']}"
    return row["hook"], row["state"], waiting, *times, str(row["answered"]), fallbacks


@app.command("try")
def try_hook(
    name: Annotated[str, typer.Argument(help="Name of the hook.")],
    callee: Annotated[str, typer.Option("--to", help="User part of the Request-URI: the number dialled.")],
    caller: Annotated[str, typer.Option("--from", help="User part of the caller's From.")] = "",
    source: Annotated[str, typer.Option(help="IP address that the call comes from; default: the first trunk's.")] = "",
    subscriber: Annotated[str, typer.Option(help="Subscriber whose phone calls.")] = "",
    json: Json = False,
) -> None:
    """Ask a hook about a call that nobody places, and show what its answer would make of it."""
    try:
        found = hooks.tried(Settings.from_env(), name, callee, caller=caller, source=source, subscriber=subscriber)
    except MissingError as error:
        raise typer.BadParameter(str(error)) from None
    if json:
        print_json(found.row())
        return
    out.print(f"asked     {found.question.decode()}", markup=False, soft_wrap=True)
    heard = found.heard
    answer = bytes(heard.answer).decode() or f"none: {heard.failed}: {heard.detail}"
    out.print(f"answer    {answer}", markup=False, soft_wrap=True)
    explain_command.show(found.explanation, {}, [])
    if heard.failed:
        raise CommandFailed("there was no answer")
