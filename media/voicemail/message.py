"""A message, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from media.voicemail.layout import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is known of a message when it is accepted; never changed afterwards."""

    id: str
    box: str
    caller: str = ""
    "Number; empty: withheld."
    caller_name: str = ""
    callee: str = ""
    "The number that was dialled."
    reason: str = ""
    "Why the call came: no-answer, busy, unreachable, do-not-disturb, unconditional, direct."
    call: str = ""
    "Id of the call's record."
    received: float = 0.0
    "Unix time at which recording began."
    seconds: float = 0.0
    "Length of the audio."
    urgent: bool = False
    sha256: str = ""
    "Of audio.wav."
    adopted: bool = False
    "Whoever recorded it died before it was accepted, and the reaper did it."
    forwarded_from: str = ""
    "The box whose owner passed it on; empty: nobody."
    comment: bool = False
    "The audio begins with what that owner said."
    wanted: tuple[str, ...] = ()
    "What the box wanted done with it when recording began: transcribe, mail, webhook. A later wish is for later ones."


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A message as it is on the disk now."""

    message: Message
    folder: Folder
    path: Path
    "Its folder, until somebody moves it."
    transcript: dict[str, Any] | None = None
    delivery: dict[str, Any] | None = None

    @property
    def audio(self) -> Path:
        """The WAV file."""
        return self.path / "audio.wav"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many messages a box holds. New and saved ones count all, urgent ones included."""

    new: int = 0
    saved: int = 0
    urgent_new: int = 0
    urgent_saved: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is known when a recording begins: enough to make a message of it, should nobody else be left to."""

    kind: str
    "message, forward, greeting or comment; only the first two become messages without their maker."
    box: str
    message: Message | None = None
    "Of a message: all but what is known only at its end."
    greeting: str = ""
    "Which one it is to become."
    min_seconds: int = 0


def encode(value: Message | Intent | dict[str, Any]) -> bytes:
    """As JSON."""
    return msgspec.json.encode(value) + b"\n"


def read_message(path: Path) -> Message:
    """``message.json``. Raises FileNotFoundError, and ValueError where it is not one."""
    return msgspec.json.decode(path.read_bytes(), type=Message)


def read_intent(path: Path) -> Intent:
    """``intent.json``. Raises FileNotFoundError, and ValueError where it is not one."""
    return msgspec.json.decode(path.read_bytes(), type=Intent)


def read_json(path: Path) -> dict[str, Any] | None:
    """A file beside a message, or None where it is missing, or no object."""
    try:
        found = msgspec.json.decode(path.read_bytes())
    except (FileNotFoundError, msgspec.DecodeError):
        return None
    return found if isinstance(found, dict) else None
