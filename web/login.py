"""Signing in and out, and how the console looks to whoever does."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from state import sessions, tokens
from web.page import COOKIE, OpenRoute, PageRoute, local_path, store_of
from web.render import THEME, THEMES, page

router = APIRouter(include_in_schema=False)
_open = APIRouter(route_class=OpenRoute, include_in_schema=False)
_signed_in = APIRouter(route_class=PageRoute, include_in_schema=False)

YEAR = 365 * 86400


@_open.get("/login")
def form(request: Request, next: str = "/") -> Response:
    """Ask for a token."""
    return page(request, "login.html", title="Sign in", next=local_path(next), problem="")


@_open.post("/login")
def sign_in(request: Request, token: Annotated[str, Form()] = "", next: Annotated[str, Form()] = "/") -> Response:
    """Begin a session, if the token is good."""
    store, address = store_of(request), request.client.host if request.client else ""
    if seconds := sessions.barred(store, address):
        problem = f"too many tokens were wrong: try again in {seconds} seconds"
        answer = _again(request, HTTPStatus.TOO_MANY_REQUESTS, next, problem)
        answer.headers["Retry-After"] = str(seconds)
        return answer
    found = tokens.check(store, token.strip(), time.time())
    if found is None:
        sessions.failed(store, address)
        return _again(request, HTTPStatus.UNAUTHORIZED, next, "the token is unknown, revoked or expired")
    answer = RedirectResponse(local_path(next), HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        COOKIE, sessions.begin(store, found), max_age=sessions.KEPT, httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


@_signed_in.post("/logout")
def sign_out(request: Request) -> Response:
    """End the session."""
    sessions.end(store_of(request), request.state.session)
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@_signed_in.post("/theme")
def theme(request: Request, theme: Annotated[str, Form()], back: Annotated[str, Form()] = "/") -> Response:
    """Light, dark, or as the system has it."""
    answer = RedirectResponse(local_path(back), HTTPStatus.SEE_OTHER)
    chosen = theme if theme in THEMES else THEMES[0]
    answer.set_cookie(
        THEME, chosen, max_age=YEAR, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )
    return answer


def _again(request: Request, status: HTTPStatus, next: str, problem: str) -> Response:
    return page(request, "login.html", status=status, title="Sign in", next=local_path(next), problem=problem)


router.include_router(_open)
router.include_router(_signed_in)
