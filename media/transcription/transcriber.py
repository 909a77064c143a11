"""Audio files written down, one after the other, by one warm process of an engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

from media.transcription.engine import Transcript, TranscriptionError
from media.transcription.engines import name_of
from media.transcription.frames import Kind
from media.transcription.process import Child, Limits
from model.settings import Settings


class Transcriber:
    """Holds an engine's process, which loads its model once; after any failure the next audio gets a new one.

    Two calls of :meth:`transcribe` at once wait for each other; for more at a time, have more of these.
    """

    def __init__(self, engine: str = "pocketsphinx", *, seconds: int = 600, megabytes: int = 2048) -> None:
        """``engine`` as in STROWGER_TRANSCRIBER; ``seconds`` and ``megabytes``: what one audio may take."""
        self.engine = name_of(engine)
        "Its name, for records and logs."
        self._setting = engine
        self._limits = Limits(seconds=seconds, megabytes=megabytes)
        self._child: Child | None = None
        self._turn = asyncio.Lock()

    @classmethod
    def of(cls, settings: Settings) -> Transcriber:
        """As the settings say."""
        return cls(settings.transcriber, seconds=settings.transcribe_limit, megabytes=settings.transcribe_memory)

    async def transcribe(self, path: Path, language: str = "en") -> Transcript:
        """What is said in a WAV file; raises :class:`TranscriptionError` and nothing else.

        The time limit counts from its turn on, and includes the loading of the model.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._limits.seconds):
                    child = await self._ready()
                    await child.tell(Kind.FILE, path=str(path.absolute()), language=language)
                    return await child.result()
            except TimeoutError:
                await self.aclose()
                raise TranscriptionError("timeout", f"not done within {self._limits.seconds} s") from None
            except OSError as error:
                await self.aclose()
                raise TranscriptionError("crash", f"no process for the engine: {error.strerror}") from None
            except BaseException:
                await self.aclose()
                raise

    @property
    def pid(self) -> int | None:
        """Of the process that there is now."""
        return self._child.pid if self._child else None

    async def _ready(self) -> Child:
        if self._child and not self._child.running:
            await self.aclose()
        if self._child is None:
            self._child = await Child.start(self._setting, self._limits)
        return self._child

    async def aclose(self) -> None:
        """End the engine's process; the next :meth:`transcribe` would start another."""
        child, self._child = self._child, None
        if child:
            await child.kill()
