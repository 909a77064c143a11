"""What the embedded switch says of numbers, moments and sums: the prompts of mod_say_en."""

from __future__ import annotations

import time

import pytest

from devswitch.apps.english import SayError, prompts, words

TWELVE = "time/at digits/12 time/oclock time/p-m"
DAY = "time/mon-10 digits/20 digits/h-1"
YEAR = "digits/2 digits/thousand digits/20 digits/6"
NOON = time.mktime((2026, 11, 21, 12, 0, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("kind", "method", "text", "said"),
    [
        ("NUMBER", "PRONOUNCED", "0", "digits/0"),
        ("NUMBER", "PRONOUNCED", "12", "digits/12"),
        ("NUMBER", "PRONOUNCED", "345", "digits/3 digits/hundred digits/40 digits/5"),
        ("NUMBER", "PRONOUNCED", "1,000", "digits/1 digits/thousand"),
        ("NUMBER", "PRONOUNCED", "2000013", "digits/2 digits/million digits/13"),
        ("NUMBER", "COUNTED", "23", "digits/20 digits/h-3"),
        ("NUMBER", "COUNTED", "40", "digits/h-40"),
        ("ITEMS", "ITERATED", "042", "digits/0 digits/4 digits/2"),
        ("NUMBER", "PRONOUNCED_YEAR", "1984", "digits/19 digits/80 digits/4"),
        ("CURRENCY", "PRONOUNCED", "$1.05", "digits/1 currency/dollar currency/and digits/5 currency/cents"),
        ("CURRENCY", "PRONOUNCED", "-2", "currency/negative digits/2 currency/dollars"),
        ("TIME_MEASUREMENT", "PRONOUNCED", "3661", "digits/1 time/hour digits/1 time/minute digits/1 time/second"),
        ("TIME_MEASUREMENT", "PRONOUNCED", "2:05", "digits/0 time/hours digits/2 time/minutes digits/5 time/seconds"),
        ("IP_ADDRESS", "ITERATED", "10.1", "digits/1 digits/0 digits/dot digits/1"),
        ("TELEPHONE_NUMBER", "ITERATED", "+1--2", "ascii/43 digits/1 silence_stream://100 digits/2"),
        ("NAME_SPELLED", "PRONOUNCED", "Ab1", "ascii/97 ascii/98 digits/1"),
        ("CURRENT_TIME", "PRONOUNCED", "2026-11-21 09:05:00", "digits/9 time/oh digits/5 time/a-m"),
        ("CURRENT_TIME", "ITERATED", "2026-11-21 21:00:00", "digits/20 digits/1 digits/hundred time/hours"),
        ("CURRENT_DATE", "PRONOUNCED", "1999-11-21 09:05:00", f"time/day-0 {DAY} digits/19 digits/90 digits/9"),
        ("CURRENT_DATE", "PRONOUNCED", "2026-11-21 09:05:00", f"time/day-6 {DAY} {YEAR}"),
        ("SHORT_DATE_TIME", "PRONOUNCED", "2026-11-21 12:00:00", f"time/today {TWELVE}"),
        ("SHORT_DATE_TIME", "PRONOUNCED", "2026-11-20 12:00:00", f"time/yesterday {TWELVE}"),
    ],
)
def test_prompts(kind: str, method: str, text: str, said: str) -> None:
    assert prompts(kind, method, text, now=NOON) == said.split()


@pytest.mark.parametrize(("kind", "text"), [("NUMBER", "x"), ("NUMBER", "1234567890"), ("CURRENCY", "y"), ("URL", "a")])
def test_what_cannot_be_said(kind: str, text: str) -> None:
    with pytest.raises(SayError):
        prompts(kind, "PRONOUNCED", text)


def test_words_for_a_speech_engine() -> None:
    names = "time/day-6 time/mon-10 digits/20 digits/h-1 digits/h-40 time/oclock ascii/43 ascii/97"
    assert words(names.split()) == "Saturday November 20 first fortieth o'clock plus a"
