"""HTTP POST for one event loop: connections that stay open, a limit of bytes, and no redirects."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
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
        place, target = _parts(url)
        request = h11.Request(
            method="POST", target=target,
            headers=[("Host", place.authority), ("Content-Length", str(len(body))), *headers.items()],
        )  # fmt: skip
        kept = self._kept(place)
        if kept is not None:
            try:
                return await self._exchange(place, kept, request, body)
            except ConnectionError:
                pass
        return await self._exchange(place, await self._connect(place), request, body)

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

    async def _exchange(self, place: _Place, connection: _Connection, request: h11.Request, body: bytes) -> Response:
        whole = False
        try:
            http, writer = connection.http, connection.writer
            writer.write((http.send(request) or b"") + (http.send(h11.Data(data=body)) or b""))
            http.send(h11.EndOfMessage())
            await writer.drain()
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
    head, body, begun = None, bytearray(), False
    while True:
        event: Any = connection.http.next_event()
        if event is h11.NEED_DATA:
            data = await connection.reader.read(READ)
            if not data and not begun:
                raise ConnectionResetError("closed without an answer")
            begun = True
            connection.http.receive_data(data)
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


def _parts(url: str) -> tuple[_Place, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    name = f"[{host}]" if ":" in host else host
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Place(host, port, secure, name if parts.port is None else f"{name}:{port}"), target
