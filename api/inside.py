"""A request that this process makes to itself, without a socket: through every layer that others go through."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from urllib.parse import unquote

from fastapi import Request
from starlette.types import Message


@dataclass(slots=True)
class Answer:
    """What came of a request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    "Names in lower case."
    body: bytes = b""


async def ask(
    request: Request, method: str, path: str, query: str, headers: dict[str, str], body: bytes, most: int
) -> Answer:  # fmt: skip
    """Make a request on behalf of ``request``; ``path`` is quoted.

    Raises OverflowError for an answer of more than ``most`` bytes.
    """
    outer, answer, sent = request.scope, Answer(), False
    scope = {
        **{name: outer[name] for name in ("type", "asgi", "http_version", "scheme", "server", "client")},
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    parts: list[bytes] = []
    size = 0

    async def receive() -> Message:
        nonlocal sent
        if sent:
            # Nobody hangs up.
            await asyncio.Future()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal size
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode().lower(): value.decode("latin-1") for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise OverflowError(f"the answer has more than {most} bytes")

    await request.app(scope, receive, send)
    answer.body = b"".join(parts)
    return answer
