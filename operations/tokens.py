"""Tokens of the HTTP API and the console."""

from __future__ import annotations

import time

from operations.changes import Row
from operations.errors import MissingError
from state import tokens
from state.store import Store
from state.tokens import Role


def rows(store: Store) -> list[Row]:
    """All tokens, the oldest first, expired ones too; never what they are."""
    now = time.time()
    return [{**token.shown(), "live": token.live(now)} for token in tokens.tokens(store)]


def create(store: Store, name: str, role: Role, ttl: float | None) -> Row:
    """A new token, good for ``ttl`` seconds (None: until it is revoked), and its text, this once. Raises TokenError."""
    token, text = tokens.make(store, name, role, time.time() + ttl if ttl is not None else 0.0)
    return {**token.shown(), "live": True, "token": text}


def revoke(store: Store, id: str) -> Row:
    """Take a token out of use, at once. Raises MissingError."""
    try:
        return {**tokens.revoke(store, id).shown(), "live": False}
    except tokens.TokenError as error:
        raise MissingError(str(error)) from None
