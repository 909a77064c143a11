"""What came of questions, told to Kamailio over HTTP on loopback, which goes on with the call.

Each costs as little as can be, since all of it happens on the machine that serves the other calls: the request is
written here, and of the answer, which Kamailio makes by kamailio.cfg, only the end is looked at. Whatever is
not as expected ends the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

TAKEN, LATE = b"taken\n", b"late\n"
"How kamailio.cfg answers: the call goes on; nobody waits for it any more."
LIMIT = 4096
"Bytes of an answer, headers included."
IDLE_MOST = 32
"Connections that are kept though nobody uses them."


class Delivery:
    """Connections to the Kamailio whose RPC listens at ``port``."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[_Link] = []

    async def tell(self, transaction: str, answer: bytes) -> bool:
        """Whether a call went on with an answer. Raises OSError."""
        data = (
            f"POST /hook/{transaction} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        ).encode() + answer
        while self._idle:
            link = self._idle.pop()
            if not link.closed:
                try:
                    return await link.ask(data)
                except ConnectionError:
                    break
        # Told twice where a connection turns out to be closed: then nobody waits for it any more.
        _, link = await asyncio.get_running_loop().create_connection(
            partial(_Link, self._free), "127.0.0.1", self._port
        )
        return await link.ask(data)

    def close(self) -> None:
        """Close what is idle."""
        for link in self._idle:
            link.close()
        self._idle.clear()

    def _free(self, link: _Link) -> None:
        if len(self._idle) < IDLE_MOST:
            self._idle.append(link)
        else:
            link.close()


class _Link(asyncio.Protocol):
    """One connection, with one question at a time; ``free`` is called with it when it can be used again."""

    def __init__(self, free: Callable[[_Link], None]) -> None:
        self._free = free
        self._heard = b""
        self._answer: asyncio.Future[bool] | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    async def ask(self, data: bytes) -> bool:
        self._heard, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            return await self._answer
        finally:
            if not self._answer.done() or self._answer.cancelled():
                # What comes yet would be taken for the next one's.
                self.close()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if self._heard.endswith((TAKEN, LATE)) and b"\r\n\r\n" in self._heard:
            self._settle(self._heard.endswith(TAKEN))
        elif len(self._heard) > LIMIT:
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("Kamailio closed the connection"))

    def close(self) -> None:
        self.closed = True
        self._transport.abort()

    def _settle(self, taken: bool) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(taken)
            self._free(self)
