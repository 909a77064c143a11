"""WAV files as a switch leaves them: how long they are, and made whole where the switch was killed.

A switch writes the sizes in the header when it closes the file (libsndfile, and Python's wave). Killed before, it
leaves them 0 or too small, and the end of the last sample may be missing. A computer that loses power may leave zeros
where the header was. The file's own size says how much audio there is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from media.voicemail import durable
from media.voicemail.errors import BadAudioError

RATE = 8000
HEADER = 44
_PCM, _EXTENSIBLE = 1, 0xFFFE
_PROBE = 1 << 16


@dataclass(frozen=True, slots=True)
class Shape:
    """What a file holds, by its size and not by what its header says of that."""

    channels: int
    rate: int
    start: int
    "Offset of the first sample."
    size: int
    "Bytes of audio, whole frames only."
    sound: bool
    "Whether the header says the same."

    @property
    def seconds(self) -> float:
        """Length."""
        return self.size / (2 * self.channels * self.rate)


def measure(path: Path) -> Shape:
    """What is in a file. Raises :class:`BadAudioError` and OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_PROBE)
    if head[:4] == b"RIFF" and head[8:12] in (b"WAVE", bytes(4)):
        return _from_chunks(path, head, size)
    if not any(head[:4]) or b"RIFF".startswith(head[:4]):
        # The header never reached the disk, but it was where every switch that records here puts it.
        return _shape(1, RATE, min(HEADER, size), size - min(HEADER, size), sound=False)
    if _looks_like_speech(head):
        return _shape(1, RATE, 0, size, sound=False)
    raise BadAudioError(f"{path}: neither a WAV file nor bare samples")


def repair(path: Path) -> Shape:
    """Make the header right where it is not, by a new file in the old one's place. Raises as :func:`measure`."""
    shape = measure(path)
    if shape.sound:
        return shape
    with path.open("rb") as file:
        file.seek(shape.start)
        data = file.read(shape.size)
    durable.write(path, header(len(data), shape.rate, shape.channels) + data)
    return measure(path)


def header(size: int, rate: int = RATE, channels: int = 1) -> bytes:
    """The header of ``size`` bytes of 16-bit samples."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, _PCM, channels, rate, 2 * channels * rate, 2 * channels, 16)
    return struct.pack("<4sI4s", b"RIFF", HEADER - 8 + size, b"WAVE") + form + struct.pack("<4sI", b"data", size)


def joined(first: Path, second: Path, target: Path) -> None:
    """Write one after the other. Both as :func:`repair` leaves them. Raises :class:`BadAudioError`, OSError."""
    shapes = [measure(path) for path in (first, second)]
    if len({(shape.channels, shape.rate) for shape in shapes}) > 1:
        raise BadAudioError(f"{first} and {second} differ in rate or channels")
    data = b"".join(samples(path, shape) for path, shape in zip((first, second), shapes, strict=True))
    durable.write(target, header(len(data), shapes[0].rate, shapes[0].channels) + data)


def samples(path: Path, shape: Shape) -> bytes:
    """The audio's bytes."""
    with path.open("rb") as file:
        file.seek(shape.start)
        return file.read(shape.size)


def _shape(channels: int, rate: int, start: int, room: int, *, sound: bool) -> Shape:
    return Shape(channels, rate, start, room - room % (2 * channels), sound)


def _from_chunks(path: Path, head: bytes, size: int) -> Shape:
    channels, rate, said, at = 1, RATE, False, 12
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        if name == b"fmt " and at + 24 <= len(head):
            channels, rate = _format(path, head, at + 8)
            said = True
        if name == bytes(4):
            break
        if name == b"data":
            room = size - at - 8
            # Sizes beyond the file's end are those of a stream (0xFFFFFFFF), or of a file that was cut.
            right = said and 0 < length <= room and length % (2 * channels) == 0
            right = right and struct.unpack_from("<I", head, 4)[0] == size - 8
            return _shape(channels, rate, at + 8, length if right else room, sound=right)
        at += 8 + length + length % 2
    # Zeros, or no chunk of audio at all: where a plain header ends, and behind what was understood.
    start = min(max(at + 8, HEADER), size) if at < len(head) else min(HEADER, size)
    return _shape(channels, rate, start, size - start, sound=False)


def _format(path: Path, head: bytes, at: int) -> tuple[int, int]:
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
    if not tag and not channels:
        return 1, RATE
    if tag not in (_PCM, _EXTENSIBLE) or bits != 16 or channels not in (1, 2) or not 4000 <= rate <= 192_000:
        raise BadAudioError(f"{path}: not 16-bit PCM, mono or stereo")
    return channels, rate


def _looks_like_speech(head: bytes) -> bool:
    """Whether neighbouring samples resemble each other: those of speech do, those of other bytes do not."""
    # Not for whoever only asks a box something: it takes longer to load than the rest of a command.
    import numpy as np

    found = np.frombuffer(head[: len(head) // 2 * 2], "<i2").astype(np.float64)
    found -= found.mean() if len(found) else 0.0
    power = float(np.mean(found**2)) if len(found) else 0.0
    return power > 0 and float(np.mean(np.diff(found) ** 2)) < power
