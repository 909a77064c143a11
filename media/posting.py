"""Telling a URL something: one request by POST, signed."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from typing import Any
from urllib.parse import urlsplit

import h11

READ = 65536


class BadUrlError(ValueError):
    """What should be a URL is none that can be told anything."""


def signature(secret: str, timestamp: int | str, content: bytes) -> str:
    """Value of ``X-Strowger-Signature``."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + content, hashlib.sha256).hexdigest()


def headers(delivery: str, secret: str, content: bytes, timestamp: int) -> dict[str, str]:
    """Of a request with JSON, signed where there is a secret; ``delivery`` is the same in every try."""
    found = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "User-Agent": "strowger",
        "Connection": "close",
        "X-Strowger-Delivery": delivery,
        "X-Strowger-Timestamp": str(timestamp),
    }
    return found | ({"X-Strowger-Signature": signature(secret, timestamp, content)} if secret else {})


async def post(url: str, content: bytes, fields: dict[str, str]) -> int:
    """The status of the answer. Raises :class:`BadUrlError`, OSError, h11.ProtocolError."""
    try:
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = f"[{host}]" if ":" in host else host
        authority = name if parts.port is None else f"{name}:{port}"
        connection = h11.Connection(h11.CLIENT)
        head = connection.send(
            h11.Request(method="POST", target=target, headers=[("Host", authority), *fields.items()])
        )
    except (ValueError, h11.LocalProtocolError):
        raise BadUrlError("no URL") from None
    context = ssl.create_default_context() if secure else None
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write((head or b"") + (connection.send(h11.Data(data=content)) or b""))
        connection.send(h11.EndOfMessage())
        await writer.drain()
        return await _status(connection, reader)
    finally:
        # Not wait_closed(): who does not answer may not close either.
        writer.transport.abort()


async def _status(connection: h11.Connection, reader: asyncio.StreamReader) -> int:
    while True:
        event: Any = connection.next_event()
        if isinstance(event, h11.Response):
            return int(event.status_code)
        if isinstance(event, h11.ConnectionClosed):
            raise ConnectionResetError("closed without an answer")
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ))
