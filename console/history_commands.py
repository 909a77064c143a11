"""`strowger policy`: what was in force before, and the way back to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.diff_output import print_diff
from console.output import BAD_INPUT, CommandFailed, Json, out, print_json, print_table, when
from console.policy_commands import Message, print_applied, put_in_force, read
from model.settings import Settings
from operations import policy as operations
from policyfile.diff import PartChange
from state.store import HISTORY_KEPT, Store, StoreError


def history(
    limit: Annotated[int, typer.Option(min=1, max=HISTORY_KEPT, help="How many, the newest first.")] = 20,
    json: Json = False,
) -> None:
    """List the versions of the policy, newest first: the one in force is at the top."""
    store = Store(Settings.from_env().redis_url)
    if json:
        print_json(operations.history(store, limit))
        return
    rows = [(item.version, when(item.applied), item.author, item.message) for item in store.history(limit)]
    print_table(("version", "applied", "author", "message"), rows, empty="no policy was applied yet")


def diff_command(
    file: Annotated[
        Path | None,
        typer.Argument(help="A policy file; - reads standard input.", exists=True, dir_okay=False, allow_dash=True),
    ] = None,
    from_: Annotated[int | None, typer.Option("--from", help="The older version; default: the one in force.")] = None,
    to: Annotated[
        int | None, typer.Option(help="The newer version, instead of a file; default: the one in force.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a file, or a version, decides otherwise than the policy in force, or than an earlier one.

    The exit status is that of diff(1): 0 they are the same, 1 they differ, 2 they could not be compared.
    """
    if file is not None and to is not None:
        raise typer.BadParameter("a file is the newer side: name it or --to, not both")
    if file is None and from_ is None and to is None:
        raise typer.BadParameter("name a file, or versions with --from and --to")
    try:
        changes = _compared(file, from_, to)
    except (StoreError, OSError) as error:
        raise CommandFailed(str(error), status=BAD_INPUT) from error
    if json:
        print_json(operations.diff_row(changes))
    elif changes:
        print_diff(changes)
    else:
        out.print("no difference: both decide every call alike")
    raise typer.Exit(1 if changes else 0)


def _compared(file: Path | None, older: int | None, newer: int | None) -> tuple[PartChange, ...]:
    # The file first: what is wrong with it can be told without Redis.
    loaded = read(file) if file is not None else None
    return operations.compared(Store(Settings.from_env().redis_url), loaded=loaded, older=older, newer=newer)


def rollback(
    to: Annotated[int | None, typer.Option(help="Which version; default: the one before the one in force.")] = None,
    message: Message = "",
    json: Json = False,
) -> None:
    """Put an earlier policy in force again, as a new version: the history is never rewritten."""
    store = Store(Settings.from_env().redis_url)
    loaded, current, target, said = operations.earlier(store, to, message)
    print_applied(put_in_force(store, loaded, current, said), json, rolled_back_to=target)
