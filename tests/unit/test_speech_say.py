"""What is said of numbers and the like: the words read back to the value."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.speech import say
from media.speech.prompts import CATALOGUE, text
from media.speech.say import SayError

UNITS = {
    word: at for at, word in enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
}
TEENS = ["ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
VALUES = UNITS | {w: 10 + at for at, w in enumerate(TEENS)} | {w: 20 + 10 * at for at, w in enumerate(TENS)}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
ORDINALS = {"first": "one", "second": "two", "third": "three", "fifth": "five", "eighth": "eight", "ninth": "nine",
            "twelfth": "twelve"}  # fmt: skip
MONTHS = [date(2026, month, 1).strftime("%B") for month in range(1, 13)]


def words(names: say.Names) -> str:
    return " ".join(text(name) for name in names)


def value_of(spoken: str) -> int:
    """A number from its words, by rules of its own: not those that made it."""
    sign = -1 if spoken.startswith("minus ") else 1
    total = group = 0
    for word in spoken.removeprefix("minus ").split():
        if word in SCALES:
            total, group = total + group * SCALES[word], 0
        elif word == "hundred":
            group *= 100
        else:
            assert group % (10 if VALUES[word] < 10 else 100) == 0, f"no number: {spoken}"
            group += VALUES[word]
    return sign * (total + group)


def cardinal(spoken: str) -> str:
    """first → one, twentieth → twenty, two hundredth → two hundred."""
    *before, last = spoken.split()
    last = ORDINALS.get(last) or (last[:-4] + "y" if last.endswith("ieth") else last.removesuffix("th"))
    return " ".join((*before, last))


@given(st.integers(1 - say.LARGEST, say.LARGEST - 1))
def test_a_number_reads_back(value: int) -> None:
    assert value_of(words(say.number(value))) == value


@pytest.mark.parametrize(
    ("value", "spoken"),
    [
        (0, "zero"), (12, "twelve"), (20, "twenty"), (-7, "minus seven"), (100, "one hundred"), (1000, "one thousand"),
        (12345, "twelve thousand three hundred forty five"), (10**6, "one million"), (10**9 + 1, "one billion one"),
        (10**12, "one trillion"), (10**15, "one" + " zero" * 15),
    ],
)  # fmt: skip
def test_numbers_are_said_as_people_say_them(value: int, spoken: str) -> None:
    assert words(say.number(value)) == spoken


@given(st.integers(0, say.LARGEST - 1))
def test_an_ordinal_reads_back(value: int) -> None:
    assert value_of(cardinal(words(say.ordinal(value)))) == value


@pytest.mark.parametrize(
    ("value", "spoken"), [(1, "first"), (21, "twenty first"), (30, "thirtieth"), (200, "two hundredth")]
)
def test_ordinals_are_said_as_people_say_them(value: int, spoken: str) -> None:
    assert words(say.ordinal(value)) == spoken


@given(st.text("0123456789", min_size=1, max_size=20))
def test_digits_read_back(value: str) -> None:
    assert "".join(str(UNITS[word]) for word in words(say.digits(value)).split()) == value


def test_digits_leave_out_what_divides_them() -> None:
    assert words(say.digits("+44 (20) 7*#")) == "plus four four two zero seven star pound"


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789 .-@+/*=!$%&',:_#", min_size=1, max_size=20))
def test_letters_read_back(value: str) -> None:
    for phonetic in (False, True):
        assert "".join(map(_character, say.letters(value, phonetic=phonetic))) == value


def _character(name: str) -> str:
    folder, _, rest = name.partition("/")
    back = {spelled: char for char, spelled in say._SIGNS.items()}
    if folder == "phonetic":
        return text(name)[0]
    return back.get(rest, rest)


def test_accents_are_not_spelled() -> None:
    assert say.letters("Zoë") == ("letters/z", "letters/o", "letters/e")


@given(st.dates(date(1000, 1, 1)))
def test_a_date_reads_back(value: date) -> None:
    spoken = words(say.say_date(value)).split()
    assert spoken[0] == value.strftime("%A")
    assert MONTHS.index(spoken[1]) + 1 == value.month
    end = 4 if spoken[2] in ("twenty", "thirty") else 3
    assert value_of(cardinal(" ".join(spoken[2:end]))) == value.day
    assert _year(spoken[end:]) == value.year


def _year(spoken: list[str]) -> int:
    if "thousand" in spoken or "hundred" in spoken:
        return value_of(" ".join(spoken))
    if "oh" in spoken:
        *century, _, year = spoken
        return 100 * value_of(" ".join(century)) + UNITS[year]
    for at in range(1, len(spoken)):
        # Twenty one ninety nine: the first half is two digits, so is the second.
        first, second = _pair(spoken[:at]), _pair(spoken[at:])
        if first is not None and second is not None:
            return 100 * first + second
    raise AssertionError(spoken)


def _pair(spoken: list[str]) -> int | None:
    values = [VALUES[word] for word in spoken]
    if len(values) == 1 and values[0] >= 10:
        return values[0]
    if len(values) == 2 and values[0] >= 20 and values[0] % 10 == 0 and 0 < values[1] < 10:
        return values[0] + values[1]
    return None


@given(st.times())
def test_a_time_reads_back(value: time) -> None:
    *clock, half = words(say.say_time(value)).split()
    split = 1  # hours have one word
    hour = value_of(clock[0]) % 12 + (12 if half == "p.m." else 0)
    rest = [word for word in clock[split:] if word != "oh"]
    minute = 0 if rest == ["o'clock"] else value_of(" ".join(rest))
    assert (hour, minute) == (value.hour, value.minute)


@pytest.mark.parametrize(
    ("value", "spoken"),
    [
        (time(0, 0), "twelve o'clock a.m."), (time(12, 5), "twelve oh five p.m."),
        (time(17, 30), "five thirty p.m."), (time(9, 59), "nine fifty nine a.m."),
    ],
)  # fmt: skip
def test_times_are_said_as_people_say_them(value: time, spoken: str) -> None:
    assert words(say.say_time(value)) == spoken


@pytest.mark.parametrize(
    ("days", "spoken"),
    [(0, "today"), (1, "yesterday"), (-1, "tomorrow"), (2, "Thursday November nineteenth two thousand twenty six")],
)
def test_a_day_that_is_near_is_said_so(days: int, spoken: str) -> None:
    today = date(2026, 11, 21)
    assert words(say.say_date(today - timedelta(days), today=today)) == spoken


def test_today_is_that_of_the_moments_own_zone() -> None:
    left = datetime(2026, 11, 21, 23, 30, tzinfo=ZoneInfo("America/New_York"))
    now = datetime(2026, 11, 22, 4, 45, tzinfo=UTC)  # a quarter past, there
    assert words(say.date_time(left, now=now)) == "today at eleven thirty p.m."
    assert words(say.date_time(left, now=now + timedelta(hours=1))) == "yesterday at eleven thirty p.m."


@given(st.integers(0, 10**7))
def test_a_duration_reads_back(value: int) -> None:
    sizes = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
    parts = re.findall(r"(.+?) (day|hour|minute|second)(s?)(?: |$)", words(say.duration(value)))
    assert sum(value_of(count) * sizes[unit] for count, unit, _ in parts) == value
    assert all((count == "one") == (not several) for count, _, several in parts)


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(sorted(say.CURRENCIES)))
def test_a_sum_reads_back(value: Decimal, currency: str) -> None:
    one, many, small_one, small_many = say.CURRENCIES[currency]
    spoken = words(say.money(value, currency))
    sign = -1 if spoken.startswith("minus ") else 1
    amount = Decimal(0)
    for part in spoken.removeprefix("minus ").split(" and "):
        *count, unit = part.split()
        assert unit in (one, many, small_one, small_many)
        whole = unit in (one, many)
        amount += value_of(" ".join(count)) * (Decimal(1) if whole else Decimal("0.01"))
    expected = value if small_one else value.quantize(Decimal(1))
    assert sign * amount == expected


@pytest.mark.parametrize(
    ("amount", "currency", "spoken"),
    [
        ("3.02", "USD", "three dollars and two cents"), ("1.01", "GBP", "one pound and one penny"),
        ("0", "EUR", "zero euros"), ("0.05", "USD", "five cents"), ("-1", "USD", "minus one dollar"),
        ("2.6", "JPY", "three yen"),
    ],
)  # fmt: skip
def test_sums_are_said_as_people_say_them(amount: str, currency: str, spoken: str) -> None:
    assert words(say.money(Decimal(amount), currency)) == spoken


@pytest.mark.parametrize(
    ("kind", "value", "spoken"),
    [
        ("number", "12", "twelve"), ("ordinal", "2", "second"), ("digits", "12", "one two"),
        ("letters", "b1", "b one"), ("phonetic", "b1", "bravo one"), ("duration", "61.4", "one minute one second"),
        ("money", "3 eur", "three euros"), ("money", "3", "three dollars"),
        ("date", "2026-11-21", "Saturday November twenty first two thousand twenty six"),
        ("time", "2026-11-21T17:07:00+01:00", "four oh seven p.m."),
        ("datetime", "0", "Thursday January first nineteen seventy at twelve o'clock a.m."),
    ],
)  # fmt: skip
def test_values_are_said_by_kind(kind: str, value: str, spoken: str) -> None:
    assert words(say.say(kind, value)) == spoken


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("number", "twelve"), ("number", "1" * 5000), ("digits", ""), ("digits", "1a"), ("letters", "日"),
        ("letters", ""),
        ("date", "soon"), ("datetime", "9" * 30), ("duration", "-1"), ("duration", "nan"), ("duration", "inf"),
        ("money", "much"), ("money", "1 XYZ"), ("money", "NaN"), ("money", "Infinity"), ("money", "1e999999"),
        ("ordinal", str(10**15)), ("colour", "red"), ("time", "25:00"),
    ],
)  # fmt: skip
def test_what_is_no_such_value_is_refused(kind: str, value: str) -> None:
    with pytest.raises(SayError) as refused:
        say.say(kind, value)
    assert not value or len(value) < 4 or value not in str(refused.value), "the error says a caller's words"


def test_a_zone_that_is_none_is_refused() -> None:
    for zone in ("Mars/North", "../etc/passwd", ""):
        with pytest.raises(SayError):
            say.say("time", "0", zone=zone)


def test_all_that_is_said_is_in_the_catalogue() -> None:
    for one, many, small, smalls in say.CURRENCIES.values():
        assert {f"currency/{word}" for word in (one, many, small, smalls) if word} <= set(CATALOGUE)
    assert {f"letters/{sign}" for sign in say._SIGNS.values()} <= set(CATALOGUE)
