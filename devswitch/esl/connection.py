"""The event socket: a connection, its events and its commands one after the other (mod_event_socket.c)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from devswitch.channel.channel import Channel
from devswitch.channel.state import State
from devswitch.esl.subscription import Subscription
from devswitch.events import Event
from devswitch.switch import Switch
from devswitch.text import number, true

log = logging.getLogger("devswitch.esl")

GOODBYE = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
_LOOK = 0.02  # how long FreeSWITCH takes to see that a call has ended, and tells its last events meanwhile
_BACKLOG = 64 << 20  # bytes that a client leaves unread before its events are dropped
_MISSED = 500  # dropped events after which FreeSWITCH gives a listener up
_BODY = 10 << 20


@dataclass(slots=True)
class Request:
    """A command as the client sent it."""

    line: str
    headers: dict[str, str]
    body: str = ""

    def get(self, name: str) -> str:
        return next((value for key, value in self.headers.items() if key.lower() == name), "")


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next command; None at the end of the stream, or where it cannot be read any further."""
    try:
        line = ""
        while not line:
            raw = await reader.readline()
            if not raw:
                return None
            line = raw.decode(errors="replace").strip("\r\n")
        request = Request(line, {})
        while header := (raw := await reader.readline()).decode(errors="replace").strip("\r\n"):
            name, _, value = header.partition(":")
            request.headers[name] = value.lstrip(" ")
        if not raw:
            return None
        if (length := number(request.get("content-length"))) > 0:
            request.body = (await reader.readexactly(min(length, _BODY))).decode(errors="replace")
        return request
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        return None


class Connection:
    """One client of the event socket: inbound, or outbound where it controls a ``channel``."""

    def __init__(
        self,
        switch: Switch,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        password: str | None = None,
        channel: Channel | None = None,
        asynchronous: bool = True,
        full: bool = True,
    ) -> None:
        self.switch = switch
        self.reader = reader
        self.writer = writer
        self.password = password
        self.authorised = password is None
        self.channel: Channel | None = None
        "The call that the connection controls."
        self.outbound = channel is not None
        self.asynchronous = asynchronous
        self.full = full
        self.subscription = Subscription()
        self.connected = asyncio.Event()
        self.running = True
        self.resume = False
        self.logging = False
        "Lines of the log were asked for; none are sent."
        self.linger: float | None = None
        "Seconds to stay after the call; None: not at all; -1: for ever."
        self._ended = asyncio.Event()
        self._finished = asyncio.get_running_loop().create_future()
        self._lost = 0
        if channel:
            self.control(channel)

    # -- events ------------------------------------------------------------------------------------------------------

    def wants(self, name: str, subclass: str, unique_id: str) -> bool:
        return self.running and self.subscription.wants(name, subclass, unique_id)

    def deliver(self, event: Event) -> None:
        if not self.subscription.passes(event):
            return
        if self.writer.transport.get_write_buffer_size() < _BACKLOG:
            self.write(event.written(self.subscription.form))
            return
        self._lost += 1
        if self._lost > _MISSED:
            log.warning("a client that lost %d events is given up", self._lost)
            self.running = False
            self.writer.transport.abort()

    def write(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    def reply(self, text: str, *, headers: str = "") -> None:
        self.write(f"Content-Type: command/reply\nReply-Text: {text}\n{headers}\n".encode())

    def notice(self, text: str, *, disposition: str = "disconnect", headers: str = "") -> None:
        """Tell the client that the call, or the connection, ends."""
        controlled = ""
        if self.channel:
            controlled = f"Controlled-Session-UUID: {self.channel.uuid}\nContent-Disposition: {disposition}\n{headers}"
        head = f"Content-Type: text/disconnect-notice\n{controlled}Content-Length: {len(text)}\n\n"
        self.write((head + text).encode())

    # -- the call it controls ----------------------------------------------------------------------------------------

    def control(self, channel: Channel) -> None:
        """The connection and the call end together, but for :attr:`linger`."""
        self.channel = channel
        channel.closers.append(self._ended.set)
        if not self.asynchronous:
            # The call's own task serves the client, and cannot tell of the end.
            channel.watchers.append(self._look)
        channel.holders.append(self._finished)
        if channel.hangup_cause:
            self._ended.set()

    def _look(self) -> None:
        if self.channel and self.channel.hangup_cause:
            self._ended.set()

    @property
    def resumes(self) -> bool:
        """Whether the call goes on with the dialplan when the connection has ended."""
        return self.channel is not None and (self.resume or true(self.channel.get("socket_resume")))

    async def serve(self) -> None:
        """Serve the client until it leaves, or the call has ended and nobody lingers; then say goodbye."""
        running = asyncio.create_task(self.run())
        ending = asyncio.create_task(self._ended.wait())
        try:
            await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await self._linger(running)
        finally:
            ending.cancel()
            running.cancel()
            await self._close()
            self._finished.set_result(None)

    async def _linger(self, running: asyncio.Task[None]) -> None:
        await asyncio.sleep(_LOOK)
        if self.linger is None or self.channel is None:
            return
        about = f"Channel-Name: {self.channel.name}\nLinger-Time: {int(self.linger)}\n"
        self.notice("", disposition="linger", headers=about)
        await asyncio.wait({running}, timeout=self.linger if self.linger >= 0 else None)

    async def _close(self) -> None:
        self.running = False
        if channel := self.channel:
            channel.controlled = False
            if channel.up and not channel.transferring and self.resumes:
                channel.move(State.CS_RESET)
            channel.wake()
        self.notice(GOODBYE)
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    # -- commands ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the client until it leaves."""
        self.switch.bus.listeners.append(self)
        try:
            while self.running and (request := await read_request(self.reader)):
                await self.handle(request)
        finally:
            self.running = False
            self.switch.bus.listeners.remove(self)

    async def handle(self, request: Request) -> None:
        """Do one command, and reply."""
        line = request.line.lower()
        if line.startswith(("exit", "...")):
            self.reply("+OK bye")
            self.running = False
        elif not self.authorised:
            self._authorise(request)
        else:
            reply = await self._command(line)(request)
            if reply is not None:
                self.reply(reply)

    def _authorise(self, request: Request) -> None:
        if request.line.lower().startswith("auth "):
            self.authorised = request.line[5:] == self.password
            self.running = self.authorised
            self.reply("+OK accepted" if self.authorised else "-ERR invalid")
        elif request.line.lower().startswith("userauth "):
            self.running = False
            self.reply("-ERR invalid")
        else:
            self.reply("-ERR command not found")

    def _command(self, line: str) -> Callable[[Request], Awaitable[str | None]]:
        """The command a line begins with, looked for in FreeSWITCH's order."""
        for entry in COMMANDS:
            if line.startswith(entry.prefix) and self._may(entry):
                return partial(entry.function, self)
        return _unknown

    def _may(self, entry: Asked) -> bool:
        return (self.channel is not None or not entry.controls) and (self.full or entry.single)


async def _unknown(request: Request) -> str:
    log.info("command not found: %.20s", request.line.split(" ")[0])
    return "-ERR command not found"


Function = Callable[[Connection, Request], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A command that a client may send."""

    prefix: str
    function: Function
    controls: bool
    "It is known only where the connection controls a call."
    single: bool
    "An outbound connection without ``full`` may send it, too."


COMMANDS: list[Asked] = []


def asked(prefix: str, *, controls: bool = False, single: bool = False) -> Callable[[Function], Function]:
    """Register a command; its function gives the text of the reply, or None where it has replied."""

    def register(function: Function) -> Function:
        COMMANDS.append(Asked(prefix, function, controls, single))
        return function

    return register
