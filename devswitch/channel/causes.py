"""Causes as dialplans and commands name them (switch_channel_str2cause, switch_channel_handle_cause)."""

from __future__ import annotations

from devswitch.sip.causes import NUMBERS

_NAMES = {number: name for name, number in NUMBERS.items()}


def named(text: str, default: str = "NORMAL_CLEARING") -> str:
    """The cause that ``text`` means, a name or a number; unknown ones are the default."""
    if text.isdigit():
        return _NAMES.get(int(text), default)
    return text.upper() if text.upper() in NUMBERS else default


def matches(cause: str, listed: str) -> bool:
    """Whether a list such as ``user_busy,603`` has the cause, by name or by number."""
    names = {entry.strip().upper() for entry in listed.split(",")}
    return cause in names or str(NUMBERS.get(cause, "")) in names
