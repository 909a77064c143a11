"""What goes wrong, as clients read it: ``application/problem+json`` (RFC 9457), one shape for every error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from kemi.explain import FailureSpecError
from kemi.rpc import RpcError, RpcUnavailable
from model.entries import EntryError
from model.listfile import ListFileError
from model.subscriber import SubscriberError
from operations.errors import AwayError, ImpossibleError, InvalidError, MissingError
from policyfile import PolicyFileError
from state.store import ConflictError, NoPolicyAppliedError, NotKeptError, StoreAwayError, StoreError
from state.tokens import TokenError

MEDIA_TYPE = "application/problem+json"
AWAY = HTTPStatus.SERVICE_UNAVAILABLE
INVALID = HTTPStatus.UNPROCESSABLE_ENTITY

# The first that fits counts: special ones stand before what they are kinds of.
STATUSES: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (InvalidError, INVALID),
    (MissingError, HTTPStatus.NOT_FOUND),
    (ImpossibleError, HTTPStatus.CONFLICT),
    (AwayError, AWAY),
    (EntryError, INVALID),
    (FailureSpecError, INVALID),
    (ListFileError, INVALID),
    (SubscriberError, INVALID),
    (RpcUnavailable, AWAY),
    (RpcError, HTTPStatus.CONFLICT),
    (PolicyFileError, INVALID),
    (ConflictError, HTTPStatus.CONFLICT),
    (NoPolicyAppliedError, HTTPStatus.CONFLICT),
    (NotKeptError, HTTPStatus.NOT_FOUND),
    (TokenError, INVALID),
    (StoreAwayError, AWAY),
    (StoreError, HTTPStatus.CONFLICT),
)

log = logging.getLogger(__name__)


class Where(BaseModel):
    """One thing that is wrong with what was sent."""

    where: str = Field(description="Part of the request or field, `body.ttl`; or line and field of a policy.")
    what: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What went wrong, for people.")
    errors: list[Where] = []


class ProblemError(Exception):
    """A request is answered with an error."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.headers = status, dict(headers or {})


def documented(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """These statuses for the OpenAPI document."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {int(status): {"description": status.phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Have every error of ``app`` answered in this shape."""
    app.add_exception_handler(ProblemError, _of_ours)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(RequestValidationError, _of_validation)
    for kind, _ in STATUSES:
        app.add_exception_handler(kind, _of_operation)
    app.add_exception_handler(Exception, _of_bug)


def answer(
    status: int, detail: str, errors: list[Where] | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """An error as a response."""
    problem = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors or [])
    return JSONResponse(problem.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


async def _of_ours(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return answer(error.status, str(error), headers=error.headers)


async def _of_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    # FastAPI's word for JSON that is no UTF-8; other JSON that is none, it has as 422.
    status = INVALID if error.status_code == HTTPStatus.BAD_REQUEST else error.status_code
    return answer(status, str(error.detail), headers=error.headers)


async def _of_validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [Where(where=".".join(map(str, item["loc"])), what=item["msg"]) for item in error.errors()]
    return answer(INVALID, "the request is not as it should be", found)


async def _of_operation(_: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in STATUSES if isinstance(error, kind))
    if isinstance(error, PolicyFileError):
        found = [Where(where=f"line {one.line}: {one.field}".rstrip(": "), what=one.message) for one in error.problems]
        return answer(status, "the policy is not valid; nothing was applied", found)
    return answer(status, str(error))


async def _of_bug(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__, exc_info=error)
    return answer(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server's; its log says more")
