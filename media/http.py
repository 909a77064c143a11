"""Call scripts over HTTP, for ``${curl(...)}`` in a dialplan and for web pages on this machine.

``GET`` or ``POST /scripts/NAME`` runs the script and answers what it wrote to ``stream``; ``?args=…`` is its ``args``,
and every parameter, of the query or of a form, is a header of its ``env``. ``?detach=true`` answers 202 at once.

It listens on loopback. A browser on this machine is no safe place, though: what a foreign page asks for is refused.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

READ_LIMIT = 10.0
"Seconds that a client has to say what it wants."
LINGER = 2.0
"Seconds that a client has to close after the answer."
BODY_LIMIT = 65_536
"Bytes of a form."
PREFIX = "/scripts/"
FORM = "application/x-www-form-urlencoded"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A script that somebody wants to be run."""

    name: str
    method: str
    parameters: Mapping[str, str]


class HttpError(Exception):
    """A request is answered with an error; its text is the answer."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


Run = Callable[[Request], Awaitable[tuple[HTTPStatus, str]]]
"Runs what is asked for; status and text. Raises HttpError. Cancelled when the client goes."


async def serve(host: str, port: int, run: Run) -> asyncio.Server:
    """Listen. Raises OSError."""
    return await asyncio.start_server(lambda reader, writer: _Client(reader, writer, run).serve(), host, port)


class _Client:
    """One connection, with one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, run: Run) -> None:
        self._reader, self._writer, self._run = reader, writer, run
        self._http = h11.Connection(h11.SERVER)
        self._bodyless = False
        "Whether the answer has no body, as to HEAD."

    async def serve(self) -> None:
        """Answer; no error of a client goes further than this."""
        try:
            with suppress(OSError, TimeoutError):
                await self._send(*await self._answer())
                await self._finish()
        finally:
            self._writer.close()

    async def _answer(self) -> tuple[HTTPStatus, str]:
        try:
            async with asyncio.timeout(READ_LIMIT):
                request = await self._request()
        except (h11.RemoteProtocolError, ValueError):
            return HTTPStatus.BAD_REQUEST, "that is no HTTP\n"
        except HttpError as error:
            return error.status, f"{error}\n"
        try:
            return await self._result(request)
        except HttpError as error:
            return error.status, f"{error}\n"

    async def _request(self) -> Request:
        head = await self._next()
        if not isinstance(head, h11.Request):
            raise ConnectionResetError
        self._bodyless = head.method == b"HEAD"
        headers = {name.decode(): value.decode() for name, value in head.headers}
        _refuse_foreign(headers, *self._writer.get_extra_info("sockname")[:2])
        url = urlsplit(head.target.decode())
        if not url.path.startswith(PREFIX) or head.method not in (b"GET", b"POST"):
            raise HttpError(HTTPStatus.NOT_FOUND, f"ask for {PREFIX}NAME by GET or POST")
        form = await self._body() if headers.get("content-type", "").partition(";")[0] == FORM else ""
        pairs = parse_qsl(url.query, keep_blank_values=True) + parse_qsl(form, keep_blank_values=True)
        name = unquote(url.path.removeprefix(PREFIX))
        return Request(name=name, method=head.method.decode(), parameters=dict(pairs))

    async def _body(self) -> str:
        body = bytearray()
        while isinstance(data := await self._next(), h11.Data):
            body += data.data
            if len(body) > BODY_LIMIT:
                raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a form has {BODY_LIMIT} bytes at most")
        return body.decode()

    async def _next(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(65_536))
        return event

    async def _result(self, request: Request) -> tuple[HTTPStatus, str]:
        """What the script says, unless the client goes before."""
        run = asyncio.ensure_future(self._run(request))
        gone = asyncio.ensure_future(self._gone())
        try:
            await asyncio.wait({run, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not run.done():
                raise ConnectionResetError
            return run.result()
        finally:
            run.cancel()
            gone.cancel()
            # Only one may read at a time.
            await asyncio.wait({run, gone}, timeout=LINGER)

    async def _gone(self) -> None:
        while await self._reader.read(65_536):
            pass

    async def _finish(self) -> None:
        # Closed with something unread, TCP resets the connection, and the answer may be lost (RFC 9112 section 9.6).
        self._writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                await self._gone()

    async def _send(self, status: HTTPStatus, text: str) -> None:
        kind, body = _content(text)
        headers = [
            ("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close"),
            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
        ]  # fmt: skip
        await self._write(h11.Response(status_code=status, headers=headers, reason=status.phrase.encode()))
        if not self._bodyless:
            await self._write(h11.Data(data=body))

    async def _write(self, event: h11.Event) -> None:
        self._writer.write(self._http.send(event) or b"")
        await self._writer.drain()


def _refuse_foreign(headers: Mapping[str, str], address: str, port: int) -> None:
    own = [f"{host}:{port}" for host in (f"[{address}]" if ":" in address else address, "localhost")]
    host = headers.get("host", "")
    # Another name may have been made to lead here (DNS rebinding); Origin and Sec-Fetch-Site are the browser's word.
    if host not in own or headers.get("origin", f"http://{host}") != f"http://{host}":
        raise HttpError(HTTPStatus.FORBIDDEN, f"not asked for as {' or '.join(own)}")
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise HttpError(HTTPStatus.FORBIDDEN, "not asked for by a page of this server")


def _content(text: str) -> tuple[str, bytes]:
    """A script may begin with ``Content-Type: …`` and an empty line, as in FreeSWITCH's mod_xml_rpc."""
    head, empty, body = text.replace("\r\n", "\n").partition("\n\n")
    name, _, kind = head.partition(":")
    if empty and name.lower() == "content-type" and kind.isascii() and kind.isprintable():
        kind = kind.strip()
        return kind if "charset" in kind else f"{kind}; charset=utf-8", body.encode()
    return "text/plain; charset=utf-8", text.encode()
