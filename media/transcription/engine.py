"""What an engine is that writes speech down, and what it gives.

``TranscriptionError`` is all that a caller has to know; its ``reason`` is one of ``REASONS``:

- ``timeout``: it took longer than it may, in seconds of the clock or of the processor.
- ``crash``: its process ended.
- ``memory``: it wanted more than it may have.
- ``refused``: engine or service does not take this audio, language or login.
- ``garbage``: what it gave is no transcript.
- ``missing``: engine, package, model, service or file is not there.

Engines raise :class:`Refused` and :class:`Missing`; anything else that they raise is a ``crash``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

REASONS = ("timeout", "crash", "memory", "refused", "garbage", "missing")


class TranscriptionError(Exception):
    """There is no transcript; ``reason`` is one of ``REASONS``, ``detail`` says more, and nothing that was said."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Refused(Exception):
    """An engine does not take what it was given; the text says why, and holds nothing that was said."""


class Missing(Exception):
    """Something that the engine needs is not there; the text says what, and how to get it."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, with its seconds from the beginning of the audio."""

    word: str
    start: float
    end: float
    confidence: float
    "From 0 to 1; 1 where the engine does not say."


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said; ``text`` is empty where nothing was understood."""

    text: str
    words: tuple[Word, ...] = ()
    "In the order in which they begin; none where the engine does not say."
    confidence: float = 1.0
    "From 0 to 1."
    language: str = "en"
    "BCP 47: en, pt-BR."


class Engine(Protocol):
    """An engine, made once as ``Class(options)`` with what stands behind its name in the setting; then for each audio
    ``start``, ``feed`` any number of times, ``finish``. It lives in a process of its own and may block, hang and die
    there. It prints nothing that was said.
    """

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin an audio: 16-bit mono PCM at ``rate`` samples a second. ``live``: what :meth:`feed` gives is wanted."""

    def feed(self, pcm: bytes) -> str:
        """Take the next samples, little-endian and never half of one; what is understood so far, of all the audio."""

    def finish(self) -> Transcript:
        """The whole; the engine is then ready for the next :meth:`start`."""
