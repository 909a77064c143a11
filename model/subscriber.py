"""Subscribers: who may register a phone and call from it, and what becomes of calls to them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from model.causes import Reason

# The hash functions of RFC 7616 that are spoken, as a challenge names them, the preferred one first.
ALGORITHMS = {"SHA-256": "sha256", "MD5": "md5"}

_NAME = re.compile(r"[0-9A-Za-z+*#_][0-9A-Za-z+*#._-]{0,31}")
# A colon would end the user's part of what is hashed; the rest would have to be escaped in a header.
_PASSWORD = re.compile(r"[\x21-\x7e]{8,128}")


class SubscriberError(ValueError):
    """Something of a subscriber cannot be; the message says what."""


@dataclass(frozen=True, slots=True)
class Forwards:
    """The numbers that calls to a subscriber go to instead, normalised; empty: none."""

    always: str = ""
    busy: str = ""
    no_answer: str = ""
    unreachable: str = ""

    def after(self, reason: Reason | None) -> str:
        """Where a call goes that found nobody for this reason."""
        if reason is Reason.BUSY:
            return self.busy
        if reason is Reason.NO_ANSWER:
            return self.no_answer
        return self.unreachable if reason is Reason.UNREACHABLE else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """One subscriber, who may have several phones."""

    name: str
    "What phones register as, and the number that routes lead calls to."
    realm: str = ""
    "What the hashes were made for."
    ha1: dict[str, str]
    "Algorithm to the hash of name, realm and password (RFC 7616 section 3.4.2), in hexadecimal."
    numbers: tuple[str, ...] = ()
    "Further numbers that the subscriber may call from, normalised."
    algorithms: tuple[str, ...] = ()
    "Hash functions of challenges to this subscriber's phones, the preferred one first; empty: as the policy says."
    enabled: bool = True
    do_not_disturb: bool = False
    withhold: bool = False
    "Whether their number is withheld on all calls, and where they forward one."
    reject_anonymous: bool = False
    "Whether callers who withhold theirs are refused."
    forwards: Forwards = Forwards()
    created: float = 0.0
    "Unix time."
    calls: int | None = None
    "How many calls they may have at once; 0: as many as they like, None: as the policy says. So is the following."
    per_second: int | None = None

    def owns(self, number: str) -> bool:
        """Whether a normalised number is the subscriber's."""
        return number == self.name or number in self.numbers

    def encode(self) -> str:
        """Everything but the name, as JSON."""
        data = asdict(self)
        del data["name"]
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def decode(cls, name: str, text: str | bytes) -> Subscriber:
        """From what :meth:`encode` made; fields of a later version are left out."""
        data: dict[str, Any] = json.loads(text)
        known = {field.name for field in fields(cls)}
        kept = {key: value for key, value in data.items() if key in known}
        forwards = Forwards(**kept.pop("forwards", {}))
        lists = {field: tuple(kept.get(field, ())) for field in ("numbers", "algorithms")}
        return cls(**{**kept, **lists, "name": name, "forwards": forwards})

    def shown(self) -> dict[str, Any]:
        """As people may see it: without the hashes, which are as good as the password."""
        data = asdict(self)
        return {**data, "ha1": sorted(self.ha1)}


def hashes(name: str, realm: str, password: str) -> dict[str, str]:
    """Algorithm to HA1. Raises :class:`SubscriberError` for a password that cannot be."""
    if not _PASSWORD.fullmatch(password):
        raise SubscriberError("a password has 8 to 128 printable ASCII characters and no space")
    text = f"{name}:{realm}:{password}".encode()
    return {algorithm: hashlib.new(function, text).hexdigest() for algorithm, function in ALGORITHMS.items()}


def check_name(name: str) -> str:
    """The name as it is. Raises :class:`SubscriberError`."""
    if not _NAME.fullmatch(name):
        raise SubscriberError(f"{name[:40]!r} cannot be a subscriber: 1 to 32 of letters, digits and + * # . _ -")
    return name
