"""One WAV file into another; pure Python and numpy, for a thread."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]


def insert(original: str, inserted: str, sample: int, rate: int) -> None:
    """``inserted`` into ``original`` at ``sample`` (of the result's ``rate``), replaced whole or not at all."""
    first, second = read(original, rate), read(inserted, rate)
    at = min(max(sample, 0), len(first))
    write(original, np.concatenate((first[:at], second, first[at:])), rate)


def read(path: str, rate: int) -> Samples:
    """All of a file, mono, at ``rate``; :class:`ValueError` where it is not 16-bit PCM."""
    try:
        with wave.open(path, "rb") as file:
            if file.getsampwidth() != 2:
                raise ValueError(f"{path}: {file.getsampwidth() * 8} bits a sample, want 16")
            data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
            channels, own = file.getnchannels(), file.getframerate()
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path}: not PCM WAV: {error}") from None
    if channels > 1:
        data = data[: len(data) // channels * channels].reshape(-1, channels).mean(axis=1).astype(np.int16)
    return data.astype(np.int16) if own == rate or not len(data) else _resampled(data, own, rate)


def write(path: str, samples: Samples, rate: int) -> None:
    """The file is there at once and whole."""
    new = Path(f"{path}.new")
    with wave.open(str(new), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    os.replace(new, path)


def _resampled(data: Samples, own: int, rate: int) -> Samples:
    times = np.arange(round(len(data) * rate / own)) * (own / rate)
    resampled: Samples = np.interp(times, np.arange(len(data)), data).astype(np.int16)
    return resampled
