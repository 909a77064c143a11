"""Sources of audio: what a leg sends."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from devswitch.leg import FRAME, SILENCE, Frame, Source

MAX_SPEED = 2
FACTORS = {1: 1.3, 2: 2.3, 3: 3.3, 4: 4.3, -1: 0.8, -2: 0.6, -3: 0.4, -4: 0.2}
"What each step of volume does to samples (switch_change_sln_volume)."
MAX_VOLUME = 4
# Frames that a bridge keeps: more is delay, and comes from clocks that differ.
MAX_DELAY = 5


class Player:
    """Plays samples; where it stands, how fast and how loud may be changed while it plays."""

    def __init__(self, samples: Frame, *, start: int = 0, loops: int = 1) -> None:
        self.paused = False
        self.speed = 0
        "-2 to 2: each step is a quarter faster or slower (switch_ivr_play_file)."
        self.volume = 0
        "-4 to 4, in the steps of :data:`FACTORS`."
        self._samples, self._loops = samples, loops
        self._position = min(max(start, 0), len(samples))

    @property
    def position(self) -> int:
        """The next sample to play."""
        return self._position

    def seek(self, position: int) -> None:
        """Go on at that sample; before the first means at the first, past the last is the end."""
        self._position = min(max(position, 0), len(self._samples))

    def frame(self) -> Frame | None:
        if self.paused:
            return SILENCE
        if self._position >= len(self._samples) and not self._begin_again():
            return None
        samples = self._take(FRAME + FRAME * max(-MAX_SPEED, min(self.speed, MAX_SPEED)) // 4)
        return louder(samples, self.volume) if self.volume else samples

    def _begin_again(self) -> bool:
        self._loops -= self._loops > 0
        if not self._loops or not len(self._samples):
            return False
        self._position = 0
        return True

    def _take(self, wanted: int) -> Frame:
        end = self._position + wanted
        samples = self._samples[self._position : end]
        self._position = end
        # A short loop goes on within the frame, so that a tone has no gaps.
        while len(samples) < wanted and self._begin_again():
            more = self._samples[: wanted - len(samples)]
            samples, self._position = np.concatenate([samples, more]), len(more)
        if len(samples) < wanted:
            samples = np.concatenate([samples, SILENCE[:1].repeat(wanted - len(samples))])
        if wanted == FRAME:
            return samples
        return np.interp(np.arange(FRAME) * wanted / FRAME, np.arange(wanted), samples).astype(np.int16)


class Silence:
    """Silence for some milliseconds (-1: for ever), or noise: the louder the smaller ``noise`` is, 0 for none."""

    def __init__(self, ms: int, noise: int = 0) -> None:
        self._left = ms * 8 if ms >= 0 else -1
        self._noise = noise
        self._random = np.random.default_rng()

    def frame(self) -> Frame | None:
        if self._left == 0:
            return None
        self._left = max(self._left - FRAME, 0) if self._left > 0 else -1
        if not self._noise:
            return SILENCE
        # The sum of six random samples that overflows, as switch_generate_sln_silence has it.
        return (self._random.integers(-32768, 32768, FRAME) // self._noise).astype(np.int16)


class PlayList:
    """One source after the other."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self._sources = deque(sources)

    def frame(self) -> Frame | None:
        while self._sources:
            if (frame := self._sources[0].frame()) is not None:
                return frame
            self._sources.popleft()
        return None


class Pipe:
    """A sink that is a source: what one leg hears, another says. It never ends."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque(maxlen=MAX_DELAY)

    def push(self, samples: Frame) -> None:
        self._frames.append(samples)

    def frame(self) -> Frame:
        return self._frames.popleft() if self._frames else SILENCE


def louder(samples: Frame, volume: int) -> Frame:
    """Samples by so many steps louder, or softer if it is negative."""
    factor = FACTORS[max(-MAX_VOLUME, min(volume, MAX_VOLUME))] if volume else 1.0
    return (samples * factor).clip(-32768, 32767).astype(np.int16)
