"""Entries of the blocklist and the allow list."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

from model.numbers import Dialling, normalise, normalise_beginning

PAIR_SEPARATOR = ">"
KEY_MAX_BYTES = 200
# Seconds that an entry may last: sensible, and within what Redis and JavaScript take for a time.
TTL_MAX = 100 * 365 * 86400

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TTL = re.compile(r"(\d{1,9})([smhd]?)")


class Kind(StrEnum):
    """What of a call an entry is compared with."""

    CALLER = "caller"
    CALLEE = "callee"
    PAIR = "pair"
    CALLER_PREFIX = "caller-prefix"
    CALLEE_PREFIX = "callee-prefix"
    SOURCE = "source"
    USER_AGENT = "user-agent"


class Action(StrEnum):
    """What an entry does; one allow entry that matches outdoes every block entry."""

    ALLOW = "allow"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``kind`` and ``value`` together identify it."""

    kind: Kind
    value: str
    "Normalised: a number, a number's beginning, ``caller>callee``, a network, or part of a User-Agent in lower case."
    action: Action = Action.BLOCK
    expires: float = 0.0
    "Unix time in seconds; 0 means never."
    reason: str = ""
    created: float = 0.0
    "Unix time in seconds."

    def live(self, now: float) -> bool:
        """Whether the entry is still in force at Unix time ``now``."""
        return not self.expires or now < self.expires


class EntryError(ValueError):
    """What an operator typed is no entry; the message says why."""


def parse_entry_value(kind: Kind, text: str, dialling: Dialling) -> str:
    """The normalised value of an entry of ``kind``; for a pair, call it for each side.

    Raises :class:`EntryError`.
    """
    text = text.strip()
    if not text:
        raise EntryError(f"{kind}: empty")
    value = _parsers.get(kind, _number)(text, dialling)
    if not value:
        # All of it was parameters or separators. As a prefix, nothing would match everything.
        raise EntryError(f"{kind}: {text!r} leaves nothing of a number")
    if len(value.encode()) > KEY_MAX_BYTES:
        raise EntryError(f"{kind}: longer than {KEY_MAX_BYTES} bytes")
    return value


def pair_value(caller: str, callee: str) -> str:
    """The value of a pair entry, from two normalised numbers."""
    return f"{caller}{PAIR_SEPARATOR}{callee}"


def parse_pair(caller: str, callee: str) -> str:
    """The value of a pair entry, from two normalised numbers. Raises :class:`EntryError`."""
    value = pair_value(caller, callee)
    if len(value.encode()) > KEY_MAX_BYTES:
        raise EntryError(f"{Kind.PAIR}: longer than {KEY_MAX_BYTES} bytes")
    return value


def parse_ttl(text: str) -> float:
    """Seconds. Raises :class:`EntryError`."""
    found = _TTL.fullmatch(text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= TTL_MAX:
        raise EntryError(f"{text!r} is not a time such as 90, 45s, 30m, 12h or 7d")
    return float(seconds)


def _number(text: str, dialling: Dialling) -> str:
    return _checked(text, normalise(text, dialling))


def _prefix(text: str, dialling: Dialling) -> str:
    return _checked(text, normalise_beginning(text, dialling))


def _checked(text: str, number: str) -> str:
    if any(char.isspace() or char == PAIR_SEPARATOR for char in number):
        raise EntryError(f"{text!r} is neither a number nor the user part of a SIP address")
    return number


def _network(text: str, _: Dialling) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError as error:
        raise EntryError(f"{text!r} is no IP address or network in CIDR notation ({error})") from None


def _user_agent(text: str, _: Dialling) -> str:
    return text.lower()


_parsers = {
    Kind.CALLER_PREFIX: _prefix,
    Kind.CALLEE_PREFIX: _prefix,
    Kind.SOURCE: _network,
    Kind.USER_AGENT: _user_agent,
}
