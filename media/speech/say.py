"""Numbers, moments, sums and the like in English, as names of prompts. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from zoneinfo import ZoneInfo

from media.speech.errors import SpeechError

Names = tuple[str, ...]
"Names of prompts."

_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (10**3, "thousand"))
LARGEST = 10**15
"From here on a number is said digit by digit."
_SIGNS = {
    " ": "space", ".": "dot", "-": "dash", "@": "at", "+": "plus", "/": "slash", "*": "asterisk", "=": "equals",
    "!": "exclaimation-point", "$": "dollar", "%": "ascii37", "&": "ascii38", "'": "ascii39", ",": "ascii44",
    ":": "ascii58", "_": "ascii95", "#": "hash",
}  # fmt: skip
_BETWEEN = " -.()/"
"What divides the digits of a number as people write it."
CURRENCIES = {
    "USD": ("dollar", "dollars", "cent", "cents"), "CAD": ("dollar", "dollars", "cent", "cents"),
    "AUD": ("dollar", "dollars", "cent", "cents"), "NZD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"), "GBP": ("pound", "pounds", "penny", "pence"),
    "CHF": ("franc", "francs", "rappen", "rappen"), "JPY": ("yen", "yen", "", ""),
    "SEK": ("krona", "kronor", "ore", "ore"), "NOK": ("krone", "kroner", "ore", "ore"),
    "DKK": ("krone", "kroner", "ore", "ore"),
}  # fmt: skip
"One, several; one and several of its hundredths."


class SayError(SpeechError):
    """That is no such value; the message says which kind was expected."""


def number(value: int) -> Names:
    """Any whole number: minus twelve thousand three hundred forty five."""
    if value < 0:
        return ("digits/minus", *number(-value))
    if value >= LARGEST:
        return digits(str(value))
    names: list[str] = []
    for scale, word in _SCALES:
        if value >= scale:
            names += [*_below_thousand(value // scale), f"digits/{word}"]
            value %= scale
    return (*names, *_below_thousand(value)) if value or not names else tuple(names)


def _below_thousand(value: int) -> Names:
    names: Names = (f"digits/{value // 100}", "digits/hundred") if value >= 100 else ()
    value %= 100
    if value >= 20:
        names = (*names, f"digits/{value // 10 * 10}")
        value %= 10
    return (*names, f"digits/{value}") if value or not names else names


def ordinal(value: int) -> Names:
    """first, twenty third, two hundredth. Raises :class:`SayError` for one that is too large."""
    if value >= LARGEST or value <= -LARGEST:
        raise SayError("an ordinal is below a quadrillion")
    *names, last = number(value)
    return (*names, last.replace("digits/", "digits/h-"))


def digits(text: str) -> Names:
    """One by one, + * and # too; what divides them is left out. Raises :class:`SayError`."""
    others = {"*": "digits/star", "#": "digits/pound", "+": "letters/plus"}
    kept = [char for char in text if char not in _BETWEEN]
    if not kept or any(char not in "0123456789*#+" for char in kept):
        raise SayError("digits are 0 to 9, *, # and +")
    return tuple(others.get(char) or f"digits/{char}" for char in kept)


def letters(text: str, *, phonetic: bool = False) -> Names:
    """Spelled: b o b, or bravo oscar bravo. Raises :class:`SayError` for a character that has no name here."""
    plain = unicodedata.normalize("NFKD", text).lower()
    names = [_letter(char, phonetic) for char in plain if not unicodedata.combining(char)]
    if not names:
        raise SayError("there is nothing to spell")
    return tuple(names)


def _letter(char: str, phonetic: bool) -> str:
    if char.isascii() and char.isalpha():
        return f"phonetic/{char}_p" if phonetic else f"letters/{char}"
    if char.isascii() and char.isdigit():
        return f"digits/{char}"
    if char not in _SIGNS:
        raise SayError("what is spelled is letters, digits and the usual signs")
    return f"letters/{_SIGNS[char]}"


def say_date(value: date, *, today: date | None = None) -> Names:
    """Saturday November twenty first two thousand twenty six; with ``today``: today, yesterday, tomorrow."""
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}
    if today is not None and (word := near.get((value - today).days)):
        return (f"digits/{word}",)
    weekday, month = value.isoweekday() % 7, value.month - 1
    return (f"digits/day-{weekday}", f"digits/mon-{month}", *ordinal(value.day), *_year(value.year))


def _year(year: int) -> Names:
    century, rest = divmod(year, 100)
    # 1905 and 2105, but two thousand and something, and all that is no year of four digits.
    if year < 1000 or century % 10 == 0:
        return number(year)
    if rest == 0:
        return (*number(century), "digits/hundred")
    return (*number(century), *(("digits/oh",) if rest < 10 else ()), *number(rest))


