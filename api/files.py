"""CSV files as bodies of requests and of answers, and recordings as answers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import chain
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.types import Message, Receive, Scope, Send

from api.room import InForce

FILE_MAX = 128 << 20
"Bytes of a file that is imported."
CSV = "text/csv"


def _file(request: Request) -> io.BytesIO:
    file: io.BytesIO = request.state.file
    return file


File = Annotated[io.BytesIO, Depends(_file)]
"The body of a request, of a route that takes such a file."
Replace = Annotated[bool, Query(description="The file becomes the whole; what it lacks goes.")]
SkipBad = Annotated[bool, Query(description="Import the other lines where some are wrong.")]

TAKEN: dict[str, Any] = {
    "requestBody": {"required": True, "content": {CSV: {"schema": {"type": "string", "maxLength": FILE_MAX}}}}
}
"For the OpenAPI document: a route that takes such a file."
GIVEN: dict[int | str, dict[str, Any]] = {
    200: {"description": "A file that an import takes.", "content": {CSV: {"schema": {"type": "string"}}}}
}
"For the same: a route that gives one."


class Skipped(BaseModel):
    """A line that was not imported."""

    line: int
    field: str
    message: str


class Imported(InForce):
    """What became of an import."""

    imported: int = Field(description="Records.")
    skipped: list[Skipped]
    replaced: bool


def streamed(lines: Iterator[str], media_type: str = CSV) -> StreamingResponse:
    """Lines as an answer."""
    # What is wrong with Redis shows with the first: then it is an error, and not half an answer.
    first = next(lines, "")
    return StreamingResponse(chain((first,), lines), media_type=media_type)


class Growing(FileResponse):
    """A file that somebody may be writing: as long as it was when the answer began."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        left, over = 0, False

        async def bounded(message: Message) -> None:
            nonlocal left, over
            if message["type"] == "http.response.start":
                left = next((int(value) for name, value in message["headers"] if name == b"content-length"), 0)
                await send(message)
            elif not over:
                # What comes behind this was written meanwhile.
                body = message["body"][:left]
                left -= len(body)
                over = not (left and message["more_body"])
                await send({**message, "body": body, "more_body": not over})

        await super().__call__(scope, receive, bounded)
