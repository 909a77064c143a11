"""What can go wrong while something is said.

SpeechError
├── TextError          the text cannot be spoken: empty, too long, nothing in it that the engine knows
├── UnknownPromptError a name that is not in the catalogue
├── EngineError        an engine failed: the message names it, and says how
│   └── NoEngineError  it is not installed, or not known
└── CacheError         the cache cannot be read or written, or is full

No message holds the text: it may be a caller's name, or what he said.
"""

from __future__ import annotations


class SpeechError(Exception):
    """Something cannot be said."""


class TextError(SpeechError):
    """The text cannot be spoken."""


class UnknownPromptError(SpeechError):
    """There is no prompt of that name."""


class EngineError(SpeechError):
    """An engine failed."""


class NoEngineError(EngineError):
    """There is no such engine, or it is not installed."""


class CacheError(SpeechError):
    """The cache cannot be used."""
