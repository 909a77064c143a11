"""The outbound server: the switch connects to us for each call (``socket host:port async full``).

Without ``async`` the call's own thread reads commands, each when the one before is done. That costs the switch neither
a thread nor a park, and it tells of nothing that happens meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from media.esl import protocol
from media.esl.connection import Connection
from media.esl.door import Door
from media.esl.errors import EslError, ProtocolError
from media.esl.message import Event, Message

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
"Seconds the switch has to say which call it is about."


@dataclass(slots=True, eq=False)
class OutboundCall:
    """One call the switch handed to us."""

    connection: Connection
    channel: Event
    "CHANNEL_DATA: all that is known of the channel."
    uuid: str
    "The channel's."
    static: bool
    "Whether the socket is one without ``async``."


class OutboundServer:
    """Takes calls from the switch; ``on_call`` has each in a task of its own, and the connection ends with it.

    At most ``max_calls`` at once: a connection beyond that is closed unanswered, and the dialplan goes on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        on_call: Callable[[OutboundCall], Awaitable[None]],
        *,
        max_calls: int = 10_000,
        connect_timeout: float = CONNECT_TIMEOUT,
    ) -> None:
        self.host, self.port = host, port
        self.max_calls, self.connect_timeout = max_calls, connect_timeout
        self._on_call = on_call
        self._door: Door | None = None
        self._greeting: set[Connection] = set()
        self._calls: dict[asyncio.Task[None], Connection] = {}
        self.taken = 0
        "Calls so far."
        self.refused = 0
        "Connections closed because there were ``max_calls``."

    @property
    def calls(self) -> int:
        """Calls under way, with those the switch has not named yet."""
        return len(self._calls) + len(self._greeting) + len(self._coming)

    @property
    def _coming(self) -> set[asyncio.Task[object]]:
        return self._door.coming if self._door else set()

    async def start(self) -> None:
        """Listen; :attr:`port` says where when it was 0. :class:`OSError` where that is taken."""
        self._door = Door(self.host, self.port, self._accept)
        self.port = self._door.port

    async def drain(self, *, timeout: float | None = None) -> bool:
        """Take no more calls (the switch tries its next worker), and wait for those under way.

        False when some are left after ``timeout`` seconds.
        """
        self._stop()
        try:
            async with asyncio.timeout(timeout):
                while self.calls:
                    waits = [*self._calls, *self._coming]
                    waits = waits or [asyncio.ensure_future(one.wait_closed()) for one in self._greeting]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End at once: calls under way are cancelled, their connections closed."""
        self._stop()
        if self._coming:
            await asyncio.wait(self._coming)
        for connection in list(self._greeting):
            await connection.close()
        calls = dict(self._calls)
        for task in calls:
            task.cancel()
        if calls:
            await asyncio.wait(calls)
        for connection in calls.values():
            # One that was being closed already would stay so, half open, once its task is cancelled.
            connection.link.abort(EslError("the server is closed"))

    def _stop(self) -> None:
        if self._door:
            self._door.close()

    def _accept(self) -> asyncio.Protocol:
        connection = Connection(on_open=lambda: self._greet(connection))
        return connection.link

    def _greet(self, connection: Connection) -> None:
        if len(self._calls) + len(self._greeting) >= self.max_calls:
            self.refused += 1
            connection.link.abort(EslError(f"more than {self.max_calls} calls"))
            return
        self._greeting.add(connection)
        loop = asyncio.get_running_loop()
        late = loop.call_later(self.connect_timeout, connection.link.abort, ProtocolError("no reply to connect"))
        connection.put("connect", protocol.command("connect")).add_done_callback(
            lambda reply: self._greeted(connection, late, reply)
        )

    def _greeted(self, connection: Connection, late: asyncio.TimerHandle, reply: asyncio.Future[Message]) -> None:
        late.cancel()
        self._greeting.discard(connection)
        if reply.cancelled():
            return
        if error := reply.exception():
            log.warning("a connection from the switch was no call: %s", error)
            return
        try:
            channel = _channel(reply.result())
        except ProtocolError as error:
            log.warning("a connection from the switch was no call: %s", error)
            connection.link.abort(error)
            return
        self.taken += 1
        call = OutboundCall(connection, channel, channel.uuid, channel.get("Socket-Mode") == "static")
        connection.only_of(call.uuid)
        task = asyncio.create_task(self._serve(call), name=f"call-{call.uuid}")
        self._calls[task] = connection
        task.add_done_callback(lambda task: self._calls.pop(task, None))

    async def _serve(self, call: OutboundCall) -> None:
        try:
            await self._on_call(call)
        except Exception:
            log.exception("call %s failed", call.uuid)
        finally:
            await call.connection.close()


def _channel(reply: Message) -> Event:
    channel = Event(reply.headers)
    if not channel.uuid:
        raise ProtocolError("the reply to connect names no channel")
    # Without it api, bgapi, event and linger are answered "-ERR command not found" (parse_command of
    # mod_event_socket.c).
    if channel.get("Control", "full") != "full":
        raise ProtocolError('the dialplan has to say "socket <address> async full"')
    return channel
