"""`strowger policy`: what was in force before, and the way back to it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

import policyfile
from console.output import CommandFailed, Json, print_json, print_table, when
from console.policy_commands import Message, print_applied, put_in_force
from model.settings import Settings
from state.store import HISTORY_KEPT, AppliedPolicy, Store


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
