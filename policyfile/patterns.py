"""Which regular expressions may rewrite numbers: those that no number can keep busy.

A SIP worker runs them on what a caller dialled, and Python's matcher tries every way to match: nested or
alternating repetition takes it time exponential in the length of the number, and each further repetition
multiplies the time by that length.
"""

from __future__ import annotations

import re
import warnings

MAX_LENGTH = 200
MAX_REPETITIONS = 4

_TOKEN = re.compile(
    r"""
    (?P<literal>\\. | \[\^?\]?(?:\\.|[^\]\\])*\])
  | (?P<open>\((?:\?(?:[:=!]|<[=!]|P<\w+>))?(?!\?))
  | (?P<close>\))
  | (?P<alternative>\|)
  | (?P<repeat>(?:[*+?] | \{(?P<low>\d*)(?P<comma>,)?(?P<high>\d*)\})[?+]?)
  | (?P<extension>\(\?)
  | .
    """,
    re.VERBOSE | re.DOTALL,
)


def check_pattern(pattern: str) -> None:
    """Raises ValueError unless ``pattern`` is a regular expression that is safe to run on any number."""
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            # Python warns of what it may read differently one day.
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    _check_repetitions(pattern)


def check_replacement(pattern: str, replacement: str) -> None:
    """Raises ValueError unless ``replacement`` refers only to groups that ``pattern`` (a checked one) has."""
    try:
        # The empty alternative matches in any case, and makes the matcher expand the replacement.
        re.sub(f"(?:{pattern})|", replacement, "")
    except (re.error, IndexError) as error:
        raise ValueError(f"not a replacement for this pattern: {error}") from None


def _check_repetitions(pattern: str) -> None:
    repetitions = 0
    branching = [False]
    "Per open group, outermost first: whether it can match the same text in several ways."
    closed = False
    "Whether the token before closed a group that is branching."
    for token in _TOKEN.finditer(pattern):
        kind = token.lastgroup
        if kind == "extension":
            raise ValueError("only the groups (...), (?:...), (?P<name>...), (?=...) and (?!...) are supported")
        if kind == "open":
            branching.append(False)
        elif kind == "alternative":
            branching[-1] = True
        elif kind == "repeat":
            if closed and not token["repeat"].startswith("?"):
                raise ValueError("a repeated group contains a repetition or alternatives, which can take for ever")
            if _varies(token):
                repetitions += 1
                branching[-1] = True
        closed = kind == "close" and _close(branching)
    if repetitions > MAX_REPETITIONS:
        raise ValueError(f"more than {MAX_REPETITIONS} repetitions of varying length (* + ? {{n,m}})")


def _close(branching: list[bool]) -> bool:
    inner = branching.pop()
    branching[-1] = branching[-1] or inner
    return inner


def _varies(token: re.Match[str]) -> bool:
    return not token["repeat"].startswith("{") or (bool(token["comma"]) and token["low"] != token["high"])
