"""Where what is on the disk, and what a name there may look like.

```
boxes/1001/box.json                    settings, and the PIN's hash
boxes/1001/greetings/KIND.wav
boxes/1001/{new,saved,deleted}/ID/     a message: message.json, audio.wav, transcript.json, delivery.json
boxes/1001/urgent/ID                   empty: this message is urgent, for counts that open no file
incoming/ID/                           a recording under way: intent.json (locked by who records), audio.wav
pending/BOX:ID:NONCE                   empty: a change that Redis has not been told of
numbers/NUMBER                         symbolic link, whose text is the box that the number leads to
aside/ID/                              recordings that nobody could make anything of, with reason.txt
live/                                  audio of calls whose engine has not opened it (media.transcription.live)
making/                                what is being made, and then renamed to its place
trash/                                 what is being removed
locks/
```
"""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path
from typing import Literal, get_args

from media.voicemail import durable
from media.voicemail.errors import NoSuchBoxError, NoSuchMessageError

Folder = Literal["new", "saved", "deleted"]
FOLDERS: tuple[Folder, ...] = get_args(Folder)
GreetingKind = Literal["unavailable", "busy", "temporary", "name"]
GREETINGS: tuple[GreetingKind, ...] = get_args(GreetingKind)

NUMBER = r"(?!\.)[0-9A-Za-z*#+._-]{1,32}"
"A box's number, and any other number that leads to it: fit for a file's name, for Redis and for SIP."
ID_LENGTH = len("20260131T180000Z-1a2b3c4d")
_number = re.compile(NUMBER, re.ASCII)
_id = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)


def is_number(text: str) -> bool:
    """Whether a box may be called that."""
    return bool(_number.fullmatch(text))


def is_id(text: str) -> bool:
    """Whether it may be a message's id."""
    return bool(_id.fullmatch(text))


def new_id(now: float) -> str:
    """``20260131T180000Z-1a2b3c4d``: sorts by time, and says nothing of anybody."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{secrets.token_hex(4)}"


class Layout:
    """Paths below ``root``. What comes from outside is checked before it becomes part of a path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.boxes = root / "boxes"
        self.incoming = root / "incoming"
        self.pending = root / "pending"
        self.numbers = root / "numbers"
        self.aside = root / "aside"
        self.live = root / "live"
        self.making = root / "making"
        self.trash = root / "trash"
        self.locks = root / "locks"

    def make(self) -> None:
        """Make what is missing. Raises OSError."""
        self.root.mkdir(parents=True, exist_ok=True)
        for path in (
            self.boxes, self.incoming, self.pending, self.numbers, self.aside, self.live, self.making, self.trash,
            self.locks,
        ):  # fmt: skip
            if not path.is_dir():
                try:
                    durable.make_folder(path)
                except FileExistsError:
                    # Another process makes them too.
                    continue
                durable.sync(self.root)

    def box(self, number: str) -> Path:
        """Raises :class:`NoSuchBoxError` for what no box can be called."""
        if not is_number(number):
            raise NoSuchBoxError(f"no box {number!r}")
        return self.boxes / number

    def folder(self, number: str, folder: Folder) -> Path:
        """Folder of messages."""
        if folder not in FOLDERS:
            raise ValueError(f"{folder!r} is none of {', '.join(FOLDERS)}")
        return self.box(number) / folder

    def message(self, number: str, folder: Folder, id: str) -> Path:
        """A message, there or not. Raises :class:`NoSuchMessageError` for what is no id."""
        if not is_id(id):
            raise NoSuchMessageError(f"no message {id!r}")
        return self.folder(number, folder) / id

    def urgent(self, number: str) -> Path:
        """The folder of marks that messages are urgent."""
        return self.box(number) / "urgent"

    def lock(self, number: str) -> Path:
        """Lock of a box's messages: held while one is moved or removed. Raises as :meth:`box`."""
        return self.locks / self.box(number).name

    @property
    def settings_lock(self) -> Path:
        """Lock of all boxes' settings: no two boxes may claim one number."""
        return self.locks / ".boxes"
