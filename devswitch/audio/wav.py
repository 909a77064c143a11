"""WAV files of 16 bit PCM: read as 8 kHz mono whatever they are, written as that."""

from __future__ import annotations

import asyncio
import struct
import wave
from pathlib import Path

import numpy as np

from devswitch.leg import RATE, Frame

# Length of the filter that keeps what 8 kHz cannot carry from coming back as noise.
_TAPS = 65
_MAX_RATE = 192_000


class AudioError(Exception):
    """A file, a stream or a voice that cannot be played."""


async def load(path: Path) -> Frame:
    """All samples of a file, read and converted in a thread; raise :class:`AudioError`."""
    return await asyncio.to_thread(read, path)


def read(path: Path) -> Frame:
    """All samples of a file; raise :class:`AudioError`."""
    try:
        with wave.open(str(path), "rb") as file:
            width, rate, channels = file.getsampwidth(), file.getframerate(), file.getnchannels()
            if width != 2 or not 0 < rate <= _MAX_RATE:
                raise AudioError(f"{path}: {8 * width} bit at {rate} Hz, not 16 bit PCM")
            data = file.readframes(file.getnframes())
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}") from None
    except (wave.Error, EOFError) as error:
        raise AudioError(f"{path}: no WAV file: {error}") from None
    samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], "<i2").astype(np.int16)
    mono = samples if channels == 1 else samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return resample(mono, rate)


def resample(samples: Frame, rate: int) -> Frame:
    """Samples taken at ``rate`` as samples at 8 kHz."""
    if rate == RATE or not len(samples):
        return samples
    signal = samples.astype(np.float32)
    if rate > RATE:
        cutoff = 0.9 * RATE / rate
        low_pass = np.sinc(cutoff * np.arange(-(_TAPS // 2), _TAPS // 2 + 1)) * np.hamming(_TAPS)
        signal = np.convolve(signal, low_pass / low_pass.sum(), "same")
    times = np.arange(int(len(samples) * RATE / rate)) * (rate / RATE)
    resampled: Frame = np.interp(times, np.arange(len(signal)), signal).clip(-32768, 32767).astype(np.int16)
    return resampled


def write(path: Path, samples: Frame) -> None:
    """Write a file at once; raise OSError."""
    writer = Writer(path)
    try:
        writer.write(samples)
    finally:
        writer.close()


class Writer:
    """A file of 8 kHz mono that grows; its header is right once it is closed. Everything raises OSError."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._length = 0
        self._file.write(self._header())

    def write(self, samples: Frame) -> None:
        data = samples.astype("<i2").tobytes()
        self._file.write(data)
        self._length += len(data)
        self._file.flush()

    def close(self) -> None:
        with self._file:
            self._file.seek(0)
            self._file.write(self._header())

    def _header(self) -> bytes:
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        riff = struct.pack("<4sI4s", b"RIFF", 36 + self._length, b"WAVE")
        return riff + form + struct.pack("<4sI", b"data", self._length)
