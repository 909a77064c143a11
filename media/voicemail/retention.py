"""How much a box may hold, and for how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from media.voicemail import wav
from media.voicemail.box import Box
from media.voicemail.boxes import Boxes
from media.voicemail.errors import BadBoxError, NoSuchBoxError, QuotaError
from media.voicemail.layout import Folder, Layout
from media.voicemail.messages import Messages

_KEPT: tuple[Folder, ...] = ("new", "saved")
_DAY, _HOUR = 86_400.0, 3_600.0


class Retention:
    """Quota and expiry."""

    def __init__(self, layout: Layout, boxes: Boxes, messages: Messages) -> None:
        self._layout = layout
        self._boxes = boxes
        self._messages = messages

    def check_quota(self, box: Box) -> None:
        """Raises :class:`QuotaError` where the box may take no message more.

        Callers who record at the same time may together exceed it: what was said is kept.
        """
        counts = self._messages.counts(box.number)
        if box.quota_messages and counts.new + counts.saved >= box.quota_messages:
            raise QuotaError(f"box {box.number} is full: {box.quota_messages} messages")
        if box.quota_seconds and self.seconds(box.number) >= box.quota_seconds:
            raise QuotaError(f"box {box.number} is full: {box.quota_seconds} seconds")

    def seconds(self, box: str) -> float:
        """Length of all new and saved messages, by the sizes of their files."""
        return sum(self._sizes(box)) / (2 * wav.RATE)

    def _sizes(self, box: str) -> Iterator[int]:
        for folder in _KEPT:
            path = self._layout.folder(box, folder)
            for id in self._messages.ids(box, folder):
                try:
                    yield (path / id / "audio.wav").stat().st_size - wav.HEADER
                except FileNotFoundError:
                    continue

    def expire(self, boxes: Iterable[str], now: float) -> list[tuple[str, str]]:
        """Remove what is too old at Unix time ``now``."""
        gone = []
        for number in boxes:
            try:
                gone += [(number, id) for id in self._expire(self._boxes.get(number), now)]
            except (NoSuchBoxError, BadBoxError, OSError):
                # Removed meanwhile; or its settings, which say how long, or a message cannot be read or removed.
                continue
        return gone

    def _expire(self, box: Box, now: float) -> Iterator[str]:
        ages: tuple[tuple[Folder, float], ...] = (("deleted", box.expire_deleted_hours * _HOUR),)
        if box.expire_days:
            ages += (("saved", box.expire_days * _DAY),)
        for folder, age in ages:
            for id in self._messages.ids(box.number, folder):
                if self._messages.expire(box.number, id, folder, now - age):
                    yield id
