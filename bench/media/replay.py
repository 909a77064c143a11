"""Plays FreeSWITCH's side of many calls at once, with what a real one sent.

The events were recorded from FreeSWITCH 1.11.1 once (``recorded/``); only identifiers, and the application they tell
of, are put in. What a worker sends is answered as mod_event_socket.c does.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

RECORDED = Path(__file__).parent / "recorded"
DIGIT_SHARE = 0.3
"Of the prompts, those within which a digit is pressed."
_OK = b"Content-Type: command/reply\nReply-Text: +OK\n\n"
_API_OK = b"Content-Type: api/response\nContent-Length: 4\n\n+OK\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is played."""

    port: int
    "Of the worker."
    sessions: int
    "Calls at once; when one ends the next begins."
    seconds: float
    prompt: tuple[float, float]
    "Shortest and longest time an application runs, in seconds."
    handover: Mapping[str, str]


@dataclass(slots=True)
class Played:
    """What was done."""

    calls: int = 0
    "That came to their end."
    broken: int = 0
    "That the worker left before."
    events: int = 0
    octets: int = 0


def template(name: str) -> str:
    """A recorded event."""
    return (RECORDED / f"{name}.txt").read_text()


class Player:
    """Many calls on one event loop."""

    def __init__(self, load: Load, seed: int = 1) -> None:
        self.load, self.played = load, Played()
        self._random = random.Random(seed)
        self._templates = {
            name: template(name) for name in ("channel-data", "execute-complete", "dtmf", "hangup-complete")
        }
        headers = {f"variable_sip_h_{name}": quote(value, safe=_UNRESERVED) for name, value in load.handover.items()}
        self._handover = "".join(f"{name}: {value}\n" for name, value in headers.items())

    async def run(self) -> Played:
        """Play for ``seconds``."""
        stop = asyncio.Event()
        tasks = [asyncio.create_task(self._line(number, stop)) for number in range(self.load.sessions)]
        await asyncio.sleep(self.load.seconds)
        stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error
        return self.played

    async def _line(self, number: int, stop: asyncio.Event) -> None:
        # Not all at the same moment.
        await asyncio.sleep(self._random.uniform(0, self.load.prompt[1] * 2))
        while not stop.is_set():
            reader, writer = await asyncio.open_connection("127.0.0.1", self.load.port)
            try:
                await _Call(self, reader, writer).run()
                self.played.calls += 1
            except (asyncio.IncompleteReadError, ConnectionError):
                self.played.broken += 1
                await asyncio.sleep(1.0)
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    def event(self, name: str, **words: str) -> bytes:
        """An event's text."""
        text = self._templates[name]
        for word, value in (words | {"handover": self._handover}).items():
            text = text.replace(f"{{{word}}}", value)
        return text.encode()

    def new_uuid(self) -> str:
        """An identifier."""
        return str(UUID(int=self._random.getrandbits(128), version=4))


class _Call:
    def __init__(self, player: Player, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._player, self._reader, self._writer = player, reader, writer
        self._uuid = player.new_uuid()
        self._busy: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the worker hangs up."""
        try:
            while True:
                name, headers = command((await self._reader.readuntil(b"\n\n")).decode())
                if size := int(headers.get("content-length", 0)):
                    # The argument of an application, where it is long.
                    headers.setdefault("execute-app-arg", (await self._reader.readexactly(size)).decode())
                if not self._command(name, headers):
                    break
            # The worker takes the notice, and goes.
            while await self._reader.read(4096):
                pass
        finally:
            for task in self._busy:
                task.cancel()

    def _command(self, name: str, headers: Mapping[str, str]) -> bool:
        if name == "connect":
            self._writer.write(self._player.event("channel-data", uuid=self._uuid))
        elif name.startswith("sendmsg"):
            self._writer.write(_OK)
            if headers["call-command"] == "hangup":
                self._hang_up()
                return False
            task = asyncio.create_task(self._execute(headers))
            self._busy.add(task)
            task.add_done_callback(self._busy.discard)
        else:
            self._writer.write(_API_OK if name.startswith(("api ", "bgapi ")) else _OK)
        return True

    async def _execute(self, headers: Mapping[str, str]) -> None:
        app, arg = headers["execute-app-name"], headers.get("execute-app-arg", "")
        if app not in ("answer", "pre_answer"):
            chance, seconds = self._player._random, self._player._random.uniform(*self._player.load.prompt)
            if chance.random() < DIGIT_SHARE:
                await asyncio.sleep(seconds / 2)
                self._send("dtmf", uuid=self._uuid)
                seconds /= 2
            await asyncio.sleep(seconds)
        own = headers.get("event-uuid") or self._player.new_uuid()
        words = {"data": quote(arg, safe=_UNRESERVED), "application-uuid": own, "application": app, "uuid": self._uuid}
        self._send("execute-complete", **words)

    def _hang_up(self) -> None:
        self._send("hangup-complete", uuid=self._uuid)
        said = b"Disconnected, goodbye.\nSee you at ClueCon! http://www.cluecon.com/\n"
        self._writer.write(
            b"Content-Type: text/disconnect-notice\nContent-Disposition: disconnect\n"
            b"Controlled-Session-UUID: %s\nContent-Length: %d\n\n%s" % (self._uuid.encode(), len(said), said)
        )
        self._writer.write_eof()

    def _send(self, name: str, **words: str) -> None:
        body = self._player.event(name, **words)
        frame = b"Content-Length: %d\nContent-Type: text/event-plain\n\n%s" % (len(body), body)
        self._player.played.events += 1
        self._player.played.octets += len(frame)
        self._writer.write(frame)


def command(text: str) -> tuple[str, dict[str, str]]:
    """A command's first line, and its headers by their names in small letters."""
    first, *lines = text.strip("\n").split("\n")
    pairs = (line.partition(":") for line in lines)
    return first, {name.lower(): value.strip() for name, _, value in pairs}


# As switch_url_encode() of switch_utils.c leaves them.
_UNRESERVED = "/!$()*,"


def play(load: Load) -> Played:
    """Play in this process."""
    return asyncio.run(Player(load).run())
