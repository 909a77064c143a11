"""An engine that does what a file says, and notes each audio that it was given."""

from __future__ import annotations

import os
import time
from pathlib import Path

from media.transcription.engine import Refused, Transcript, Word


class Told:
    """Options: a folder. ``mode`` in it: quick, slow, hang, crash or refuse; ``heard`` gets a line for each audio."""

    def __init__(self, options: str) -> None:
        self._folder = Path(options)

    def start(self, rate: int, language: str, live: bool) -> None:
        """Begin."""

    def feed(self, pcm: bytes) -> str:
        """Listen."""
        return ""

    def finish(self) -> Transcript:
        """Be done, or not."""
        mode = self._folder / "mode"
        with (self._folder / "heard").open("a") as heard:
            heard.write(f"{os.getpid()}\n")
        match mode.read_text() if mode.exists() else "quick":
            case "slow":
                time.sleep(2)
            case "hang":
                while mode.read_text() == "hang":
                    time.sleep(0.05)
            case "crash":
                os._exit(1)
            case "refuse":
                raise Refused("not this one")
        return Transcript("hello there", (Word("hello", 0.1, 0.5, 0.9), Word("there", 0.5, 0.9, 0.8)), 0.85)
