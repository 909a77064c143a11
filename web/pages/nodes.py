"""The nodes, and how their processes are."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from media.voicemail.jobs import Jobs
from model.settings import Settings
from operations import nodes, voicemail
from state.store import Store, StoreAwayError
from web.page import Desk, pages
from web.render import page

router = pages()


@router.get("/nodes")
async def shown(request: Request, desk: Desk) -> Response:
    """All of them."""
    return page(request, "nodes.html", title="Nodes", **await _found(request, desk))


@router.get("/nodes/part")
async def part(request: Request, desk: Desk) -> Response:
    """What of it changes."""
    return page(request, "nodes_part.html", **await _found(request, desk))


async def _found(request: Request, desk: Store) -> dict[str, Any]:
    settings: Settings = request.app.state.settings
    try:
        services = await voicemail.standing(Jobs(request.app.state.redis, "console"))
    except RedisError as error:
        raise StoreAwayError(f"Redis does not answer: {type(error).__name__}") from None
    return {
        "rows": await run_in_threadpool(nodes.rows, desk), "position": await run_in_threadpool(nodes.position, desk),
        "workers": await run_in_threadpool(nodes.workers, settings), "services": services, "node": settings.node,
    }  # fmt: skip
