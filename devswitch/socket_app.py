"""The applications park and socket: a call waits for commands, or goes to ask for them (mod_event_socket.c)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from devswitch.causes import named
from devswitch.channel import Channel, State
from devswitch.esl import GOODBYE, Connection
from devswitch.registry import app
from devswitch.text import number, true

log = logging.getLogger("devswitch")

_PORT = 8084
_FIRST_COMMAND = 25.0  # seconds in which a worker must say something
_LOOK = 0.02  # how long FreeSWITCH takes to see that the call has ended, and tells its last events meanwhile


@app("park")
async def park(channel: Channel, _: str) -> None:
    """Wait for commands until the call is hung up, transferred, or nobody controls it any more."""
    if channel.controlled:
        log.error("%s: cannot park channels that are under control already", channel.name)
        return
    expiry, cause = _timeout(channel)
    channel.controlled = True
    channel.fire("CHANNEL_PARK")
    while channel.ready and channel.controlled:
        left = expiry - time.monotonic() if expiry else None
        if left is not None and left <= 0:
            channel.hangup(cause)
            break
        await channel.idle(left)
        while channel.digits and channel.controlled:
            channel.take_digit()
    channel.controlled = False
    channel.fire("CHANNEL_UNPARK")


def _timeout(channel: Channel) -> tuple[float, str]:
    """``park_timeout``: seconds, and after a colon the cause; it serves once."""
    text = channel.variables.pop("park_timeout", "")
    seconds, _, cause = text.partition(":")
    return (time.monotonic() + number(seconds) if text else 0.0), named(cause)


@app("socket")
async def socket(channel: Channel, data: str) -> None:
    """Connect the call to the first worker of ``host:port|host:port`` that answers, and obey it."""
    hosts, *modes = data.split()
    streams = await _reach(channel, hosts.split("|"))
    if streams is None:
        log.error("%s: no worker of %s could be reached", channel.name, hosts)
        return
    asynchronous = "async" in modes
    connection = Connection(
        channel.switch, *streams, channel=channel, asynchronous=asynchronous, full="full" in modes
    )
    serving = channel.switch.spawn(_serve(channel, connection))
    if not asynchronous:
        await serving
        return
    await _until_connected(channel, connection, serving)
    await park(channel, "")
    if channel.runnable:
        await channel.switch.run_commands(channel)
    if channel.up and not channel.transferring and _resumes(channel, connection):
        channel.state = State.CS_EXECUTE


async def _until_connected(channel: Channel, connection: Connection, serving: asyncio.Task[None]) -> None:
    connecting = asyncio.create_task(connection.connected.wait())
    await asyncio.wait({connecting, serving}, timeout=_FIRST_COMMAND, return_when=asyncio.FIRST_COMPLETED)
    connecting.cancel()
    if not connection.connected.is_set():
        log.error("%s: the worker did not connect", channel.name)
        connection.writer.close()


async def _reach(channel: Channel, hosts: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    for entry in hosts:
        target, _, path = entry.partition("/")
        host, _, port = target.rpartition(":") if ":" in target else (target, "", "")
        channel.set("socket_host", host)
        if path:
            channel.set("socket_path", path)
        try:
            return await asyncio.open_connection(host, number(port, _PORT), limit=1 << 20)
        except OSError as error:
            log.error("%s: worker %s: %s", channel.name, target, error.strerror or error)
    return None


def _resumes(channel: Channel, connection: Connection) -> bool:
    return connection.resume or true(channel.get("socket_resume"))


async def _serve(channel: Channel, connection: Connection) -> None:
    ended = asyncio.Event()
    finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    channel.closers.append(ended.set)
    channel.holders.append(finished)
    if channel.hangup_cause:
        ended.set()
    running = asyncio.create_task(connection.run())
    ending = asyncio.create_task(ended.wait())
    try:
        await asyncio.wait({running, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _linger(channel, connection, running)
    finally:
        ending.cancel()
        await _close(channel, connection, running)
        finished.set_result(None)


async def _linger(channel: Channel, connection: Connection, running: asyncio.Task[None]) -> None:
    await asyncio.sleep(_LOOK)
    if connection.linger is None:
        return
    about = f"Channel-Name: {channel.name}\nLinger-Time: {int(connection.linger)}\n"
    connection.notice("", disposition="linger", headers=about)
    await asyncio.wait({running}, timeout=connection.linger if connection.linger >= 0 else None)


async def _close(channel: Channel, connection: Connection, running: asyncio.Task[None]) -> None:
    connection.running = False
    running.cancel()
    channel.controlled = False
    if channel.up and not channel.transferring and _resumes(channel, connection):
        channel.move(State.CS_RESET)
    channel.wake()
    connection.notice(GOODBYE)
    connection.writer.close()
    with contextlib.suppress(ConnectionError):
        await connection.writer.wait_closed()
