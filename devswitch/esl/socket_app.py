"""The applications park and socket: a call waits for commands, or goes to ask for them (mod_event_socket.c)."""

from __future__ import annotations

import asyncio
import logging
import time

from devswitch.channel.causes import named
from devswitch.channel.channel import Channel
from devswitch.channel.state import State
from devswitch.esl.connection import Connection
from devswitch.registry import app
from devswitch.text import number

log = logging.getLogger("devswitch")

_PORT = 8084
_FIRST_COMMAND = 25.0  # seconds in which a worker must say something
_NEXT = 0.001  # FreeSWITCH sleeps so long before it parks; what came with connect is read by then


@app("park")
async def park(channel: Channel, _: str) -> None:
    """Wait for commands until the call is hung up, transferred, or nobody controls it any more."""
    if channel.controlled:
        log.error("%s: cannot park channels that are under control already", channel.uuid)
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
    """``park_timeout``: seconds, and after a colon the cause; one of the channel serves once."""
    text = channel.get("park_timeout") or ""
    channel.set("park_timeout", None)
    seconds, _, cause = text.partition(":")
    return (time.monotonic() + number(seconds) if text else 0.0), named(cause)


@app("socket")
async def socket(channel: Channel, data: str) -> None:
    """Connect the call to the first worker of ``host:port|host:port`` that answers, and obey it."""
    hosts, *modes = data.split()
    streams = await _reach(channel, hosts.split("|"))
    if streams is None:
        log.error("%s: no worker of %s could be reached", channel.uuid, hosts)
        return
    asynchronous = "async" in modes
    connection = Connection(
        channel.switch, *streams, channel=channel, asynchronous=asynchronous, full="full" in modes
    )
    serving = channel.switch.spawn(connection.serve())
    if not asynchronous:
        await serving
        return
    await _until_connected(channel, connection, serving)
    await asyncio.sleep(_NEXT)
    await park(channel, "")
    if channel.runnable:
        await channel.switch.run_commands(channel)
    if channel.up and not channel.transferring and connection.resumes:
        channel.state = State.CS_EXECUTE


async def _until_connected(channel: Channel, connection: Connection, serving: asyncio.Task[None]) -> None:
    connecting = asyncio.create_task(connection.connected.wait())
    await asyncio.wait({connecting, serving}, timeout=_FIRST_COMMAND, return_when=asyncio.FIRST_COMPLETED)
    connecting.cancel()
    if not connection.connected.is_set():
        log.error("%s: the worker did not connect", channel.uuid)
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
            log.error("%s: worker %s: %s", channel.uuid, target, error.strerror or error)
    return None