def say_time(value: time) -> Names:
    """Five oh seven p.m.; to the minute."""
    hour = number(value.hour % 12 or 12)
    if value.minute == 0:
        minute: Names = ("digits/oclock",)
    else:
        minute = (*(("digits/oh",) if value.minute < 10 else ()), *number(value.minute))
    return (*hour, *minute, "digits/a-m" if value.hour < 12 else "digits/p-m")


def date_time(value: datetime, *, now: datetime | None = None) -> Names:
    """Yesterday at five oh seven p.m., by the clock of ``value``'s own zone, whichever ``now`` has."""
    today = now.astimezone(value.tzinfo).date() if now else None
    return (*say_date(value.date(), today=today), "digits/at", *say_time(value.time()))


def duration(value: float | timedelta) -> Names:
    """Two minutes three seconds; rounded to whole ones. Raises :class:`SayError` for less than nothing."""
    seconds = round(value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds < 0:
        raise SayError("a duration is not negative")
    names: list[str] = []
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        count, seconds = divmod(seconds, size)
        if count or (unit == "second" and not names):
            names += [*number(count), unit if count == 1 else f"{unit}s"]
    return tuple(names)


def money(amount: Decimal, currency: str = "USD") -> Names:
    """Three dollars and two cents. Raises :class:`SayError` for a currency without words here."""
    if currency not in CURRENCIES:
        raise SayError(f"there are no words for the currency {currency!r}; there are for {', '.join(CURRENCIES)}")
    one, many, small_one, small_many = CURRENCIES[currency]
    try:
        hundredths = int(amount.quantize(Decimal("0.01" if small_one else "1"), ROUND_HALF_EVEN) * 100)
    except (InvalidOperation, ValueError, OverflowError):
        raise SayError("that is no sum of money") from None
    whole, rest = divmod(abs(hundredths), 100)
    sign: Names = ("digits/minus",) if hundredths < 0 else ()
    large = (*number(whole), f"currency/{one if whole == 1 else many}") if whole or not rest else ()
    small = (*number(rest), f"currency/{small_one if rest == 1 else small_many}") if rest else ()
    return (*sign, *large, *(("currency/and",) if large and small else ()), *small)


# By a kind and a text, as phrases and the command line have them


def say(kind: str, text: str, *, zone: str = "UTC", now: datetime | None = None) -> Names:
    """What ``text`` says as one of ``KINDS``. Moments are ISO 8601 or Unix times. Raises :class:`SayError`."""
    if kind not in KINDS:
        raise SayError(f"{kind!r} is not said; {', '.join(KINDS)} are")
    try:
        return KINDS[kind](text.strip(), zone, now)
    except (ValueError, OverflowError, InvalidOperation, OSError):
        raise SayError(f"that is no {kind}") from None
    except KeyError:  # ZoneInfoNotFoundError
        raise SayError(f"there is no time zone {zone!r}") from None


def _moment(text: str, zone: str) -> datetime:
    there = ZoneInfo(zone)
    if text.isascii() and text.isdigit():
        return datetime.fromtimestamp(int(text), there)
    moment = datetime.fromisoformat(text)
    return moment.astimezone(there) if moment.tzinfo else moment.replace(tzinfo=there)


def _said_date(text: str, zone: str, now: datetime | None) -> Names:
    moment = _moment(text, zone)
    return say_date(moment.date(), today=now.astimezone(moment.tzinfo).date() if now else None)


def _said_money(text: str, zone: str, now: datetime | None) -> Names:
    amount, _, currency = text.partition(" ")
    return money(Decimal(amount), currency.strip().upper() or "USD")


KINDS: dict[str, Callable[[str, str, datetime | None], Names]] = {
    "number": lambda text, zone, now: number(int(text)),
    "ordinal": lambda text, zone, now: ordinal(int(text)),
    "digits": lambda text, zone, now: digits(text),
    "letters": lambda text, zone, now: letters(text),
    "phonetic": lambda text, zone, now: letters(text, phonetic=True),
    "date": _said_date,
    "time": lambda text, zone, now: say_time(_moment(text, zone).time()),
    "datetime": lambda text, zone, now: date_time(_moment(text, zone), now=now),
    "duration": lambda text, zone, now: duration(float(text)),
    "money": _said_money,
}
"""Kinds of what is said: number, ordinal, digits, letters, phonetic, date, time, datetime, duration (seconds), money
("3.02 EUR")."""
