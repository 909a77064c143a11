"""Who may ask for what: bearer tokens with roles (RFC 6750), looked up at each request, so a revoked one is out at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api.problems import ProblemError
from state import tokens
from state.store import Store
from state.tokens import Role, Token

bearer = HTTPBearer(auto_error=False, description="A token of `strowger token create`.")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="strowger"'}


def bearer_of(store: Store, text: str) -> Token:
    """The token with this text. Raises ProblemError, StoreError."""
    token = tokens.check(store, text, time.time())
    if token is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "the token is unknown, revoked or expired", CHALLENGE)
    return token


def authenticated(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
) -> Token:
    """The token that a request bears. Raises ProblemError, StoreError."""
    if credentials is None:
        raise ProblemError(HTTPStatus.UNAUTHORIZED, "send a token: Authorization: Bearer sw_…", CHALLENGE)
    return bearer_of(request.app.state.store, credentials.credentials)


def needs(role: Role) -> Any:
    """A dependency: the request's token, which must be good for ``role``."""

    def checked(token: Annotated[Token, Depends(authenticated)]) -> Token:
        if not token.role.may(role):
            detail = f"this needs the role {role}; the token {token.name!r} has {token.role}"
            raise ProblemError(HTTPStatus.FORBIDDEN, detail)
        return token

    return Depends(checked)


def acting(request: Request, token: Annotated[Token, Depends(authenticated)]) -> Store:
    """The store, whose changes the token's bearer makes."""
    store: Store = request.app.state.store
    return store.acting_as(f"token:{token.name}")


Desk = Annotated[Store, Depends(acting)]
"The shared state, as the bearer of the request's token."
Check = Callable[[Token], Token]
