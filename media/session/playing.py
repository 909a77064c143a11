"""What the caller hears (M5)."""

from __future__ import annotations

import asyncio
import logging

from media.esl.errors import ArgumentError
from media.session import missing, saying
from media.session.callbacks import Callbacks
from media.session.core import terminated_by
from media.session.state import State, literal, refuse_ahead
from media.speech import speaker
from media.speech.errors import SpeechError

log = logging.getLogger(__name__)


class Playing(State, Callbacks):
    """Files, tones, speech, recorded numbers, phrases, and silence.

    Digits stop none of these (in Lua neither), but an input callback may; else they are kept for the next command.
    """

    __slots__ = ()

    async def stream_file(self, path: str, sample: int = 0) -> bool:
        """Play a file, ``tone_stream://...``, ``silence_stream://ms``, ..., from ``sample`` on; True when to its end.

        False: stopped by a callback, not there, not playable, or the call ended.
        """
        if sample and "@" in path:
            raise ArgumentError("stream_file: a path with @ in it has no start sample (playback_function)")
        return await self._play("playback", f"{literal(path)}@@{sample}" if sample > 0 else literal(path))

    def digit_waits(self, digits: str = "any") -> bool:
        """Whether one of ``digits`` ("any", "none") was pressed and is kept for the next command."""
        ends = {"any": "0123456789*#ABCD", "none": ""}.get(digits, digits)
        return any(digit.digit in ends for digit in self._digits)

    async def play_until(self, path: str, digits: str = "any") -> bool:
        """Play a file or stream until one of ``digits`` ("any", "none"), which is kept as all others; True when to its
        end, False too where a digit that is kept already stops it. Input callbacks do not run meanwhile.
        """
        if self.digit_waits(digits):
            return False
        event = await self._run("playback", terminated_by(digits or "none", literal(path)))
        await self._hang_up_hook()
        if event is None or self._down or event.variable("playback_terminator_used"):
            return False
        if event.get("Application-Response") == "FILE NOT FOUND":
            missing.tell(path)
        return event.get("Application-Response") in (None, "", "_none_", "FILE PLAYED")

    def set_tts_params(self, engine: str, voice: str) -> None:
        """What :meth:`speak` speaks with: ("flite", "slt")."""
        self._tts = (engine, voice)

    async def speak(self, text: str) -> bool:
        """Speak ``text``; True when to its end.

        The worker speaks, where it has the engine (docs/speech.md), else the switch.

        :raises ArgumentError: before :meth:`set_tts_params`, or for a line end in ``text``.
        """
        engine, voice = self._tts
        if not engine or not voice or "|" in engine + voice:
            raise ArgumentError("speak: name engine and voice first, with set_tts_params")
        if "\n" in text or "\r" in text:
            raise ArgumentError("speak: a line end cannot be spoken")
        if path := await self._rendered(text, engine, voice):
            return await self._play("playback", literal(path))
        return await self._play("speak", f"{engine}|{voice}|{literal(text)}")

    async def say(self, text: str, module: str, kind: str, method: str, gender: str = "") -> bool:
        """Recorded words: ``say("12345", "en", "number", "pronounced")``; True when to the end.

        English is the worker's where the switch has no recordings of it (docs/speech.md).
        """
        words = [module, kind, method, *([gender] if gender else [])]
        if any(" " in word or not word for word in words):
            raise ArgumentError("say: module, kind, method and gender are one word each")
        if module == "en" and (line := await self._said(kind, method, text)):
            return await self._play("playback", literal(line))
        # The application splits at blanks, but for what is quoted (separate_string_blank_delim of switch_utils.c).
        quoted = "'" + literal(text.replace("'", "")) + "'" if " " in text else literal(text)
        return await self._play("say", " ".join((*words, quoted)))

    async def say_phrase(self, macro: str, data: str = "", language: str = "") -> bool:
        """A phrase macro, by name; True when to the end. ``language`` stays that of the call."""
        if "," in macro:
            raise ArgumentError("say_phrase: a macro's name has no comma")
        if language:
            await self.set_variable("language", language)
        return await self._play("phrase", f"{macro},{literal(data)}" if data else macro)

    async def sleep(self, ms: int) -> bool:
        """Wait so many milliseconds, with callbacks; False when one of them stopped it, or the call ended."""
        refuse_ahead(self, "sleep")
        if not self.ready():
            return False
        self._prepare()
        stopped = await self._listen_for(ms / 1000)
        await self._hang_up_hook()
        return not stopped and self.ready()

    async def _rendered(self, text: str, engine: str, voice: str) -> str:
        """The file of a spoken text; "" where that is the switch's."""
        worker = speaker.known()
        if worker is None or not worker.speech.has(engine) or (self._ahead is None and not self.ready()):
            return ""
        try:
            return str(await worker.speech.render(text, engine=engine, voice=voice))
        except SpeechError as error:
            log.warning("the worker cannot speak, the switch shall: %s", error)
            return ""

    async def _said(self, kind: str, method: str, text: str) -> str:
        """What is played instead of the switch's own words; "" where it has them, or nobody else has."""
        worker = speaker.known()
        if worker is None or self._ahead is not None or not self.ready():
            return ""
        if await saying.switch_has_prompts(self, worker):
            return ""
        zone = await self.get_variable("timezone")
        try:
            lines = await worker.lines(saying.names(kind, method, text, zone))
        except SpeechError as error:
            log.warning("the worker cannot say a %s, the switch shall: %s", kind, error)
            return ""
        return lines[0] if len(lines) == 1 else ""

    async def _play(self, app: str, data: str) -> bool:
        event, stopped = await self._heard_while(self._run(app, terminated_by("none", data)))
        await self._hang_up_hook()
        if event is None or stopped or self._down:
            return False
        if event.get("Application-Response") == "FILE NOT FOUND":
            missing.tell(data)
        # speak and say have no response, and no way to tell that they failed.
        return event.get("Application-Response") in (None, "", "_none_", "FILE PLAYED", "PHRASE PLAYED")

    async def _listen_for(self, seconds: float | None, digit_seconds: float | None = None) -> bool:
        """Callbacks for a while; True when one of them stopped it. Each digit begins ``digit_seconds`` anew."""
        loop = asyncio.get_running_loop()
        if self._callback is not None:
            self._hear()
        end = None if seconds is None else loop.time() + seconds
        late = None if not digit_seconds else loop.time() + digit_seconds
        try:
            while self.ready():
                until = min((at for at in (end, late) if at is not None), default=None)
                if self._inputs:
                    if self._stops(await self._call_back(self._inputs.popleft())):
                        return True
                    late = None if not digit_seconds else loop.time() + digit_seconds
                elif until is not None and until <= loop.time():
                    return False
                else:
                    await self._input_or(None if until is None else until - loop.time())
            return False
        finally:
            self._unhear()
