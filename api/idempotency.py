"""Changes that are asked for twice are made once: ``Idempotency-Key``.

A client that got no answer repeats its request under the same key, and gets what the first was answered, for a day. The
same key with another request is refused; while the first is under way, so is the second.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api.problems import AWAY, ProblemError, answer
from operations.errors import DoubtError
from state import keys
from state.store import StoreAwayError
from state.tokens import Token

HEADER = "Idempotency-Key"
NO_STORE = {"Cache-Control": "no-store"}
"Of answers that tell a secret, which nobody is to keep, nor we."
REPLAYED = "Idempotency-Replayed"
KEPT = 86_400
"Seconds."
UNDER_WAY = 300
"Seconds after which a request that was never answered may be made again."
LONGEST = 200
SAFE = ("GET", "HEAD", "OPTIONS")


Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def once(handle: Handler) -> Handler:
    """The same handler, which looks at the key before it does anything."""

    async def handle_once(request: Request) -> Response:
        key = request.headers.get(HEADER)
        if key is None or request.method in SAFE:
            return await handle(request)
        if not 0 < len(key) <= LONGEST:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{HEADER} has 1 to {LONGEST} characters")
        token: Token = request.state.token
        name = keys.idempotency(token.id, hashlib.sha256(key.encode()).hexdigest())
        try:
            return await _answered_once(request, name, handle)
        except RedisError as error:
            raise StoreAwayError(f"Redis does not answer: {error}") from error

    return handle_once


async def _answered_once(request: Request, name: str, handle: Handler) -> Response:
    client: Redis = request.app.state.redis
    asked = await _fingerprint(request)
    if not await client.set(name, json.dumps({"asked": asked}), nx=True, ex=UNDER_WAY):
        return _replayed(await client.get(name), asked)
    try:
        response = await handle(request)
    except DoubtError as error:
        response = answer(AWAY, str(error))
    except BaseException:
        # Nothing was done that a repetition could do twice.
        await client.delete(name)
        raise
    kept = {"asked": asked, "status": response.status_code, "type": response.media_type or ""}
    if response.headers.get("Cache-Control") != NO_STORE["Cache-Control"]:
        kept["body"] = base64.b64encode(bytes(response.body)).decode()
    await client.set(name, json.dumps(kept), ex=KEPT)
    return response


async def _fingerprint(request: Request) -> str:
    asked = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    # A file was collected already (api/room.py).
    file: io.BytesIO | None = getattr(request.state, "file", None)
    asked.update(await request.body() if file is None else file.getbuffer())
    return asked.hexdigest()


def _replayed(text: str | None, asked: str) -> Response:
    kept = json.loads(text) if text else {}
    if not kept or (kept["asked"] == asked and "status" not in kept):
        raise ProblemError(HTTPStatus.CONFLICT, f"the first request with this {HEADER} is under way: ask again")
    if kept["asked"] != asked:
        raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, f"this {HEADER} was used for another request")
    if "body" not in kept:
        raise ProblemError(HTTPStatus.CONFLICT, "this was done; its answer told a secret, which is not kept")
    body = base64.b64decode(kept["body"])
    return Response(body, kept["status"], {REPLAYED: "true"}, kept["type"] or None)
