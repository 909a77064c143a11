"""A transcript from what an engine found, with the small disorders of engines put right."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from media.transcription.engine import Transcript, Word


def transcript(text: str, words: Iterable[Word], language: str, confidence: float = 1.0) -> Transcript:
    """Words begin no earlier than the one in front, and shares are within 0 and 1; ``confidence`` counts where there
    are no words, else it is theirs."""
    ordered: list[Word] = []
    for word in words:
        # Of numpy's numbers, which engines give, not all are JSON's.
        start = max(0.0, float(word.start), ordered[-1].start if ordered else 0.0)
        ordered.append(Word(word.word, start, max(start, float(word.end)), _share(word.confidence)))
    sure = fmean(word.confidence for word in ordered) if ordered else _share(confidence)
    return Transcript(text, tuple(ordered), sure, language)


def _share(value: float) -> float:
    return min(1.0, max(0.0, float(value)))
