"""The messages of boxes: counted, read, moved between folders, removed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from media.voicemail import durable, locks, message
from media.voicemail.errors import DamagedMessageError, NoSuchBoxError, NoSuchMessageError
from media.voicemail.layout import FOLDERS, ID_LENGTH, Folder, Layout, is_id
from media.voicemail.message import Counts, Stored
from media.voicemail.pending import Marks

TRANSCRIPT, DELIVERY = "transcript.json", "delivery.json"


class Messages:
    """A message is where its folder is. It moves by one rename, and only who holds the box's lock moves it."""

    def __init__(self, layout: Layout, marks: Marks) -> None:
        self._layout = layout
        self._marks = marks

    def ids(self, box: str, folder: Folder) -> list[str]:
        """Ids in a folder, oldest first. Raises :class:`NoSuchBoxError`."""
        return sorted(self._names(box, folder))

    def counts(self, box: str) -> Counts:
        """Opens no message. Raises :class:`NoSuchBoxError`."""
        new, saved, deleted = (self._names(box, folder) for folder in FOLDERS)
        urgent = self.urgent(box)
        return Counts(
            new=len(new), saved=len(saved), deleted=len(deleted),
            urgent_new=len(urgent.intersection(new)), urgent_saved=len(urgent.intersection(saved)),
        )  # fmt: skip

    def urgent(self, box: str) -> set[str]:
        """Ids of what is urgent, and maybe of what was. Raises :class:`NoSuchBoxError`."""
        return set(_listed(self._layout.urgent(box), box))

    def where(self, box: str, id: str) -> Folder | None:
        """The folder that a message is in now; None where it is gone, or never was."""
        if found := self._look(box, id):
            return found
        if not is_id(id):
            return None
        # It may have moved from a folder not looked at yet into one that was.
        with locks.held(self._layout.lock(box)):
            return self._look(box, id)

    def read(self, box: str, id: str) -> Stored:
        """Raises :class:`NoSuchMessageError`, :class:`DamagedMessageError`."""
        for _ in range(100):
            folder = self.where(box, id)
            if folder is None:
                break
            path = self._layout.message(box, folder, id)
            try:
                found = message.read_message(path / "message.json")
            except FileNotFoundError:
                # Moved meanwhile.
                continue
            except ValueError as error:
                raise DamagedMessageError(f"{path / 'message.json'}: {error}") from None
            extra = {"transcript": path / TRANSCRIPT, "delivery": path / DELIVERY}
            read = {name: message.read_json(file) for name, file in extra.items()}
            return Stored(message=found, folder=folder, path=path, **read)
        raise _no_message(box, id)

    def move(self, box: str, id: str, folder: Folder, source: Folder | None) -> bool:
        """Whether it was elsewhere before, in ``source`` if given. Raises :class:`NoSuchMessageError`."""
        target = self._layout.message(box, folder, id)
        with locks.held(self._layout.lock(box)):
            path = self._path(box, id)
            if path == target or (source and path.parent.name != source):
                return False
            self._marks.make(box, id)
            # A message expires by the time at which it came into its folder.
            os.utime(path)
            durable.move(path, target)
            return True

    def purge(self, box: str, id: str) -> None:
        """Remove audio, text and all. Raises :class:`NoSuchMessageError`."""
        with locks.held(self._layout.lock(box)):
            self._purge(box, id, self._path(box, id))

    def expire(self, box: str, id: str, folder: Folder, before: float) -> bool:
        """Remove it if it came into that folder before a Unix time, and is still there; whether it was so."""
        path = self._layout.message(box, folder, id)
        if not _is_older(path, before):
            return False
        with locks.held(self._layout.lock(box)):
            # Its owner may have had it back meanwhile.
            if not _is_older(path, before):
                return False
            self._purge(box, id, path)
            return True

    def _purge(self, box: str, id: str, path: Path) -> None:
        self._marks.make(box, id)
        durable.throw_away(path, self._layout.trash)
        (self._layout.urgent(box) / id).unlink(missing_ok=True)

    def put_transcript(self, box: str, id: str, transcript: dict[str, Any]) -> None:
        """Write the file beside a message, whole. Raises :class:`NoSuchMessageError`."""
        with locks.held(self._layout.lock(box)):
            durable.write(self._path(box, id) / TRANSCRIPT, message.encode(transcript))

    def put_delivery(self, box: str, id: str, delivery: dict[str, Any]) -> None:
        """The same; what it held under other keys stays, since mail and webhook write it at the same time."""
        with locks.held(self._layout.lock(box)):
            path = self._path(box, id) / DELIVERY
            durable.write(path, message.encode({**(message.read_json(path) or {}), **delivery}))

    def _path(self, box: str, id: str) -> Path:
        folder = self._look(box, id)
        if folder is None:
            raise _no_message(box, id)
        return self._layout.message(box, folder, id)

    def _look(self, box: str, id: str) -> Folder | None:
        if not is_id(id):
            return None
        return next((folder for folder in FOLDERS if self._layout.message(box, folder, id).is_dir()), None)

    def _names(self, box: str, folder: Folder) -> list[str]:
        return _listed(self._layout.folder(box, folder), box)


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime <= before
    except FileNotFoundError:
        return False


def _listed(path: Path, box: str) -> list[str]:
    try:
        # Only ids are ever put there, and a look at each would take longer than the listing.
        return [name for name in os.listdir(path) if len(name) == ID_LENGTH]
    except FileNotFoundError:
        raise NoSuchBoxError(f"no box {box!r}") from None


def _no_message(box: str, id: str) -> NoSuchMessageError:
    return NoSuchMessageError(f"box {box} has no message {id!r}")
