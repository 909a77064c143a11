"""`strowger backup` and `strowger restore`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, cast

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from console.output import Json, err, out, print_json, when
from console.waiting import confirmed
from model.settings import Settings
from operations import backup, restore
from operations.backup import Progress as Told
from operations.backup_archive import Manifest, verified
from state import keys
from state.store import Change, Store

# Seconds that nodes have to read everything anew.
CONFIRM_TIMEOUT = 120.0


def backup_command(
    file: Annotated[Path, typer.Argument(help="Where to; - writes standard output.", dir_okay=False, allow_dash=True)],
    with_secrets: Annotated[
        bool, typer.Option("--secrets", help="With this node's keys, and the secrets that the policy names.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write policy, lists, rates, subscribers, tokens, and mailboxes with their messages into one file."""
    settings = Settings.from_env()
    store = Store(settings.redis_url)
    with _target(file) as target, _bars() as told:
        manifest = backup.write(store, settings, target, with_secrets=with_secrets, progress=told)
    if str(file) == "-":
        _say(manifest, "written to standard output", to_err=True)
    elif as_json:
        print_json(_row(manifest))
    else:
        _say(manifest, f"written to {file}")


def restore_command(
    file: Annotated[Path, typer.Argument(help="A backup; - reads standard input.", allow_dash=True, dir_okay=False)],
    only: Annotated[list[str] | None, typer.Option(metavar="KIND", help="This kind; may be repeated.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only look whether the backup is whole.")] = False,
    as_json: Json = False,
) -> None:
    """Bring back what a backup holds. All of it takes effect at once, on every node; or, where it fails, nothing."""
    with _source(file) as source:
        if check:
            manifest, done = verified(source), "whole"
        else:
            settings = Settings.from_env()
            store = Store(settings.redis_url)
            with _bars() as told:
                manifest = restore.restore(store, settings, source, only=only or (), force=force, progress=told)
            done = "restored"
            confirmed(store, Change(store.position()[1], "restore"), CONFIRM_TIMEOUT)
    if as_json:
        print_json(_row(manifest))
        return
    _say(manifest, done)
    if not check and manifest.schema < keys.SCHEMA:
        out.print("it was written by an older version: `strowger migrate`, once every node is upgraded")


def _row(manifest: Manifest) -> dict[str, object]:
    return {
        "program": manifest.program, "schema": manifest.schema, "created": when(manifest.created),
        "node": manifest.node, "counts": manifest.counts, "files": len(manifest.members),
    }  # fmt: skip


def _say(manifest: Manifest, what: str, *, to_err: bool = False) -> None:
    counts = ", ".join(f"{kind} {count}" for kind, count in manifest.counts.items())
    (err if to_err else out).print(f"backup of {when(manifest.created)} by {manifest.node}, {what}: {counts}")


@contextmanager
def _target(file: Path) -> Iterator[IO[bytes]]:
    """Whole, or not there at all; nobody else may read it, since there are subscribers' hashes in it."""
    if str(file) == "-":
        yield sys.stdout.buffer
        return
    part = file.with_name(f".{file.name}.{os.getpid()}")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as target:
            yield target
            target.flush()
            os.fsync(handle)
        part.rename(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def _source(file: Path) -> Iterator[IO[bytes]]:
    if str(file) != "-":
        with file.open("rb") as source:
            yield source
        return
    # It is read twice.
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        yield cast("IO[bytes]", copy)


@contextmanager
def _bars() -> Iterator[Told]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err, disable=not err.is_terminal) as progress:

        def told(kind: str, done: int) -> None:
            if kind not in tasks:
                tasks[kind] = progress.add_task(kind, total=None)
            progress.advance(tasks[kind], done)

        yield told
