"""A running audio as utterances, divided by pauses, each understood by itself; pure but for the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from media.transcription.engine import Engine, Transcript

FRAME = 0.02
"Seconds that are loud or quiet."
LOUD = 200.0
"Mean magnitude from which a frame is loud; the same as for the end of a voice mail."
BEGIN = 3
"Loud frames within the last ``LEAD`` that begin an utterance: a click has fewer."
LEAD = 15
"Frames in front of that which belong to it."
PAUSE = 40
"Quiet frames in a row that end it."
LONGEST = 1000
"Frames after which it is ended all the same."


class Utterances:
    """Feed it PCM; it gives text so far (``str``) and, at the end of each utterance, its :class:`Transcript`."""

    def __init__(self, engine: Engine, rate: int, language: str) -> None:
        self._engine, self._rate, self._language = engine, rate, language
        self._samples = round(rate * FRAME)
        self._rest = b""
        self._lead: list[tuple[bytes, bool]] = []
        self._frames = self._length = self._quiet = 0
        self._began = 0.0
        self._said = ""

    def feed(self, pcm: bytes) -> Iterator[str | Transcript]:
        """Take the next samples."""
        data, size = self._rest + pcm, 2 * self._samples
        whole = len(data) // size * size
        self._rest = data[whole:]
        spoken: list[bytes] = []
        for at in range(0, whole, size):
            spoken += self._frame(data[at : at + size])
            if self._over():
                yield from self._understand(spoken)
                yield from self.finish()
                spoken = []
        yield from self._understand(spoken)

    def finish(self) -> Iterator[str | Transcript]:
        """End the utterance that is under way, if there is one."""
        if self._length:
            self._length = self._quiet = 0
            transcript = self._engine.finish()
            if transcript.text:
                yield self._placed(transcript)

    def _frame(self, frame: bytes) -> list[bytes]:
        """What of the audio belongs to an utterance with this frame."""
        loud = float(np.abs(np.frombuffer(frame, "<i2").astype(np.float32)).mean()) >= LOUD
        self._frames += 1
        if self._length:
            self._length += 1
            self._quiet = 0 if loud else self._quiet + 1
            return [frame]
        self._lead = [*self._lead[1 - LEAD :], (frame, loud)]
        if sum(one for _, one in self._lead) < BEGIN:
            return []
        found, self._lead = [one for one, _ in self._lead], []
        self._length, self._quiet, self._said = len(found), 0, ""
        self._began = (self._frames - len(found)) * FRAME
        self._engine.start(self._rate, self._language, True)
        return found

    def _over(self) -> bool:
        return self._quiet >= PAUSE or self._length >= LONGEST

    def _understand(self, frames: list[bytes]) -> Iterator[str]:
        if frames:
            said = self._engine.feed(b"".join(frames))
            if said and said != self._said:
                self._said = said
                yield said

    def _placed(self, transcript: Transcript) -> Transcript:
        words = tuple(
            replace(word, start=word.start + self._began, end=word.end + self._began) for word in transcript.words
        )
        return replace(transcript, words=words)
