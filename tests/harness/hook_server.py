"""A program that a route hook asks, which answers as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Request:
    """One question."""

    headers: dict[str, str]
    body: bytes

    @property
    def question(self) -> dict[str, Any]:
        """What it says."""
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass(slots=True)
class HookServer:
    """Listens on a port of this machine's; what it does may be changed at any time."""

    behaviour: Behaviour
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    secure: bool = False
    connections: int = 0
    "That were made, with TLS as far as both wanted that."

    @property
    def url(self) -> str:
        """Where it is asked."""
        where = f"https://localhost:{self.port}" if self.secure else f"http://127.0.0.1:{self.port}"
        return f"{where}/decide?tenant=a"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, with all questions that come by it."""
        self.connections += 1
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                while True:
                    request = await _request(reader)
                    self.requests.append(request)
                    await self.behaviour(request, writer)
        finally:
            writer.transport.abort()


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Request(headers, await reader.readexactly(int(headers["content-length"])))


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def answers(answer: object, after: float = 0.0, status: str = "200 OK") -> Behaviour:
    """Answers with this as JSON, so many seconds later."""
    return says(response(json.dumps(answer).encode(), status), after)


def says(text: bytes, after: float = 0.0) -> Behaviour:
    """Sends these bytes."""

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(after)
        writer.write(text)
        await writer.drain()

    return behave


def closes(first: bytes) -> Behaviour:
    """Closes the connection behind these bytes."""

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        writer.close()
        raise ConnectionError

    return behave


def drips(text: bytes, pause: float) -> Behaviour:
    """Sends a byte at a time."""

    async def behave(_request: Request, writer: asyncio.StreamWriter) -> None:
        for byte in text:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(pause)

    return behave


async def silent(_request: Request, _writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await asyncio.sleep(3600)


@contextmanager
def serving(behaviour: Behaviour, tls: ssl.SSLContext | None = None) -> Iterator[HookServer]:
    """A server in a thread of its own."""
    server, loop, ready = HookServer(behaviour, secure=tls is not None), asyncio.new_event_loop(), threading.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=1000, ssl=tls)
        server.port = listening.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        # From Python 3.12 on, to wait until it is closed is to wait for its clients.
        listening.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # Transports close in the loop's next turn.
        await asyncio.sleep(0)

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
