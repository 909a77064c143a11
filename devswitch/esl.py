"""The event socket: what a connection may ask, and what it is answered, word for word (mod_event_socket.c)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from devswitch import mwi
from devswitch.channel import Channel, Command
from devswitch.events import NAMES, Event, encode
from devswitch.execute import obey
from devswitch.subscription import FORMATS, MY_EVENTS, Subscription
from devswitch.switch import Switch
from devswitch.text import number, true

log = logging.getLogger("devswitch.esl")

GOODBYE = "Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
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
        while header := (await reader.readline()).decode(errors="replace").strip("\r\n"):
            name, _, value = header.partition(":")
            request.headers[name] = value.lstrip(" ")
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
        self.channel = channel
        self.outbound = channel is not None
        self.asynchronous = asynchronous
        self.full = full
        self.subscription = Subscription()
        self.connected = asyncio.Event()
        self.running = True
        self.resume = False
        self.linger: float | None = None
        "Seconds to stay after the call; None: not at all; -1: for ever."
        self._lost = 0

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
        if self.outbound and self.channel:
            controlled = f"Controlled-Session-UUID: {self.channel.uuid}\nContent-Disposition: {disposition}\n{headers}"
        head = f"Content-Type: text/disconnect-notice\n{controlled}Content-Length: {len(text)}\n\n"
        self.write((head + text).encode())

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
        for prefix, needs, function in _COMMANDS:
            if line.startswith(prefix) and (not needs or self.channel) and (self.full or prefix in _SINGLE):
                return lambda request: function(self, request)
        return lambda request: _unknown(self, request)


def _words(request: Request) -> list[str]:
    return request.line.split()[1:]


async def _unknown(_: Connection, request: Request) -> str:
    log.info("command not found: %.20s", request.line.split(" ")[0])
    return "-ERR command not found"


async def _filter(connection: Connection, request: Request) -> str:
    filters = connection.subscription.filters
    name, _, value = request.line[7:].strip().partition(" ")
    if name.lower() == "delete" and value:
        name, _, value = value.partition(" ")
        keep = [] if name.lower() == "all" else [f for f in filters if f[0] != name or (value and f[1] != value)]
        filters[:] = keep
        return f"+OK filter deleted. [{name}][{value}]"
    if not value:
        return "-ERR invalid syntax"
    if name.lower() == "add":
        name, _, value = value.partition(" ")
    filters.append((name, value))
    return f"+OK filter added. [{name}]=[{value}]"


async def _resume(connection: Connection, _: Request) -> str:
    assert connection.channel
    connection.resume = True
    connection.channel.set("socket_resume", "true")
    return "+OK"


async def _connect(connection: Connection, _: Request) -> None:
    channel = connection.channel
    assert channel
    connection.connected.set()
    headers = {
        **connection.switch.bus.base("CHANNEL_DATA"),
        **dict(channel.profile.headers("Channel")),
        **channel.headers(),
        "Content-Type": "command/reply",
        "Reply-Text": "+OK\n",
        "Socket-Mode": "async" if connection.asynchronous else "static",
        "Control": "full" if connection.full else "single-channel",
    }
    connection.write(("".join(f"{name}: {encode(value)}\n" for name, value in headers.items()) + "\n").encode())


async def _getvar(connection: Connection, request: Request) -> str:
    assert connection.channel
    words = _words(request)
    # An empty reply is taken for none, so a variable that is not set reads as a command that is not known.
    return (connection.channel.get(words[0]) or "" if words else "") or "-ERR command not found"


async def _myevents(connection: Connection, request: Request) -> str:
    subscription, words = connection.subscription, _words(request)
    if subscription.only is not None:
        return "-ERR aready enabled."
    if connection.channel:
        subscription.only = connection.channel.uuid
    else:
        if len(words) > 1 and not connection.switch.find(words[0]):
            return "-ERR invalid uuid"
        subscription.only = words[0]
    subscription.names |= MY_EVENTS
    subscription.enabled = True
    subscription.form = next((word.lower() for word in words if word.lower() in FORMATS), subscription.form)
    return "+OK Events Enabled"


async def _divert(connection: Connection, request: Request) -> str:
    if not connection.channel:
        return "-ERR not controlling a session."
    if not (words := _words(request)):
        return "-ERR missing value."
    return "+OK events diverted" if words[0].lower() == "on" else "+OK events not diverted"


async def _sendmsg(connection: Connection, request: Request) -> str:
    target = request.line[7:].strip() or request.get("session-id")
    own = connection.channel
    asked = Command(request.headers, request.body)
    if own and target in ("", own.uuid):
        if connection.asynchronous or true(request.get("async")):
            own.send(asked)
        else:
            await obey(own, asked)
        return "+OK"
    channel = connection.switch.find(target)
    if channel is None:
        return f"-ERR invalid session id [{target}]"
    channel.send(asked)
    return "+OK"


async def _sendevent(connection: Connection, request: Request) -> str:
    word = (_words(request) or ["CLONE"])[0].upper()
    name = word if word in NAMES else "CLONE"
    event_uuid = str(uuid.uuid4())
    subclass = request.get("event-subclass")
    headers = {key: value for key, value in request.headers.items() if key.lower() not in _OWN_HEADERS}
    headers |= {"Command": request.line, "Event-UUID": event_uuid}
    connection.switch.bus.fire(
        name, headers, request.body, subclass=subclass, unique_id=request.get("unique-id")
    )
    if name == "NOTIFY":
        connection.switch.spawn(mwi.notify(connection.switch, request.headers, request.body))
    return f"+OK {event_uuid}"


_OWN_HEADERS = {"content-length", "event-name", "event-subclass"}


async def _api(connection: Connection, request: Request) -> None:
    answer = await api_answer(connection.switch, request.line[4:]) or "-ERR no reply\n"
    content = answer.encode()
    connection.write(f"Content-Type: api/response\nContent-Length: {len(content)}\n\n".encode() + content)


async def api_answer(switch: Switch, line: str) -> str:
    """What a line such as ``uuid_exists 1234`` is answered."""
    name, _, arguments = line.partition(" ")
    try:
        answer = await switch.api(name, arguments)
    except Exception:
        log.exception("api %s failed", name)
        return f"-ERR {name} failed\n"
    return f"-ERR {name} Command not found!\n" if answer is None else answer


async def _bgapi(connection: Connection, request: Request) -> None:
    job = request.get("job-uuid") or str(uuid.uuid4())
    name, _, arguments = request.line[6:].partition(" ")
    about = {"Job-UUID": job, "Job-Command": name} | ({"Job-Command-Arg": arguments} if arguments else {})
    if connection.channel:
        about["Job-Owner-UUID"] = connection.channel.uuid
    bus = connection.switch.bus

    async def work() -> None:
        bus.fire("BACKGROUND_JOB", about, await api_answer(connection.switch, request.line[6:]))

    connection.reply(f"+OK Job-UUID: {job}", headers=f"Job-UUID: {job}\n")
    connection.switch.spawn(work())


async def _log(_: Connection, request: Request) -> str:
    level = (_words(request) or [""])[0]
    return f"+OK log level {level} [{number(level, 7)}]"


async def _nolog(_: Connection, __: Request) -> str:
    return "+OK no longer logging"


async def _linger(connection: Connection, request: Request) -> str:
    if not connection.channel:
        return "-ERR not controlling a session"
    words = _words(request)
    connection.linger = float(number(words[0])) if words else -1
    return f"+OK will linger {int(connection.linger)} seconds" if words else "+OK will linger"


async def _nolinger(connection: Connection, _: Request) -> str:
    if not connection.channel:
        return "-ERR not controlling a session"
    connection.linger = None
    return "+OK will not linger"


async def _event(connection: Connection, request: Request) -> str:
    if not connection.subscription.add(_words(request)):
        return "-ERR no keywords supplied"
    connection.subscription.enabled = True
    return f"+OK event listener enabled {connection.subscription.form}"


async def _nixevent(connection: Connection, request: Request) -> str:
    if not connection.subscription.remove(_words(request)):
        return "-ERR no keywords supplied"
    connection.subscription.enabled = True
    return "+OK events nixed"


async def _noevents(connection: Connection, _: Request) -> str:
    if not connection.subscription.enabled:
        return "-ERR not listening for events"
    connection.subscription.clear()
    return "+OK no longer listening for events"


_COMMANDS: tuple[tuple[str, bool, Callable[[Connection, Request], Awaitable[str | None]]], ...] = (
    ("filter ", False, _filter),
    ("resume", True, _resume),
    ("connect", True, _connect),
    ("getvar", True, _getvar),
    ("myevents ", False, _myevents),
    ("myevents", True, _myevents),
    ("divert_events", False, _divert),
    ("sendmsg", False, _sendmsg),
    ("sendevent", False, _sendevent),
    ("api ", False, _api),
    ("bgapi ", False, _bgapi),
    ("log", False, _log),
    ("linger", False, _linger),
    ("nolinger", False, _nolinger),
    ("nolog", False, _nolog),
    ("event", False, _event),
    ("nixevent", False, _nixevent),
    ("noevents", False, _noevents),
)
"Prefix, whether it needs a call that the connection controls, function."

_SINGLE = {"filter ", "resume", "connect", "getvar", "myevents ", "myevents", "divert_events", "sendmsg"}
"What an outbound connection without ``full`` may ask."

COMMANDS = (*dict.fromkeys(prefix.strip() for prefix, _, _ in _COMMANDS), "auth", "exit")
