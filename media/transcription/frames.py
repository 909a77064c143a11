"""Frames between us and the process of an engine: length, kind, payload.

To the engine: ``load`` (text: its setting, which may hold a password); then ``file`` (JSON: path, language), or
``follow`` (the same), and ``stop`` when the file grows no more.
From it: of a file that grows ``partial`` (text of an utterance) and ``said`` (JSON: that of one that is over); then one
``done`` (JSON: a transcript; empty after ``follow``) or ``failed`` (JSON: reason, detail).
"""

from __future__ import annotations

import struct
from enum import IntEnum

HEADER = struct.Struct("<IB")
MAX = 64 << 20
"Bytes of a payload: a transcript of the longest text, with all its words."


class Kind(IntEnum):
    """What a frame is."""

    LOAD = 0
    FILE = 1
    FOLLOW = 2
    STOP = 3
    PARTIAL = 4
    SAID = 5
    DONE = 6
    FAILED = 7


class FrameError(ValueError):
    """These bytes are no frame."""


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """One frame."""
    return HEADER.pack(len(payload), kind) + payload


def header(data: bytes) -> tuple[int, Kind]:
    """Length and kind of the payload that follows; raises :class:`FrameError`."""
    length, kind = HEADER.unpack(data)
    if length > MAX:
        raise FrameError(f"a frame of {length} bytes, want at most {MAX}")
    try:
        return length, Kind(kind)
    except ValueError:
        raise FrameError(f"a frame of an unknown kind {kind}") from None
