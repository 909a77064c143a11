"""HTTP POST for one event loop: connections that stay open, a limit of bytes, and no redirects.

What is sent is written here, and what comes is read by h11, which is told of the request when there is something to
read: so a question that nobody answers costs much less.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import h11

BODY_LIMIT = 65_536
"Bytes of an answer."
IDLE = 30.0
"Seconds after which an unused connection is not used again: many a server closes it after a minute."
IDLE_MOST = 32
"Connections to one server that are kept though nobody uses them."
READ = 65_536


class HttpError(Exception):
    """What came back is no answer; the text says why, and never what was in it."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whole."""

    status: int
    headers: dict[str, str]
    "Names in lower case; of several with one name, the last."
    body: bytes


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: int
    secure: bool
    authority: str


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    since: float = 0.0
    "Event loop's time at which it became idle."

    def close(self) -> None:
        # Not in order: who does not answer may not close either.
        self.writer.transport.abort()


@dataclass(slots=True)
class Client:
    """Asks servers; each question has a connection of its own while it lasts."""

    _idle: dict[_Place, list[_Connection]] = field(default_factory=dict)
    _tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> Response:
        """The answer. Raises HttpError and OSError; how long it may take is the caller's to say, by cancelling.

        The question is sent twice where a connection that was kept turns out to be closed.
        """
        place, request = _request(url)
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        data = b"".join((request.begin, f"{''.join(lines)}Content-Length: {len(body)}\r\n\r\n".encode("ascii"), body))
        kept = self._kept(place)
        if kept is not None:
            try:
                return await self._exchange(place, kept, request, data)
            except ConnectionError:
                pass
        return await self._exchange(place, await self._connect(place), request, data)

    def close(self) -> None:
        """Close what is idle."""
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _kept(self, place: _Place) -> _Connection | None:
        idle, now = self._idle.get(place, []), asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if now - connection.since < IDLE and not connection.reader.at_eof():
                return connection
            connection.close()
        return None

    async def _connect(self, place: _Place) -> _Connection:
        if place.secure and self._tls is None:
            self._tls = ssl.create_default_context()
        context = self._tls if place.secure else None
        return _Connection(*await asyncio.open_connection(place.host, place.port, ssl=context))

    async def _exchange(self, place: _Place, connection: _Connection, request: _Request, data: bytes) -> Response:
        whole = False
        try:
            connection.writer.write(data)
            await connection.writer.drain()
            first = await connection.reader.read(READ)
            if not first:
                raise ConnectionResetError("closed without an answer")
            http = connection.http
            http.send(request.sent)
            http.send(h11.EndOfMessage())
            http.receive_data(first)
            response = await _response(connection)
            whole = http.our_state is h11.DONE and http.their_state is h11.DONE
            return response
        except h11.ProtocolError as error:
            raise HttpError(f"no HTTP: {error}") from None
        finally:
            if whole:
                self._keep(place, connection)
            else:
                connection.close()

    def _keep(self, place: _Place, connection: _Connection) -> None:
        idle = self._idle.setdefault(place, [])
        if len(idle) >= IDLE_MOST:
            connection.close()
            return
        connection.http.start_next_cycle()
        connection.since = asyncio.get_running_loop().time()
        idle.append(connection)


async def _response(connection: _Connection) -> Response:
    head, body = None, bytearray()
    while True:
        event: Any = connection.http.next_event()
        if event is h11.NEED_DATA:
            connection.http.receive_data(await connection.reader.read(READ))
        elif isinstance(event, h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY_LIMIT:
                raise HttpError(f"the answer has more than {BODY_LIMIT} bytes")
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
            return Response(int(head.status_code), headers, bytes(body))
        elif isinstance(event, h11.ConnectionClosed):
            raise HttpError("closed before the answer was whole")


@dataclass(frozen=True, slots=True)
class _Request:
    begin: bytes
    "Its first line and headers that all questions to one URL have."
    sent: h11.Request
    "What h11 has to know of it to read the answer: without a body, which is none of its business."


@lru_cache(maxsize=256)
def _request(url: str) -> tuple[_Place, _Request]:
    """Where a question goes and how it begins. Raises HttpError."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    name = f"[{host}]" if ":" in host else host
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    place = _Place(host, port, secure, name if parts.port is None else f"{name}:{port}")
    try:
        # It looks whether that can stand in a request.
        sent = h11.Request(method="POST", target=target, headers=[("Host", place.authority)])
    except h11.ProtocolError as error:
        raise HttpError(f"no HTTP: {error}") from None
    return place, _Request(f"POST {target} HTTP/1.1\r\nHost: {place.authority}\r\n".encode("ascii"), sent)
