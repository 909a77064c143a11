"""Recording what a leg hears, written by a thread."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from devswitch.audio import wav
from devswitch.leg import FRAME_SECONDS, SILENCE, Frame

log = logging.getLogger(__name__)
BATCH = int(1 / FRAME_SECONDS)
"Frames that go to the disk together: a second; the end of the process loses what has not gone."
SMALL_BATCH = BATCH // 10
"The same, unbuffered."
DEFAULT_SILENCE = 3.0
"Seconds, where a threshold is given alone (switch_ivr_record_file)."
# One thread keeps the order of what is written.
_writer = ThreadPoolExecutor(1, "recorder")


class Recorder:
    """A sink that writes a WAV file, until :meth:`close`; ``on_end`` tells that it wants to be closed, and why.

    That is ``silence``: what was heard stayed below ``threshold`` (mean of the magnitudes, as in FreeSWITCH's record)
    for ``silence`` seconds; ``limit``: so many seconds have passed; ``disk``: the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit: float = 0,
        threshold: int = 0,
        silence: float = 0,
        buffered: bool = True,
        gaps: bool = True,
        on_end: Callable[[str], None] | None = None,
    ) -> None:
        """``gaps``: whether time in which nothing was received is kept, as silence."""
        self.paused = False
        "While it is, time passes and silence counts, but nothing is kept."
        self.samples = 0
        "Number of those kept."
        self.end = ""
        "Why it ended; empty before."
        self._path, self._threshold, self._on_end = path, threshold, on_end
        self._limit = round(limit / FRAME_SECONDS)
        self._hits = round((silence or DEFAULT_SILENCE) / FRAME_SECONDS)
        self._frames = self._quiet = 0
        self._batch: list[Frame] = []
        self._gaps = gaps
        self._batch_size = BATCH if buffered else SMALL_BATCH
        self._file: wav.Writer | None = None

    async def open(self) -> None:
        """Make the file; raise OSError."""
        self._file = await asyncio.get_running_loop().run_in_executor(_writer, wav.Writer, self._path)

    def frame(self, samples: Frame, /) -> None:
        if self.end:
            return
        self._frames += 1
        # A leg that received nothing hands on this very frame; silence that was received is another.
        if not self.paused and (self._gaps or samples is not SILENCE):
            self._keep(samples)
        if self._threshold and self._is_silence(samples):
            self._finish("silence")
        elif self._limit and self._frames >= self._limit:
            self._finish("limit")

    async def close(self) -> None:
        """Write what is left and the header; what fails is logged, and ``end`` says ``disk``."""
        self.end = self.end or "closed"
        file, self._file = self._file, None
        if file:
            self._flush(file)
            await asyncio.get_running_loop().run_in_executor(_writer, self._close, file)

    def _keep(self, samples: Frame) -> None:
        self._batch.append(samples)
        self.samples += len(samples)
        if len(self._batch) >= self._batch_size and self._file:
            self._flush(self._file)

    def _is_silence(self, samples: Frame) -> bool:
        # abs of -32768 is none in 16 bits.
        score = int(np.abs(samples.astype(np.int32)).mean())
        self._quiet = self._quiet + 1 if score < self._threshold else 0
        return self._quiet >= self._hits

    def _flush(self, file: wav.Writer) -> None:
        batch, self._batch = self._batch, []
        if batch:
            loop = asyncio.get_running_loop()
            _writer.submit(self._write, file, batch, loop)

    def _write(self, file: wav.Writer, batch: list[Frame], loop: asyncio.AbstractEventLoop) -> None:
        try:
            file.write(np.concatenate(batch))
        except OSError as error:
            log.error("%s: %s", self._path, error.strerror)
            loop.call_soon_threadsafe(self._finish, "disk")

    def _close(self, file: wav.Writer) -> None:
        try:
            file.close()
        except OSError as error:
            log.error("%s: %s", self._path, error.strerror)
            self.end = "disk"

    def _finish(self, why: str) -> None:
        if not self.end:
            self.end = why
            if self._on_end:
                self._on_end(why)
