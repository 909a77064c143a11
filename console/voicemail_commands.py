"""`strowger voicemail`: mailboxes and their messages, as they are on this machine's disk.

It works without Redis. Every change leaves a mark by which `strowger serve voicemail` tells Redis, and so the lamps.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from console import voicemail_boxes, voicemail_jobs
from console.output import FAILED, CommandFailed, Json, err, out, print_json, print_table, when
from console.voicemail_boxes import store
from media.voicemail.errors import DamagedBoxError, NoSuchMessageError, VoicemailError
from media.voicemail.layout import FOLDERS, Folder
from media.voicemail.store import Store, Stored
from operations import voicemail

app = typer.Typer(no_args_is_help=True)
app.add_typer(voicemail_boxes.app, name="box", help="One mailbox: made, changed, removed, its PIN.")

BoxNumber = Annotated[str, typer.Argument(help="Number of the box, or one that leads to it.")]
Id = Annotated[str, typer.Argument(help="Id of the message, as `list` shows it; without: the newest.")]
Ids = Annotated[list[str], typer.Argument(help="Ids of messages.")]

PLAYERS = (("aplay", "-q"), ("play", "-q"), ("paplay",), ("afplay",))
"What plays a WAV file; the first that is installed."


@app.command()
def boxes(json: Json = False) -> None:
    """All boxes and what they hold; exit status 1 if the settings of one cannot be read."""
    found, wrong = store(), []
    rows = []
    for number in found.boxes():
        try:
            rows.append(voicemail.box_row(found, number))
        except DamagedBoxError as error:
            wrong.append(str(error))
    if json:
        print_json(rows)
    else:
        columns = ("number", "name", "new", "saved", "deleted", "pin", "email", "numbers")
        cells = [[_cell(row[name]) for name in columns] for row in rows]
        print_table(columns, cells, empty=f"no boxes in {found.folder}")
    for text in wrong:
        err.print(text, style="red")
    if wrong:
        raise typer.Exit(FAILED)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(value) if isinstance(value, tuple | list) else value


app.command("import")(voicemail_boxes.import_boxes)


@app.command("list")
def list_(
    box: BoxNumber,
    folder: Annotated[str, typer.Option(help="new, saved or deleted; default: new and saved.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="How many at most; 0: all.")] = 100,
    json: Json = False,
) -> None:
    """The messages of a box, the newest first."""
    found = store()
    number = found.find_box(box)
    wanted = (_folder(folder),) if folder else FOLDERS[:2]
    ids = sorted((id for name in wanted for id in found.ids(number, name)), reverse=True)
    messages = _read(found, number, ids[: limit or None])
    if json:
        print_json([_as_dict(one) for one in messages])
    else:
        # The id begins with the time. No more columns than 80 characters have room for.
        columns = ("id", "folder", "seconds", "from", "transcript")
        print_table(columns, map(_row, messages), empty="no messages")
    if limit and len(ids) > limit:
        err.print(f"{limit:,} of {len(ids):,}; --limit 0 shows all")


def _folder(text: str) -> Folder:
    for folder in FOLDERS:
        if folder == text:
            return folder
    raise typer.BadParameter(f"{text!r} is none of {', '.join(FOLDERS)}")


def _read(found: Store, box: str, ids: list[str]) -> list[Stored]:
    messages = []
    for id in ids:
        try:
            messages.append(found.message(box, id))
        except NoSuchMessageError:
            # Removed since it was listed.
            continue
    return messages


def _row(one: Stored) -> tuple[object, ...]:
    about, transcript = one.message, (one.transcript or {}).get("state", "")
    folder = f"{one.folder}, urgent" if about.urgent else one.folder
    who = f"{about.caller or 'withheld'} {about.caller_name}".rstrip()
    return about.id, folder, f"{about.seconds:.1f}", who, transcript


def _as_dict(one: Stored) -> dict[str, object]:
    return {**voicemail.message_row(one), "audio": str(one.audio)}


@app.command()
def show(box: BoxNumber, id: Id = "", json: Json = False) -> None:
    """What is known of a message, with its text, and what became of its mail."""
    one = _message(box, id)
    if json:
        print_json(_as_dict(one))
        return
    about = asdict(one.message) | {"received": when(one.message.received), "wanted": " ".join(one.message.wanted)}
    for name, value in {"folder": one.folder, **about, "audio": one.audio}.items():
        out.print(f"{name:<14} {_cell(value)}")
    transcript = one.transcript or {}
    out.print(f"{'transcript':<14} {transcript.get('state', 'none yet')} {transcript.get('reason') or ''}".rstrip())
    for name, became in (one.delivery or {}).items():
        said = " ".join(f"{key}={value}" for key, value in became.items()) if isinstance(became, dict) else became
        out.print(f"{name:<14} {said}")
    if transcript.get("text"):
        out.print(f"\n{transcript['text']}")


@app.command()
def play(box: BoxNumber, id: Id = "") -> None:
    """Play a message on this machine. It stays as it is: a new one stays new."""
    one = _message(box, id)
    player = next((words for words in PLAYERS if shutil.which(words[0])), None)
    if player is None:
        names = ", ".join(words[0] for words in PLAYERS)
        raise CommandFailed(
            f"nothing here plays audio ({names}); `strowger voicemail export {box} {one.message.id}` gives the file"
        )
    status = subprocess.run([*player, str(one.audio)], check=False).returncode
    if status:
        raise CommandFailed(f"{player[0]} failed with status {status}")


@app.command()
def export(
    box: BoxNumber,
    id: Id = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The WAV file to write; - writes standard output.")
    ] = None,
) -> None:
    """Write the audio of a message to a file, by default ID.wav in this directory."""
    one = _message(box, id)
    if str(output) == "-":
        with one.audio.open("rb") as source:
            shutil.copyfileobj(source, sys.stdout.buffer)
        return
    target = output or Path(f"{one.message.id}.wav")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(one.audio, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    err.print(f"{target}: {one.message.seconds:.1f} seconds")


@app.command()
def delete(box: BoxNumber, ids: Ids) -> None:
    """Remove messages with audio, text and all, at once: they cannot be had back."""
    found = store()
    number = found.find_box(box)
    _each(ids, lambda id: found.purge(number, id), "removed")


@app.command()
def move(box: BoxNumber, ids: Ids, to: Annotated[str, typer.Option(help="new, saved or deleted.")] = "saved") -> None:
    """Move messages to another folder of their box, deleted ones back too."""
    found, folder = store(), _folder(to)
    number = found.find_box(box)
    _each(ids, lambda id: found.move(number, id, folder), f"in {folder}")


def _each(ids: list[str], do: Callable[[str], object], done: str) -> None:
    """One that cannot be done stops none of the others."""
    failed = 0
    for id in ids:
        try:
            do(id)
        except VoicemailError as error:
            err.print(str(error), style="red")
            failed += 1
    out.print(f"{len(ids) - failed:,} {done}")
    if failed:
        raise typer.Exit(FAILED)


def _message(box: str, id: str) -> Stored:
    found = store()
    number = found.find_box(box)
    newest = max((known for folder in FOLDERS[:2] for known in found.ids(number, folder)), default="")
    if not id and not newest:
        raise CommandFailed(f"box {number} has no messages")
    return found.message(number, id or newest)


app.command("status")(voicemail_jobs.status)
app.command("reindex")(voicemail_jobs.reindex)
app.command("dead")(voicemail_jobs.dead)
app.command("retry")(voicemail_jobs.retry)
app.command("aside")(voicemail_jobs.aside)
