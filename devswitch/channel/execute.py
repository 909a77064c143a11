"""Applications are executed on a channel: by the dialplan, by sendmsg, and by each other (switch_core_session.c)."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid

from devswitch.channel.causes import named
from devswitch.channel.channel import Channel
from devswitch.channel.state import Command, State
from devswitch.dialplan.dialplan import Action
from devswitch.dialplan.dialstring import scoped
from devswitch.leg import LegEnded
from devswitch.registry import APPS, App
from devswitch.text import number, true

log = logging.getLogger("devswitch")

_MEDIA_WAIT = 20.0  # switch_core_session_execute_application waits about as long for an outbound leg's media
_SHORT_LOOP = 0.5  # a command with loops that takes less is not repeated (switch_ivr_parse_event)


async def execute(channel: Channel, name: str, data: str = "", *, event_uuid: str = "") -> bool:
    """Execute an application; false if it was not."""
    app = APPS.get(name)
    if not channel.up and not (app and app.after_hangup):
        return False
    if app is None:
        log.error("%s: invalid application %s", channel.uuid, name)
        channel.hangup("DESTINATION_OUT_OF_ORDER")
        return False
    if app.media and not await _media(channel):
        return False
    # %[name=value]: variables for as long as the application runs (switch_core_session_exec).
    scope, data = scoped(await channel.switch.expand(data, channel))
    channel.scopes.append(scope)
    try:
        await _run(channel, app, name, data, event_uuid or str(uuid.uuid4()))
    finally:
        channel.scopes.remove(scope)
    return True


async def _media(channel: Channel) -> bool:
    if channel.leg.inbound:
        return await channel.pre_answer()
    deadline = time.monotonic() + _MEDIA_WAIT
    while channel.up and not channel.media_ready and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return channel.media_ready


async def _run(channel: Channel, app: App, name: str, data: str, app_uuid: str) -> None:
    about = {"Application": name} | ({"Application-Data": data} if data else {})
    channel.set("current_application_data", data)
    channel.set("current_application", name)
    channel.set("current_application_response", None)
    channel.fire("CHANNEL_EXECUTE", {**about, "Application-UUID": app_uuid})
    channel.broken = False
    try:
        await app.run(channel, data)
    except LegEnded as ended:
        channel.hangup(ended.cause)
    except Exception:
        log.exception("%s: application %s failed", channel.uuid, name)
        channel.hangup("NORMAL_TEMPORARY_FAILURE")
    response = channel.variables.get("current_application_response") or "_none_"
    channel.fire(
        "CHANNEL_EXECUTE_COMPLETE", {**about, "Application-Response": response, "Application-UUID": app_uuid}
    )


async def run_commands(channel: Channel) -> None:
    """Do what sendmsg asked for, in order; within an application this interrupts it until the command is done."""
    # switch_ivr_park takes the first without telling of it where there is no media yet.
    tells = channel.media_ready
    while channel.commands and not channel.locked:
        await obey(channel, channel.commands.popleft(), tells=tells)
        tells = True
    for watch in list(channel.watchers):
        watch()


async def obey(channel: Channel, command: Command, *, tells: bool = True) -> None:
    """Do one command (switch_ivr_parse_event)."""
    was_locked = channel.locked
    channel.locked = was_locked or true(command.get("event-lock")) or true(command.get("event-lock-pri"))
    channel.parsing += 1
    try:
        await _obey(channel, command)
    finally:
        channel.parsing -= 1
        channel.locked = was_locked
        command.done.set()
    if tells:
        channel.fire("PRIVATE_COMMAND", command.headers)


async def _obey(channel: Channel, command: Command) -> None:
    match command.get("call-command").lower():
        case "execute":
            await _execute(channel, command)
        case "hangup":
            channel.hangup(named(command.get("hangup-cause")))
        case "xferext":
            listed = [value for name, value in command.headers.items() if name.lower() == "application"]
            channel.extension = type(channel.extension)(Action(*_pair(value)) for value in listed)
            channel.transferring = True
            channel.move(State.CS_EXECUTE)
        case "":
            log.error("%s: sendmsg without call-command", channel.uuid)
        case other:
            log.error("%s: sendmsg %s is not supported", channel.uuid, other)


async def execute_on(channel: Channel, prefix: str) -> None:
    """Execute what the variables of that name, or whose names begin so, hold (switch_channel_execute_on)."""
    for name, data in executions(channel, prefix):
        await execute(channel, name, data)


def executions(channel: Channel, prefix: str) -> list[tuple[str, str]]:
    """The application of each variable, and its arguments."""
    found = [value for name, value in channel.variables.items() if name.lower().startswith(prefix)]
    return [_pair(value.replace("::", " ", 1)) for value in found]


def execution(name: str, data: str) -> Command:
    """The command that lets a channel's own task execute an application."""
    headers = {"call-command": "execute", "execute-app-name": name, "execute-app-arg": data, "event-lock": "true"}
    return Command(headers)


def _pair(text: str) -> tuple[str, str]:
    name, _, data = text.partition(" ")
    return name, data


async def _execute(channel: Channel, command: Command) -> None:
    name = command.get("execute-app-name")
    argument = command.get("execute-app-arg")
    if not argument and command.get("content-type") == "text/plain":
        argument = command.body
    loops = number(command.get("loops"), 1)
    channel.stop_broadcast = False
    turn = 0
    while name and (turn < loops or loops < 0):
        turn += 1
        channel.set("current_loop", str(turn))
        channel.set("total_loops", str(loops))
        begun = time.monotonic()
        if not await execute(channel, name, argument, event_uuid=command.get("event-uuid")):
            break
        if not channel.ready or channel.stop_broadcast or time.monotonic() - begun < _SHORT_LOOP:
            break
    channel.set("current_loop", None)
    channel.set("total_loops", None)
