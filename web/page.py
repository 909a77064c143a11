"""What every page has in common: who is signed in, forms of this site only, and errors as pages.

All of it is in the class of the routes, so that no page can be without it.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from model.settings import Settings
from operations.errors import AwayError, InvalidError, MissingError, OperationError
from state import sessions
from state.sessions import Session
from state.store import Store, StoreAwayError, StoreError
from state.tokens import Role
from web.render import error_page

COOKIE = "strowger_session"
SAFE = ("GET", "HEAD")
CSRF_FIELD, CSRF_HEADER = "csrf", "X-CSRF-Token"

log = logging.getLogger(__name__)

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Refused(Exception):
    """What was asked for is not done; a page says why."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class OpenRoute(APIRoute):
    """A page for everybody, such as the log-in: forms of this site only, and errors as pages."""

    def get_route_handler(self) -> Handler:
        """See :class:`fastapi.routing.APIRoute`."""
        handle = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await self.guarded(request, handle)
            except Exception as error:
                return _failure(request, error)

        return shown

    async def guarded(self, request: Request, handle: Handler) -> Response:
        """Handle a request, if it may be."""
        _check_origin(request)
        return await handle(request)


class PageRoute(OpenRoute):
    """A page for those who are signed in."""

    async def guarded(self, request: Request, handle: Handler) -> Response:
        """See :class:`OpenRoute`."""
        _check_origin(request)
        session = await run_in_threadpool(sessions.find, store_of(request), request.cookies.get(COOKIE, ""))
        if session is None:
            return _to_login(request)
        request.state.session = session
        if request.method not in SAFE:
            await _check_csrf(request, session)
        return await handle(request)


def pages() -> APIRouter:
    """For the pages of a theme."""
    return APIRouter(route_class=PageRoute, include_in_schema=False)


def store_of(request: Request) -> Store:
    """The shared state."""
    store: Store = request.app.state.store
    return store


def needs(role: Role) -> Any:
    """A dependency: who is signed in must be good for ``role``. Each form has one; pages that all may see have none."""

    def checked(request: Request) -> None:
        session: Session = request.state.session
        if not session.may(role):
            text = f"this needs a token with the role {role}; {session.token.name!r} has {session.token.role}"
            raise Refused(HTTPStatus.FORBIDDEN, text)

    checked.role = role  # type: ignore[attr-defined]
    return Depends(checked)


def _acting(request: Request) -> Store:
    session: Session = request.state.session
    return store_of(request).acting_as(f"token:{session.token.name}")


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Desk = Annotated[Store, Depends(_acting)]
"The shared state, as whoever is signed in."
Here = Annotated[Settings, Depends(_settings)]
"The settings of this process."


def after(request: Request, path: str, note: str = "") -> Response:
    """What a form answers when it is done: go and look there; ``note`` is said on that page."""
    if note:
        sessions.note(store_of(request), request.state.session, note)
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def local_path(text: str) -> str:
    """A path on this site, or its first page: nobody is sent elsewhere."""
    parts = urlsplit(text)
    mine = text.startswith("/") and not text.startswith(("//", "/\\")) and not parts.netloc and text.isprintable()
    return text if mine else "/"


def _check_origin(request: Request) -> None:
    if request.method in SAFE:
        return
    # Every browser of these years sends it with a form. A proxy in front passes Host on.
    origin = request.headers.get("Origin", "")
    if urlsplit(origin).netloc != request.headers.get("Host", ""):
        raise Refused(HTTPStatus.FORBIDDEN, "this form was not sent by a page of this console")


async def _check_csrf(request: Request, session: Session) -> None:
    sent = request.headers.get(CSRF_HEADER) or (await request.form()).get(CSRF_FIELD) or ""
    if not isinstance(sent, str) or not hmac.compare_digest(sent.encode(), session.csrf.encode()):
        text = "this form was made for another session: open the page again, and send it once more"
        raise Refused(HTTPStatus.FORBIDDEN, text)


def _to_login(request: Request) -> Response:
    if "X-Part" in request.headers or "text/event-stream" in request.headers.get("Accept", ""):
        # Of a page that was open: it says so, and is not filled with the log-in.
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    back = "" if request.method not in SAFE or wanted == "/" else f"?next={quote(wanted, safe='')}"
    return RedirectResponse(f"/login{back}", HTTPStatus.SEE_OTHER)


def _failure(request: Request, error: Exception) -> Response:
    match error:
        case Refused(status=status):
            return error_page(request, status, str(error))
        case HTTPException(status_code=code, detail=detail):
            return error_page(request, HTTPStatus(code), str(detail))
        case RequestValidationError():
            found = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
            return error_page(request, HTTPStatus.UNPROCESSABLE_ENTITY, found)
        case StoreAwayError() | AwayError():
            return error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case InvalidError():
            return error_page(request, HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        case MissingError():
            return error_page(request, HTTPStatus.NOT_FOUND, str(error))
        case StoreError() | OperationError():
            return error_page(request, HTTPStatus.CONFLICT, str(error))
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__, exc_info=error)
    return error_page(request, HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the console's; its log says more")
