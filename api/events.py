"""Live events: over a WebSocket, as Server-Sent Events, and those that are kept a page at a time. docs/events.md."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.types import Message, Receive, Scope, Send

from api import problems
from api.access import CHALLENGE, Bearer, Desk, needs
from api.pages import LIMIT, Limit
from api.protocols import GIVE_UP
from api.room import room
from operations import events
from operations.errors import InvalidError
from operations.event_filters import Wanted
from operations.event_hub import Follower, Hub, Past
from operations.event_queue import SIZE, Lost
from operations.events import is_id, ordered
from state import tokens
from state.store import Store, StoreError
from state.tokens import Role, Token

PATH = "/events"
STALLED = 10.0
"Seconds that a client may read nothing while something waits for it."
AUTH_TIMEOUT = 5.0
"Seconds in which a client that sent no token has to send one."
CHECK_EVERY = 30.0
"Seconds between two looks whether a token is still good."
PING_EVERY = 15.0
"Seconds after which a comment is sent where there is nothing else, so that proxies keep the connection."
FILTERS_MAX = 20
MESSAGE_MAX = 65_536
SUBPROTOCOL = "strowger.v1"
BEARER = "bearer."
# RFC 6455 section 7.4.1, and the registry that it made.
POLICY_VIOLATION, INTERNAL, TRY_AGAIN_LATER = 1008, 1011, 1013

STREAM = "text/event-stream"

Allowed = Callable[[], Awaitable[bool]]
"Whether the client may still follow."

router: APIRouter = room(PATH, "events")
sockets = APIRouter()


class Event(BaseModel):
    """Something that happened; docs/events.md says what each kind has."""

    id: str = Field(description="Of the stream; they grow.")
    kind: str
    at: float = Field(description="Unix time in seconds at which it happened.")
    data: dict[str, Any]


class EventPage(BaseModel):
    """Some events, the oldest first."""

    events: list[Event]
    after: str | None = Field(description="For the next page; null: these are the last.")


Kinds = Annotated[list[str], Query(max_length=50, description="Kinds, or how they begin: call.")]
Some = Annotated[list[str], Query(max_length=50)]


@router.get("/kept", operation_id="events.kept", dependencies=[needs(Role.READ)])
def kept(
    desk: Desk, kind: Kinds = [], call: Some = [], trunk: Some = [], gateway: Some = [], number: Some = [],  # noqa: B006
    since: Annotated[str, Query(max_length=41, description="Id of the last event that is known.")] = "",
    limit: Limit = LIMIT,
) -> EventPage:  # fmt: skip
    """Events that the stream still holds."""
    wanted = Wanted.parse({"kind": kind, "call": call, "trunk": trunk, "gateway": gateway, "number": number})
    found, after = events.page(desk, [wanted], since=since, limit=limit)
    return EventPage.model_validate({"events": found, "after": after or None})


@router.get(
    "", operation_id="events.follow", dependencies=[needs(Role.READ)], response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problems.documented(HTTPStatus.NOT_ACCEPTABLE),
    },
)  # fmt: skip
async def follow(
    request: Request, bearer: Bearer, kind: Kinds = [], call: Some = [], trunk: Some = [], gateway: Some = [],  # noqa: B006
    number: Some = [],  # noqa: B006
    since: Annotated[str, Query(max_length=41, description="Id of the last event that is known.")] = "",
) -> StreamingResponse:  # fmt: skip
    """Live events as Server-Sent Events, with `Accept: text/event-stream`; the same path is a WebSocket."""
    if STREAM not in request.headers.get("Accept", ""):
        # Who does not expect one would wait for its end.
        raise problems.ProblemError(HTTPStatus.NOT_ACCEPTABLE, f"this is a stream: ask with Accept: {STREAM}")
    wanted = Wanted.parse({"kind": kind, "call": call, "trunk": trunk, "gateway": gateway, "number": number})
    return await event_stream(request, [wanted], allowed_with(request.app.state.store, bearer), since)


async def event_stream(
    request: Request, wanted: Sequence[Wanted], allowed: Allowed, since: str = ""
) -> EventStream:
    """Events as ``text/event-stream``, from the header ``Last-Event-ID`` or ``since`` on; for whoever was let in.

    Raises InvalidError.
    """
    since = request.headers.get("Last-Event-ID", "") or since
    _check_id(since)
    return EventStream(_lines(request.app.state.hub, wanted, since, allowed))


class EventStream(StreamingResponse):
    """An answer that never ends, unless its client reads nothing for :data:`STALLED`: then it is broken off."""

    def __init__(self, lines: AsyncGenerator[str]) -> None:
        super().__init__(lines, media_type=STREAM, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""

        async def bounded(message: Message) -> None:
            try:
                async with asyncio.timeout(STALLED):
                    await send(message)
            except TimeoutError:
                raise _StalledError from None

        async with aclosing(self._lines):
            try:
                await super().__call__(scope, receive, bounded)
            except _StalledError:
                if (end := (scope.get("extensions") or {}).get(GIVE_UP)) is not None:
                    end()


class _StalledError(Exception):
    """A client reads nothing."""


async def _lines(hub: Hub, wanted: Sequence[Wanted], since: str, allowed: Allowed) -> AsyncGenerator[str]:
    checked = time.monotonic()
    try:
        async with hub.following(wanted, since) as (follower, past):
            yield _line("", await _hello(hub, follower, since))
            async for text in past.messages():
                yield _line(_id_of(text), text)
            while True:
                try:
                    async with asyncio.timeout(PING_EVERY):
                        found = await follower.next()
                    yield _line("", lost_message(found)) if isinstance(found, Lost) else _line(_id_of(found), found)
                except TimeoutError:
                    yield ":\n\n"
                if time.monotonic() - checked > CHECK_EVERY:
                    checked = time.monotonic()
                    if not await allowed():
                        return
    except RedisError:
        # The client comes again by itself, with the id that it has.
        return


def _line(id: str, text: str) -> str:
    return f"id: {id}\ndata: {text}\n\n" if id else f"data: {text}\n\n"


def _id_of(text: str) -> str:
    return str(json.loads(text)["id"])


@sockets.websocket(PATH)
async def follow_by_websocket(websocket: WebSocket) -> None:
    """Live events; the token is in the header Authorization, in a subprotocol, or in the first message."""
    try:
        wanted, since = asked(websocket)
    except InvalidError as error:
        await websocket.send_denial_response(problems.answer(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))
        return
    store: Store = websocket.app.state.store
    text, subprotocol = _offered(websocket)
    if text:
        token = await _good(store, text)
        if token is None:
            why = "the token is unknown, revoked or expired"
            await websocket.send_denial_response(problems.answer(HTTPStatus.UNAUTHORIZED, why, None, CHALLENGE))
            return
        await websocket.accept(subprotocol)
    else:
        await websocket.accept(subprotocol)
        token = await _introduced(websocket, store)
        if token is None:
            return
    await attend(websocket, wanted, since, allowed_with(store, token))


def asked(websocket: WebSocket) -> tuple[list[Wanted], str]:
    """The filter and ``since`` of a connection's query. Raises InvalidError."""
    query = websocket.query_params
    names = [name for name in query if name != "since"]
    since = query.get("since", "")
    _check_id(since)
    wanted = Wanted.parse({name: query.getlist(name) for name in names})
    return [wanted], since


