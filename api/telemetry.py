"""/metrics, /live and /ready of the web process, on its own port; no token is asked for, as none is of the others."""

from __future__ import annotations

from fastapi import FastAPI, Response

from operations.event_hub import Hub
from state.store import Store, StoreError
from telemetry import redis, web
from telemetry.health import Check
from telemetry.listener import Told, answer
from telemetry.registry import raised


def install(app: FastAPI) -> None:
    """Count the requests of an application, and have it tell how it is."""
    store: Store = app.state.store
    hub: Hub = app.state.hub

    def sample() -> None:
        redis.checked(store.ping, StoreError)
        web.EVENT_CLIENTS.set(hub.followers)
        raised(web.EVENT_DROPS, hub.dropped)

    def ready() -> list[Check]:
        return [redis.checked(store.ping, StoreError)]

    told = Told(sample=sample, ready=ready)

    def told_of(path: str) -> Response:
        found = answer(told, path)
        return Response(found.content, found.status, media_type=found.kind, headers={"Cache-Control": "no-store"})

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return told_of("/metrics")

    @app.get("/live", include_in_schema=False)
    async def live() -> Response:
        # In the event loop, so that it answers for that.
        return told_of("/live")

    @app.get("/ready", include_in_schema=False)
    def is_ready() -> Response:
        return told_of("/ready")

    app.add_middleware(web.Metered)
