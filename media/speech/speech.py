"""Text as a WAV file: from the cache, or made by an engine and kept there."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from media.speech import wav
from media.speech.cache import Cache, Lock, key
from media.speech.engines import Engine, Espeak, Flite, make_engine
from media.speech.errors import CacheError, EngineError, NoEngineError, SpeechError, TextError
from model.settings import Settings

Make = Callable[[Path], Awaitable[None]]
"Writes a WAV file."

TEXT_LIMIT = 2000
"Characters: some two minutes, and a quarter of an hour where they are digits."
_ENDLESS = re.compile(r"\S{60}(?=\S)")
"The beginning of what is no word: flite takes ten seconds for a thousand letters in one."
RATES = (8000, 16000)
AT_ONCE = 2 * (os.cpu_count() or 1)
"Engines that one process has at work."
LOCK_LIMIT = 60.0
"Seconds that another process may take for the speech that we want, too."
_POLL = (0.01, 0.1)
"Seconds between two looks at a lock of another process: the first, the longest."


class Speech:
    """Speaks, by engines under their names. Of one event loop."""

    def __init__(self, cache: Cache, engine: Engine, voice: str = "", *more: Engine) -> None:
        """``engine``, with ``voice``, is what speaks where nobody says what; ``more`` is there besides."""
        self.cache, self.engine, self.voice = cache, engine, voice
        self.engines: dict[str, Engine] = {one.name: one for one in (*more, engine)}
        self.hits = self.misses = 0
        "How often speech was asked for that was there, or was not."
        self._making: dict[str, asyncio.Task[Path]] = {}
        self._workers = asyncio.Semaphore(AT_ONCE)

    @classmethod
    def of(cls, settings: Settings) -> Speech:
        """As the settings say. Raises :class:`~media.speech.errors.SpeechError`."""
        engine, voice = make_engine(settings.speech_engine)
        return cls(Cache(settings.speech_cache), engine, voice, Flite(), Espeak())

    def has(self, engine: str) -> bool:
        """Whether it is one of ours."""
        return engine in self.engines

    async def render(self, text: str, *, engine: str = "", voice: str = "", rate: int = 8000) -> Path:
        """The file of a spoken text; asked twice at once, it is made once, by whichever process.

        :raises TextError: the text is empty or too long. :raises EngineError: the engine failed.
        :raises CacheError: the cache cannot be used.
        """
        if rate not in RATES:
            raise SpeechError(f"speech is made at {' or '.join(map(str, RATES))} Hz, not {rate}")
        if engine and engine not in self.engines:
            raise NoEngineError(f"there is no engine {engine!r}; there are {', '.join(self.engines)}")
        speaker = self.engines[engine] if engine else self.engine
        voice = voice or (self.voice if speaker is self.engine else "")
        text = clean(text)
        name = key(speaker.name, voice, rate, text)
        return await self._kept(name, rate, lambda file: self._spoken(speaker, text, voice, rate, file))

    async def join(self, recordings: Sequence[Path], *, rate: int = 8000) -> Path:
        """Recordings as one file, with no more silence between them than belongs there; kept as speech is.

        :raises EngineError: one of them is no WAV file of 16 bits. :raises CacheError: it is not there, or see above.
        """
        try:
            found = [(str(path), path.stat()) for path in recordings]
        except OSError as error:
            raise CacheError(f"a recorded prompt cannot be read: {error}") from None
        states = "|".join(f"{path} {stat.st_size} {stat.st_mtime_ns}" for path, stat in found)
        return await self._kept(
            key("recorded", "", rate, states), rate, lambda file: asyncio.to_thread(wav.join, recordings, file, rate)
        )

    async def _kept(self, name: str, rate: int, make: Make) -> Path:
        # A hit costs less than handing it to a thread would.
        if found := self.cache.find(name):
            self.hits += 1
            return found
        self.misses += 1
        task = self._making.get(name)
        if task is None:
            task = self._making[name] = asyncio.create_task(self._make(name, rate, make))
            task.add_done_callback(lambda done: self._made(name, done))
        # One of two who wait may be cancelled, as its call ends.
        return await asyncio.shield(task)

    def _made(self, name: str, task: asyncio.Task[Path]) -> None:
        self._making.pop(name, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def _make(self, name: str, rate: int, make: Make) -> Path:
        lock = await self._lock(name)
        if isinstance(lock, Path):
            return lock
        try:
            async with self._workers:
                return await self._made_in_shop(name, rate, make)
        finally:
            lock.release()

    async def _lock(self, name: str) -> Lock | Path:
        """The right to make it, or what another process made meanwhile."""
        wait, longest = _POLL
        try:
            async with asyncio.timeout(LOCK_LIMIT):
                while (lock := self.cache.lock(name)) is None:
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, longest)
        except TimeoutError:
            raise CacheError(f"another process takes longer than {LOCK_LIMIT:g} s for the same speech") from None
        if found := self.cache.find(name):
            lock.release()
            return found
        return lock

    async def _made_in_shop(self, name: str, rate: int, make: Make) -> Path:
        shop = await asyncio.to_thread(self.cache.workshop)
        try:
            await make(shop / "speech.wav")
            return await asyncio.to_thread(self.cache.bring_in, shop / "speech.wav", name, rate)
        finally:
            await asyncio.to_thread(shutil.rmtree, shop, ignore_errors=True)

    async def _spoken(self, engine: Engine, text: str, voice: str, rate: int, file: Path) -> None:
        try:
            await engine.render(text, voice, rate, file)
        except SpeechError:
            raise
        except Exception as error:  # an engine of one's own may raise anything, with the text in it
            raise EngineError(f"{engine.name} failed: {type(error).__name__}") from error
        if not file.is_file():
            raise EngineError(f"{engine.name} ended well, but wrote nothing")


def clean(text: str) -> str:
    """``text`` as engines get it: one line, nothing in it that is no text. Raises :class:`TextError`."""
    if len(text) > TEXT_LIMIT:
        raise TextError(f"{len(text)} characters are too many to be spoken; {TEXT_LIMIT} may be")
    # Control and format characters, surrogates, and what is not assigned.
    kept = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in unicodedata.normalize("NFC", text))
    line = _ENDLESS.sub(r"\g<0> ", " ".join(kept.split()))
    if not any(char.isalnum() for char in line):
        raise TextError("there is nothing to speak")
    return line
