"""Files of what call scripts recorded: whether they are there, how long they are, and which one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from media.voicemail import wav
from media.voicemail.errors import BadAudioError
from operations.errors import MissingError

Row = dict[str, Any]

TYPES = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}
"Of files that a browser plays."
OTHER = "application/octet-stream"
GONE = "it was removed, or this machine does not have the folder"


def rows(names: Sequence[str], folder: Path) -> list[Row]:
    """A row for each recording: ``number`` from 1, ``name``, ``here``, ``why`` it is not, ``bytes``, ``seconds``.

    Bytes and seconds are None where that is not known. What is still being recorded is as long as it is now.
    """
    return [_row(number, name, folder) for number, name in enumerate(names, 1)]


def _row(number: int, name: str, folder: Path) -> Row:
    row: Row = {"number": number, "name": name, "here": False, "why": "", "bytes": None, "seconds": None}
    try:
        path = _inside(name, folder)
        row |= {"bytes": path.stat().st_size, "here": True}
    except MissingError as error:
        return row | {"why": str(error)}
    except OSError:
        return row | {"why": GONE}
    return row | {"seconds": _seconds(path)}


def file(names: Sequence[str], number: int, folder: Path) -> Path:
    """The recording of a number. Raises :class:`MissingError`, which says why there is none."""
    if not 1 <= number <= len(names):
        raise MissingError(f"the call has no recording {number}")
    path = _inside(names[number - 1], folder)
    if not path.is_file():
        raise MissingError(f"recording {number} is not there: {GONE}")
    return path


def _inside(name: str, folder: Path) -> Path:
    # Whatever stands in a record: nothing else of this machine is given away by it.
    path = (folder / name).resolve()
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
