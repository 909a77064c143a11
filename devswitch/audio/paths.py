"""What a path that is to be played means: a tone or silence stream, a ``file_string://`` of several, a WAV file."""

from __future__ import annotations

import re
from pathlib import Path

from devswitch.audio import tones, wav
from devswitch.audio.sources import Player, PlayList, Silence
from devswitch.audio.wav import AudioError
from devswitch.leg import Source

_SILENCE = re.compile(r"silence_stream://(-?\d+)(?:,(\d+))?")
FILE_STRING = "file_string://"


async def open_source(path: str, *, start: int = 0) -> Source:
    """The source that plays ``path`` from the sample ``start`` on; raise :class:`AudioError`."""
    if path.startswith(FILE_STRING):
        first, *others = path.removeprefix(FILE_STRING).split("!")
        return PlayList([await open_source(first, start=start), *[await open_source(other) for other in others]])
    if path.startswith("tone_stream://"):
        return _tone(path)
    if path.startswith("silence_stream://"):
        return _silence(path)
    return Player(await wav.load(Path(path)), start=start)


def _tone(path: str) -> Player:
    try:
        samples, loops = tones.parse(path)
    except tones.ToneError as error:
        raise AudioError(str(error)) from None
    return Player(samples, loops=loops)


def _silence(path: str) -> Silence:
    match = _SILENCE.match(path)
    if not match or not int(match[1]):
        raise AudioError(f"{path}: silence_stream://MILLISECONDS[,NOISE] is expected")
    return Silence(int(match[1]), int(match[2] or 0))
