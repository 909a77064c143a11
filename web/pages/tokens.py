"""Tokens: who may use the HTTP API and this console, making one and taking one away."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Form, Request, Response

from model.entries import EntryError, parse_ttl
from operations import tokens
from state.sessions import Session
from state.store import Store
from state.tokens import Role, TokenError
from web.page import Desk, after, needs, pages
from web.render import page

router = pages()

ROLES = {
    Role.READ: "read: look",
    Role.OPERATE: "operate: and change day by day",
    Role.ADMIN: "admin: and everything else",
}


@router.get("/tokens", dependencies=[needs(Role.ADMIN)])
def shown(request: Request, desk: Desk) -> Response:
    """All of them, and a form for another."""
    return _page(request, desk)


@router.post("/tokens", dependencies=[needs(Role.ADMIN)])
def create(
    request: Request, desk: Desk, name: Annotated[str, Form(max_length=200)] = "",
    role: Annotated[Role, Form()] = Role.READ, lasting: Annotated[str, Form(max_length=40)] = "",
) -> Response:  # fmt: skip
    """Make a token. The answer shows it: what is said on the page after a form is kept in Redis, and no token is."""
    form, problems, ttl = {"name": name, "role": role, "lasting": lasting}, {}, None
    try:
        ttl = parse_ttl(lasting) if lasting.strip() else None
    except EntryError as error:
        problems["lasting"] = str(error)
    if not problems:
        try:
            return _page(request, desk, made=tokens.create(desk, name.strip(), role, ttl))
        except TokenError as error:
            problems["name"] = str(error)
    return _page(request, desk, HTTPStatus.UNPROCESSABLE_ENTITY, form=form, problems=problems)


@router.post("/tokens/revoke", dependencies=[needs(Role.ADMIN)])
def revoke(request: Request, desk: Desk, id: Annotated[str, Form(max_length=64)]) -> Response:
    """Take a token out of use, at once."""
    done = tokens.revoke(desk, id)
    return after(request, "/tokens", f"token {done['id']} of {done['name']} is revoked")


def _page(
    request: Request, desk: Store, status: HTTPStatus = HTTPStatus.OK, *, made: dict[str, Any] | None = None,
    form: dict[str, Any] | None = None, problems: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    session: Session = request.state.session
    return page(
        request, "tokens.html", status=status, title="Tokens", rows=tokens.rows(desk), own=session.token.id, made=made,
        roles=ROLES, form=form or {}, problems=problems or {},
    )  # fmt: skip
