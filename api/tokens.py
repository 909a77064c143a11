"""Tokens of the HTTP API and the console."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.access import Bearer, Desk, needs
from api.problems import documented
from api.room import room
from model.entries import TTL_MAX
from operations import tokens
from state.tokens import NAME, Role

router = room("/tokens", "tokens")


class NewToken(BaseModel):
    """A token to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=f"^{NAME.pattern}$", description="Who will bear it, as the audit says it.")
    role: Role
    ttl: float | None = Field(None, gt=0, le=TTL_MAX, description="Seconds; null: until it is revoked.")


class Token(BaseModel):
    """What is known of a token."""

    id: str
    name: str
    role: Role
    created: float = Field(description="Unix time in seconds.")
    expires: float | None = Field(description="Unix time in seconds; null: it does not.")
    live: bool


class TokenMade(Token):
    """A token, this once."""

    token: str


class Tokens(BaseModel):
    """All tokens, the oldest first."""

    tokens: list[Token]


@router.get("", operation_id="tokens.all", dependencies=[needs(Role.ADMIN)])
def all_tokens(desk: Desk) -> Tokens:
    """All tokens, expired ones too; never what they are."""
    return Tokens.model_validate({"tokens": tokens.rows(desk)})


@router.get("/own", operation_id="tokens.own", dependencies=[needs(Role.READ)])
def own(bearer: Bearer) -> Token:
    """The token of this request."""
    return Token.model_validate({**bearer.shown(), "live": True})


@router.post("", operation_id="tokens.create", status_code=201, dependencies=[needs(Role.ADMIN)])
def create(desk: Desk, token: NewToken) -> TokenMade:
    """Make a token; the answer says it, this once."""
    return TokenMade.model_validate(tokens.create(desk, token.name, token.role, token.ttl))


@router.delete("/{id}", operation_id="tokens.revoke", dependencies=[needs(Role.ADMIN)],
               responses=documented(HTTPStatus.NOT_FOUND))  # fmt: skip
def revoke(desk: Desk, id: Annotated[str, Path(max_length=64)]) -> Token:
    """Take a token out of use, at once."""
    return Token.model_validate(tokens.revoke(desk, id))
