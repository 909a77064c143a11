"""Recorded prompts that are tones: what a switch said is heard as frequencies."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.audio import Tone, silence, tone, write_wav

# Named as FreeSWITCH's packages name them (mod_say_en.c); each has a tone of its own, 50 Hz from the next.
NAMES = (
    *(f"digits/{n}" for n in (*range(20), *range(20, 100, 10))),
    "digits/hundred", "digits/thousand", "digits/million", "digits/dot",
    *(f"digits/h-{n}" for n in (1, 2, 3, 21)),
    "currency/dollar", "currency/dollars", "currency/and", "currency/cent", "currency/cents", "currency/negative",
    "time/hours", "time/minutes", "time/seconds", "time/day-1", "time/mon-0", "time/at", "time/o", "time/a-m",
    "ascii/97", "ascii/98", "ascii/99", "voicemail/vm-goodbye",
)  # fmt: skip
_FIRST, _STEP = 400, 50
SECONDS = 0.12
_PAUSE = 0.2


def frequency(name: str) -> int:
    """The tone of a prompt, in Hz."""
    return _FIRST + _STEP * NAMES.index(name)


def make_prompts(folder: Path) -> None:
    """Write them all, in the folders of their rate as FreeSWITCH's packages have them."""
    for name in NAMES:
        kind, word = name.split("/")
        write_wav(folder / kind / "8000" / f"{word}.wav", tone(frequency(name), SECONDS), silence(_PAUSE))


def spoken(heard: Iterable[Tone]) -> list[str]:
    """The prompts that these tones are."""
    return [_name(found) for found in heard]


def _name(heard: Tone) -> str:
    return next((name for name in NAMES if heard.is_at(frequency(name))), f"{heard.frequency:.0f} Hz")
