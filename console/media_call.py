"""The first call to a call script: a phone calls by way of Kamailio, and what it heard and left behind is measured."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from console import phone
from devswitch.audio import speech, tones, wav
from devswitch.leg import RATE, Frame, LegEnded

PROMPT = "Please enter four digits."
PROMPT_FILE = Path("demo", "enter-four-digits.wav")
"In the folder of prompts; scripts/first_call.py names it."
DIGITS = "4271"
TERMINATOR = "#"
BEEP = 1000.0
"Hz, of the tone after which the script records."
MELODY = (440, 554, 659)
"Hz; what the phone plays into the recording, half a second each."
PAUSE = 0.6
"Seconds of silence after which a prompt is over: within one, flite makes none as long."
NEAR = 0.25
"Share by which what was heard may be longer or shorter than what was sent."
SHORTEST = 0.2
"Seconds: what was not heard at all is no silence of the right length."
PATIENCE = 20.0
"Seconds for the whole call."


@dataclass(slots=True)
class Measured:
    """What the phone heard, as far as the call went; lengths are seconds from the first sound to the last."""

    call_id: str = ""
    answered: bool = False
    prompt: float = 0.0
    digits: str = ""
    "Those that the script sent back."
    spoken: float = 0.0
    cause: str = ""
    "Why the call ended, as FreeSWITCH names it."


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table: what was done, what came of it, and whether it is what it should be."""

    what: str
    text: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What is to be heard."""

    text: str
    prompt: float
    spoken: float
    melody: Frame = field(repr=False)


def expected(said: str) -> Expected:
    """Lengths of the prompt and of ``said``, for the digits of this call. Raises AudioError."""
    text = said.replace("{digits}", ", ".join(DIGITS))
    prompt, spoken = (phone.sounding(asyncio.run(speech.speak(words))) for words in (PROMPT, text))
    return Expected(text=text, prompt=prompt, spoken=spoken, melody=_melody())


def write_prompt(sounds: Path) -> None:
    """Put the prompt into the switch's folder. Raises OSError and AudioError."""
    file = sounds / PROMPT_FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    wav.write(file, asyncio.run(speech.speak(PROMPT)))


def place(callee: str, server: tuple[str, int], *, caller: str, melody: Frame) -> Measured:
    """Place the call, and go through it as far as it goes."""
    measured = Measured()
    asyncio.run(_place(measured, callee, server, caller, melody))
    return measured


async def _place(measured: Measured, callee: str, server: tuple[str, int], caller: str, melody: Frame) -> None:
    async with phone.call(callee, server, caller=caller) as call:
        measured.call_id = call.call_id
        try:
            async with asyncio.timeout(PATIENCE):
                await _talk(call, measured, melody)
        except LegEnded as error:
            measured.cause = error.cause
        except TimeoutError:
            measured.cause = f"nothing for {PATIENCE:.0f} s"


async def _talk(call: phone.PhoneCall, measured: Measured, melody: Frame) -> None:
    await call.answered()
    measured.answered = True
    await call.until(lambda: call.sound(0) > 0 and call.quiet(0) >= PAUSE)
    measured.prompt = call.sound(0)
    await call.press(DIGITS + TERMINATOR)
    await call.until(lambda: len(call.digits) >= len(DIGITS))
    measured.digits, since = call.digits, call.mark()
    await call.until(lambda: call.rings_at(BEEP))
    measured.spoken = call.sound(since, call.mark() - 1)
    await call.until(lambda: not call.rings_at(BEEP))
    call.play(melody)
    measured.cause = await call.ended()


def _melody() -> Frame:
    return np.concatenate([tones.render(f"%(500,0,{frequency})") for frequency in MELODY])


def findings(measured: Measured, wanted: Expected, recording: Path) -> Iterator[Finding]:
    """What became of each part of the call."""
    yield Finding("heard", f"a prompt of {measured.prompt:.1f} s", _near(measured.prompt, wanted.prompt))
    got = f"the script has {measured.digits or 'nothing'}"
    yield Finding("pressed", f"{DIGITS}: {got}", measured.digits == DIGITS)
    spoken = f'"{wanted.text}" in {measured.spoken:.1f} s'
    yield Finding("was told", spoken, _near(measured.spoken, wanted.spoken))
    yield _recorded(recording, wanted.melody)
    yield Finding("ended", measured.cause, measured.cause == "NORMAL_CLEARING")


def _recorded(file: Path, melody: Frame) -> Finding:
    try:
        samples = wav.read(file)
    except wav.AudioError as error:
        return Finding("recorded", str(error), False)
    sound, level = phone.sounding(samples), phone.rms(samples)
    found = [frequency for frequency in MELODY if _has(samples, frequency)]
    right = _near(sound, len(melody) / RATE) and len(found) == len(MELODY)
    text = f"{len(samples) / RATE:.1f} s, {sound:.1f} s of it sound at {_decibels(level):.0f} dB: {_hertz(found)}"
    return Finding("recorded", text, right)


def _has(samples: Frame, frequency: float) -> bool:
    """Whether there is a stretch of that tone."""
    size = RATE // 50
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    return sum(phone.is_tone(frame, frequency) for frame in frames) * size / RATE >= SHORTEST


def _near(heard: float, sent: float) -> bool:
    return heard >= SHORTEST and abs(heard - sent) <= NEAR * sent


def _decibels(level: float) -> float:
    return float(20 * np.log10(max(level, 1) / 32768))


def _hertz(frequencies: list[int]) -> str:
    return f"{', '.join(map(str, frequencies))} Hz" if frequencies else "no tone of the caller's"
