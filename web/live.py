"""What happens, to pages that are open: Server-Sent Events (static/live.js listens)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import StreamingResponse

from api.events import allowed_with, event_stream
from operations.event_filters import Wanted
from web.page import pages, store_of

router = pages()


@router.get("/events")
async def follow(
    request: Request, kind: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006
) -> StreamingResponse:  # fmt: skip
    """Events whose kinds begin so, from the last one that the browser has on."""
    allowed = allowed_with(store_of(request), request.state.session.token)
    return await event_stream(request, [Wanted.parse({"kind": kind})], allowed)
