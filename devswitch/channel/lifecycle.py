"""The life of a channel, one state after the other (switch_core_state_machine.c)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

from devswitch.channel.channel import Channel
from devswitch.channel.execute import execute
from devswitch.channel.profile import now
from devswitch.channel.state import State
from devswitch.dialplan.dialplan import Action, inline
from devswitch.sip.causes import NUMBERS

log = logging.getLogger("devswitch")


async def live(channel: Channel) -> None:
    """Run a channel to its end. It is the channel's only task."""
    try:
        while channel.up:
            channel.transferring = False
            await HANDLERS[channel.state](channel)
    except Exception:
        log.exception("%s: lost its way", channel.uuid)
        channel.hangup("NORMAL_TEMPORARY_FAILURE")
    await _end(channel)


async def _init(channel: Channel) -> None:
    if channel.leg.inbound:
        channel.enter(State.CS_NEW)
    channel.enter(State.CS_INIT)
    channel.fire("CHANNEL_CREATE")
    if channel.leg.inbound:
        channel.move(State.CS_ROUTING)
    else:
        channel.fire("CHANNEL_ORIGINATE")
        channel.enter(State.CS_ROUTING)
        channel.move(State.CS_CONSUME_MEDIA)


async def _routing(channel: Channel) -> None:
    channel.enter(State.CS_ROUTING)
    channel.set("call_uuid", channel.variables.get("call_uuid", channel.uuid))
    if not channel.extension:
        channel.extension = deque(await _hunt(channel))
    if not channel.up or channel.state is not State.CS_ROUTING:
        return
    if channel.extension:
        channel.move(State.CS_EXECUTE)
    else:
        log.info("%s: no route", channel.uuid)
        channel.hangup("NO_ROUTE_DESTINATION")


async def _hunt(channel: Channel) -> list[Action]:
    profile, switch = channel.profile, channel.switch
    if profile.dialplan.lower() == "inline":
        return inline(profile.destination_number)
    if profile.dialplan.upper() != "XML":
        log.error("%s: dialplan %s is not supported", channel.uuid, profile.dialplan)
        return []

    async def run(action: Action) -> None:
        await execute(channel, action.application, action.data)

    return await switch.dialplan.route(profile.context, lambda text: switch.expand(text, channel), run)


async def _execute(channel: Channel) -> None:
    channel.enter(State.CS_EXECUTE)
    while channel.ready and channel.extension:
        action = channel.extension.popleft()
        await execute(channel, action.application, action.data)
        if channel.state is State.CS_RESET:
            channel.state = State.CS_EXECUTE
    if channel.ready:
        channel.hangup("NORMAL_CLEARING")


async def _media(channel: Channel) -> None:
    channel.enter(channel.state)
    while channel.ready:
        await channel.idle()


async def _park(channel: Channel) -> None:
    channel.enter(State.CS_PARK)
    await execute(channel, "park")
    if channel.ready:
        channel.hangup("NORMAL_CLEARING")


async def _reset(channel: Channel) -> None:
    channel.enter(State.CS_RESET)
    channel.move(State.CS_EXECUTE)


HANDLERS: dict[State, Callable[[Channel], Awaitable[None]]] = {
    State.CS_NEW: _init,
    State.CS_INIT: _init,
    State.CS_ROUTING: _routing,
    State.CS_EXECUTE: _execute,
    State.CS_EXCHANGE_MEDIA: _media,
    State.CS_CONSUME_MEDIA: _media,
    State.CS_PARK: _park,
    State.CS_RESET: _reset,
}


async def _end(channel: Channel) -> None:
    # The report comes before the reply to the caller here: what is said of it shall not wait for the caller's ACK.
    saying_goodbye = asyncio.create_task(channel.leg.hangup(channel.hangup_cause))
    for close in channel.closers:
        close()
    for recording in list(channel.recordings.values()):
        await recording.stop()
    _report(channel)
    channel.enter(State.CS_HANGUP)
    channel.calling("HANGUP")
    await _hook(channel)
    channel.enter(State.CS_REPORTING)
    channel.fire("CHANNEL_HANGUP_COMPLETE")
    for command in channel.commands:
        command.done.set()
    channel.wake()
    channel.switch.channels.pop(channel.uuid, None)
    await asyncio.gather(saying_goodbye, *channel.holders, return_exceptions=True)
    channel.fire("CHANNEL_DESTROY")
    channel.enter(State.CS_DESTROY)


async def _hook(channel: Channel) -> None:
    if hook := channel.get("api_hangup_hook"):
        name, _, arguments = (await channel.switch.expand(hook, channel)).partition(" ")
        await channel.switch.api(name, arguments, channel)


def _report(channel: Channel) -> None:
    """The variables that a call's record is made of (switch_channel_set_timestamps)."""
    times = channel.profile.times
    end = times.hangup or now()
    channel.set("hangup_cause", channel.hangup_cause)
    channel.set("hangup_cause_q850", str(_q850(channel.hangup_cause)))
    if "sip_hangup_disposition" not in channel.variables:
        refused = "send_refuse" if channel.leg.inbound else "send_cancel"
        channel.set("sip_hangup_disposition", "send_bye" if channel.answered else refused)
    for name, stamp in (
        ("start", times.created),
        ("profile_start", times.profile_created),
        ("answer", times.answered),
        ("bridge", times.bridged),
        ("progress", times.progress),
        ("progress_media", times.progress_media),
        ("end", end),
    ):
        if stamp:
            channel.set(f"{name}_stamp", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(stamp / 1e6)))
        channel.variables[f"{name}_epoch"] = str(stamp // 1_000_000)
        channel.variables[f"{name}_uepoch"] = str(stamp)
    channel.set("digits_dialed", channel.dialled or "none")
    channel.set("last_app", channel.get("current_application"))
    channel.set("last_arg", channel.get("current_application_data"))
    for name, begun, ended in (
        ("", times.created, end),
        ("bill", times.answered, end),
        ("answer", times.created, times.answered),
        ("progress", times.created, times.progress),
        ("progress_media", times.created, times.progress_media),
        ("wait", times.created, times.bridged),
    ):
        span = max(ended - begun, 0) if begun else 0
        for unit, scale in (("", 1_000_000), ("m", 1000), ("u", 1)):
            key = f"{name}{unit}sec" if name else f"{unit}duration"
            channel.variables[key] = str(span // scale)


def _q850(cause: str) -> int:
    """Causes beyond Q.850 are told as 16 by FreeSWITCH's variable; ORIGINATOR_CANCEL keeps its number."""
    return NUMBERS.get(cause, 16)
