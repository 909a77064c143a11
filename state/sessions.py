"""Who is signed in to the console: a random id in a cookie, and under its hash, in Redis, the token it stands for.

The token is looked up at each request: who revokes it signs out everybody who signed in by it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from typing import cast

from state import keys, tokens
from state.store import Store, _away
from state.tokens import Role, Token

KEPT = 12 * 3600
"Seconds after which everybody signs in again."
ATTEMPTS = 10
"Failed log-ins of an address within :data:`WINDOW`."
WINDOW = 300
"Seconds."
NOTE_KEPT = 300
"Seconds for which what is to be said on the next page waits for it."


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in."""

    key: str
    "SHA-256 of the id in the cookie, in hexadecimal."
    token: Token
    csrf: str
    "What each form sends along, so that no other site can send it."

    def may(self, role: str) -> bool:
        """Whether they may do what needs ``role``."""
        return self.token.role.may(Role(role))


def begin(store: Store, token: Token) -> str:
    """Sign in; returns what the cookie holds. Raises StoreError."""
    id = secrets.token_urlsafe(32)
    kept = json.dumps({"token": token.id, "csrf": secrets.token_urlsafe(24)})
    with _away():
        store._redis.set(keys.web_session(_hash(id)), kept, ex=KEPT)
    return id


def find(store: Store, id: str) -> Session | None:
    """Who has this cookie, unless it is over, or their token is. Raises StoreError."""
    if not id:
        return None
    key = _hash(id)
    with _away():
        text = cast("str | None", store._redis.get(keys.web_session(key)))
    if text is None:
        return None
    kept = json.loads(text)
    (known,) = store.values(keys.TOKENS, [kept["token"]])
    token = tokens._decoded(kept["token"], known) if known is not None else None
    return Session(key, token, kept["csrf"]) if token is not None and token.live(time.time()) else None


def end(store: Store, session: Session) -> None:
    """Sign out. Raises StoreError."""
    with _away():
        store._redis.delete(keys.web_session(session.key), keys.web_note(session.key))


def note(store: Store, session: Session, text: str) -> None:
    """Have something said on the next page. Raises StoreError."""
    with _away():
        store._redis.set(keys.web_note(session.key), text, ex=NOTE_KEPT)


def noted(store: Store, session: Session) -> str:
    """What is to be said now, once. Raises StoreError."""
    with _away():
        return cast("str | None", store._redis.getdel(keys.web_note(session.key))) or ""


def barred(store: Store, address: str) -> int:
    """Seconds for which an address may not log in any more; 0: it may. Raises StoreError."""
    with _away():
        pipe = store._redis.pipeline(transaction=False)
        pipe.get(keys.web_logins(address))
        pipe.ttl(keys.web_logins(address))
        count, ttl = pipe.execute()
    return max(1, int(ttl)) if int(count or 0) >= ATTEMPTS else 0


def failed(store: Store, address: str) -> None:
    """A log-in from this address failed. Raises StoreError."""
    with _away():
        pipe = store._redis.pipeline(transaction=True)
        pipe.incr(keys.web_logins(address))
        pipe.expire(keys.web_logins(address), WINDOW, nx=True)
        pipe.execute()


def _hash(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()
