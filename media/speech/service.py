"""An engine behind HTTP: the text goes there as the body of a POST, and a WAV file comes back."""

from __future__ import annotations

import asyncio
import base64
import ssl
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlsplit

import h11

from media.speech.errors import EngineError, NoEngineError

TIME_LIMIT = 30.0
"Seconds from the first byte sent to the last one read."
SIZE_LIMIT = 64_000_000
"Bytes of an answer."
_READ = 65536


class HttpEngine:
    """``POST URL?voice=VOICE&rate=RATE`` with the text as UTF-8; 200 and a WAV file are the answer.

    Name and password in the URL are sent as basic authentication. Redirects are not followed.
    """

    def __init__(self, url: str, *, limit: float = TIME_LIMIT) -> None:
        """Raises :class:`NoEngineError` for a URL that is none."""
        self._url, self._limit = urlsplit(url), limit
        try:
            self._port = self._url.port or (443 if self._url.scheme == "https" else 80)
        except ValueError:
            raise NoEngineError("the speech service's URL has a port that is none") from None
        if not self._url.hostname:
            raise NoEngineError("the speech service's URL names no host")
        self.name = _shown(self._url)

    async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
        """See :class:`~media.speech.engines.Engine`."""
        try:
            async with asyncio.timeout(self._limit):
                body = await self._ask(text, voice, rate)
        except TimeoutError:
            raise EngineError(f"{self.name} took longer than {self._limit:g} s") from None
        except (OSError, ssl.SSLError) as error:
            raise EngineError(f"{self.name} is not reached: {error.strerror or type(error).__name__}") from None
        except h11.RemoteProtocolError as error:
            raise EngineError(f"{self.name} does not speak HTTP: {error}") from None
        await asyncio.to_thread(path.write_bytes, body)

    async def _ask(self, text: str, voice: str, rate: int) -> bytes:
        tls = ssl.create_default_context() if self._url.scheme == "https" else None
        reader, writer = await asyncio.open_connection(self._url.hostname, self._port, ssl=tls)
        try:
            connection = h11.Connection(h11.CLIENT)
            body = text.encode()
            request = h11.Request(method="POST", target=self._target(voice, rate), headers=self._headers(body))
            for event in (request, h11.Data(data=body), h11.EndOfMessage()):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            return await self._answer(connection, reader)
        finally:
            writer.close()

    def _target(self, voice: str, rate: int) -> str:
        query = f"rate={rate}" + (f"&voice={quote(voice, safe='')}" if voice else "")
        return f"{self._url.path or '/'}?{self._url.query}{'&' if self._url.query else ''}{query}"

    def _headers(self, body: bytes) -> list[tuple[str, str]]:
        host = self._url.netloc.rpartition("@")[2]
        headers = [("Host", host), ("Content-Type", "text/plain; charset=utf-8"), ("Accept", "audio/wav")]
        headers += [("Content-Length", str(len(body))), ("Connection", "close")]
        if self._url.username:
            login = f"{unquote(self._url.username)}:{unquote(self._url.password or '')}"
            headers.append(("Authorization", "Basic " + base64.b64encode(login.encode()).decode()))
        return headers

    async def _answer(self, connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(_READ))
            elif isinstance(event, h11.Response) and event.status_code != 200:
                raise EngineError(f"{self.name} answers {event.status_code}")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > SIZE_LIMIT:
                    raise EngineError(f"{self.name} answers more than {SIZE_LIMIT} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return bytes(body)


def _shown(url: SplitResult) -> str:
    """Without what is secret: login and query."""
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
