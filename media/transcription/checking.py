"""Transcripts as JSON, and which ones are believed: an engine is somebody else's program."""

from __future__ import annotations

import re
from typing import Any

from media.transcription.engine import Transcript, Word

MAX_TEXT = 1_000_000
"Characters of a transcript: a day of fast talk."
MAX_WORDS = 200_000
MAX_WORD = 200
"Characters; the longest place name of the world has 85."
_HUGE = 1e15
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class GarbageError(ValueError):
    """This is no transcript; the text says which field, and never what stands in it."""


def plain(transcript: Transcript) -> dict[str, Any]:
    """As JSON takes it."""
    return {
        "text": transcript.text,
        "words": [
            {"word": word.word, "start": word.start, "end": word.end, "confidence": word.confidence}
            for word in transcript.words
        ],
        "confidence": transcript.confidence,
        "language": transcript.language,
    }


def checked(value: object) -> Transcript:
    """The transcript that ``value``, as :func:`plain` gives it, is; raises :class:`GarbageError`."""
    fields = _object(value, "the transcript")
    given = fields.get("words")
    if not isinstance(given, list) or len(given) > MAX_WORDS:
        raise GarbageError(f"words: want a list of at most {MAX_WORDS}")
    words = tuple(_word(one, f"words[{number}]") for number, one in enumerate(given))
    for number in range(1, len(words)):
        if words[number].start < words[number - 1].start:
            raise GarbageError(f"words[{number}]: begins before the word in front of it")
    language = fields.get("language")
    if not isinstance(language, str) or len(language) > 35 or not _LANGUAGE.fullmatch(language):
        raise GarbageError("language: want a tag as en or pt-BR")
    return Transcript(text(fields.get("text")), words, _share(fields.get("confidence"), "confidence"), language)


def text(value: object) -> str:
    """Text that :func:`checked` would take; raises :class:`GarbageError`."""
    return _text(value, "text", MAX_TEXT)


def _word(value: object, where: str) -> Word:
    fields = _object(value, where)
    start, end = _seconds(fields.get("start"), f"{where}.start"), _seconds(fields.get("end"), f"{where}.end")
    if end < start:
        raise GarbageError(f"{where}: ends before it begins")
    word = _text(fields.get("word"), f"{where}.word", MAX_WORD)
    return Word(word, start, end, _share(fields.get("confidence"), f"{where}.confidence"))


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise GarbageError(f"{where}: want an object, got {type(value).__name__}")
    return value


def _text(value: object, where: str, most: int) -> str:
    if not isinstance(value, str):
        raise GarbageError(f"{where}: want text, got {type(value).__name__}")
    if len(value) > most:
        raise GarbageError(f"{where}: {len(value)} characters, want at most {most}")
    if _CONTROL.search(value):
        raise GarbageError(f"{where}: has characters that are no text")
    return value


def _number(value: object, where: str) -> float:
    # No number beyond them converts; NaN is not between anything.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_HUGE < value < _HUGE:
        raise GarbageError(f"{where}: want a number")
    return float(value)


def _seconds(value: object, where: str) -> float:
    seconds = _number(value, where)
    if not 0 <= seconds <= 86400:
        raise GarbageError(f"{where}: want seconds from 0 to 86400")
    return seconds


def _share(value: object, where: str) -> float:
    share = _number(value, where)
    if not 0 <= share <= 1:
        raise GarbageError(f"{where}: want a number from 0 to 1")
    return share
