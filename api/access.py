"""Who may ask for what: bearer tokens with roles (RFC 6750).

They are looked up at each request, so one that is revoked is out at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import ProblemError
from model.settings import Settings
from state import tokens
from state.store import Store
from state.tokens import Role, Token

# For the OpenAPI document.
_scheme = HTTPBearer(auto_error=False, description="A token of `strowger token create`.")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="strowger"'}


def bearer_of(store: Store, text: str) -> Token:
    """The token with this text. Raises ProblemError, StoreError."""
    token = tokens.check(store, text, time.time())
    if token is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "the token is unknown, revoked or expired", CHALLENGE)
    return token


def admit(request: Request, role: Role) -> Token:
    """The token that a request bears, which is good for a role. Raises ProblemError, StoreError."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "send a token: Authorization: Bearer sw_…", CHALLENGE)
    token = bearer_of(request.app.state.store, text.strip())
    if not token.role.may(role):
        detail = f"this needs the role {role}; the token {token.name!r} has {token.role}"
        raise ProblemError(HTTPStatus.FORBIDDEN, detail)
    return token


def authenticated(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_scheme)]
) -> Token:
    """The token that a request of a room was admitted with."""
    token: Token = request.state.token
    return token


@dataclass(frozen=True, slots=True)
class Needs:
    """What a route says of itself; its room admits nobody else."""

    role: Role

    def __call__(self, token: Annotated[Token, Depends(authenticated)]) -> Token:
        """The token."""
        return token


def needs(role: Role) -> Any:
    """A dependency of a route; see :class:`Needs`."""
    return Depends(Needs(role))


def acting(request: Request, token: Annotated[Token, Depends(authenticated)]) -> Store:
    """The store, whose changes the token's bearer makes."""
    store: Store = request.app.state.store
    return store.acting_as(f"token:{token.name}")


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Bearer = Annotated[Token, Depends(authenticated)]
"The request's token."
Desk = Annotated[Store, Depends(acting)]
"The shared state, as the bearer of the request's token."
Here = Annotated[Settings, Depends(_settings)]
"The settings of this process."
