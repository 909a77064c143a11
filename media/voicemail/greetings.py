"""Greetings that a box's owner has recorded."""

from __future__ import annotations

import time
from pathlib import Path

from media.voicemail import durable, recording
from media.voicemail.layout import GREETINGS, GreetingKind, Layout, new_id
from media.voicemail.message import Intent
from media.voicemail.pending import Marks
from media.voicemail.recording import GreetingRecording


class Greetings:
    """Files, each there as soon as it is whole."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def get(self, box: str, kind: GreetingKind) -> Path | None:
        """The file, or None."""
        path = self._path(box, kind)
        return path if path.exists() else None

    def begin(self, box: str, kind: GreetingKind, marks: Marks) -> GreetingRecording:
        """Begin to record one."""
        self._path(box, kind)
        intent = Intent(kind="greeting", box=box, greeting=kind)
        path, lock = recording.make(self._layout, new_id(time.time()), intent)
        return GreetingRecording(self._layout, marks, path, intent, lock)

    def remove(self, box: str, kind: GreetingKind) -> bool:
        """Whether there was one."""
        path = self._path(box, kind)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        durable.sync(path.parent)
        return True

    def _path(self, box: str, kind: GreetingKind) -> Path:
        if kind not in GREETINGS:
            raise ValueError(f"{kind!r} is none of {', '.join(GREETINGS)}")
        return self._layout.box(box) / "greetings" / f"{kind}.wav"
