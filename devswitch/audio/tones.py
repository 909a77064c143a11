"""Tones of libteletone (``tone_stream://``), silence, and the Goertzel filter that finds a tone again.

The language is that of ``teletone_run`` (libteletone_generate.c): ``%(on,off,f1,f2)`` in milliseconds and Hz, the
letters of DTMF, and assignments, all of them parted by ``;``: ``v`` dB, ``d`` and ``w`` milliseconds of tone and pause
where none are given, ``l`` repetitions of each tone, ``L`` of the whole, ``>``, ``<`` and ``+`` a level that falls or
rises.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from devswitch.leg import FRAME, RATE, Frame

PER_MS = RATE // 1000
# dBm0 of a sine that fills 16 bits, and the level of teletone_dds_state_set_tx_level (libteletone_generate.h).
_MAX_DBM0 = 3.14 + 3.02
_FULL_SCALE = 32767 * math.sqrt(2)
_MIN_LEVEL, _MAX_LEVEL = -63.0, 0.0
MAX_SECONDS = 600
"Longest program that is rendered; what repeats for ever does so by ``loops=-1``."
_ROWS = {697: "123A", 770: "456B", 859: "789C", 941: "*0#D"}
# 859 Hz for 852 is libteletone's own.
_KEYS = {
    key: (float(row), float(column))
    for row, keys in _ROWS.items()
    for key, column in zip(keys, (1209, 1336, 1477, 1633), strict=True)
}
_TONE = re.compile(r"%\(([^)]*)\)|(\S)")
_LOOPS = re.compile(r";loops=(-?\d+)", re.IGNORECASE)


class ToneError(ValueError):
    """A tone that cannot be read."""


@dataclass(slots=True)
class _State:
    duration: int = 2000
    wait: int = 500
    level: float = -7.0
    repeat: int = 1
    loops: int = 1
    direction: int = 0
    step: int = 0
    factor: float = 1.0


def parse(path: str) -> tuple[Frame, int]:
    """The samples of a ``tone_stream://`` path (the prefix may be left out), and how often to play them (-1: for ever).

    Raises :class:`ToneError`.
    """
    text = path.removeprefix("tone_stream://")
    found = _LOOPS.search(text)
    loops = int(found[1]) if found else 1
    samples = render(text[: found.start()] if found else text)
    if not len(samples):
        raise ToneError(f"no tone in {path!r}")
    return samples, loops or 1


def render(program: str) -> Frame:
    """The samples of a program; raise :class:`ToneError`."""
    state, once = _State(), []
    for part in filter(None, (part.strip() for part in program.split(";"))):
        if part[1:2] == "=":
            _assign(state, part[0], part[2:])
        else:
            once += _tones(state, part)
    length = sum(map(len, once)) * max(state.loops, 1)
    if length > MAX_SECONDS * RATE:
        raise ToneError(f"a tone of {length // RATE} s; at most {MAX_SECONDS}")
    return np.concatenate(once * max(state.loops, 1)) if once else np.zeros(0, np.int16)


def digit_frame(digit: str, began: int) -> Frame:
    """A frame of the sound of a digit that began so many samples ago."""
    return _tone(_State(), began + FRAME, 0, _KEYS[digit])[began:]


def goertzel(samples: Frame, frequency: float) -> float:
    """How much of the power of ``samples`` lies at ``frequency``: 0 to 1, and 0 for silence."""
    power = float(np.square(samples.astype(np.float64)).sum())
    if not power:
        return 0.0
    turns = np.exp(-2j * np.pi * frequency / RATE * np.arange(len(samples)))
    return float(2 * abs(np.dot(samples, turns)) ** 2 / (len(samples) * power))


def _assign(state: _State, name: str, value: str) -> None:
    number = _number(value)
    match name:
        case "d":
            state.duration = int(number) * PER_MS
        case "w":
            state.wait = int(number) * PER_MS
        case "v" if _MIN_LEVEL <= number <= _MAX_LEVEL:
            state.level = number
        case "l":
            state.repeat = max(int(number), 1)
        case "L":
            state.loops = max(int(number), 1)
        case ">" | "<":
            state.direction, state.step = (-1 if name == ">" else 1), int(number) * PER_MS
        case "+":
            state.factor = number


def _tones(state: _State, part: str) -> list[Frame]:
    tones = []
    for bracket, key in _TONE.findall(part):
        if key and key not in _KEYS:
            raise ToneError(f"{key!r} is neither a tone nor a digit")
        tone = _tone(state, state.duration, state.wait, _KEYS[key]) if key else _bracket(state, bracket)
        tones += [tone] * state.repeat
        state.repeat = 1
    return tones


def _bracket(state: _State, text: str) -> Frame:
    numbers = [_number(part) for part in text.split(",")]
    if len(numbers) < 3:
        raise ToneError(f"%({text}) is not on, off and frequencies")
    return _tone(state, int(numbers[0]) * PER_MS, int(numbers[1]) * PER_MS, numbers[2:])


def _tone(state: _State, duration: int, wait: int, frequencies: Sequence[float]) -> Frame:
    if duration < 0 or wait < 0 or duration + wait > MAX_SECONDS * RATE:
        raise ToneError("a tone of less than nothing, or too long")
    time = np.arange(duration) / RATE
    waves = [np.sin(2 * np.pi * frequency * time) for frequency in frequencies if frequency > 0]
    tone = sum(waves, np.zeros(duration)) / max(len(waves), 1) * _amplitude(state, duration)
    return np.concatenate([tone, np.zeros(wait)]).astype(np.int16)


def _amplitude(state: _State, duration: int) -> Frame | float:
    level: object = state.level
    if state.direction and state.step > 0:
        steps = np.arange(duration) // state.step
        level = np.clip(state.level + state.direction * state.factor * steps, _MIN_LEVEL, _MAX_LEVEL)
    found: Frame | float = 10 ** ((level - _MAX_DBM0) / 20) * _FULL_SCALE  # type: ignore[operator]
    return found


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ToneError(f"{text[:20]!r} is no number") from None
    if not math.isfinite(number):
        raise ToneError(f"{text[:20]!r} is no number")
    return number
