"""Audio for tests: tones to be played, and what tones were heard."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME = 160
LOUD = 300.0
"Root mean square below which a frame is silence: G.711 keeps noise far below, and tones are played far above."
SAME = 25.0
"Hz by which two frames of one tone may differ: what 20 ms can tell."
GAP = 0.16
"Seconds of silence within one tone: on a busy machine packets come too late for the switch to record them."
SHORTEST = 0.04
"Seconds below which a tone is the edge of something else."
_FFT = 2048
_WINDOW = np.hanning(FRAME)

Samples = NDArray[np.int16]


def tone(frequency: float, seconds: float, *, level: float = 8000, rate: int = RATE) -> Samples:
    """A sine of the peak ``level``."""
    time = np.arange(round(seconds * rate)) / rate
    return np.asarray(level * np.sin(2 * np.pi * frequency * time), dtype=np.int16)


def silence(seconds: float, *, rate: int = RATE) -> Samples:
    """Nothing."""
    return np.zeros(round(seconds * rate), dtype=np.int16)


def write_wav(path: Path, *parts: Samples, rate: int = RATE) -> Path:
    """A mono file of ``parts`` in order; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.concatenate(parts).astype("<i2").tobytes())
    return path


def read_wav(path: Path) -> Samples:
    """The samples of a mono file of 8 kHz; the first channel of a stereo one."""
    with wave.open(str(path), "rb") as file:
        assert file.getframerate() == RATE, f"{path.name} has {file.getframerate()} samples a second"
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples[:: file.getnchannels()].astype(np.int16)


@dataclass(frozen=True, slots=True)
class Tone:
    """A stretch of one frequency."""

    frequency: float
    start: float
    "In seconds from the beginning of what was heard."
    seconds: float
    "From its beginning to its end, gaps included."
    sound: float
    "Seconds without the gaps."

    @property
    def end(self) -> float:
        """When it ended, in the seconds of ``start``."""
        return self.start + self.seconds

    def is_at(self, frequency: float) -> bool:
        """Whether it is the tone of that frequency."""
        return abs(self.frequency - frequency) <= SAME


def pitch(frame: Samples) -> float:
    """The frequency of a frame of 160 samples in Hz; 0 where it is silent."""
    samples = frame.astype(np.float64)
    if np.sqrt(np.mean(samples**2)) < LOUD:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * _WINDOW, _FFT))
    return float(np.argmax(spectrum)) * RATE / _FFT


def tones(samples: Samples) -> list[Tone]:
    """The tones in ``samples``, in order."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return list(grouped(map(pitch, frames)))


def grouped(pitches: Iterable[float]) -> Iterator[Tone]:
    """The tones that frames of these pitches make."""
    last: Tone | None = None
    for found in _runs(pitches):
        if last and found.is_at(last.frequency) and found.start - last.end <= GAP:
            last = Tone(last.frequency, last.start, found.end - last.start, last.sound + found.sound)
        else:
            if last:
                yield last
            last = found
    if last:
        yield last


def _runs(pitches: Iterable[float]) -> Iterator[Tone]:
    run: list[float] = []
    start = 0
    for number, now in enumerate([*pitches, 0.0]):
        if run and (not now or abs(now - run[0]) > SAME):
            if (found := _tone(run, start)).seconds >= SHORTEST:
                yield found
            run = []
        if now:
            start = start if run else number
            run.append(now)


def _tone(run: list[float], start: int) -> Tone:
    seconds = len(run) * FRAME / RATE
    return Tone(float(np.median(run)), start * FRAME / RATE, seconds, seconds)


def frequencies(heard: Iterable[Tone]) -> list[int]:
    """Frequencies rounded to 50 Hz, to be compared at a glance: tests use multiples of 100."""
    return [round(found.frequency / 50) * 50 for found in heard]
