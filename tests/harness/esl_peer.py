"""FreeSWITCH's side of the event socket, and what a broken one does; a small real server for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

PASSWORD = "ClueCon"
LIMIT = 1 << 24
CHANNEL = {
    "Event-Name": "CHANNEL_DATA",
    "Unique-ID": "0a0a0a0a-0000-4000-8000-000000000001",
    "Caller-Destination-Number": "5000",
    "variable_sip_from_user": "alice & bob",
}


def run(main: Coroutine[Any, Any, None], timeout: float = 30) -> None:
    """A test, on a loop of its own."""
    asyncio.run(asyncio.wait_for(main, timeout))


@dataclass(frozen=True, slots=True)
class Command:
    """What a client sent."""

    line: str
    headers: Mapping[str, str]
    body: str = ""

    @property
    def name(self) -> str:
        """The first word."""
        return self.line.partition(" ")[0]

    @property
    def argument(self) -> str:
        """Of an application, wherever it stands (switch_ivr_parse_event() of switch_ivr.c)."""
        plain = self.headers.get("Content-Type") == "text/plain"
        return self.headers.get("execute-app-arg") or (self.body if plain else "")


def event_bytes(name: str, headers: Mapping[str, str], body: str = "") -> bytes:
    """As switch_event_serialize() writes it, with the frame around it."""
    lines = [f"{key}: {quote(value, safe='/!$()*,')}" for key, value in {"Event-Name": name, **headers}.items()]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    inner = "\n".join(lines).encode() + b"\n\n" + body.encode()
    return b"Content-Length: %d\nContent-Type: text/event-plain\n\n" % len(inner) + inner


class Wire:
    """One connection, as the switch has it."""

    def __init__(self, peer: EslPeer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer, self.reader, self.writer = peer, reader, writer
        self.commands: list[Command] = []
        self.arrived = asyncio.Event()
        self.hello = b""

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    def reply(self, text: str = "+OK", **headers: str) -> None:
        """A command/reply."""
        more = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in headers.items())
        self.raw(f"Content-Type: command/reply\nReply-Text: {text}\n{more}\n".encode())

    def response(self, body: str) -> None:
        """An api/response."""
        self.raw(f"Content-Type: api/response\nContent-Length: {len(body.encode())}\n\n{body}".encode())

    def event(self, name: str, headers: Mapping[str, str] = {}, body: str = "") -> None:
        """An event."""
        self.raw(event_bytes(name, headers, body))

    def end(self) -> None:
        """The connection ends."""
        self.writer.close()

    def die(self) -> None:
        """The connection is reset."""
        self.writer.transport.abort()

    async def sent(self, *names: str) -> list[Command]:
        """Commands so far, once all of ``names`` are among them."""
        while set(names) - {one.name for one in self.commands}:
            self.arrived.clear()
            await self.arrived.wait()
        return self.commands

    async def serve(self) -> None:
        """Answer commands until the client goes."""
        try:
            while True:
                command = await self._read()
                self.commands.append(command)
                self.peer.answer(self, command)
                self.arrived.set()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writer.close()

    async def _read(self) -> Command:
        block = (await self.reader.readuntil(b"\n\n")).decode()
        line, *rest = block.rstrip("\n").split("\n")
        headers = dict(one.split(":", 1) for one in rest)
        body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        return Command(line, headers, body.decode())


Answer = Callable[[Wire, Command], None]


class EslPeer:
    """Plays the switch: ``answers`` by a command's first word; what is not there is answered ``+OK``."""

    def __init__(self, *, password: str = PASSWORD, greeting: bytes = b"Content-Type: auth/request\n\n") -> None:
        self.password, self.greeting = password, greeting
        self.answers: dict[str, Answer] = {"auth": self._auth, "api": _api, "bgapi": _bgapi, "connect": _connect}
        self.wires: list[Wire] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def wire(self) -> Wire:
        """The last connection."""
        return self.wires[-1]

    async def listen(self) -> None:
        """Accept connections, again at the same port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """The switch is gone, and all its connections."""
        if self._server:
            self._server.close()
        for wire in self.wires:
            wire.die()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def call(self, port: int, channel: Mapping[str, str] = CHANNEL) -> Wire:
        """What ``socket 127.0.0.1:<port> async full`` does; ``channel`` may have another ``Socket-Mode``."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LIMIT)
        wire = Wire(self, reader, writer)
        full = {"Content-Type": "command/reply", "Reply-Text": "+OK\n", "Socket-Mode": "async", "Control": "full"}
        inner = event_bytes("CHANNEL_DATA", {**full, **channel}).partition(b"\n\n")[2]
        wire.hello = inner
        self._serve(wire)
        return wire

    def answer(self, wire: Wire, command: Command) -> None:
        """One command."""
        self.answers.get(command.name, _ok)(wire, command)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(self, reader, writer)
        wire.raw(self.greeting)
        self._serve(wire)

    def _serve(self, wire: Wire) -> None:
        self.wires.append(wire)
        task = asyncio.ensure_future(wire.serve())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _auth(self, wire: Wire, command: Command) -> None:
        if command.line == f"auth {self.password}":
            wire.reply("+OK accepted")
        else:
            wire.reply("-ERR invalid")
            wire.raw(b"Content-Type: text/disconnect-notice\nContent-Length: 67\n\n")
            wire.raw(b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n")
            wire.end()


def ignore(wire: Wire, command: Command) -> None:
    """No answer at all."""


def _ok(wire: Wire, command: Command) -> None:
    wire.reply()


def _api(wire: Wire, command: Command) -> None:
    name, _, args = command.line.removeprefix("api ").partition(" ")
    wire.response(args if name == "echo" else f"-ERR {name} Command not found!\n")


def _bgapi(wire: Wire, command: Command) -> None:
    name, _, args = command.line.removeprefix("bgapi ").partition(" ")
    job = command.headers["Job-UUID"]
    wire.reply(f"+OK Job-UUID: {job}", Job_UUID=job)
    wire.event("BACKGROUND_JOB", {"Job-UUID": job}, args if name == "echo" else f"-ERR {name} Command not found!\n")


def _connect(wire: Wire, command: Command) -> None:
    wire.raw(wire.hello)
