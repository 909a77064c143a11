"""A room of the API: routes with a name for programs, a role that they need, and errors of one shape."""

from __future__ import annotations

import io
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from api.access import Needs, admit
from api.idempotency import HEADER, LONGEST, SAFE, once
from api.problems import documented

BODY_MAX = 1 << 20
"Bytes of a request's body, unless its route says otherwise."

# Any request may meet these.
_COMMON = (
    HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE,
)  # fmt: skip
_KEY = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Any text that is new: a repetition under it does nothing again, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"},
}


class InForce(BaseModel):
    """Where a change is in force."""

    nodes: list[str] = Field(description="Nodes that have it.")
    missing: list[str] = Field(description="Live nodes that did not say so in time: calls there may go without it.")


class _Route(APIRoute):
    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        role = next((d.dependency.role for d in options["dependencies"] or () if isinstance(d.dependency, Needs)), None)
        if role is None or "." not in (options["operation_id"] or ""):
            raise TypeError(f"{path} says no role that it needs, or no operation_id such as theme.verb")
        changes = not set(options["methods"]) <= set(SAFE)
        self._role = role
        extra: dict[str, Any] = {"x-role": role.value, **({"parameters": [_KEY]} if changes else {})}
        options["openapi_extra"] = {**extra, **(options["openapi_extra"] or {})}
        options["responses"] = {**documented(*_COMMON), **(options["responses"] or {})}
        # What is no JSON is a file (api/files.py).
        self._takes_file = "requestBody" in (options["openapi_extra"] or {})
        # Not FastAPI's own limit, whose answer is no problem+json.
        self._most = options.get("max_body_size") or BODY_MAX
        options["max_body_size"] = None
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See :class:`fastapi.routing.APIRoute`."""
        handle, role, most = once(super().get_route_handler()), self._role, self._most
        takes_file = self._takes_file

        async def admitted(request: Request) -> Response:
            # Before anything of the body is read.
            request.state.token = await run_in_threadpool(admit, request, role)
            bounded = Request(request.scope, _bounded(request, most))
            if takes_file:
                bounded.state.file = await _collected(bounded)
            return await handle(bounded)

        return admitted


async def _collected(request: Request) -> io.BytesIO:
    # Once: what Request.body() gives was there in parts before, and a file may be of 100 MB.
    file = io.BytesIO()
    async for part in request.stream():
        file.write(part)
    file.seek(0)
    return file


def _bounded(request: Request, most: int) -> Receive:
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if max(taken, int(request.headers.get("Content-Length", "0"))) > most:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most} bytes")
        return message

    return receive


def room(prefix: str, tag: str) -> APIRouter:
    """A router of a theme. Each of its routes says ``dependencies=[needs(role)]`` and an ``operation_id``."""
    return APIRouter(prefix=prefix, tags=[tag], route_class=_Route)
