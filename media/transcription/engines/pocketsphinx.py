"""CMU PocketSphinx with the English model that its package brings: offline, small, and no more than fair."""

from __future__ import annotations

import numpy as np
from pocketsphinx import Decoder

from media.transcription.engine import Refused, Transcript, Word
from media.transcription.resampling import Resampler, Samples

RATE = 16000


class Pocketsphinx:
    """``pocketsphinx``; it has no options."""

    def __init__(self, options: str = "") -> None:
        if options:
            raise Refused("pocketsphinx takes no options")
        self._decoder = Decoder(samprate=RATE, loglevel="FATAL")

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin an audio."""
        if language.partition("-")[0].lower() != "en":
            raise Refused("pocketsphinx knows English only")
        self._resampler = Resampler(rate, RATE)
        self._audio: list[Samples] = []

    def feed(self, pcm: bytes) -> str:
        """Take the next samples."""
        self._audio.append(self._resampler.feed(np.frombuffer(pcm, "<i2").astype(np.float32)))
        return ""

    def finish(self) -> Transcript:
        """The whole."""
        audio = np.concatenate([*self._audio, self._resampler.finish()])
        self._decoder.start_utt()
        self._decoder.process_raw(np.clip(audio, -32768, 32767).astype("<i2").tobytes(), full_utt=True)
        self._decoder.end_utt()
        words = tuple(self._words())
        return Transcript(" ".join(word.word for word in words), words)

    def _words(self) -> list[Word]:
        base = self._decoder.logmath
        return [
            Word(
                seg.word.partition("(")[0],
                seg.start_frame / 100,
                (seg.end_frame + 1) / 100,
                min(1.0, base.exp(seg.prob)),
            )
            for seg in self._decoder.seg()
            if seg.word[0] not in "<["
        ]
