"""Messages told to a URL: JSON by POST, signed with the box's secret.

``X-Strowger-Signature`` is ``sha256=`` and HMAC-SHA256 in hex over the timestamp, a dot, and the body; the timestamp is
``X-Strowger-Timestamp``, Unix time of this try. ``X-Strowger-Delivery`` is the same in every try.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import h11

from media.voicemail.box import Box
from media.voicemail.mail import LaterError, RefusedError
from media.voicemail.message import Stored

LIMIT = 20.0
"Seconds that a delivery may take, from the look-up of the name to the answer."
READ = 65536


async def tell(stored: Stored, box: Box) -> None:
    """Tell a box's URL of a message. Raises :class:`media.voicemail.mail.DeliveryError`."""
    content = body(stored)
    try:
        async with asyncio.timeout(LIMIT):
            status = await _post(box.webhook, content, headers(stored, box, content, int(time.time())))
    except TimeoutError:
        raise LaterError(f"no answer within {LIMIT:g} s") from None
    except UnicodeError:
        raise RefusedError("the box's webhook names a host that cannot be") from None
    except (OSError, h11.ProtocolError) as error:
        raise LaterError(f"no answer: {type(error).__name__}: {error}") from None
    # Redirects are not followed: whoever answers so could have messages sent anywhere.
    if not 200 <= status <= 299:
        raise LaterError(f"answered {status}")


def body(stored: Stored) -> bytes:
    """What is told."""
    message, transcript = stored.message, stored.transcript
    told = {
        "event": "message.left",
        "id": message.id,
        "box": message.box,
        "caller": message.caller,
        "caller_name": message.caller_name,
        "callee": message.callee,
        "reason": message.reason,
        "call": message.call,
        "received": message.received,
        "seconds": message.seconds,
        "urgent": message.urgent,
        "forwarded_from": message.forwarded_from,
        "transcript": transcript,
    }
    return json.dumps(told, ensure_ascii=False).encode(errors="replace")


def signature(secret: str, timestamp: int, content: bytes) -> str:
    """Value of ``X-Strowger-Signature``."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + content, hashlib.sha256).hexdigest()


def headers(stored: Stored, box: Box, content: bytes, timestamp: int) -> dict[str, str]:
    """Of a request."""
    found = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        "User-Agent": "strowger",
        "Connection": "close",
        "X-Strowger-Delivery": stored.message.id,
        "X-Strowger-Timestamp": str(timestamp),
    }
    if box.webhook_secret:
        found["X-Strowger-Signature"] = signature(box.webhook_secret, timestamp, content)
    return found


async def _post(url: str, content: bytes, fields: dict[str, str]) -> int:
    """The status of the answer."""
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
        raise RefusedError("the box's webhook is no URL") from None
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
