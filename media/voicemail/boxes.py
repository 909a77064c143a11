"""Boxes on the disk: made, read, changed, removed, and found by any of their numbers."""

from __future__ import annotations

import os
import secrets
import shutil
from typing import Any

from media.voicemail import box as boxfile
from media.voicemail import durable, locks, pin
from media.voicemail.box import Box
from media.voicemail.errors import BadBoxError, BadPinError, BoxExistsError, DamagedBoxError, NoSuchBoxError
from media.voicemail.layout import FOLDERS, Layout, is_number
from media.voicemail.pending import Marks

_SECRET = 0o600


class Boxes:
    """The boxes of a store. One process at a time changes settings; whoever reads needs no lock."""

    def __init__(self, layout: Layout, marks: Marks) -> None:
        self._layout = layout
        self._marks = marks

    def all(self) -> list[str]:
        """Numbers of all boxes, sorted."""
        with os.scandir(self._layout.boxes) as entries:
            return sorted(entry.name for entry in entries if is_number(entry.name))

    def get(self, number: str) -> Box:
        """Settings. Raises :class:`NoSuchBoxError`, :class:`DamagedBoxError`."""
        path = self._layout.box(number) / "box.json"
        try:
            return boxfile.read(path)
        except (FileNotFoundError, NotADirectoryError):
            if path.parent.is_dir():
                raise DamagedBoxError(f"{path}: is missing") from None
            raise NoSuchBoxError(f"no box {number!r}") from None

    def find(self, number: str) -> str:
        """The box that a number leads to: its own or one of its further ones. Raises :class:`NoSuchBoxError`."""
        if (self._layout.box(number) / "box.json").exists():
            return number
        try:
            box = os.readlink(self._layout.numbers / number)
        except OSError:
            raise NoSuchBoxError(f"no box has the number {number!r}") from None
        # A link is made before the settings say so, and removed after: they decide.
        if number in self.get(box).numbers:
            return box
        raise NoSuchBoxError(f"no box has the number {number!r}")

    def put(self, box: Box, *, new: bool = False) -> None:
        """Make a box, or replace its settings. Raises :class:`BadBoxError`; :class:`BoxExistsError` if ``new``."""
        box = box.checked(f"box {box.number}")
        with locks.held(self._layout.settings_lock):
            if new and self._layout.box(box.number).exists():
                raise BoxExistsError(f"box {box.number} exists already")
            self._put(box)

    def update(self, number: str, changes: dict[str, Any]) -> Box:
        """Change some settings, none of the others; the box as it is then. Raises as :meth:`get` and :meth:`put`."""
        with locks.held(self._layout.settings_lock):
            box = self._changed(self.get(number), changes)
            self._put(box)
            return box

    def _changed(self, box: Box, changes: dict[str, Any]) -> Box:
        if changes.get("number", box.number) != box.number:
            raise BadBoxError(f"box {box.number}: number: a box cannot change it")
        return boxfile.from_dict({**boxfile.to_dict(box), **changes}, f"box {box.number}")

    def set_pin(self, number: str, digits: str) -> None:
        """Raises :class:`BadPinError` for one that is too easy to guess."""
        if why := pin.weak(digits, number):
            raise BadPinError(why)
        self.get(number)
        # Slow, so not under the lock.
        self.update(number, {"pin_hash": pin.hashed(digits)})

    def remove(self, number: str) -> None:
        """A box with all that is in it. Raises :class:`NoSuchBoxError`."""
        with locks.held(self._layout.settings_lock), locks.held(self._layout.lock(number)):
            numbers = self._numbers(number)
            self._marks.make(number)
            durable.throw_away(self._layout.box(number), self._layout.trash)
            self._unlink(number, numbers)

    def _numbers(self, number: str) -> tuple[str, ...]:
        try:
            return self.get(number).numbers
        except BadBoxError:
            # A box must be removable whatever its file says; its links lead nowhere then.
            return ()

    def _put(self, box: Box) -> None:
        self._claim(box)
        path = self._layout.box(box.number)
        before = self._numbers(box.number) if path.exists() else ()
        self._marks.make(box.number)
        if path.exists():
            durable.write(path / "box.json", boxfile.encode(box), mode=_SECRET)
        else:
            self._make(box)
        self._unlink(box.number, set(before) - set(box.numbers))

    def _make(self, box: Box) -> None:
        """All of it elsewhere, and one rename."""
        making = self._layout.making / f"{box.number}.{secrets.token_hex(4)}"
        durable.make_folder(making)
        try:
            for name in (*FOLDERS, "greetings", "urgent"):
                durable.make_folder(making / name)
            durable.write(making / "box.json", boxfile.encode(box), mode=_SECRET)
            durable.move(making, self._layout.box(box.number))
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise

    def _claim(self, box: Box) -> None:
        """Have its further numbers lead to it. Raises :class:`BadBoxError` where they lead elsewhere."""
        owners = {number: owner for number in (box.number, *box.numbers) if (owner := self._owner(number))}
        for place, number in enumerate(box.numbers):
            if owners.get(number, box.number) != box.number:
                raise BadBoxError(f"box {box.number}: numbers[{place}]: {number} is box {owners[number]}'s already")
        if owners.get(box.number, box.number) != box.number:
            raise BadBoxError(f"box {box.number}: number: it leads to box {owners[box.number]} already")
        for number in box.numbers:
            self._link(number, box.number)
        if box.numbers:
            durable.sync(self._layout.numbers)

    def _owner(self, number: str) -> str:
        try:
            return self.find(number)
        except (NoSuchBoxError, BadBoxError):
            return ""

    def _link(self, number: str, box: str) -> None:
        part = self._layout.making / f"{number}.{secrets.token_hex(4)}"
        os.symlink(box, part)
        os.replace(part, self._layout.numbers / number)

    def _unlink(self, box: str, numbers: set[str] | tuple[str, ...]) -> None:
        for number in numbers:
            path = self._layout.numbers / number
            if path.is_symlink() and os.readlink(path) == box:
                path.unlink()