async def attend(websocket: WebSocket, wanted: Sequence[Wanted], since: str, allowed: Allowed) -> None:
    """Send events to a client that was let in and accepted, until either has enough."""
    hub: Hub = websocket.app.state.hub
    try:
        async with hub.following(wanted, since) as (follower, past):
            work = [
                asyncio.create_task(_send(websocket, hub, follower, past, since)),
                asyncio.create_task(_listen(websocket, hub, follower)),
                asyncio.create_task(_watch(allowed)),
            ]
            try:
                await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in work:
                    task.cancel()
                results = await asyncio.gather(*work, return_exceptions=True)
            reason = next((found for found in results if isinstance(found, _Over)), None)
            errors = [found for found in results if isinstance(found, Exception) and not isinstance(found, _QUIET)]
    except RedisError:
        reason, errors = _Over(TRY_AGAIN_LATER, "Redis does not answer"), []
    if reason is not None:
        _give_up(websocket, reason)
    elif errors:
        _give_up(websocket, _Over(INTERNAL, ""))
        raise errors[0]


class _Over(Exception):
    """The connection ends from our side."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


# RuntimeError: starlette's, of a connection that is closed meanwhile.
_QUIET = (_Over, WebSocketDisconnect, RuntimeError)


def _give_up(websocket: WebSocket, over: _Over) -> None:
    extensions: dict[str, Any] = websocket.scope.get("extensions") or {}
    if (end := extensions.get(GIVE_UP)) is not None:
        end(over.code, over.reason)


async def _send(websocket: WebSocket, hub: Hub, follower: Follower, past: Past, since: str) -> None:
    try:
        await _sent(websocket, await _hello(hub, follower, since))
        async for text in past.messages():
            await _sent(websocket, text)
        while True:
            found = await follower.next()
            await _sent(websocket, lost_message(found) if isinstance(found, Lost) else found)
    except RedisError:
        raise _Over(TRY_AGAIN_LATER, "Redis does not answer") from None


async def _sent(websocket: WebSocket, text: str) -> None:
    try:
        async with asyncio.timeout(STALLED):
            await websocket.send_text(text)
    except TimeoutError:
        raise _Over(TRY_AGAIN_LATER, f"nothing was read for {STALLED:g} s") from None


async def _hello(hub: Hub, follower: Follower, since: str) -> str:
    first, _ = await hub.bounds()
    # What lay before the first that is kept may have been more.
    gap = bool(since) and ordered(since) < ordered(first)
    return json.dumps(
        {"type": "hello", "first": first, "from": follower.after, "gap": gap, "queue": SIZE, "stalled": STALLED}
    )


def lost_message(lost: Lost) -> str:
    """What a client is told that did not read fast enough."""
    return json.dumps({"type": "lost", "count": lost.count, "first": lost.first, "last": lost.last})


async def _listen(websocket: WebSocket, hub: Hub, follower: Follower) -> None:
    while True:
        try:
            text = await websocket.receive_text()
        except KeyError:
            # starlette's, of a message in binary.
            text = ""
        try:
            hub.change(follower, _filters(text))
            answer = {"type": "subscribed", "filters": len(follower.wanted)}
        except InvalidError as error:
            answer = {"type": "error", "detail": str(error)}
        await websocket.send_text(json.dumps(answer))


def _filters(text: str) -> list[Wanted]:
    message = _message(text)
    filters = message.get("filters")
    if message.get("type") != "subscribe" or not isinstance(filters, list) or len(filters) > FILTERS_MAX:
        raise InvalidError(f'{{"type": "subscribe", "filters": [...]}} with {FILTERS_MAX} filters at most')
    if not all(isinstance(one, dict) for one in filters):
        raise InvalidError("a filter is an object")
    return [Wanted.parse(one) for one in filters]


def _message(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text) if len(text) <= MESSAGE_MAX else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise InvalidError("a message is an object in JSON")
    return message


async def _watch(allowed: Allowed) -> None:
    while True:
        await asyncio.sleep(CHECK_EVERY)
        if not await allowed():
            raise _Over(POLICY_VIOLATION, "the token is not good any more")


def _offered(websocket: WebSocket) -> tuple[str, str | None]:
    """The token that a client sends with the handshake, and the subprotocol to answer with."""
    scheme, _, text = websocket.headers.get("Authorization", "").partition(" ")
    offered: list[str] = websocket.scope.get("subprotocols", [])
    subprotocol = SUBPROTOCOL if SUBPROTOCOL in offered else None
    if scheme.lower() == "bearer":
        return text.strip(), subprotocol
    return next((one.removeprefix(BEARER) for one in offered if one.startswith(BEARER)), ""), subprotocol


async def _introduced(websocket: WebSocket, store: Store) -> Token | None:
    """The token of the first message; the connection is closed where that brings none."""
    with suppress(WebSocketDisconnect, InvalidError, TimeoutError, KeyError):
        async with asyncio.timeout(AUTH_TIMEOUT):
            message = _message(await websocket.receive_text())
        if message.get("type") == "auth" and (token := await _good(store, str(message.get("token", "")))) is not None:
            return token
    with suppress(RuntimeError):
        await websocket.close(POLICY_VIOLATION, "the first message has to be a good token")
    return None


async def _good(store: Store, text: str) -> Token | None:
    try:
        return await run_in_threadpool(tokens.check, store, text, time.time())
    except StoreError:
        return None


def allowed_with(store: Store, token: Token) -> Allowed:
    """Whether a token is still there and good; while Redis is away, it is taken for that."""

    async def allowed() -> bool:
        try:
            known = await run_in_threadpool(tokens.tokens, store)
        except StoreError:
            return True
        return any(one.id == token.id and one.live(time.time()) for one in known)

    return allowed


def _check_id(since: str) -> None:
    if since and not is_id(since):
        raise InvalidError(f"since: {since!r} is no id of an event such as 1700000000000-0")
