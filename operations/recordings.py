"""Files of what a call recorded or left: whether they are there, how long they are, and which one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from media.voicemail import wav
from media.voicemail.errors import BadAudioError, NoSuchBoxError, NoSuchMessageError
from media.voicemail.layout import FOLDERS, Layout
from model.record import CallRecord
from model.settings import Settings
from operations.errors import MissingError

Row = dict[str, Any]

SCRIPT, MESSAGE = "recording", "message"
"Kinds: what a call script recorded, and the message that a caller left."
TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}
"Of files that a browser plays."
OTHER = "application/octet-stream"
GONE = "it was removed, or this machine does not have the folder"


def rows(record: CallRecord, settings: Settings) -> list[Row]:
    """A row for each recording, and the message last: ``number`` from 1, ``kind``, ``name``, ``here``, ``why`` it is
    not, ``bytes``, ``seconds``.

    Bytes and seconds are None where that is not known. What is still being recorded is as long as it is now.
    """
    return [
        {"number": number, "kind": kind, "name": name, **_about(kind, name, settings)}
        for number, (kind, name) in enumerate(_named(record), 1)
    ]


def file(record: CallRecord, number: int, settings: Settings) -> Path:
    """The recording of a number. Raises :class:`MissingError`, which says why there is none."""
    named = _named(record)
    if not 1 <= number <= len(named):
        raise MissingError(f"the call has no recording {number}")
    return _path(*named[number - 1], settings)


def _named(record: CallRecord) -> Sequence[tuple[str, str]]:
    recordings = [(SCRIPT, name) for name in record.recordings]
    return [*recordings, (MESSAGE, record.message)] if record.message else recordings


def _about(kind: str, name: str, settings: Settings) -> Row:
    try:
        path = _path(kind, name, settings)
        return {"here": True, "why": "", "bytes": path.stat().st_size, "seconds": _seconds(path)}
    except MissingError as error:
        why = str(error)
    except OSError:
        # Since we looked.
        why = GONE
    return {"here": False, "why": why, "bytes": None, "seconds": None}


def _path(kind: str, name: str, settings: Settings) -> Path:
    path = _of_message(name, settings) if kind == MESSAGE else _of_script(name, settings.recordings)
    if path is None or not path.is_file():
        raise MissingError(GONE)
    return path


def _of_message(name: str, settings: Settings) -> Path | None:
    """Wherever in its box it has been moved to; None: nowhere."""
    box, _, id = name.partition("/")
    layout = Layout(settings.voicemail)
    try:
        paths = (layout.message(box, folder, id) / "audio.wav" for folder in FOLDERS)
        return next((path for path in paths if path.is_file()), None)
    except (NoSuchBoxError, NoSuchMessageError):
        return None


def _of_script(name: str, folder: Path) -> Path:
    # Whatever stands in a record: nothing else of this machine is given away by it.
    path = (folder / name.replace("\0", "?")).resolve()
    if Path(name).is_absolute() or not path.is_relative_to(folder.resolve()):
        raise MissingError(f"it is not in the folder of recordings, {folder}, and is played from nowhere else")
    return path


def _seconds(path: Path) -> float | None:
    if path.suffix != ".wav":
        return None
    try:
        return round(wav.measure(path).seconds, 3)
    except (BadAudioError, OSError):
        return None
