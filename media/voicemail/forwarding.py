"""A copy of a message for another box."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

from media.voicemail import durable, recording, wav
from media.voicemail.box import Box
from media.voicemail.errors import NoSuchMessageError
from media.voicemail.layout import Layout, new_id
from media.voicemail.message import Intent, Message, Stored
from media.voicemail.messages import Messages
from media.voicemail.pending import Marks
from media.voicemail.recording import Recording


class Forwarding:
    """The copy comes as a recording that is whole from its first moment; the reaper finishes what died within."""

    def __init__(self, layout: Layout, marks: Marks, messages: Messages) -> None:
        self._layout = layout
        self._marks = marks
        self._messages = messages

    def forward(self, box: str, id: str, to: Box, comment: Path | None) -> Message:
        """The copy, which has an id of its own."""
        found = self._messages.read(box, id)
        about = _about(found.message, to, commented=comment is not None)
        intent = Intent(kind="forward", box=to.number, message=about)
        audio = self._layout.making / f"{about.id}.{secrets.token_hex(4)}.wav"
        try:
            self._copy(found, audio, comment)
            path, lock = recording.make(self._layout, about.id, intent, audio)
        finally:
            audio.unlink(missing_ok=True)
        copy = Recording(self._layout, self._marks, path, intent, lock)
        try:
            return copy.accept(urgent=found.message.urgent)
        except BaseException:
            # Who forwards is told that it failed; nobody must get it after that.
            if path.exists():
                copy.discard()
            raise

    def _copy(self, found: Stored, target: Path, comment: Path | None) -> None:
        try:
            if comment is not None:
                wav.repair(comment)
                wav.joined(comment, found.audio, target)
            else:
                _link(found.audio, target)
        except FileNotFoundError as error:
            if comment is not None and error.filename == str(comment):
                raise
            raise NoSuchMessageError(f"box {found.message.box} has no message {found.message.id!r}") from None


def _about(message: Message, to: Box, *, commented: bool) -> Message:
    now = time.time()
    return Message(
        id=new_id(now), box=to.number, caller=message.caller, caller_name=message.caller_name, callee=message.callee,
        reason=message.reason, call=message.call, received=now, forwarded_from=message.box,
        comment=commented or message.comment, wanted=to.wanted,
    )  # fmt: skip


def _link(source: Path, target: Path) -> None:
    """Audio is never changed, so two messages may share it."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        durable.sync(target)
