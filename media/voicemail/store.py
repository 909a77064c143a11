"""Mailboxes on one disk, or shared mount, that switch, workers and commands all see under the same path.

Everything blocks, and is safe among threads and processes. What a method of :class:`Store` says it has done is on the
disk. Besides what each method names, all raise OSError; errors are in :mod:`media.voicemail.errors`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from media.voicemail import pin, recording
from media.voicemail.box import Box
from media.voicemail.boxes import Boxes
from media.voicemail.errors import (
    BadAudioError,
    BadBoxError,
    BadPinError,
    BoxExistsError,
    DamagedBoxError,
    DamagedMessageError,
    NoSuchBoxError,
    NoSuchMessageError,
    NothingRecordedError,
    QuotaError,
    VoicemailError,
)
from media.voicemail.forwarding import Forwarding
from media.voicemail.greetings import Greetings
from media.voicemail.layout import FOLDERS, GREETINGS, Folder, GreetingKind, Layout, new_id
from media.voicemail.message import Counts, Intent, Message, Stored
from media.voicemail.messages import Messages
from media.voicemail.orphans import Adopted, Orphan, Orphans
from media.voicemail.pending import Marks, Pending
from media.voicemail.recording import GreetingRecording, Recording, Takes
from media.voicemail.retention import Retention

__all__ = [
    "FOLDERS", "GREETINGS", "Adopted", "BadAudioError", "BadBoxError", "BadPinError", "Box", "BoxExistsError",
    "Counts", "DamagedBoxError", "DamagedMessageError", "Folder", "GreetingKind", "GreetingRecording", "Message",
    "NoSuchBoxError", "NoSuchMessageError", "NothingRecordedError", "Orphan", "Pending", "QuotaError",
    "Recording", "Store", "Stored", "Takes", "VoicemailError",
]  # fmt: skip


class Store:
    """All mailboxes below ``folder``, which is made where missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._layout = Layout(folder)
        self._layout.make()
        self._marks = Marks(self._layout.pending)
        self._boxes = Boxes(self._layout, self._marks)
        self._messages = Messages(self._layout, self._marks)
        self._retention = Retention(self._layout, self._boxes, self._messages)
        self._greetings = Greetings(self._layout)
        self._orphans = Orphans(self._layout, self._marks)
        self._forwarding = Forwarding(self._layout, self._marks, self._messages)

    # Boxes.

    def boxes(self) -> list[str]:
        """Numbers of all boxes, sorted."""
        return self._boxes.all()

    def box(self, number: str) -> Box:
        """Settings of a box. Raises NoSuchBoxError, DamagedBoxError."""
        return self._boxes.get(number)

    def find_box(self, number: str) -> str:
        """Number of the box that ``number`` leads to, its own or one of its ``numbers``. Raises NoSuchBoxError."""
        return self._boxes.find(number)

    def put_box(self, box: Box, *, new: bool = False) -> None:
        """Make a box, or replace all its settings. Raises BadBoxError; with ``new`` BoxExistsError.

        To change some of them use :meth:`update_box`, which loses no change that another process makes meanwhile.
        """
        self._boxes.put(box, new=new)

    def update_box(self, number: str, /, **changes: Any) -> Box:
        """Change some settings; the box as it is then. Raises NoSuchBoxError, BadBoxError."""
        return self._boxes.update(number, changes)

    def remove_box(self, number: str) -> None:
        """Remove a box with its messages and greetings. Raises NoSuchBoxError."""
        self._boxes.remove(number)

    def set_pin(self, number: str, digits: str) -> None:
        """Raises NoSuchBoxError, BadPinError. Takes some 50 ms."""
        self._boxes.set_pin(number, digits)

    def check_pin(self, number: str, digits: str) -> bool:
        """Whether that is the box's PIN; never where none is set. Takes some 50 ms. Raises NoSuchBoxError.

        Counts no tries: that is for who asks.
        """
        return pin.fits(digits, self.box(number).pin_hash)

    # Recordings.

    def begin(
        self,
        box: str,
        *,
        caller: str = "",
        caller_name: str = "",
        callee: str = "",
        reason: str = "",
        call: str = "",
    ) -> Recording:
        """Begin a message. Raises NoSuchBoxError, BadBoxError; QuotaError where the box is full."""
        settings = self.box(box)
        self._retention.check_quota(settings)
        now = time.time()
        about = Message(
            id=new_id(now), box=box, caller=caller, caller_name=caller_name, callee=callee, reason=reason, call=call,
            received=now, wanted=settings.wanted,
        )  # fmt: skip
        intent = Intent(kind="message", box=box, message=about, min_seconds=settings.min_seconds)
        path, lock = recording.make(self._layout, about.id, intent)
        return Recording(self._layout, self._marks, path, intent, lock)

    def begin_comment(self, box: str) -> Takes:
        """Begin what the owner of ``box`` says before a message that he forwards. Raises NoSuchBoxError.

        Its ``audio`` is for :meth:`forward`; then discard it.
        """
        self.box(box)
        intent = Intent(kind="comment", box=box)
        path, lock = recording.make(self._layout, new_id(time.time()), intent)
        return Takes(self._layout, self._marks, path, intent, lock)

    # Greetings.

    def greeting(self, box: str, kind: GreetingKind) -> Path | None:
        """The file, or None where none was recorded."""
        return self._greetings.get(box, kind)

    def begin_greeting(self, box: str, kind: GreetingKind) -> GreetingRecording:
        """Begin to record one; ``accept()`` puts it in force. Raises NoSuchBoxError."""
        self.box(box)
        return self._greetings.begin(box, kind, self._marks)

    def remove_greeting(self, box: str, kind: GreetingKind) -> bool:
        """Whether there was one."""
        return self._greetings.remove(box, kind)

    # Messages.

    def counts(self, box: str) -> Counts:
        """A few milliseconds with 10,000 messages. Raises NoSuchBoxError."""
        return self._messages.counts(box)

    def ids(self, box: str, folder: Folder) -> list[str]:
        """Ids of the messages in a folder, oldest first. Raises NoSuchBoxError."""
        return self._messages.ids(box, folder)

    def urgent_ids(self, box: str) -> set[str]:
        """Ids of urgent messages, in whatever folder; maybe of some that are gone. Raises NoSuchBoxError."""
        return self._messages.urgent(box)

    def where(self, box: str, id: str) -> Folder | None:
        """The folder that a message is in now; None where it is gone."""
        return self._messages.where(box, id)

    def message(self, box: str, id: str) -> Stored:
        """Raises NoSuchMessageError, DamagedMessageError."""
        return self._messages.read(box, id)

    def move(self, box: str, id: str, folder: Folder, *, source: Folder | None = None) -> bool:
        """Move to a folder, from ``source`` only if given; whether it moved. Raises NoSuchMessageError."""
        return self._messages.move(box, id, folder, source)

    def purge(self, box: str, id: str) -> None:
        """Remove audio, text and all. Raises NoSuchMessageError."""
        self._messages.purge(box, id)

    def forward(self, box: str, id: str, to_box: str, comment: Path | None = None) -> Message:
        """Give another box a copy, ``comment`` (a WAV file) before it; the copy.

        Raises NoSuchMessageError, NoSuchBoxError, QuotaError, BadAudioError.
        """
        settings = self.box(to_box)
        self._retention.check_quota(settings)
        return self._forwarding.forward(box, id, settings, comment)

    def put_transcript(self, box: str, id: str, transcript: dict[str, Any]) -> None:
        """Write transcript.json. Raises NoSuchMessageError."""
        self._messages.put_transcript(box, id, transcript)

    def put_delivery(self, box: str, id: str, delivery: dict[str, Any]) -> None:
        """Write to delivery.json what is given; what it held under other keys stays. Raises NoSuchMessageError."""
        self._messages.put_delivery(box, id, delivery)

    # What Redis is to be told; media.voicemail.pending says how.

    def pending(self) -> list[Pending]:
        """All changes that Redis may not know of."""
        return self._marks.all()

    def pending_of(self, box: str, id: str = "") -> Pending:
        """Those of one message, or of a box itself."""
        return self._marks.of(box, id)

    def settled(self, pending: Pending) -> None:
        """Redis knows these."""
        self._marks.settle(pending)

    # What a process that died left behind, and what is too old.

    def orphans(self) -> list[Orphan]:
        """Recordings whose recorder is dead."""
        return self._orphans.found()

    def adopt(self, orphan: Orphan) -> Message | None:
        """Make a message of it, where one can be made."""
        return self.reap(orphan).message

    def reap(self, orphan: Orphan) -> Adopted:
        """The same, and what became of it where it is no message, and why."""
        return self._orphans.adopt(orphan)

    def aside(self) -> list[tuple[str, str]]:
        """Id and reason of each recording that waits, in ``aside``, for a person to look at."""
        return self._orphans.aside()

    def clean(self) -> None:
        """Remove what processes that died were making or removing."""
        self._orphans.clean()

    def expire(self, boxes: Iterable[str] | None = None, *, now: float | None = None) -> list[tuple[str, str]]:
        """Remove messages whose time is over, in all boxes or some; box and id of each."""
        return self._retention.expire(self.boxes() if boxes is None else boxes, time.time() if now is None else now)
