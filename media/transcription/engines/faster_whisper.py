"""Whisper by CTranslate2; ``faster-whisper:/path/of/model`` or ``faster-whisper:small``, which is fetched once.

Whisper hears a whole audio: while it runs live, what was heard so far is written down anew every few seconds.
"""

from __future__ import annotations

import math
import os
from typing import Any

import faster_whisper
import numpy as np

from media.transcription.engine import Missing, Refused, Transcript, Word
from media.transcription.engines.tidy import transcript
from media.transcription.resampling import Resampler, Samples

RATE = 16000
STEP = 3.0
"Seconds of new audio before live text is made anew."
WINDOW = 28.0
"Seconds of audio that live text is made of; Whisper hears 30 at once."


class FasterWhisper:
    """Runs on the processor with 8-bit weights."""

    def __init__(self, options: str = "") -> None:
        if not options:
            raise Missing("faster-whisper wants a model: faster-whisper:/path/of/model, or faster-whisper:small")
        try:
            self._model = faster_whisper.WhisperModel(
                options, device="cpu", compute_type="int8", cpu_threads=int(os.environ.get("OMP_NUM_THREADS", "1"))
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise Missing(f"the model of faster-whisper does not load: {type(error).__name__}") from None

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin an audio."""
        self._language, self._live = language.partition("-")[0].lower(), live
        known = self._model.supported_languages
        if self._language not in known:
            raise Refused(f"this model of faster-whisper does not know the language {language}")
        self._resampler = Resampler(rate, RATE)
        self._audio: list[Samples] = []
        self._new, self._said = 0, ""

    def feed(self, pcm: bytes) -> str:
        """Take the next samples."""
        samples = self._resampler.feed(np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768))
        self._audio.append(samples)
        self._new += len(samples)
        if self._live and self._new >= STEP * RATE:
            self._new = 0
            self._said = _text(self._heard(np.concatenate(self._audio)[-int(WINDOW * RATE) :], words=False))
        return self._said

    def finish(self) -> Transcript:
        """The whole."""
        segments = self._heard(np.concatenate([*self._audio, self._resampler.finish()]), words=True)
        words = [
            Word(word.word.strip(), word.start, word.end, word.probability)
            for segment in segments
            for word in segment.words or ()
        ]
        sure = [math.exp(min(0.0, segment.avg_logprob)) for segment in segments]
        own = sum(sure) / len(sure) if sure else 1.0
        return transcript(_text(segments), words, self._language, own)

    def _heard(self, audio: Samples, *, words: bool) -> list[Any]:
        # Its voice detection leaves silence out, in which Whisper is known to hear sentences that nobody said.
        segments, _ = self._model.transcribe(
            audio, language=self._language, word_timestamps=words, vad_filter=True, condition_on_previous_text=False
        )
        return list(segments)


def _text(segments: list[Any]) -> str:
    return " ".join(segment.text.strip() for segment in segments)
