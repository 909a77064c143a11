"""What is said of a message before it is heard, and of how many there are. Pure."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from media.speech import say
from media.voicemail.message import Counts, Message


def position(number: int, *, last: bool) -> tuple[str, ...]:
    """``First message``, ``message two``, ``last message``."""
    if number == 1:
        return ("vm-first", "vm-message")
    if last:
        return ("vm-last", "vm-message")
    return ("vm-message", *say.number(number))


def envelope(message: Message, zone: str, now: datetime) -> tuple[str, ...]:
    """From whom the message is, when it came by the clock of ``zone`` (a name of the IANA), and its length.

    ``now``: an aware time, which says what today is.
    """
    return (
        *(("vm-Urgent",) if message.urgent else ()),
        *caller(message),
        *received(message.received, zone, now),
        *length(message.seconds),
    )


def caller(message: Message) -> tuple[str, ...]:
    """Who left it, digit by digit; a name is not spelled, as it may be anything."""
    number = message.caller.removeprefix("+")
    if not (number.isascii() and number.isdigit()):
        return ("vm-unknown-caller",)
    return ("vm-from-phonenumber", *say.digits(number))


def received(at: float, zone: str, now: datetime) -> tuple[str, ...]:
    """When it came: today and yesterday, or the date, and the time."""
    return ("vm-received", *say.date_time(datetime.fromtimestamp(at, ZoneInfo(zone)), now=now))


def length(seconds: float) -> tuple[str, ...]:
    """How long it lasts."""
    return ("vm-duration", *say.duration(seconds))


def count_of(number: int, kind: str) -> tuple[str, ...]:
    """``You have two old messages``; ``kind``: the folder's word."""
    how_many = say.number(number) if number else ("vm-no",)
    return ("vm-youhave", *how_many, kind, "vm-message" if number == 1 else "vm-messages")


def counts(found: Counts) -> tuple[str, ...]:
    """``You have one urgent and two new and five old messages``."""
    kinds = (
        (found.urgent_new, "vm-Urgent"),
        (found.new - found.urgent_new, "vm-INBOX"),
        (found.saved, "vm-Old"),
    )
    spoken = [(number, word) for number, word in kinds if number]
    if not spoken:
        return ("vm-youhave", "vm-no", "vm-messages")
    words: list[str] = ["vm-youhave"]
    for place, (number, word) in enumerate(spoken):
        words += [*(("vm-and",) if place else ()), *say.number(number), word]
    return (*words, "vm-message" if spoken[-1][0] == 1 else "vm-messages")
