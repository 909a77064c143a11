"""The inbound client: our connection to the switch, made again whenever it ends."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from media.esl import protocol
from media.esl.connection import Connection
from media.esl.dispatch import Dispatch, Handler
from media.esl.errors import AuthError, CommandError, ConnectionClosed, EslError
from media.esl.link import keep_alive
from media.esl.message import Event, Message, Reply

log = logging.getLogger(__name__)

LOGIN_TIMEOUT = 10.0
"Seconds for connecting, auth and asking for events. FreeSWITCH gives 25 (listener_run of mod_event_socket.c)."
BACKOFF = 0.1, 10.0
"Seconds to wait before the first try to reconnect, and at most; doubled between."


async def connect(host: str, port: int, password: str, *, timeout: float = LOGIN_TIMEOUT) -> Connection:
    """A connection that is let in.

    :raises AuthError: wrong password, or our address is refused.
    :raises OSError: nobody listens there.
    :raises EslError: the peer is not FreeSWITCH, or closed the connection.
    """
    auth = protocol.command("auth", password)
    connection = Connection()
    greeting: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    connection.on_notice = lambda message: None if greeting.done() else greeting.set_result(message)
    try:
        async with asyncio.timeout(timeout):
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: connection.link, host, port)
            keep_alive(transport.get_extra_info("socket"))
            await _login(connection, greeting, auth)
    except BaseException:
        await asyncio.shield(connection.close())
        raise
    connection.on_notice = None
    return connection


async def _login(connection: Connection, greeting: asyncio.Future[Message], auth: bytes) -> None:
    ended = asyncio.ensure_future(connection.wait_closed())
    await asyncio.wait((greeting, ended), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not greeting.done():
        raise connection.link.reason()
    kind = greeting.result().content_type
    if kind != "auth/request":
        raise AuthError("the switch refuses our address (apply-inbound-acl)" if kind == "text/rude-rejection"
                        else f"the switch began with {kind}")  # fmt: skip
    try:
        await connection.ask("auth", auth)
    except CommandError as error:
        raise AuthError(f"the switch refuses the password of its event socket: {error.reply}") from None


class Inbound:
    """A connection to the switch that comes back, with the events and filters that were asked for.

    While there is none every method raises :class:`ConnectionClosed` at once, and after :class:`AuthError`, which is
    final, that. Nothing is sent twice: what was asked when the connection ended fails, and is the caller's to repeat.

    :raises ArgumentError: for a password, event or filter that cannot be sent.
    """

    def __init__(
        self,
        address: tuple[str, int],
        password: str,
        *,
        events: Sequence[str] = (),
        filters: Sequence[tuple[str, str]] = (),
        on_connect: Callable[[Connection], None] | None = None,
        on_disconnect: Callable[[], None] | None = None,
        backoff: tuple[float, float] = BACKOFF,
        login_timeout: float = LOGIN_TIMEOUT,
    ) -> None:
        for command in (
            ("auth", password),
            *(("event", name) for name in events),
            *(("filter", *one) for one in filters),
        ):
            protocol.command(*command)
        self.address = address
        self._password = password
        self._events = Counter(events)
        "How many want each."
        self._filters = dict.fromkeys(filters)
        self._on_connect, self._on_disconnect = on_connect, on_disconnect
        self._backoff, self._login_timeout = backoff, login_timeout
        self._dispatch = Dispatch()
        self._connection: Connection | None = None
        self._changed = asyncio.Event()
        self._final: EslError | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def start(self) -> None:
        """Begin to connect; :meth:`connected` tells when it is done."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="esl-inbound")

    async def close(self) -> None:
        """End the connection, and make no other."""
        self._final = self._final or ConnectionClosed("the client was closed")
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._changed.set()

    async def connected(self, *, timeout: float | None = None) -> Connection:
        """The connection, once there is one.

        :raises AuthError: the switch does not let us in; final.
        :raises TimeoutError: not within ``timeout`` seconds.
        """
        async with asyncio.timeout(timeout):
            while not self._live and not self._final:
                self._changed.clear()
                await self._changed.wait()
        return self.connection

    @property
    def connection(self) -> Connection:
        """The connection of now; :class:`ConnectionClosed` where there is none."""
        if connection := self._live:
            return connection
        raise self._final or ConnectionClosed(f"no connection to the switch at {_name(self.address)}")

    async def another(self) -> Connection:
        """A second connection to the same switch, the caller's to close; raises as :func:`connect` does."""
        return await connect(*self.address, self._password, timeout=self._login_timeout)

    @property
    def _live(self) -> Connection | None:
        return None if self._connection is None or self._connection.closed else self._connection

    # The same as of a connection

    async def send(self, command: str, *, timeout: float | None = None) -> Reply:
        """See :class:`Connection`."""
        return await self.connection.send(command, timeout=timeout)

    async def api(self, command: str, args: str = "", *, timeout: float | None = None) -> str:
        """See :class:`Connection`."""
        return await self.connection.api(command, args, timeout=timeout)

    async def bgapi(self, command: str, args: str = "", *, timeout: float | None = None) -> str:
        """See :class:`Connection`."""
        return await self.connection.bgapi(command, args, timeout=timeout)

    async def sendmsg(self, uuid: str, headers: Mapping[str, str], body: str = "") -> Reply:
        """See :class:`Connection`."""
        return await self.connection.sendmsg(uuid, headers, body)

    async def execute(
        self, app: str, arg: str = "", *, uuid: str, timeout: float | None = None, loops: int = 1, lock: bool = False
    ) -> Event:
        """See :class:`Connection`."""
        return await self.connection.execute(app, arg, uuid=uuid, timeout=timeout, loops=loops, lock=lock)

    async def sendevent(self, name: str, headers: Mapping[str, str], body: str = "") -> Reply:
        """See :class:`Connection`."""
        return await self.connection.sendevent(name, headers, body)

    def listen(self, handler: Handler) -> Callable[[], None]:
        """As of a connection, of this and all that follow."""
        return self._dispatch.listen(handler)

    async def events(self, *names: str) -> None:
        """As of a connection; remembered, and asked for again."""
        protocol.subscription(names)  # refused before it is remembered
        self._events.update(names)
        try:
            if connection := self._live:
                await connection.events(*names)
        except ConnectionClosed:
            return  # the next one asks again
        except CommandError:
            self._drop(names)
            raise

    def release(self, *names: str) -> None:
        """Undo one :meth:`events`: what nobody wants any more is no longer sent."""
        gone = self._drop(names)
        if connection := self._live:
            with suppress(ConnectionClosed):
                connection.unsubscribe(*gone)

    def _drop(self, names: Sequence[str]) -> list[str]:
        """Those that nobody wants any more."""
        self._events.subtract(names)
        gone = [name for name in names if self._events[name] <= 0]
        for name in gone:
            del self._events[name]
        return gone

    async def filter(self, header: str, value: str) -> None:
        """As of a connection; remembered, and asked for again."""
        protocol.command("filter", header, value)
        self._filters[header, value] = None
        try:
            if connection := self._live:
                await connection.filter(header, value)
        except ConnectionClosed:
            return

    # The task

    async def _run(self) -> None:
        first, most = self._backoff
        pause = first
        while not self._final:
            try:
                connection = await self._open()
            except AuthError as error:
                log.error("%s", error)
                self._final = error
                self._changed.set()
                return
            except (OSError, EslError) as error:
                log.warning("no connection to the switch at %s: %s", _name(self.address), error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # all workers lost the same switch
                pause = min(2 * pause, most)
            else:
                pause = first
                await self._serve(connection)

    async def _open(self) -> Connection:
        connection = await connect(*self.address, self._password, timeout=self._login_timeout)
        connection.listen(self._dispatch.event)
        try:
            async with asyncio.timeout(self._login_timeout):
                await self._ask_again(connection)
        except BaseException:
            await asyncio.shield(connection.close())
            raise
        return connection

    async def _ask_again(self, connection: Connection) -> None:
        # Filters first, so that no event passes that should not; and what is asked for meanwhile too.
        while True:
            if missing := [one for one in self._filters if one not in connection.filters]:
                await connection.filter(*missing[0])
            elif self._events.keys() - connection.subscribed:
                await connection.events(*self._events)
            else:
                return

    async def _serve(self, connection: Connection) -> None:
        self._connection = connection
        self._changed.set()
        log.info("connected to the switch at %s", _name(self.address))
        try:
            if self._on_connect:
                self._on_connect(connection)
            await connection.wait_closed()
        finally:
            self._connection = None
            await connection.close()
            if self._on_disconnect:
                self._on_disconnect()


def _name(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
