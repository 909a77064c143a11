"""The nodes, and how their processes are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Form, Request, Response
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from media.voicemail.jobs import Jobs
from model.settings import Settings
from operations import draining, nodes, voicemail, workers
from state.store import Store, StoreAwayError
from state.tokens import Role
from web.page import Desk, after, needs, pages
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


@router.post("/nodes/drain", dependencies=[needs(Role.OPERATE)])
def drain(
    request: Request, desk: Desk, name: Annotated[str, Form()], reason: Annotated[str, Form(max_length=500)] = ""
) -> Response:  # fmt: skip
    """Let a node take no new calls."""
    done = draining.drain(desk, name, reason)
    return after(request, "/nodes", f"{name} {'takes no new calls' if done['in_force'] else 'is to take no new calls'}")


@router.post("/nodes/resume", dependencies=[needs(Role.OPERATE)])
def resume(request: Request, desk: Desk, name: Annotated[str, Form()]) -> Response:
    """Let it take calls again."""
    done = draining.resume(desk, name)
    return after(request, "/nodes", f"{name} {'takes calls again' if done['in_force'] else 'is to take calls again'}")


async def _found(request: Request, desk: Store) -> dict[str, Any]:
    settings: Settings = request.app.state.settings
    try:
        services = await voicemail.standing(Jobs(request.app.state.redis, "console"))
    except RedisError as error:
        raise StoreAwayError(f"Redis does not answer: {type(error).__name__}") from None
    return {
        "rows": await run_in_threadpool(nodes.rows, desk), "position": await run_in_threadpool(nodes.position, desk),
        "workers": await run_in_threadpool(workers.rows, settings), "services": services, "node": settings.node,
    }  # fmt: skip
