"""CMU PocketSphinx with the English model that its package brings: offline, small, and no more than fair."""

from __future__ import annotations

from typing import Any

import numpy as np
from pocketsphinx import Decoder

from media.transcription.engine import Refused, Transcript, Word
from media.transcription.engines.tidy import transcript
from media.transcription.resampling import Resampler, Samples

RATE = 16000
WARP = "1.15"
"By so much spectra are stretched: its model has heard more men than women, and this helps the one and not the other."
PIECE = 30.0
"Seconds, about, that are understood at once: the search keeps all hypotheses of its utterance in memory."
TELEPHONE = "47,28,-21,55,-26,20,3,-15,9,-17,16,0,6"
"Mean of the cepstra of speech at 8 kHz: what live speech is normalised by until its own mean is known."
_LOUD = 9000.0
"Peak that quiet audio is raised to; the model has heard people near their microphones."
_QUIET = 100.0
'Peak below which nobody speaks: in silence the model hears "shh".'
_MOST = 8.0
"By so much at most, or what is raised is noise."


class Pocketsphinx:
    """``pocketsphinx``; it has no options."""

    def __init__(self, options: str = "") -> None:
        if options:
            raise Refused("pocketsphinx takes no options")
        self._decoder = Decoder(
            samprate=RATE, loglevel="FATAL", cmninit=TELEPHONE, warp_type="inverse_linear", warp_params=WARP
        )

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin an audio."""
        if language.partition("-")[0].lower() != "en":
            raise Refused("pocketsphinx knows English only")
        self._resampler = Resampler(rate, RATE)
        self._language, self._live = language, live
        self._audio: Samples = np.zeros(0, np.float32)
        self._words: list[Word] = []
        self._before = 0.0
        self._normalise_by("live" if live else "batch")
        if live:
            self._decoder.start_utt()

    def feed(self, pcm: bytes) -> str:
        """Take the next samples."""
        samples = self._resampler.feed(np.frombuffer(pcm, "<i2").astype(np.float32))
        self._audio = np.concatenate((self._audio, samples))
        if self._live:
            self._decoder.process_raw(_pcm(samples))
            found = self._decoder.hyp()
            return found.hypstr if found else ""
        while len(self._audio) >= 2 * PIECE * RATE:
            self._piece(_quietest(self._audio))
        return ""

    def finish(self) -> Transcript:
        """The whole."""
        self._audio = np.concatenate((self._audio, self._resampler.finish()))
        if self._live:
            # Heard as a whole, speech is normalised by its own mean, and far better understood.
            self._decoder.end_utt()
            self._normalise_by("batch")
        self._piece(len(self._audio))
        return transcript(" ".join(word.word for word in self._words), self._words, self._language)

    def _normalise_by(self, mean: str) -> None:
        self._decoder.config["cmn"] = mean
        # Else noise and means of the last audio count in this one, and the same audio gives other words.
        self._decoder.reinit_feat()

    def _piece(self, samples: int) -> None:
        """Understand the first ``samples``; all of a piece at once, so that its own mean normalises it."""
        piece, self._audio = self._audio[:samples], self._audio[samples:]
        loud = float(np.abs(piece).max(initial=0.0))
        if loud < _QUIET:
            self._before += samples / RATE
            return
        self._decoder.start_utt()
        self._decoder.process_raw(_pcm(piece * min(_MOST, max(1.0, _LOUD / loud))), full_utt=True)
        self._decoder.end_utt()
        self._take()
        self._before += samples / RATE

    def _take(self) -> None:
        # No result at all where it heard nothing.
        found: Any = self._decoder.seg() or ()
        self._words += [
            Word(
                segment.word.partition("(")[0],
                self._before + segment.start_frame / 100,
                self._before + (segment.end_frame + 1) / 100,
                segment.prob,
            )
            for segment in found
            if segment.word[0] not in "<["
        ]


def _pcm(samples: Samples) -> bytes:
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def _quietest(audio: Samples) -> int:
    """Where a piece ends best: the quietest quarter second of the second half of ``PIECE``."""
    first, step = int(PIECE * RATE / 2), RATE // 4
    windows = audio[first : int(PIECE * RATE)]
    windows = windows[: len(windows) // step * step].reshape(-1, step)
    return first + int(np.argmin((windows**2).mean(axis=1))) * step + step // 2
