"""A recording under way: from before its first byte until it is a message, or thrown away.

It is a folder below ``incoming/``. Who records holds the lock of its intent.json, so that the kernel says when he died;
then the reaper goes on from what the switch has written (media.voicemail.orphans).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from media.voicemail import durable, message, wav
from media.voicemail.errors import BadAudioError, NoSuchBoxError, NothingRecordedError
from media.voicemail.layout import Layout
from media.voicemail.message import Intent, Message
from media.voicemail.pending import Marks

INTENT, MESSAGE, AUDIO = "intent.json", "message.json", "audio.wav"


class Takes:
    """Something that is being recorded, of which several takes may be made. For one thread at a time.

    It ends by being accepted, by :meth:`discard` or by :meth:`close`.
    """

    def __init__(self, layout: Layout, marks: Marks, path: Path, intent: Intent, lock: int) -> None:
        self.id = path.name
        self.intent = intent
        self._layout = layout
        self._marks = marks
        self._path = path
        self._lock = lock
        self._take = 1

    @property
    def audio(self) -> Path:
        """The file that the switch is to write now."""
        return self._path / _take_name(self._take)

    def again(self) -> Path:
        """Begin another take, in a file of its own, which is :attr:`audio` from now on.

        The one before stays until this one is accepted: should nothing come of it, that counts.
        """
        self._take += 1
        return self.audio

    def seconds(self) -> float:
        """Length of the take that :attr:`audio` is; 0 where nothing is written yet, or nothing readable."""
        return _seconds(self.audio)

    def discard(self) -> None:
        """Throw it away, as one step."""
        durable.throw_away(self._path, self._layout.trash)
        self.close()

    def close(self) -> None:
        """Let go without deciding: the reaper does."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __del__(self) -> None:
        # A call may end while a thread makes its recording: nobody gets it then, and the reaper must.
        self.close()

    def takes(self) -> list[Path]:
        """The takes that have files, newest first."""
        found = [path for path in self._path.iterdir() if _take_number(path.name)]
        return sorted(found, key=lambda path: _take_number(path.name), reverse=True)

    def _settle_audio(self) -> wav.Shape:
        """Have the take that counts be ``audio.wav``, right and on the disk, and no other there."""
        take = best_take(self.takes(), self.intent.min_seconds)
        shape = wav.repair(take)
        durable.sync(take)
        if take.name != AUDIO:
            os.replace(take, self._path / AUDIO)
        for other in self.takes():
            if other.name != AUDIO:
                other.unlink()
        return shape


class Recording(Takes):
    """A message under way."""

    def accept(self, urgent: bool = False) -> Message:
        """Make it a message of its box, in ``new``; it is on the disk when this returns.

        The last take counts, or where that is shorter than the box's messages are, the one before. The file's header is
        made right. Raises :class:`NothingRecordedError`, :class:`BadAudioError`, :class:`NoSuchBoxError` where the box
        is gone, OSError; it is still a recording then.
        """
        return self._enter(self._described(urgent=urgent, adopted=False))

    def adopt(self) -> Message:
        """The same by the reaper, who takes what was decided already, and else decides nothing."""
        return self._enter(self._decided() or self._described(urgent=False, adopted=True))

    def _described(self, *, urgent: bool, adopted: bool) -> Message:
        assert self.intent.message is not None
        shape = self._settle_audio()
        done = replace(
            self.intent.message, id=self.id, seconds=round(shape.seconds, 3), urgent=urgent, adopted=adopted,
            sha256=_digest(self._path / AUDIO),
        )  # fmt: skip
        durable.write(self._path / MESSAGE, message.encode(done))
        return done

    def _decided(self) -> Message | None:
        """The message as its recorder wrote it just before he died; None where he did not come to that."""
        try:
            found = message.read_message(self._path / MESSAGE)
            return found if found.sha256 == _digest(self._path / AUDIO) else None
        except (FileNotFoundError, ValueError):
            return None

    def _enter(self, done: Message) -> Message:
        """One rename, after everything else is on the disk."""
        target = self._layout.message(done.box, "new", done.id)
        try:
            if done.urgent:
                urgent = self._layout.urgent(done.box)
                (urgent / done.id).touch()
                durable.sync(urgent)
            self._marks.make(done.box, done.id)
            os.rename(self._path, target)
        except FileNotFoundError:
            raise NoSuchBoxError(f"no box {done.box!r}") from None
        durable.sync(target.parent)
        durable.sync(self._layout.incoming)
        (target / INTENT).unlink(missing_ok=True)
        self.close()
        return done


class GreetingRecording(Takes):
    """A greeting under way."""

    def accept(self) -> Path:
        """Make it the box's greeting of its kind; its file. Raises as :meth:`Recording.accept`."""
        self._settle_audio()
        target = self._layout.box(self.intent.box) / "greetings" / f"{self.intent.greeting}.wav"
        try:
            os.rename(self._path / AUDIO, target)
        except FileNotFoundError:
            raise NoSuchBoxError(f"no box {self.intent.box!r}") from None
        durable.sync(target.parent)
        self.discard()
        return target


def make(layout: Layout, id: str, intent: Intent, audio: Path | None = None) -> tuple[Path, int]:
    """A recording's folder, whole and locked; ``audio`` is moved into it. Its path, and the lock. Raises OSError."""
    making = layout.making / f"{id}.{secrets.token_hex(4)}"
    durable.make_folder(making)
    try:
        durable.write(making / INTENT, message.encode(intent))
        if audio is not None:
            os.rename(audio, making / AUDIO)
        lock = os.open(making / INTENT, os.O_RDWR)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        durable.move(making, layout.incoming / id)
    except BaseException:
        os.close(lock)
        raise
    return layout.incoming / id, lock


def best_take(takes: list[Path], min_seconds: float) -> Path:
    """The newest that is long enough; failing that, the newest with anything in it.

    Raises :class:`NothingRecordedError`; :class:`BadAudioError` where there are bytes, and no audio in them.
    """
    with_sound = [path for path in takes if _seconds(path) > 0]
    if with_sound:
        return next((path for path in with_sound if _seconds(path) >= min_seconds), with_sound[0])
    for path in takes:
        if path.stat().st_size > 0:
            wav.measure(path)
    raise NothingRecordedError("nothing was recorded")


def _seconds(path: Path) -> float:
    try:
        return wav.measure(path).seconds
    except (FileNotFoundError, BadAudioError):
        return 0.0


def _take_name(take: int) -> str:
    return AUDIO if take == 1 else f"audio-{take}.wav"


def _take_number(name: str) -> int:
    """1 for the first take; 0 for what is none."""
    if name == AUDIO:
        return 1
    number = name.removeprefix("audio-").removesuffix(".wav")
    return int(number) if name == f"audio-{number}.wav" and number.isdecimal() else 0


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
