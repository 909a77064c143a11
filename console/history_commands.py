"""`strowger policy`: what was in force before, and the way back to it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import policyfile
from console.diff_output import print_diff
from console.output import BAD_INPUT, CommandFailed, Json, out, print_json, print_table, when
from console.policy_commands import Message, print_applied, put_in_force, read
from model.policy import Policy, Route
from model.settings import Settings
from policyfile.diff import PartChange, diff
from state.store import HISTORY_KEPT, AppliedPolicy, Store, StoreError


def history(
    limit: Annotated[int, typer.Option(min=1, max=HISTORY_KEPT, help="How many, the newest first.")] = 20,
    json: Json = False,
) -> None:
    """List the versions of the policy, newest first: the one in force is at the top."""
    found = Store(Settings.from_env().redis_url).history(limit)
    if json:
        print_json([asdict(item) for item in found])
        return
    rows = [(item.version, when(item.applied), item.author, item.message) for item in found]
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
        print_json({"same": not changes, "changes": [change.as_dict() for change in changes]})
    elif changes:
        print_diff(changes)
    else:
        out.print("no difference: both decide every call alike")
    raise typer.Exit(1 if changes else 0)


def _compared(file: Path | None, older: int | None, newer: int | None) -> tuple[PartChange, ...]:
    # The file first: what is wrong with it can be told without Redis.
    loaded = read(file) if file is not None else None
    store = Store(Settings.from_env().redis_url)
    new = (loaded.policy, loaded.routes) if loaded is not None else _content(store, newer)
    return diff(_content(store, older), new)


def _content(store: Store, version: int | None) -> tuple[Policy, tuple[Route, ...]]:
    applied = store.policy() if version is None else store.policy_of(version)
    try:
        return applied.decode()
    except (KeyError, TypeError, ValueError) as error:
        # A version can be older than the release that reads it.
        raise StoreError(f"version {applied.version} was stored by another release and cannot be compared") from error


def rollback(
    to: Annotated[int | None, typer.Option(help="Which version; default: the one before the one in force.")] = None,
    message: Message = "",
    json: Json = False,
) -> None:
    """Put an earlier policy in force again, as a new version: the history is never rewritten."""
    store = Store(Settings.from_env().redis_url)
    current = store.policy().version
    target = current - 1 if to is None else to
    if target < 1:
        raise CommandFailed("there is nothing before the first version")
    if target == current:
        raise CommandFailed(f"version {current} is in force already")
    loaded = _validated(store.policy_of(target))
    said = f"rollback to version {target}" + (f": {message}" if message else "")
    print_applied(put_in_force(store, loaded, current, said), json, rolled_back_to=target)


def _validated(applied: AppliedPolicy) -> policyfile.LoadedPolicy:
    # A later Strowger may be stricter than the one that took it.
    try:
        return policyfile.load(applied.text, name=f"version {applied.version}")
    except policyfile.PolicyFileError as error:
        raise CommandFailed(
            f"version {applied.version} is no valid policy any more, and nothing was applied:\n{error}"
        ) from None
