"""What can be wrong with a policy file, and how it is said."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

Path = tuple[str | int, ...]
'Keys and indexes from the top of the document: ``("routes", 0, "gateways")``.'

_SIMPLE_KEY = re.compile(r"[\w.+-]{1,63}", re.ASCII)
_LONGEST_QUOTE = 60


class Finding(NamedTuple):
    """Something wrong, not yet placed on a line."""

    path: Path
    message: str
    line: int = 0
    "1-based; 0: the line of ``path``."


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a policy file."""

    file: str
    line: int
    "1-based."
    field: str
    "As an operator reads it, ``routes[0].gateways[1]``; empty: the document."
    message: str

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        # Some messages quote what was written, or what a library says of it: line breaks may be among it.
        return " ".join(f"{self.file}:{self.line}: {field}{self.message}".splitlines())


class PolicyFileError(ValueError):
    """A policy file is not usable. Its text is one problem per line, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def field_of(path: Path) -> str:
    """``path`` as an operator reads it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path).lstrip(".")


def _key(text: str) -> str:
    # A quoted YAML key may hold line breaks; a problem stays on one line.
    return text if _SIMPLE_KEY.fullmatch(text) else quoted(text)


def quoted(value: object) -> str:
    """``value`` for use in a message: on one line and not too long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` with the known word closest to ``word``, or nothing if none is close."""
    by_folded = {name.casefold(): name for name in known}
    close = difflib.get_close_matches(word.casefold()[:_LONGEST_QUOTE], by_folded, n=1)
    return f" (did you mean {quoted(by_folded[close[0]])}?)" if close else ""
