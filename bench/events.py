"""Live events to many clients at once: ``python -m bench.events``.

Clients follow a few numbers each over WebSockets, one reads nothing of everything, and SIPp places calls. Said is how
late each event came, by the time at which it happened, and whether any client or call was the worse for it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import redis
import typer
from websockets.asyncio.client import ClientConnection, connect

from console.ports import free_port
from console.process import Process
from console.sipp import KEYS, SIPP, key_options, render
from console.stack import Stack
from model.numbers import Dialling
from model.policy import Gateway, Policy, Route, Trunk
from model.settings import Settings
from state import keys, tokens
from state.store import Store
from state.tokens import Role

GB = Dialling(country_code="44")
CALLS = Path(__file__).parent.parent / "tests" / "sipp"
NUMBERS = 3
"That each client follows."
SETTLE = 15.0
"Seconds in which the last events have to arrive."
EACH = 3
"Events of an answered call: started, answered, ended."


@dataclass(slots=True)
class Result:
    """How it went."""

    clients: int
    calls: int
    failed: int
    "Calls that did not go as their scenario says."
    expected: int
    "Events that clients should have got."
    got: int
    missing: int
    twice: int
    disordered: int
    lost: int
    "Events that others than the stalled one were told to have lost."
    lags: list[float] = field(repr=False)
    "Seconds from what happened to its arrival."
    delays: list[float] = field(repr=False)
    "Seconds from Redis to the arrival."
    stalled_closed: bool = False
    errors: str = ""

    def __str__(self) -> str:
        return (
            f"{self.clients} clients, {self.calls} calls ({self.failed} failed), {self.got} events of {self.expected} "
            f"({self.missing} missing, {self.twice} twice, {self.disordered} out of order, {self.lost} lost)\n"
            f"lag since it happened: p50 {_ms(self.lags, 0.5)}, p99 {_ms(self.lags, 0.99)}, max {_ms(self.lags, 1)}\n"
            f"of it behind Redis:    p50 {_ms(self.delays, 0.5)}, p99 {_ms(self.delays, 0.99)}, "
            f"max {_ms(self.delays, 1)}\n"
            f"the client that reads nothing was {'' if self.stalled_closed else 'not '}closed"
        )


def _ms(values: list[float], share: float) -> str:
    ordered = sorted(values)
    value = ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
    return f"{value * 1000:.0f} ms"


@contextmanager
def site(directory: Path) -> Iterator[Stack]:
    """A node that answers HTTP, and a gateway that answers calls."""
    ports = {"SIP_PORT": free_port(), "RPC_PORT": free_port()}
    paths = {name: directory / name.lower() for name in ("SNAPSHOT", "SPOOL", "SECRETS", "RUN", "VOICEMAIL")}
    files = {"SECRET_FILE": directory / "secret", "MEDIA_SECRET_FILE": directory / "media-secret"}
    web = f"127.0.0.1:{free_port()}"
    given = {"NODE": "bench", "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "WEB_ADDRESS": web}
    settings = Settings.from_env(
        {f"STROWGER_{name}": str(value) for name, value in {**ports, **paths, **files, **given}.items()}
    )
    gateway = free_port()
    with Stack(settings, directory, web=True) as stack:
        stack.start()
        command = [SIPP, "-sf", str(CALLS / "uas-answers.xml"), "-i", "127.0.0.1", "-p", str(gateway), "-t", "u1",
                   "-nostdin", "-deadcall_wait", "0", *key_options({})]  # fmt: skip
        answering = Process("gateway", command, {"TERM": "dumb"}, directory / "gateway.log")
        answering.start()
        try:
            store = Store(settings.redis_url)
            policy = Policy((Trunk("lab", ("127.0.0.0/8",), GB),), {"g": Gateway("g", "127.0.0.1", gateway)}, GB)
            change = store.apply(text="", policy=policy, routes=(Route("all", ("",), ("g",)),), expected=0, author="")
            assert not store.confirm(change.seq, 20).missing
            yield stack
        finally:
            answering.kill()


class Client:
    """Follows a few numbers, and keeps when what arrived."""

    def __init__(self, numbers: list[str]) -> None:
        self.numbers = numbers
        self.got: list[tuple[str, float, float]] = []
        "Id, time of what happened, and of arrival."
        self.lost = 0

    async def follow(self, connection: ClientConnection) -> None:
        """Until it is cancelled."""
        async for text in connection:
            now, message = time.time(), json.loads(text)
            if message["type"] == "event":
                self.got.append((message["id"], message["at"], now))
            elif message["type"] == "lost":
                self.lost += message["count"]


def run(directory: Path, *, clients: int, rate: float, seconds: float) -> Result:
    """Measure; everything is started in ``directory``."""
    with site(directory) as stack:
        store = Store(stack.settings.redis_url)
        _, token = tokens.make(store, "bench", Role.READ)
        followers = [Client([f"{300000 + NUMBERS * n + k}" for k in range(NUMBERS)]) for n in range(clients)]
        numbers = [number for one in followers for number in one.numbers]
        stalled = _stalled(stack.settings, token)
        try:
            failed, calls, errors = asyncio.run(_measure(stack, token, followers, numbers, directory, rate, seconds))
            # What it was sent is in its socket; then comes the end.
            closed = _is_closed(stalled)
        finally:
            stalled.close()
        return _result(stack.settings, followers, failed, calls, errors, closed)


async def _measure(
    stack: Stack, token: str, followers: list[Client], numbers: list[str], directory: Path, rate: float, seconds: float
) -> tuple[int, int, str]:
    url = f"ws://{stack.settings.web_address}/api/v1/events"
    headers = {"Authorization": f"Bearer {token}"}
    async with AsyncExitStack() as opened:
        tasks = []
        for one in followers:
            query = "&".join(f"number={number}" for number in one.numbers)
            connection = await opened.enter_async_context(
                connect(f"{url}?{query}", additional_headers=headers, compression=None, open_timeout=30)
            )
            tasks.append(asyncio.create_task(one.follow(connection)))
        calls = int(rate * seconds)
        failed, errors = await asyncio.to_thread(_calls, stack.settings, directory, numbers, rate, calls)
        deadline = time.monotonic() + SETTLE
        while sum(len(one.got) for one in followers) < EACH * calls and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return failed, calls, errors


def _calls(
    settings: Settings, directory: Path, numbers: Iterable[str], rate: float, calls: int
) -> tuple[int, str]:
    """Place calls from these numbers in turn; how many did not go as they should."""
    listed = directory / "numbers.csv"
    listed.write_text("SEQUENTIAL\n" + "".join(f"{number};\n" for number in numbers))
    scenario = directory / "uac-follows.xml"
    render(CALLS / "uac-expect-answer.xml", directory).rename(scenario)
    scenario.write_text(scenario.read_text().replace("[caller]", "[field0]"))
    errors = directory / "caller.errors"
    command = [
        SIPP, f"{settings.sip_addresses[0]}:{settings.sip_port}", "-sf", str(scenario), "-inf", str(listed),
        "-i", "127.0.0.1", "-p", str(free_port()), "-t", "u1", "-nostdin", "-d", "0", "-r", str(rate),
        "-m", str(calls), "-l", "10000", "-recv_timeout", "20000", "-trace_err", "-error_file", str(errors),
        *(word for name, value in {**KEYS, "callee": "02079460000"}.items() for word in ("-key", name, value)),
    ]  # fmt: skip
    done = subprocess.run(
        command, env={"TERM": "dumb"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
        timeout=calls / rate + 60,
    )  # fmt: skip
    text = errors.read_text(errors="replace") if errors.exists() else ""
    return (0 if done.returncode == 0 else max(1, text.count("Aborting call"))), text


def _stalled(settings: Settings, token: str) -> socket.socket:
    """A client that asks for everything, and reads nothing."""
    host, port = settings.web_address
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((host, port))
    key = base64.b64encode(os.urandom(16)).decode()
    peer.sendall(
        f"GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    return peer


def _is_closed(peer: socket.socket) -> bool:
    """Whether the server has ended the connection, once all is read that was on its way."""
    peer.settimeout(1.0)
    try:
        while peer.recv(65_536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _result(
    settings: Settings, followers: list[Client], failed: int, calls: int, errors: str, closed: bool
) -> Result:
    """What clients got, beside what Redis has for them."""
    with redis.Redis.from_url(settings.redis_url, decode_responses=True) as client:
        entries: Any = client.xrange(keys.EVENTS)
    of: dict[str, list[str]] = {}
    for id, entry in entries:
        data = json.loads(entry["data"])
        of.setdefault(data.get("caller", ""), []).append(id)
    expected = missing = twice = disordered = 0
    for one in followers:
        ids = [id for id, _, _ in one.got]
        theirs = {id for number in one.numbers for id in of.get(number, ())}
        expected += len(theirs)
        missing += len(theirs - set(ids))
        twice += len(ids) - len(set(ids))
        disordered += ids != sorted(ids, key=_ordered)
    got = [row for one in followers for row in one.got]
    return Result(
        clients=len(followers), calls=calls, failed=failed, expected=expected, got=len(got), missing=missing,
        twice=twice, disordered=disordered, lost=sum(one.lost for one in followers),
        lags=[arrived - at for _, at, arrived in got],
        delays=[arrived - int(id.partition("-")[0]) / 1000 for id, _, arrived in got],
        stalled_closed=closed, errors=errors[:2000],
    )  # fmt: skip


def _ordered(id: str) -> tuple[int, int]:
    first, _, second = id.partition("-")
    return int(first), int(second)


def main(
    clients: Annotated[int, typer.Option(min=1, help="Clients, besides one that reads nothing.")] = 500,
    rate: Annotated[float, typer.Option(min=1, help="Calls a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=1, help="How long calls are placed.")] = 60.0,
) -> None:
    """Live events to many clients at once."""
    with tempfile.TemporaryDirectory(prefix="strowger-events-") as directory:
        result = run(Path(directory), clients=clients, rate=rate, seconds=seconds)
    typer.echo(str(result))
    if result.errors:
        typer.echo(result.errors)
    if result.failed or result.missing or result.twice or result.lost or result.disordered:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
