"""WAV files of the telephone world as blocks of 16-bit mono PCM.

The header is believed but for the length: a switch that was killed left it at 0, and audio that stands in the file
is heard.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from media.transcription.engine import Refused

RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_PCM, _ALAW, _ULAW, _EXTENSIBLE = 1, 6, 7, 0xFFFE
_BYTES = {_PCM: 2, _ALAW: 1, _ULAW: 1}


class Short(Refused):
    """The file ends before its audio."""


def blocks(path: Path, seconds: float = 1.0) -> tuple[int, Iterator[bytes]]:
    """Samples a second, and the samples, ``seconds`` at a time; channels are mixed.

    Raises :class:`Refused`, which names what is wrong and not the file, and :class:`OSError`.
    """
    file = path.open("rb")
    try:
        rate, read = opened(file)
    except BaseException:
        file.close()
        raise
    return rate, _blocks(file, read, max(1, round(rate * seconds)))


def opened(file: BinaryIO) -> tuple[int, Callable[[int], bytes]]:
    """Of a WAV file at its beginning: samples a second, and what reads the next so many of them, or fewer.

    Raises :class:`Refused`, which is :class:`Short` where the header is not all there.
    """
    tag, channels, rate = _format(file)
    size = _BYTES[tag] * channels

    def read(samples: int) -> bytes:
        data = file.read(samples * size)
        if torn := len(data) % size:
            file.seek(-torn, os.SEEK_CUR)
        return _mono(data[: len(data) - torn], tag, channels).astype("<i2").tobytes()

    return rate, read


def _blocks(file: BinaryIO, read: Callable[[int], bytes], samples: int) -> Iterator[bytes]:
    with file:
        while data := read(samples):
            yield data


def _mono(data: bytes, tag: int, channels: int) -> NDArray[np.int16]:
    if tag == _PCM:
        samples = np.frombuffer(data, "<i2").astype(np.int16)
    else:
        samples = (_ULAW_TABLE if tag == _ULAW else _ALAW_TABLE)[np.frombuffer(data, np.uint8)]
    if channels == 1:
        return samples
    mixed: NDArray[np.int16] = samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
    return mixed


def _format(file: BinaryIO) -> tuple[int, int, int]:
    """Up to the first sample: encoding, channels, rate."""
    head = file.read(12)
    if not head:
        raise Short("the file is empty")
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        raise Refused("not a WAV file")
    found: tuple[int, int, int] | None = None
    while len(chunk := file.read(8)) == 8:
        name, length = struct.unpack("<4sI", chunk)
        if name == b"data":
            if found is None:
                raise Refused("a WAV file without a format in front of its data")
            return found
        body = file.read(length + length % 2) if length < 1 << 20 else b""
        if len(body) < length:
            break
        if name == b"fmt ":
            found = _checked(body)
    raise Short("a WAV file that ends before its data")


def _checked(body: bytes) -> tuple[int, int, int]:
    if len(body) < 16:
        raise Refused("a WAV file whose format is cut off")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
    if tag == _EXTENSIBLE and len(body) >= 26:
        tag = struct.unpack("<H", body[24:26])[0]  # the first bytes of the SubFormat's GUID
    if tag not in _BYTES or bits != _BYTES[tag] * 8:
        raise Refused(f"WAV encoding {tag} with {bits} bits, want 16-bit PCM, μ-law or A-law")
    if channels not in (1, 2):
        raise Refused(f"{channels} channels, want 1 or 2")
    if rate not in RATES:
        raise Refused(f"{rate} Hz, want one of {', '.join(map(str, RATES))}")
    return tag, channels, rate


def _ulaw(byte: int) -> int:
    # G.711, table 2: sign, exponent and mantissa, all inverted
    byte = ~byte & 0xFF
    value = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return -value if byte & 0x80 else value


def _alaw(byte: int) -> int:
    # G.711, table 1: every other bit inverted
    byte ^= 0x55
    exponent, mantissa = byte >> 4 & 7, (byte & 0x0F) << 4
    value = mantissa + 8 if exponent == 0 else mantissa + 0x108 << exponent - 1
    return value if byte & 0x80 else -value


_ULAW_TABLE = np.array([_ulaw(byte) for byte in range(256)], np.int16)
_ALAW_TABLE = np.array([_alaw(byte) for byte in range(256)], np.int16)
