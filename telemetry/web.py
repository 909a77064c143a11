"""Metrics of the HTTP API and the console."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from telemetry.registry import REGISTRY

REQUESTS = Counter("strowger_http_requests", "Requests, by route, as the document names it, and status.",
                   ["route", "method", "status"], registry=REGISTRY)  # fmt: skip
SECONDS = Histogram(
    "strowger_http_seconds", "From a request to the beginning of its answer.", ["route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0), registry=REGISTRY,
)  # fmt: skip
EVENT_CLIENTS = Gauge("strowger_event_clients", "Who follows live events, by WebSocket or in a page.",
                      registry=REGISTRY)  # fmt: skip
EVENT_DROPS = Counter("strowger_event_drops", "Events that clients did not get, since they were too slow.",
                      registry=REGISTRY)  # fmt: skip

UNKNOWN = "unknown"
"The route of a request for what is not there: its path is anybody's."
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Metered:
    """Counts the requests of an ASGI application."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                SECONDS.labels(route_of(scope)).observe(time.monotonic() - began)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            REQUESTS.labels(route_of(scope), method, str(status)).inc()


def route_of(scope: Scope) -> str:
    """The route's path with its parameters by name, which numbers and ids stand for; never the path that was asked."""
    route = scope.get("route")
    path = getattr(route, "path_format", None) or getattr(route, "path", None)
    return str(path) if path else UNKNOWN
