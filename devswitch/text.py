"""How FreeSWITCH takes text apart: arguments, truth, ``${variables}`` (switch_utils.c, switch_channel.c)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "s": " "}
_TRUE = frozenset(("yes", "on", "true", "t", "enabled", "active", "allow"))
_DEPTH = 20  # switch_channel_expand_variables stops after 100 turns; a loop shows much sooner

Lookup = Callable[[str], str | None]
Call = Callable[[str, str], Awaitable[str]]


def true(value: str | None) -> bool:
    """switch_true: some words, and every number but 0."""
    if not value:
        return False
    return value.lower() in _TRUE or (_integer(value) is not None and _integer(value) != 0)


def number(text: str | None, default: int = 0) -> int:
    """atoi: the number that a text begins with, else ``default``."""
    found = _integer(text or "")
    return default if found is None else found


def _integer(text: str) -> int | None:
    match = re.match(r"\s*([+-]?\d+)", text)
    return int(match[1]) if match else None


def separate(text: str, delimiter: str = " ", limit: int = 0) -> list[str]:
    """The parts of ``text``; single quotes hold one together, the last of ``limit`` is all that is left."""
    parts: list[str] = []
    rest = text.lstrip(" ") if delimiter == " " else text
    while rest:
        end = len(rest) if limit and len(parts) == limit - 1 else _end(rest, delimiter)
        parts.append(_clean(rest[:end], delimiter))
        following = rest[end + 1 :]
        if delimiter != " " and end < len(rest) and not following:
            parts.append("")
        rest = following.lstrip(" ") if delimiter == " " else following
    return parts


def listed(text: str, delimiter: str = " ") -> list[str]:
    """The parts of ``text``, by the delimiter or by the character behind ``^^`` at its beginning."""
    return separate(text[3:], text[2]) if text.startswith("^^") and len(text) > 2 else separate(text, delimiter)


def _end(text: str, delimiter: str) -> int:
    quoted = False
    position = 0
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == "'" and (quoted or "'" in text[position + 1 :]):
            quoted = not quoted
        elif text[position] == delimiter and not quoted:
            return position
        position += 1
    return len(text)


def _clean(text: str, delimiter: str) -> str:
    result: list[str] = []
    text = text.strip(" ")
    quoted = False
    position = 0
    while position < len(text):
        char = text[position]
        following = text[position + 1 : position + 2]
        if char == "\\" and following and (following in "'\"\\" or following == delimiter or following in _ESCAPES):
            result.append(_ESCAPES.get(following, following))
            position += 1
        elif char == "'" and (quoted or "'" in text[position + 1 :]):
            quoted = not quoted
        else:
            result.append(char)
        position += 1
    return "".join(result)


async def expand(text: str, lookup: Lookup, call: Call, depth: int = 0) -> str:
    """``text`` with ``${name}``, ``${name:offset:length}``, ``$${global}`` and ``${api(arguments)}`` replaced.

    ``lookup`` gives a variable's value, ``call`` runs an API command. Unknown names become nothing.
    """
    if "$" not in text or depth > _DEPTH:
        return text
    result: list[str] = []
    position = 0
    while position < len(text):
        if text.startswith("\\$", position):
            result.append("$")
            position += 2
            continue
        opening = _opening(text, position)
        if not opening:
            result.append(text[position])
            position += 1
            continue
        end = _closing(text, position + opening)
        result.append(await _value(text[position + opening : end], lookup, call, depth))
        position = end + 1
    return "".join(result)


def _opening(text: str, position: int) -> int:
    if text.startswith("${", position):
        return 2
    return 3 if text.startswith("$${", position) else 0


def _closing(text: str, start: int) -> int:
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if not depth:
            return position
    return len(text)


async def _value(inner: str, lookup: Lookup, call: Call, depth: int) -> str:
    if match := re.match(r"(\w+)(?:\((.*)\)$| (.*))", inner, re.DOTALL):
        arguments = await expand(match[2] if match[2] is not None else match[3], lookup, call, depth + 1)
        return await call(match[1], arguments)
    name, *slices = (await expand(inner, lookup, call, depth + 1)).split(":")
    value = await expand(lookup(name) or "", lookup, call, depth + 1)
    if not slices:
        return value
    start = number(slices[0])
    value = value[start:] if abs(start) <= len(value) or start < 0 else ""
    length = number(slices[1]) if len(slices) > 1 else 0
    return value[:length] if length > 0 else value
