"""What scripts record, noted for the record of their call: by name, and when it begins, whatever becomes of it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from media.esl.errors import ArgumentError
from media.voicemail import durable
from telemetry.logs import CALL

Note = Callable[[str, str], object]

APPLICATIONS = ("record", "record_session")
_OPTIONS = re.compile(r"^(%?\[[^\]]*\]|\{[^}]*\})+")
"What may stand before the path: variables of the application, or of the file."

_note: Note | None = None
_mailboxes = Path("/nowhere")
_folder = Path("/nowhere")


def use(note: Note | None, mailboxes: Path, folder: Path) -> None:
    """How the worker of this process notes a call's recording by name, without waiting; ``folder``: that of recordings.

    What is recorded for ``mailboxes``, in which the folder may be, is a message or a greeting, and not noted.
    """
    global _note, _mailboxes, _folder
    _note, _mailboxes, _folder = note, mailboxes, folder


def tell(path: str) -> None:
    """The call of this context records to a file on the switch's disk. Nobody waits for that to be noted."""
    call = CALL.get()
    if _note is not None and call and (name := _name(path)):
        _note(call, name)


def tell_of(app: str, data: str) -> None:
    """The same for a dialplan application, if it records; a path that the switch makes of variables is not known."""
    if app in APPLICATIONS and (words := _OPTIONS.sub("", data).split()) and "${" not in words[0]:
        tell(words[0])


def _name(path: str) -> str:
    """As the record has it; empty: it does not."""
    where = os.path.normpath(path)
    if where.startswith(f"{_folder}/"):
        return where[len(str(_folder)) + 1 :]
    return "" if where.startswith(f"{_mailboxes}/") else path


def path_of(name: str, now: float, fallback: str) -> str:
    """Path for a recording: ``name`` below the folder of recordings, or one made of the day and the call.

    Raises ArgumentError for a name that leads elsewhere, OSError where no folder can be made.
    """
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    wanted = Path(name or f"{day}/{_fresh(_folder / day, CALL.get() or fallback)}")
    if wanted.is_absolute() or ".." in wanted.parts or not wanted.name or " " in name:
        raise ArgumentError("recording_path: a name below the folder of recordings, without blanks, is expected")
    whole = _folder / wanted
    for folder in reversed(whole.parents):
        if folder.is_relative_to(_folder) and not folder.is_dir():
            _make(folder)
    return str(whole)


def _fresh(folder: Path, call: str) -> str:
    """A file's name of a call that is not there yet."""
    count = 1
    while (folder / (name := f"{call}.wav" if count == 1 else f"{call}-{count}.wav")).exists():
        count += 1
    return name


def _make(folder: Path) -> None:
    try:
        durable.make_folder(folder)
    except FileExistsError:
        # By another call, at the same moment.
        return
