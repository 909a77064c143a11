"""What is said of numbers, moments and sums in English, as names of prompts (mod_say_en.c)."""

from __future__ import annotations

import calendar
import re
import time

_ORDINALS = ["", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"]
_ORDINALS += ["eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth"]
_TENS = {20: "twentieth", 30: "thirtieth", 40: "fortieth", 50: "fiftieth", 60: "sixtieth", 70: "seventieth"}
_LARGEST = 9  # digits; longer numbers are refused


class SayError(ValueError):
    """It cannot be said."""


def prompts(kind: str, method: str, text: str, *, now: float | None = None) -> list[str]:
    """The prompts that say ``text``: names such as digits/5; raises :class:`SayError`."""
    kind, method = kind.upper(), method.upper()
    if kind in ("NUMBER", "ITEMS", "PERSONS", "MESSAGES"):
        return count(text, method)
    if kind == "CURRENCY":
        return _money(text, method)
    if kind == "TIME_MEASUREMENT":
        return _span(text)
    if kind in ("CURRENT_DATE", "CURRENT_TIME", "CURRENT_DATE_TIME", "SHORT_DATE_TIME"):
        return _moment(kind, method, text, time.time() if now is None else now)
    if kind == "IP_ADDRESS":
        return [name for part in text.split(".") for name in ("digits/dot", *count(part, method))][1:]
    if kind == "TELEPHONE_NUMBER":
        return _telephone(text)
    if kind in ("NAME_SPELLED", "NAME_PHONETIC"):
        folder = "ascii" if kind == "NAME_SPELLED" else "phonetic-ascii"
        return [f"digits/{c}" if c.isdigit() else f"{folder}/{ord(c)}" for c in text.lower()]
    raise SayError(f"say {kind} is not supported")


def count(text: str, method: str) -> list[str]:
    """A number, pronounced, counted (first, second), as a year, or digit by digit."""
    digits = text.replace(",", "").strip()
    if not digits.isdigit() or (method != "ITERATED" and len(digits) > _LARGEST):
        raise SayError(f"say: {len(text)} characters that are no number")
    if method == "ITERATED":
        return [f"digits/{digit}" for digit in digits]
    number = int(digits)
    if method == "PRONOUNCED_YEAR" and number % 100 and number // 100 % 10:
        return count(str(number // 100), "PRONOUNCED") + count(str(number % 100), "PRONOUNCED")
    if number == 0:
        return ["digits/0"]
    names = []
    for scale, what in ((1_000_000, "digits/million"), (1000, "digits/thousand")):
        if group := number // scale % 1000:
            names += [*_group(group), what]
    return names + _group(number % 1000, counted=method == "COUNTED")


def _group(number: int, *, counted: bool = False) -> list[str]:
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    before = "h-" if counted else ""
    names = [f"digits/{hundreds}", "digits/hundred"] if hundreds else []
    if tens > 1:
        names.append(f"digits/{tens}0" if ones else f"digits/{before}{tens}0")
    elif tens:
        return [*names, f"digits/{tens}{ones}"]
    return [*names, f"digits/{before}{ones}"] if ones else names


def _money(text: str, method: str) -> list[str]:
    kept = re.sub(r"[^0-9.+-]", "", text)
    match = re.fullmatch(r"([+-]?)(\d+)(?:\.(\d+))?", kept)
    if not match or len(text) > 15:
        raise SayError("say: that is no sum of money")
    dollars, cents = match[2], (match[3] or "")[:2]
    names = ["currency/negative"] if match[1] == "-" else []
    names += [*count(dollars, method), "currency/dollar" if int(dollars) == 1 else "currency/dollars"]
    if match[3] is not None:
        names += ["currency/and", *count(cents, method), "currency/cent" if int(cents) == 1 else "currency/cents"]
    return names


def _span(text: str) -> list[str]:
    parts = [int(part) if part.isdigit() else 0 for part in text.split(":")]
    if len(parts) == 1:
        hours, minutes, seconds = parts[0] // 3600, parts[0] // 60 % 60, parts[0] % 60
    else:
        hours, minutes, seconds = ([0] * (3 - len(parts)) + parts)[-3:]
    names = []
    for value, unit in ((hours, "hour"), (minutes, "minute"), (seconds, "second")):
        names += [*count(str(value), "PRONOUNCED"), f"time/{unit}" if value == 1 else f"time/{unit}s"]
    return names


def _moment(kind: str, method: str, text: str, now: float) -> list[str]:
    then = time.localtime(_epoch(text) or now)
    today = time.localtime(now)
    names: list[str] = []
    dated = kind in ("CURRENT_DATE", "CURRENT_DATE_TIME")
    if kind == "SHORT_DATE_TIME":
        names, dated = _short(then, today)
    if dated:
        names = [f"time/day-{(then.tm_wday + 1) % 7}", f"time/mon-{then.tm_mon - 1}"]
        names += count(str(then.tm_mday), "COUNTED") + count(str(then.tm_year), "PRONOUNCED_YEAR")
    if kind == "CURRENT_DATE":
        return names
    return [*names, *(["time/at"] if names else []), *_clock(then, method)]


def _short(then: time.struct_time, today: time.struct_time) -> tuple[list[str], bool]:
    weekday = f"time/day-{(then.tm_wday + 1) % 7}"
    if then[:3] > today[:3] or then.tm_year != today.tm_year:
        return [], True
    ago = today.tm_yday - then.tm_yday
    if ago in (0, 1):
        return [("time/today", "time/yesterday")[ago]], False
    if ago <= 5:
        return [weekday], False
    return [weekday, f"time/mon-{then.tm_mon - 1}", *count(str(then.tm_mday), "COUNTED")], False


def _clock(then: time.struct_time, method: str) -> list[str]:
    hour, minute = then.tm_hour, then.tm_min
    tail = count(str(minute), "PRONOUNCED") if minute else []
    if method == "ITERATED":
        hour = 24 if not hour and not minute else hour
        names = (["digits/0"] if hour < 10 else []) + count(str(hour), "PRONOUNCED")
        short = ["digits/0"] if 0 < minute < 10 else []
        return [*names, *short, *(tail or ["digits/hundred"]), "time/hours"]
    names = count(str(hour % 12 or 12), "PRONOUNCED")
    short = ["time/oh"] if 0 < minute < 10 else []
    return [*names, *short, *(tail or ["time/oclock"]), "time/p-m" if hour >= 12 else "time/a-m"]


def _epoch(text: str) -> float:
    if ":" in text:
        for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"):
            try:
                return time.mktime(time.strptime(text.strip(), form))
            except ValueError:
                continue
    return float(text) if text.strip().isdigit() else 0.0


def _telephone(text: str) -> list[str]:
    names: list[str] = []
    for char in text.lower():
        if char.isdigit():
            names.append(f"digits/{char}")
        elif char == "+" or char.isalpha():
            names.append(f"ascii/{ord(char)}")
        elif names[-1:] != ["silence_stream://100"]:
            names.append("silence_stream://100")
    return names


def words(names: list[str]) -> str:
    """The same for a speech engine, where there are no prompts."""
    return " ".join(filter(None, map(_word, names)))


def _word(name: str) -> str:
    folder, _, rest = name.partition("/")
    if name.startswith("silence_stream:"):
        return ","
    if folder in ("ascii", "phonetic-ascii"):
        return "plus" if rest == "43" else chr(int(rest))
    if rest.startswith("h-"):
        return _ordinal(int(rest[2:]))
    if rest.startswith("day-"):
        return calendar.day_name[(int(rest[4:]) - 1) % 7]
    if rest.startswith("mon-"):
        return calendar.month_name[int(rest[4:]) + 1]
    return {"oclock": "o'clock", "p-m": "p m", "a-m": "a m"}.get(rest, rest)


def _ordinal(number: int) -> str:
    return _ORDINALS[number] if number < len(_ORDINALS) else _TENS.get(number, f"{number}th")
