"""The HTTP API as an ASGI application."""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema
from redis.asyncio import Redis

from api import (
    audit,
    calls,
    events,
    explain,
    fraud,
    gateways,
    hooks,
    lists,
    node,
    nodes,
    overview,
    policy,
    problems,
    rates,
    records,
    routes,
    standing,
    subscribers,
    telemetry,
    tokens,
    voicemail,
    workers,
    xmlrpc_door,
)
from api.problems import Problem
from model.settings import Settings
from operations.event_hub import Hub
from state.clients import connect
from state.store import TIMEOUT, Store

PREFIX = "/api/v1"
ROUTERS = (
    lists.router, policy.router, explain.router, calls.router, records.router, gateways.router, voicemail.router,
    fraud.router, nodes.router, events.router, events.sockets, overview.router, routes.router, rates.router,
    subscribers.router, standing.trunk_router, standing.limit_router, node.router, workers.router,
    hooks.router, tokens.router, audit.router,
)  # fmt: skip

DESCRIPTION = """Everything that the `strowger` command does.

Each request bears a token of `strowger token create`: `Authorization: Bearer sw_…`. The role that a route needs is its
`x-role`. Errors are `application/problem+json`. A change is answered when every live node has it in force.
"""


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, in which every route's errors have one shape."""
        if self.openapi_schema is None:
            schemas = super().openapi()["components"]["schemas"]
            _, problem = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
            schemas.update(problem["$defs"])
        assert self.openapi_schema is not None
        return self.openapi_schema


def make_app(settings: Settings) -> FastAPI:
    """The API over the state at ``settings``; nothing is connected before the first request.

    In ``app.state``: ``settings``, ``store`` (blocking: for routes that are no coroutines) and ``redis`` (for
    those that are).
    """
    app = _Api(
        title="Strowger", version=importlib.metadata.version("strowger"), description=DESCRIPTION,
        openapi_url=f"{PREFIX}/openapi.json", docs_url=None, redoc_url=None, lifespan=_closing,
    )  # fmt: skip
    app.state.settings = settings
    app.state.store = Store(settings.redis_url)
    app.state.redis = connect(settings.redis_url, timeout=TIMEOUT)
    app.state.hub = Hub(settings.redis_url)
    problems.install(app)
    telemetry.install(app)
    for router in ROUTERS:
        app.include_router(router, prefix=PREFIX)
    app.include_router(xmlrpc_door.router)
    return app


@asynccontextmanager
async def _closing(app: FastAPI) -> AsyncIterator[None]:
    yield
    hub: Hub = app.state.hub
    await hub.close()
    redis: Redis = app.state.redis
    await redis.aclose()
    store: Store = app.state.store
    store.close()
