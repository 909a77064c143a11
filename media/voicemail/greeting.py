"""What a caller hears of the box before the beep; pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from media.speech import say
from media.speech.speaker import Part, Text
from media.voicemail.box import Box
from media.voicemail.layout import GreetingKind

_BUSY = "busy"
"The reason for which somebody is on the phone; all others mean that nobody is there."
_BY_REASON: dict[str, tuple[GreetingKind, ...]] = {_BUSY: ("busy", "unavailable")}


def kinds(box: Box, reason: str) -> tuple[GreetingKind, ...]:
    """The recordings that would do, the best first."""
    if box.greeting == "auto" or box.greeting == "temporary":
        return ("temporary", *_BY_REASON.get(reason, ("unavailable",)))
    return ("temporary", box.greeting)


def words(box: Box, reason: str, recorded: Mapping[GreetingKind, Path]) -> Part:
    """The greeting; ``recorded`` are those that the box has.

    Where none was recorded that would do, one is made of the name, recorded or else spoken, or of the number.
    """
    for kind in kinds(box, reason):
        # The name is none that stands alone.
        if kind in recorded and kind != "name":
            return (recorded[kind],)
    absence = "vm-isonphone" if reason == _BUSY else "vm-isunavail"
    if "name" in recorded:
        return (recorded["name"], absence)
    if box.name:
        return (Text(box.name), absence)
    return ("vm-theperson", *_spelled(box.number), absence)


def _spelled(number: str) -> say.Names:
    return say.digits(number) if set(number) <= set("0123456789*#+") else say.letters(number)
