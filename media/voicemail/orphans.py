"""The reaper's part: recordings whose recorder is dead, and remains of what processes were making or removing.

What a caller has said becomes a message. Nothing is thrown away but what was too short to be meant as one, what nobody
asked to keep (a greeting or comment that was not confirmed), and what its caller deleted, which is in ``trash`` then.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from media.voicemail import durable, locks, message, recording, wav
from media.voicemail.errors import BadAudioError, NoSuchBoxError, NothingRecordedError
from media.voicemail.layout import FOLDERS, Layout, is_id
from media.voicemail.message import Intent, Message
from media.voicemail.pending import Marks
from media.voicemail.recording import INTENT, Recording

log = logging.getLogger(__name__)

QUIET = 10.0
"""Seconds without a write after which a file counts as finished: a switch may go on when its worker has died, and
FreeSWITCH writes every 4 seconds only, 64 KiB at a time, where it is not told enable_file_write_buffering=false."""
_MAKING = 3600.0
"Seconds after which nobody is still making what lies in ``making``."

What = Literal["adopted", "later", "discarded", "aside", "gone"]


@dataclass(frozen=True, slots=True)
class Orphan:
    """A recording that nobody holds."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of an orphan."""

    what: What
    """later: the switch still writes it, or the disk refuses something. gone: somebody else was quicker. aside: for a
    person to look at."""
    message: Message | None = None
    reason: str = ""
    "Why it is aside, was discarded, or must wait."


class Orphans:
    """Recordings in ``incoming`` whose lock is free."""

    def __init__(self, layout: Layout, marks: Marks) -> None:
        self._layout = layout
        self._marks = marks
        self._told: set[str] = set()
        "Ids whose trouble stands in the log."

    def found(self) -> list[Orphan]:
        """Oldest first."""
        orphans = []
        for name in sorted(filter(is_id, os.listdir(self._layout.incoming))):
            path = self._layout.incoming / name
            lock = locks.taken(path / INTENT)
            if lock is not None:
                os.close(lock)
                orphans.append(Orphan(name, path))
        return orphans

    def adopt(self, orphan: Orphan, *, now: float | None = None) -> Adopted:
        """Decide about one; the message where it became one."""
        lock = locks.taken(orphan.path / INTENT)
        if lock is None:
            return Adopted("gone")
        try:
            return self._decide(orphan, lock, time.time() if now is None else now)
        except FileNotFoundError:
            return Adopted("gone")
        except OSError as error:
            # A full disk, or a file that may not be read: it stays, and must not hold up the others.
            return self._trouble(orphan, error)
        finally:
            os.close(lock)

    def _trouble(self, orphan: Orphan, error: OSError) -> Adopted:
        if orphan.id not in self._told:
            self._told.add(orphan.id)
            log.error("recording %s cannot be adopted yet: %s", orphan.id, error.strerror or error)
        return Adopted("later", reason=str(error))

    def _decide(self, orphan: Orphan, lock: int, now: float) -> Adopted:
        try:
            intent = message.read_intent(orphan.path / INTENT)
        except ValueError as error:
            return self._put_aside(orphan, f"intent.json cannot be read: {error}")
        left = Recording(self._layout, self._marks, orphan.path, intent, os.dup(lock))
        try:
            return self._decide_intent(left, orphan, intent, now)
        finally:
            left.close()

    def _decide_intent(self, left: Recording, orphan: Orphan, intent: Intent, now: float) -> Adopted:
        # A switch that was asked to record just now has maybe not made the file yet.
        written = left.takes() or [orphan.path / INTENT]
        if any(_is_growing(path, now) for path in written) and not (orphan.path / recording.MESSAGE).exists():
            return Adopted("later")
        if intent.message is None:
            left.discard()
            return Adopted("discarded", reason=f"a {intent.kind} that was not confirmed")
        try:
            if (wanted := self._too_short(left, intent)) is not None:
                left.discard()
                return Adopted("discarded", reason=wanted)
            return Adopted("adopted", left.adopt())
        except NothingRecordedError:
            left.discard()
            return Adopted("discarded", reason="nothing was recorded")
        except BadAudioError as error:
            return self._put_aside(orphan, f"the audio cannot be read: {error}")
        except NoSuchBoxError:
            return self._put_aside(orphan, "the box is gone")

    def _too_short(self, left: Recording, intent: Intent) -> str | None:
        if (left.audio.parent / recording.MESSAGE).exists():
            # Its caller had decided.
            return None
        seconds = wav.measure(recording.best_take(left.takes(), intent.min_seconds)).seconds
        return f"{seconds:.1f} s are too short" if seconds < intent.min_seconds else None

    def _put_aside(self, orphan: Orphan, why: str) -> Adopted:
        target = self._layout.aside / orphan.id
        durable.write(orphan.path / "reason.txt", f"{why}\n".encode())
        durable.move(orphan.path, target)
        return Adopted("aside", reason=why)

    def aside(self) -> list[tuple[str, str]]:
        """Id and reason of each recording that waits for a person."""
        return [(name, self._reason(name)) for name in sorted(filter(is_id, os.listdir(self._layout.aside)))]

    def _reason(self, id: str) -> str:
        try:
            return (self._layout.aside / id / "reason.txt").read_text().strip()
        except FileNotFoundError:
            return ""

    def clean(self, *, now: float | None = None) -> None:
        """Empty ``trash``; remove what nobody makes or waits for any more, and marks of urgent ones that are gone."""
        for path in self._layout.trash.iterdir():
            _remove(path)
        old = (time.time() if now is None else now) - _MAKING
        for path in (*self._layout.making.iterdir(), *self._layout.live.iterdir()):
            with suppress(FileNotFoundError):  # It is made, or open, by now.
                if path.lstat().st_mtime < old:
                    _remove(path)
        for mark in self._layout.boxes.glob("*/urgent/*"):
            if not any((mark.parent.parent / folder / mark.name).exists() for folder in FOLDERS):
                _remove_older(mark, old)


def _is_growing(path: Path, now: float) -> bool:
    return path.stat().st_mtime > now - QUIET


def _remove_older(path: Path, old: float) -> None:
    # A mark is made just before its message is there.
    with suppress(FileNotFoundError):
        if path.stat().st_mtime < old:
            path.unlink()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
