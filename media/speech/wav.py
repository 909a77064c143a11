"""What engines write, as the switch plays it best: mono, 16 bits, the call's rate. numpy, for a thread."""

from __future__ import annotations

import os
import struct
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.speech.errors import EngineError

Samples = NDArray[np.int16]
HEADER = 44
_TAPS = 32
"Of the filter, on either side of a sample."
_CHUNK = 8192
_QUIET = 100
"Level below which it is silence."
_MARGIN = 0.05
"Seconds of silence that stay before and behind the words: parts are played one after the other."
_RATES = (1000, 192_000)
_LARGEST = 64_000_000
"Bytes: some 20 minutes at 22,050 Hz."


def convert(source: Path, target: Path, rate: int) -> None:
    """``source`` as ``target``: mono at ``rate``, silence around it cut off. Raises :class:`EngineError`, OSError."""
    write(target, trimmed(resampled(*read(source), rate), rate), rate)


def join(sources: Sequence[Path], target: Path, rate: int) -> None:
    """Several files as one. Raises :class:`EngineError`, OSError."""
    write(target, np.concatenate([trimmed(resampled(*read(one), rate), rate) for one in sources]), rate)


def read(path: Path) -> tuple[Samples, int]:
    """Samples, mono, and their rate. Raises :class:`EngineError` for what is no such file, OSError."""
    if path.stat().st_size > _LARGEST:
        raise EngineError(f"{path.name} has more than {_LARGEST} bytes")
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise EngineError(f"{path.name} is no WAV file: {error}") from None
    if width != 2 or not _RATES[0] <= rate <= _RATES[1]:
        raise EngineError(f"{path.name} has {8 * width} bits at {rate} Hz, not 16 bits")
    samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], "<i2").astype(np.int16)
    if not len(samples):
        raise EngineError(f"{path.name} has no sound in it")
    mono = samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return mono, rate


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """By a windowed sinc: what the new rate cannot carry would come back as noise."""
    if rate == wanted:
        return samples
    cutoff = min(1.0, 0.95 * wanted / rate)
    reach = int(np.ceil(_TAPS / cutoff))
    if rate % wanted == 0:
        # Of 16 kHz every second sample: much faster, and what flite and many services need.
        every = np.convolve(samples, _weights(np.arange(-reach, reach + 1), cutoff, reach))
        return _rounded(every[reach : reach + len(samples) : rate // wanted])
    padded = np.concatenate([np.zeros(reach), samples, np.zeros(reach + 1)])
    offsets = np.arange(-reach, reach + 1)
    parts = []
    for begin in range(0, count := len(samples) * wanted // rate, _CHUNK):
        at = np.arange(begin, min(begin + _CHUNK, count)) * (rate / wanted)
        nearest = at.astype(np.int64)
        distance = at[:, None] - (nearest[:, None] + offsets)
        parts.append((padded[nearest[:, None] + offsets + reach] * _weights(distance, cutoff, reach)).sum(axis=1))
    return _rounded(np.concatenate(parts) if parts else np.zeros(0))


def _weights(distance: NDArray[Any], cutoff: float, reach: int) -> NDArray[np.float64]:
    window = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / (reach + 1), -1, 1))
    weights: NDArray[np.float64] = cutoff * np.sinc(cutoff * distance) * window
    return weights


def _rounded(signal: NDArray[np.float64]) -> Samples:
    samples: Samples = np.rint(signal).clip(-32768, 32767).astype(np.int16)
    return samples


def trimmed(samples: Samples, rate: int) -> Samples:
    """Without the silence around it, but for a little."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > _QUIET)
    if not len(loud):
        return samples
    margin = int(_MARGIN * rate)
    return samples[max(loud[0] - margin, 0) : loud[-1] + margin]


def write(path: Path, samples: Samples, rate: int) -> None:
    """A whole file under a name that nobody looks for yet. Raises OSError."""
    with path.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def is_whole(path: Path) -> bool:
    """Whether a file of ours is as long as its header says: one that a power cut left may not be."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        return False
    if len(header) < HEADER or header[36:40] != b"data":
        return False
    length: int = struct.unpack_from("<I", header, 40)[0]
    return length > 0 and size == HEADER + length
