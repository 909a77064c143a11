"""API commands for one channel: the uuid_* family (mod_commands.c)."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from devswitch.apps.bridge import join
from devswitch.apps.call import schedule_hangup, send_digits
from devswitch.apps.recording import start_recording, stop_recording
from devswitch.channel.causes import named
from devswitch.channel.channel import Channel
from devswitch.channel.execute import execution
from devswitch.channel.state import Command, State
from devswitch.dialplan.dialstring import braced
from devswitch.events import encode
from devswitch.registry import CommandFunction, command
from devswitch.switch import Switch
from devswitch.text import number, separate

log = logging.getLogger("devswitch")

NO_CHANNEL = "-ERR No such channel!\n"

OfChannel = Callable[[Channel, list[str]], Awaitable[str]]


def of_channel(
    name: str, usage: str, *, words: int = 1, limit: int = 0, missing: str = NO_CHANNEL
) -> Callable[[OfChannel], CommandFunction]:
    """Register a command whose first argument is a channel, and that has at least so many ``words``."""

    def register(function: OfChannel) -> CommandFunction:
        @command(name)
        async def run(switch: Switch, arguments: str, _: Channel | None) -> str:
            given = separate(arguments.strip(), limit=limit)
            if len(given) < words:
                return f"-USAGE: {usage}\n"
            channel = switch.find(given[0])
            return await function(channel, given[1:]) if channel else missing

        return run

    return register


@of_channel("uuid_answer", "<uuid>", missing="-ERROR\n")
async def uuid_answer(channel: Channel, _: list[str]) -> str:
    await channel.answer()
    return "+OK\n" if channel.answered else "-ERROR\n"


@of_channel("uuid_pre_answer", "<uuid>", missing="-ERROR\n")
async def uuid_pre_answer(channel: Channel, _: list[str]) -> str:
    return "+OK\n" if await channel.pre_answer() else "-ERROR\n"


@of_channel("uuid_kill", "<uuid> [cause]")
async def uuid_kill(channel: Channel, rest: list[str]) -> str:
    channel.hangup(named(rest[0]) if rest else "NORMAL_CLEARING")
    return "+OK\n"


@of_channel("uuid_break", "<uuid> [all]")
async def uuid_break(channel: Channel, rest: list[str]) -> str:
    if "all" in rest:
        for left in channel.commands:
            left.done.set()
        channel.commands.clear()
    channel.interrupt()
    return "+OK\n"


@command("uuid_exists")
async def uuid_exists(switch: Switch, arguments: str, _: Channel | None) -> str:
    return "true" if switch.find(arguments.strip()) else "false"


@of_channel("uuid_getvar", "<uuid> <var>", words=2)
async def uuid_getvar(channel: Channel, rest: list[str]) -> str:
    value = channel.get(rest[0])
    return "_undef_" if value is None else value


@of_channel("uuid_setvar", "<uuid> <var> [value]", words=2, limit=3)
async def uuid_setvar(channel: Channel, rest: list[str]) -> str:
    channel.set(rest[0], rest[1] if len(rest) > 1 and rest[1] != "_undef_" else None)
    return "+OK\n"


_MULTI = "<uuid> <var>=<value>;<var>=<value>..."


@of_channel("uuid_setvar_multi", _MULTI, words=2, limit=2, missing=f"{NO_CHANNEL}-USAGE: {_MULTI}\n")
async def uuid_setvar_multi(channel: Channel, rest: list[str]) -> str:
    for pair in separate(rest[0], ";"):
        name, _, value = pair.partition("=")
        channel.set(name.strip(), value or None)
    return "+OK\n"


@of_channel("uuid_dump", "<uuid> [format]")
async def uuid_dump(channel: Channel, rest: list[str]) -> str:
    headers = {**channel.switch.bus.base("CHANNEL_DATA"), **channel.headers()}
    if rest and rest[0].lower() == "json":
        return json.dumps(headers, ensure_ascii=False, separators=(",", ":"))
    return "".join(f"{name}: {encode(value) if rest else value}\n" for name, value in headers.items()) + "\n"


@of_channel("uuid_park", "<uuid>")
async def uuid_park(channel: Channel, _: list[str]) -> str:
    channel.extension.clear()
    channel.transferring = True
    channel.move(State.CS_PARK)
    return "+OK\n"


_TRANSFER = "<uuid> [-bleg|-both] <dest-exten> [<dialplan>] [<context>]"


@of_channel("uuid_transfer", _TRANSFER, words=2, limit=5)
async def uuid_transfer(channel: Channel, rest: list[str]) -> str:
    which, partner = rest[0].lower(), channel.partner
    if which.startswith("-"):
        rest = rest[1:]
    if not rest:
        return f"-USAGE: {_TRANSFER}\n"
    if partner and which == "-both":
        channel.switch.transfer(partner, *rest[:3])
    channel.switch.transfer(partner if partner and which == "-bleg" else channel, *rest[:3])
    return "+OK\n"


@command("uuid_bridge")
async def uuid_bridge(switch: Switch, arguments: str, _: Channel | None) -> str:
    words = arguments.split()
    if len(words) != 2:
        return "-USAGE: <uuid> <other_uuid>\n"
    one, other = switch.find(words[0]), switch.find(words[1])
    if one is None or other is None or one is other:
        return "-ERR Invalid uuid\n"
    join(one, other)
    return f"+OK {words[1]}\n"


_BROADCAST = "<uuid> <path> [aleg|bleg|holdb|both]"


@of_channel("uuid_broadcast", _BROADCAST, words=2, limit=3, missing="-ERR invalid uuid\n")
async def uuid_broadcast(channel: Channel, rest: list[str]) -> str:
    path, *which = separate(rest[0] if len(rest) == 1 else f"{rest[0]} {rest[1]}", limit=2)
    legs = {"bleg": [channel.partner], "both": [channel, channel.partner]}.get(which[0] if which else "", [channel])
    for leg in legs:
        if leg:
            _broadcast(leg, path)
    return "+OK Message sent\n"


def _broadcast(channel: Channel, path: str) -> None:
    """``path``, ``app::arguments`` or ``app!cause::arguments`` (switch_ivr_broadcast)."""
    name, found, argument = path.partition("::")
    if not found:
        name, argument = "playback", path
    cause = ""
    if "!" in name:
        name, _, cause = name.partition("!")
    channel.send(execution(name, argument))
    if cause or (found and "!" in path.partition("::")[0]):
        channel.send(Command({"call-command": "hangup", "hangup-cause": cause}))


_RECORD = "<uuid> [start|stop|mask|unmask] <path> [<limit>] [<recording_vars>]"


@of_channel("uuid_record", _RECORD, words=3, missing="-ERR Cannot locate session!\n")
async def uuid_record(channel: Channel, rest: list[str]) -> str:
    action, path = rest[0].lower(), rest[1]
    if action == "start":
        limit = number(rest[2]) if len(rest) > 2 else 0
        own = braced(unquote(rest[3])) if len(rest) > 3 else {}
        return "+OK Success\n" if await start_recording(channel, path, limit, own) else "-ERR Cannot record session!\n"
    if action == "stop":
        return "+OK Success\n" if await stop_recording(channel, path) else "-ERR Cannot stop record session!\n"
    if action in ("mask", "unmask", "pause", "resume"):
        return _pause(channel, action, path)
    return f"-USAGE: {_RECORD}\n"


def _pause(channel: Channel, action: str, path: str) -> str:
    recording = channel.recordings.get(path)
    if recording is None:
        return f"-ERR Cannot {action} recording session!\n"
    recording.recorder.paused = action in ("mask", "pause")
    return "+OK Success\n"


@of_channel("uuid_send_dtmf", "<uuid> <dtmf_data>", words=2, missing="-ERR Cannot locate session!\n")
async def uuid_send_dtmf(channel: Channel, rest: list[str]) -> str:
    channel.switch.spawn(send_digits(channel, rest[0]))
    return f"+OK {channel.uuid} sent DTMF {rest[0]}.\n"


@of_channel("uuid_recv_dtmf", "<uuid> <dtmf_data>", words=2, missing="-ERR Cannot locate session!\n")
async def uuid_recv_dtmf(channel: Channel, rest: list[str]) -> str:
    digits, _, duration = rest[0].partition("@")
    for digit in digits:
        channel.queue_digit(digit, number(duration, 250) * 8)
    return f"+OK {channel.uuid} received DTMF {rest[0]}.\n"


@of_channel("uuid_flush_dtmf", "<uuid>")
async def uuid_flush_dtmf(channel: Channel, _: list[str]) -> str:
    channel.digits.clear()
    return "+OK\n"


@of_channel("uuid_fileman", "<uuid> <cmd>:<val>", words=2)
async def uuid_fileman(channel: Channel, rest: list[str]) -> str:
    """``pause``, ``stop``, ``restart``, ``seek:[+-]ms``, ``speed:[+-]n``, ``volume:[+-]n``."""
    playing = channel.playing
    if playing is None:
        return "-ERR no file is being played\n"
    name, _, value = rest[0].partition(":")
    if name in ("stop", "truncate"):
        playing.stop()
        return "+OK\n"
    player = playing.player
    if player is None:
        return "-ERR not a file\n"
    relative = value[:1] in "+-" and bool(value)
    match name:
        case "pause":
            player.paused = not player.paused
        case "restart":
            player.seek(0)
        case "seek":
            player.seek((player.position if relative else 0) + number(value) * 8)
        case "speed":
            player.speed = player.speed + number(value) if relative else number(value)
        case "volume":
            player.volume = player.volume + number(value) if relative else number(value)
        case _:
            return f"-ERR {name} is not supported\n"
    return "+OK\n"


@of_channel("uuid_send_message", "<uuid> <message>", words=2, limit=2)
async def uuid_send_message(channel: Channel, rest: list[str]) -> str:
    """MESSAGE to the peer's address, outside of the dialog."""
    endpoint = channel.switch.endpoint
    if endpoint is None:
        return "-ERR no SIP\n"
    uri = f"sip:{channel.profile.caller_id_number}@{channel.leg.remote_address}"
    status = await endpoint.send_request("MESSAGE", uri, {"Content-Type": "text/plain"}, rest[0])
    return "+OK message sent\n" if status < 300 else f"-ERR {status}\n"


@command("sched_hangup")
async def sched_hangup(switch: Switch, arguments: str, _: Channel | None) -> str:
    """``[+]seconds uuid [cause]``."""
    words = arguments.split()
    if not words:
        return "-USAGE: [+]<time> <uuid> [<cause>]\n"
    channel = switch.find(words[1]) if len(words) > 1 else None
    if channel is None:
        return NO_CHANNEL
    schedule_hangup(channel, words[0], named(words[2] if len(words) > 2 else "ALLOTTED_TIMEOUT"))
    return "+OK\n"
