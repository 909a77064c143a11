"""What the switch's `say` says, in our words: for a FreeSWITCH that has no recorded prompts, which would be silent."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from media.speech import say
from media.speech.speaker import Speaker

if TYPE_CHECKING:
    from media.session.state import State

_COUNTS = ("number", "items", "persons", "messages")
_FOLDERS = ("", "8000/", "16000/", "32000/", "48000/")


async def switch_has_prompts(session: State, worker: Speaker) -> bool:
    """Whether the switch has recorded digits; asked once for each worker, which has one switch."""
    if worker.switch_has_prompts is None:
        prefix = await session.get_variable("sound_prefix") or ""
        answers = [await session._asked("file_exists", f"{prefix}/digits/{rate}1.wav") for rate in _FOLDERS]
        if not session.ready():
            return True
        # The embedded switch has no such command, and speaks where nothing is recorded.
        worker.switch_has_prompts = any(answer.strip() != "false" for answer in answers)
    return worker.switch_has_prompts


def names(kind: str, method: str, text: str, zone: str | None) -> say.Names:
    """The prompts for it (say_type and say_method of mod_say_en.c); () for what is not said here."""
    kind, method = kind.lower(), method.partition(":")[0].lower()
    with suppress(say.SayError, ValueError, InvalidOperation, KeyError, OverflowError, OSError):
        if kind in _COUNTS:
            if method == "iterated":
                return say.digits(text)
            count = int(text.replace(",", ""))
            return say.ordinal(count) if method == "counted" else say.number(count)
        if kind == "telephone_number":
            return say.digits(text)
        if kind in ("name_spelled", "name_phonetic"):
            return say.letters(text, phonetic=kind == "name_phonetic")
        if kind == "currency":
            return say.money(Decimal("".join(char for char in text if char in "0123456789.+-")))
        if kind == "time_measurement":
            return say.duration(_seconds(text))
        return _moment(kind, text, ZoneInfo(zone or "UTC"))
    return ()


def _seconds(text: str) -> int:
    seconds = 0
    for part in text.split(":"):
        seconds = 60 * seconds + int(part)
    return seconds


def _moment(kind: str, text: str, zone: ZoneInfo) -> say.Names:
    moment = datetime.fromtimestamp(int(text), zone) if text.strip().isdigit() else datetime.now(zone)
    if kind == "current_date":
        return say.say_date(moment.date())
    if kind == "current_time":
        return say.say_time(moment.time())
    if kind == "current_date_time":
        return say.date_time(moment)
    return say.date_time(moment, now=datetime.now(UTC)) if kind == "short_date_time" else ()
