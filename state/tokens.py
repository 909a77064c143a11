"""Tokens of the HTTP API: who may do what. A token is shown once, when it is made; what is kept is a hash of it.

A token is 256 random bits, so one round of SHA-256 hides it: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import cast

from state import keys
from state.store import Store, StoreError, _away

_TEXT = re.compile(r"sw_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}")
"What a token may be called."


class TokenError(StoreError):
    """A token cannot be made, or is not there; the message says why."""


class Role(StrEnum):
    """What the bearer of a token may do; each may do what those before it may."""

    READ = "read"
    "Look at everything but secrets."
    OPERATE = "operate"
    "Change what changes from day to day: lists, drains, messages, running calls."
    ADMIN = "admin"
    "Apply policies, subscribers, tokens."

    def may(self, needed: Role) -> bool:
        """Whether this is enough for what needs ``needed``."""
        return _ORDER.index(self) >= _ORDER.index(needed)


_ORDER = tuple(Role)


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token."""

    id: str
    "12 hexadecimal digits, part of the token."
    name: str
    "Who bears it, for the audit."
    role: Role
    hash: str
    "SHA-256 of its secret part, in hexadecimal."
    created: float
    "Unix time in seconds."
    expires: float = 0.0
    "Unix time in seconds; 0: it does not."

    def live(self, now: float) -> bool:
        """Whether it is good at Unix time ``now``."""
        return not self.expires or now < self.expires

    def shown(self) -> dict[str, object]:
        """As people may see it."""
        data = asdict(self)
        del data["hash"]
        return {**data, "expires": self.expires or None}


def make(store: Store, name: str, role: Role, expires: float = 0.0) -> tuple[Token, str]:
    """A new token, and its text, which nobody can show again. Raises TokenError, StoreError."""
    if not NAME.fullmatch(name):
        raise TokenError(f"{name[:40]!r} is no name of a token: 1 to 64 letters, digits and . _ @ - or blanks")
    secret = secrets.token_urlsafe(32)
    token = Token(secrets.token_hex(6), name, role, _hash(secret), time.time(), expires)
    kept = asdict(token)
    del kept["id"]
    _write(store, token.id, json.dumps(kept), None, token)
    return token, f"sw_{token.id}_{secret}"


def check(store: Store, text: str, now: float) -> Token | None:
    """The token whose text this is, if it is good at Unix time ``now``. Raises StoreError."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    with _away():
        known = cast("str | None", store._redis.hget(keys.TOKENS, found[1]))
    token = _decoded(found[1], known) if known is not None else None
    if token is None or not hmac.compare_digest(token.hash, _hash(found[2])):
        return None
    return token if token.live(now) else None


def tokens(store: Store) -> list[Token]:
    """All tokens, the oldest first, expired ones too. Raises StoreError."""
    return sorted((_decoded(id, text) for id, text in store.records(keys.TOKENS)), key=lambda token: token.created)


def revoke(store: Store, id: str) -> Token:
    """Take a token out of use, at once. Raises TokenError, StoreError."""
    with _away():
        known = cast("str | None", store._redis.hget(keys.TOKENS, id))
    if known is None:
        raise TokenError(f"there is no token {id!r}")
    token = _decoded(id, known)
    _write(store, id, "", token, None)
    return token


def _write(store: Store, id: str, text: str, before: Token | None, after: Token | None) -> None:
    sides = [json.dumps(side.shown()) if side else "" for side in (before, after)]
    with _away():
        pipe = store._redis.pipeline(transaction=True)
        if text:
            pipe.hset(keys.TOKENS, id, text)
        else:
            pipe.hdel(keys.TOKENS, id)
        fields = {"seq": "", "who": store.who, "what": "token", "subject": id, "before": sides[0], "after": sides[1]}
        pipe.xadd(keys.AUDIT, fields, maxlen=keys.AUDIT_KEPT, approximate=True)  # type: ignore[arg-type]
        pipe.execute()


def _decoded(id: str, text: str) -> Token:
    data = json.loads(text)
    return Token(id, data["name"], Role(data["role"]), data["hash"], data["created"], data["expires"])


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
