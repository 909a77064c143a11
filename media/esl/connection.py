"""One connection to the switch: commands, their replies, and events."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from media.esl import protocol
from media.esl.dispatch import EXECUTED, JOB, Dispatch, Handler
from media.esl.errors import ArgumentError, CommandError, ProtocolError
from media.esl.link import STALL_TIMEOUT, WRITE_LIMIT, Link
from media.esl.message import Event, Message, Reply
from media.esl.replies import Replies, Unless, accepted, succeeded
from media.esl.tally import TRAFFIC

Waiting = set[asyncio.Future[Any]]
"What waits on a connection, for who may end the waiting by an exception; each is in it only as long."

_PROCESS, _NUMBERS = secrets.token_hex(3), count()

_REFUSED = {"getvar": "a line end in its value breaks the frame, an empty one is answered -ERR: use api uuid_getvar"}


class Connection:
    """Commands go out in order, replies come back in order; events go to who waits for them, or to all who listen.

    Every method that asks the switch raises :class:`ConnectionClosed` when the connection ends, the builtin
    :class:`TimeoutError` after ``timeout`` seconds (None: the connection's end is the only limit),
    :class:`CommandError` on ``-ERR``, and :class:`ArgumentError`, with nothing sent, for what cannot be sent.

    Handlers are called from the reader, one event after the other; who has to wait takes events from an
    :class:`~media.esl.queue.EventQueue`.
    """

    __slots__ = (
        "_dispatch", "_events_of", "_link", "_replies", "_scoped", "filters", "on_end", "on_notice", "subscribed",
    )  # fmt: skip

    def __init__(
        self,
        *,
        stall_timeout: float = STALL_TIMEOUT,
        write_limit: int = WRITE_LIMIT,
    ) -> None:
        self._link = Link(self._message, self._end, stall_timeout=stall_timeout, write_limit=write_limit)
        self._replies = Replies()
        self._dispatch = Dispatch()
        self._events_of, self._scoped = "", False
        self.on_end: Callable[[], None] | None = None
        "Called once, when nothing more will come."
        self.on_notice: Callable[[Message], None] | None = None
        """Called for what is neither reply nor event: auth/request, text/rude-rejection, log/data, and
        text/disconnect-notice: with ``Content-Disposition: linger`` when the channel has hung up and the connection
        stays for a while, with ``disconnect`` when it ends (read_packet, send_disconnect of mod_event_socket.c)."""
        self.subscribed: set[str] = set()
        "Names of events asked for."
        self.filters: list[tuple[str, str]] = []

    @property
    def link(self) -> Link:
        """The protocol to give to asyncio."""
        return self._link

    @property
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._link.closed

    # Commands

    async def send(self, command: str, *, timeout: float | None = None) -> Reply:
        """Any command of one line."""
        name = command.partition(" ")[0]
        if name in _REFUSED:
            raise ArgumentError(f"{name}: {_REFUSED[name]}")
        return await self.ask(name, protocol.command(command), timeout)

    async def api(
        self, command: str, args: str = "", *, timeout: float | None = None, among: Waiting | None = None
    ) -> str:
        """What the API command wrote. The switch answers nothing else on this connection meanwhile: see bgapi."""
        data = protocol.command("api", command, *([args] if args else []))
        return (await self.ask(f"api {command}", data, timeout, among)).text

    async def bgapi(self, command: str, args: str = "", *, timeout: float | None = None) -> str:
        """What the API command wrote, run in a thread of the switch's own."""
        job = _identifier()
        line = " ".join(("bgapi", command, *([args] if args else [])))
        data = protocol.with_headers(line, {"Job-UUID": job})
        event = await self._await(JOB, job, "bgapi", data, timeout)
        return succeeded(f"bgapi {command}", event.body)

    async def sendmsg(
        self, uuid: str | None, headers: Mapping[str, str], body: str = "", *, timeout: float | None = None
    ) -> Reply:
        """A message to a channel; ``uuid`` None: to that of the outbound connection."""
        return await self.ask("sendmsg", protocol.sendmsg(uuid, headers, body), timeout)

    async def execute(
        self,
        app: str,
        arg: str = "",
        *,
        uuid: str | None = None,
        timeout: float | None = None,
        loops: int = 1,
        lock: bool = False,
        among: Waiting | None = None,
    ) -> Event:
        """Run a dialplan application; its CHANNEL_EXECUTE_COMPLETE.

        With ``lock`` what is sent next waits for its end; else it runs at once, within this one, and may end it: a
        channel that plays looks for messages meanwhile (switch_ivr_parse_event() of switch_ivr.c).
        A channel that has hung up says +OK and never completes; then only the connection's end, ``timeout`` or being
        cancelled ends the wait. An unknown application hangs the channel up with DESTINATION_OUT_OF_ORDER
        (switch_core_session_execute_application_get_flags() of switch_core_session.c).
        """
        ours = _identifier()
        data = protocol.execute(app, arg, uuid=uuid, event_uuid=ours, loops=loops, lock=lock)
        return await self._await(EXECUTED, ours, "sendmsg", data, timeout, among)

    async def sendevent(
        self, name: str, headers: Mapping[str, str], body: str = "", *, timeout: float | None = None
    ) -> Reply:
        """Fire an event in the switch; with ``unique-id`` of a live channel it is queued there instead."""
        data = protocol.with_headers(f"sendevent {name}", headers, body)
        return await self.ask("sendevent", data, timeout)

    async def linger(self, seconds: int, *, timeout: float | None = None) -> Reply:
        """Outbound: keep the connection for events of ``seconds`` after the hangup; a bare linger never ends."""
        if seconds < 1:
            raise ArgumentError("linger: seconds, at least 1")
        return await self.send(f"linger {seconds}", timeout=timeout)

    def write(self, *commands: bytes) -> None:
        """Commands built by :mod:`media.esl.protocol`, in one write; replies are dropped, an ``-ERR`` is logged."""
        self._link.write(b"".join(commands))
        TRAFFIC.commands += len(commands)
        for command in commands:
            self._replies.expect(command.split(None, 1)[0].decode(), None)

    # Events

    def listen(self, handler: Handler) -> Callable[[], None]:
        """Call ``handler`` for every event nobody waits for, in order; returns how to stop that."""
        return self._dispatch.listen(handler)

    async def events(self, *names: str, timeout: float | None = None) -> None:
        """Ask for events: ``CHANNEL_ANSWER``, ``CUSTOM sofia::register``, ``ALL``; not twice for the same."""
        wanted = [name for name in names if name not in self.subscribed]
        if wanted:
            data = protocol.subscription(wanted)
            if filters := self._scoping(wanted):
                self.write(*filters)
            self.subscribed.update(wanted)
            try:
                await self.ask("event", data, timeout)
            except CommandError:
                self.subscribed.difference_update(wanted)
                raise

    def subscribe(self, *names: str, more: tuple[bytes, ...] = ()) -> None:
        """As :meth:`events`, without waiting for the reply; ``more`` commands go out with it."""
        if wanted := [name for name in names if name not in self.subscribed]:
            data = protocol.subscription(wanted)
            more = (*self._scoping(wanted), data, *more)
            self.subscribed.update(wanted)
        if more:
            self.write(*more)

    def unsubscribe(self, *names: str) -> None:
        """No more of these; what commands of ours wait for goes on. Waits for no reply."""
        gone = self.subscribed.intersection(names) - {JOB, EXECUTED}
        self.subscribed -= gone
        if "ALL" in gone:
            self.subscribed |= {JOB, EXECUTED}
            self.write(protocol.unsubscription(["ALL"]), protocol.subscription(self.subscribed))
        elif gone and "ALL" not in self.subscribed:
            self.write(protocol.unsubscription(gone))

    async def filter(self, header: str, value: str, *, timeout: float | None = None) -> None:
        """Of the events asked for only those with ``header: value``; of several filters one has to fit."""
        data = protocol.command("filter", header, value)
        self.filters.append((header, value))
        for name in self.subscribed & {JOB, EXECUTED}:
            self._let_through(name)
        await self.ask("filter", data, timeout)

    def only_of(self, uuid: str) -> None:
        """Outbound: what will be asked for concerns this channel; without that ``event`` is about all of the switch."""
        self._events_of = uuid

    async def close(self) -> None:
        """End the connection, once what was written is sent."""
        await self._link.close()

    async def wait_closed(self) -> None:
        """Until the connection has ended."""
        await self._link.wait_closed()

    def silence(self) -> None:
        """Nothing of what comes is of interest any more but the end: read no sooner. For good."""
        self._link.silence()

    # Commands as bytes

    async def ask(
        self, name: str, data: bytes, timeout: float | None = None, among: Waiting | None = None
    ) -> Reply:
        """Write a command built by :mod:`media.esl.protocol`, and wait for its reply."""
        if timeout is None:
            if self._link.full:
                await self._link.room()
            reply = self.put(name, data)
            if among is None:
                return accepted(name, await reply)
            among.add(reply)
            try:
                return accepted(name, await reply)
            finally:
                among.discard(reply)
        try:
            async with asyncio.timeout(timeout):
                return await self.ask(name, data, None, among)
        except TimeoutError:
            raise TimeoutError(f"no reply to {name} within {timeout} s") from None

    def put(self, name: str, data: bytes) -> asyncio.Future[Message]:
        """Write a command now; its reply to come."""
        # Written and expected without a pause between: no other command can come between the two.
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._link.write(data)
        TRAFFIC.commands += 1
        self._replies.expect(name, future)
        return future

    # Below

    async def _await(
        self, event: str, ours: str, name: str, data: bytes, timeout: float | None, among: Waiting | None = None
    ) -> Event:
        if timeout is not None:
            try:
                async with asyncio.timeout(timeout):
                    return await self._await(event, ours, name, data, None, among)
            except TimeoutError:
                raise TimeoutError(f"no {event} within {timeout} s") from None
        if self._link.full:
            await self._link.room()
        waiter: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        try:
            self._subscribe(event)
            self._dispatch.expect(ours, waiter)
            self._link.write(data)
            TRAFFIC.commands += 1
            self._replies.expect(name, Unless(name, waiter))
            if among is not None:
                among.add(waiter)
            return await waiter
        finally:
            if among is not None:
                among.discard(waiter)
            self._dispatch.forget(ours)
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # looked at, lest asyncio reports it

    def _subscribe(self, name: str) -> None:
        if name not in self.subscribed and "ALL" not in self.subscribed:
            self.subscribe(name)
        self._let_through(name)

    def _let_through(self, name: str) -> None:
        # With filters an event that has none of their headers is dropped (event_handler); the ends of jobs have few.
        own = ("Event-Name", name)
        if self.filters and not self._scoped and own not in self.filters:
            self.filters.append(own)
            self.write(protocol.command("filter", *own))

    def _scoping(self, names: Iterable[str]) -> list[bytes]:
        # Filters are alternatives; a job has no Unique-ID, but says who asked (event_handler, api_exec).
        if not self._events_of:
            return []
        self._scoped = True
        headers = ("Unique-ID", "Job-Owner-UUID") if JOB in names or "ALL" in names else ("Unique-ID",)
        new = [own for header in headers if (own := (header, self._events_of)) not in self.filters]
        self.filters += new
        return [protocol.command("filter", *own) for own in new]

    def _message(self, message: Message) -> None:
        kind = message.content_type
        if kind == "text/event-plain":
            event = Event.plain(message.body)
            TRAFFIC.event(event)
            self._dispatch.event(event)
        elif kind in ("command/reply", "api/response"):
            self._replies.reply(message)
        elif kind == "text/event-json":
            event = Event.json(message.body)
            TRAFFIC.event(event)
            self._dispatch.event(event)
        elif kind.startswith("text/event-"):
            raise ProtocolError(f"{kind} was not asked for")
        elif self.on_notice:
            self.on_notice(message)

    def _end(self) -> None:
        self._replies.fail(self._link.reason)
        self._dispatch.fail(self._link.reason)
        on_end, self.on_end = self.on_end, None
        if on_end:
            on_end()


def _identifier() -> str:
    """Of an application or a job; short, since the switch reads a command byte by byte."""
    return f"{_PROCESS}{next(_NUMBERS):x}"
