"""An engine whose transcript tells of which audio it is: quick enough for hundreds of messages."""

from __future__ import annotations

import hashlib
import time

from media.transcription.engine import Transcript


def written(pcm: bytes) -> str:
    """The transcript of these samples."""
    return f"I heard {hashlib.blake2s(pcm, digest_size=8).hexdigest()}"


class Digest:
    """Takes a moment for each audio, in which it may be killed."""

    def __init__(self, options: str = "") -> None:
        self._seconds = float(options or 0.2)
        self._pcm = b""

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin."""
        self._pcm = b""

    def feed(self, pcm: bytes) -> str:
        """Listen."""
        self._pcm += pcm
        return ""

    def finish(self) -> Transcript:
        """The text is the audio's digest."""
        time.sleep(self._seconds)
        return Transcript(written(self._pcm))
