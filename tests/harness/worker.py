"""A media worker within a test, and the switch that it belongs to, which is played."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from console.ports import free_port
from harness.esl_peer import CHANNEL, PASSWORD, Command, EslPeer, Wire
from harness.node import METRICS
from media import control
from media.worker import Worker
from model.handover import Handover
from model.settings import Settings

SECRET = b"s" * 32
WAIT = 30.0


class Bench:
    """Directories and settings of a worker, and its switch."""

    def __init__(self, root: Path, scripts: Path) -> None:
        self.root, self.scripts = root, scripts
        self.peer = EslPeer()
        self.peer.answers["sendmsg"] = obey
        self.environment: dict[str, str] = {}

    async def listen(self) -> Settings:
        """The switch is there; settings with ports of their own."""
        await self.peer.listen()
        self.environment = {
            **dict.fromkeys(METRICS, ""),
            "STROWGER_RUN": str(self.root / "run"),
            "STROWGER_SCRIPTS": str(self.scripts),
            "STROWGER_MEDIA_STATE": str(self.root / "state"),
            "STROWGER_VOICEMAIL": str(self.root / "voicemail"),
            "STROWGER_SPEECH_CACHE": str(self.root / "speech"),
            "STROWGER_MEDIA_SECRET_FILE": str(self.root / "secret"),
            "STROWGER_ESL_PASSWORD_FILE": str(self.root / "password"),
            "STROWGER_ESL_ADDRESS": f"127.0.0.1:{self.peer.port}",
            "STROWGER_WORKER_ADDRESS": f"127.0.0.1:{free_port()}",
            "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port()}",
        }
        return Settings.from_env(self.environment)

    async def call(self, settings: Settings, mode: str = "async", **variables: str) -> Wire:
        """A call with channel variables, as a dialplan sends it; ``mode`` of its socket: async or static."""
        given = {f"variable_{name}": value for name, value in variables.items()}
        return await self.peer.call(settings.worker_address.port, {**CHANNEL, "Socket-Mode": mode, **given})

    async def hand_over(
        self, settings: Settings, app: str, args: str = "", *, valid: float = 30, hops: int = 1, **more: str
    ) -> Wire:
        """A call from Kamailio, whose token is good for ``valid`` seconds; ``more`` are channel variables."""
        headers = handed_over(app, args, valid=valid, hops=hops)
        return await self.call(settings, **{f"sip_h_{name}": value for name, value in headers.items()}, **more)


def handed_over(app: str, args: str = "", *, caller: str = "", valid: float = 30, hops: int = 1) -> dict[str, str]:
    """Headers by which Kamailio hands a call over, good for ``valid`` seconds."""
    handover = Handover(
        call="c1", app=app, args=args, caller=caller, callee="5000", hops=hops, expires=int(time.time() + valid)
    )
    return dict(handover.headers(SECRET))


@asynccontextmanager
async def working(bench: Bench, *, password: str = PASSWORD, **more: str) -> AsyncIterator[Settings]:
    """A worker at work, with a switch that is played."""
    await bench.listen()
    settings = Settings.from_env({**bench.environment, **more})
    try:
        async with at_work(settings, password, connected=password == PASSWORD):
            yield settings
    finally:
        await bench.peer.stop()


@asynccontextmanager
async def at_work(settings: Settings, password: str, *, connected: bool = True) -> AsyncIterator[Worker]:
    """A worker in this process, with calls handed over under ``SECRET``; ended at once afterwards."""
    worker = Worker(settings, SECRET, password)
    task = asyncio.create_task(worker.run())
    try:
        await until(lambda: worker.ready.is_set() or task.done())
        while connected and not (await ask(settings, "status"))["switch"]["connected"]:
            pass
        yield worker
    finally:
        worker.stop()
        worker.stop()
        await asyncio.wait_for(task, WAIT)


def obey(wire: Wire, command: Command) -> None:
    """The switch does what it is told, at once."""
    wire.reply()
    if command.headers["call-command"] == "execute":
        names = {"Application-UUID": command.headers.get("Event-UUID", ""), "Unique-ID": CHANNEL["Unique-ID"]}
        names |= {"Application": command.headers["execute-app-name"], "Answer-State": "answered"}
        wire.event("CHANNEL_EXECUTE_COMPLETE", names)
    else:
        hang_up(wire)


def hang_up(wire: Wire) -> None:
    """The caller is gone."""
    wire.event("CHANNEL_HANGUP_COMPLETE", {"Unique-ID": CHANNEL["Unique-ID"], "Hangup-Cause": "NORMAL_CLEARING"})
    wire.raw(b"Content-Type: text/disconnect-notice\nContent-Length: 0\n\n")
    wire.end()


def did(wire: Wire) -> list[str]:
    """What the worker had done with the call."""
    done = []
    for command in wire.commands:
        match command.headers.get("call-command"):
            case "execute":
                app, arg = command.headers["execute-app-name"], command.argument
                done.append(f"{app} {arg}".strip())
            case "hangup":
                done.append(command.headers.get("hangup-cause", "NORMAL_CLEARING"))
            case _ if command.name == "resume":
                done.append("resume")
    return done


async def over(wire: Wire) -> list[str]:
    """What the worker had done with the call, once it let the connection go."""
    await until(lambda: wire.writer.is_closing())
    return did(wire)


async def until(true: Callable[[], Any]) -> None:
    """Wait for something that no event tells."""
    async with asyncio.timeout(WAIT):
        while not true():
            await asyncio.sleep(0.005)


async def ask(settings: Settings, command: str, **arguments: Any) -> dict[str, Any]:
    """What the worker answers to a command."""
    return await asyncio.to_thread(control.ask, settings.worker_socket, command, timeout=WAIT, **arguments)


async def fetch(settings: Settings, target: str, form: str = "") -> tuple[int, str]:
    """Status and body of a request to run a script."""
    reader, writer = await asyncio.open_connection(*settings.worker_http)
    method, kind = ("POST", "Content-Type: application/x-www-form-urlencoded\r\n") if form else ("GET", "")
    head = f"{method} /scripts/{target} HTTP/1.1\r\nHost: {settings.worker_http}\r\n{kind}Content-Length: {len(form)}"
    writer.write(f"{head}\r\n\r\n{form}".encode())
    answer, _, body = (await asyncio.wait_for(reader.read(), WAIT)).decode().partition("\r\n\r\n")
    writer.close()
    return int(answer.split()[1]), body
