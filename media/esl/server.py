"""The outbound server: the switch connects to us for each call (``socket host:port async full``).

Without ``async`` the call's own thread reads commands, each when the one before is done. That costs the switch neither
a thread nor a park, and it tells of nothing that happens meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import socket
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
        self._calls: dict[asyncio.Task[None], Connection] = {}
        self.taken = 0
        "Calls so far."
        self.refused = 0
        "Connections closed because there were ``max_calls``."

    @property
    def calls(self) -> int:
        """Calls under way, with those the switch has not named yet."""
        return len(self._calls)

    async def start(self) -> None:
        """Listen; :attr:`port` says where when it was 0. :class:`OSError` where that is taken."""
        self._door = Door(self.host, self.port, self._let_in)
        self.port = self._door.port

    def shut(self) -> None:
        """Take no more calls, from now on: the switch tries its next worker."""
        if self._door:
            self._door.close()

    async def drain(self, *, timeout: float | None = None) -> bool:
        """Take no more calls (the switch tries its next worker), and wait for those under way.

        False when some are left after ``timeout`` seconds.
        """
        self.shut()
        try:
            async with asyncio.timeout(timeout):
                while self._calls:
                    await asyncio.wait(self._calls)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """End at once: calls under way are cancelled, their connections closed."""
        self.shut()
        await asyncio.sleep(0)  # each has begun: one that is cancelled before leaves its socket open
        calls = dict(self._calls)
        for task in calls:
            task.cancel()
        if calls:
            await asyncio.wait(calls)
        for connection in calls.values():
            # One that was being closed already would stay so, half open, once its task is cancelled.
            connection.link.abort(EslError("the server is closed"))

    def _let_in(self, peer: socket.socket) -> None:
        if len(self._calls) >= self.max_calls:
            self.refused += 1
            peer.close()
            return
        connection = Connection()
        task = asyncio.create_task(self._serve(connection, peer))
        self._calls[task] = connection
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        del self._calls[task]

    async def _serve(self, connection: Connection, peer: socket.socket) -> None:
        # One task for all of a call: each more is some twenty functions that the call finds out of the caches.
        try:
            call = await self._greet(connection, peer)
        except (EslError, OSError) as error:
            log.warning("a connection from the switch was no call: %s", error)
            connection.link.abort(EslError("no call"))
            return
        try:
            await self._on_call(call)
        except Exception:
            log.exception("call %s failed", call.uuid)
        finally:
            await connection.close()

    async def _greet(self, connection: Connection, peer: socket.socket) -> OutboundCall:
        """Ask which call it is. :class:`EslError` where it is none, OSError where the connection ended at once."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: connection.link, peer)
        except OSError:
            peer.close()
            raise
        late = loop.call_later(self.connect_timeout, connection.link.abort, ProtocolError("no reply to connect"))
        try:
            channel = _channel(await connection.put("connect", protocol.command("connect")))
        finally:
            late.cancel()
        self.taken += 1
        call = OutboundCall(connection, channel, channel.uuid, channel.get("Socket-Mode") == "static")
        connection.only_of(call.uuid)
        return call


def _channel(reply: Message) -> Event:
    channel = Event(reply.headers)
    if not channel.uuid:
        raise ProtocolError("the reply to connect names no channel")
    # Without it api, bgapi, event and linger are answered "-ERR command not found" (parse_command of
    # mod_event_socket.c).
    if channel.get("Control", "full") != "full":
        raise ProtocolError('the dialplan has to say "socket <address> async full"')
    return channel
