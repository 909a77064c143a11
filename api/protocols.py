"""uvicorn's connections, HTTP and WebSocket, with an end for those who read no more.

A transport that is closed waits until what it holds is sent, and a peer that reads nothing keeps it for ever.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

GIVE_UP = "strowger.give_up"
"""Name of the extension: a function that ends the connection, and waits for nobody. That of a WebSocket takes the code
and the reason, that of an HTTP request nothing."""
LINGER = 30.0
"Seconds that a peer has to read what is on its way, before the connection is broken off."


def options() -> dict[str, Any]:
    """What uvicorn is to be started with. Not compressed: a connection that is would cost 64 kB and more."""
    return {"http": HttpProtocol, "ws": WebSocketProtocol, "ws_per_message_deflate": False}


class HttpProtocol(H11Protocol):
    """One connection, and the requests on it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app = self._offering(self.app)

    def _offering(self, app: ASGIApp) -> Any:
        async def offered(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {**(scope.get("extensions") or {}), GIVE_UP: self.give_up}
            await app(scope, receive, send)

        return offered

    def give_up(self) -> None:
        """End the connection in the midst of an answer; what is not read within :data:`LINGER` is not sent."""
        # As if the peer had gone: nobody is to log that the answer has no end.
        self.cycle.disconnected = True
        _break_off(self.transport, self.loop)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # It tells of each connection with its query, in which there may be numbers of callers.
        self.logger = logging.getLogger("strowger.websocket")
        self.logger.setLevel(logging.WARNING)

    async def run_asgi(self) -> None:
        """Offer the extension to the application."""
        extensions: dict[str, Any] = dict(self.scope["extensions"] or {})
        extensions[GIVE_UP] = self.give_up
        self.scope["extensions"] = extensions
        await super().run_asgi()

    def give_up(self, code: int, reason: str) -> None:
        """Close; what is not read within :data:`LINGER` is not sent."""
        self.stop_keepalive()
        if not self.close_sent and not self.transport.is_closing():
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        _break_off(self.transport, self.loop)

    def keepalive_timeout(self) -> None:
        """A peer that answers no ping is waited for no longer than one that reads nothing."""
        super().keepalive_timeout()
        _break_off(self.transport, self.loop)


def _break_off(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    transport.close()
    loop.call_later(LINGER, transport.abort)
