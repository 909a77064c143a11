"""Two channels that talk to each other (switch_ivr_bridge.c)."""

from __future__ import annotations

import asyncio
import logging

from devswitch.bridge import Bridge
from devswitch.causes import matches
from devswitch.channel import Channel, State
from devswitch.leg import Frame, LegEnded
from devswitch.lifecycle import HANDLERS
from devswitch.originate import originate
from devswitch.profile import now
from devswitch.registry import app
from devswitch.text import true

log = logging.getLogger("devswitch")

_ALWAYS_CONTINUE = ("NO_ANSWER", "NO_USER_RESPONSE", "ORIGINATOR_CANCEL")


@app("bridge")
async def bridge(channel: Channel, data: str) -> None:
    """Call a dial string, and talk to who answers."""
    peer, cause = await originate(channel.switch, data, caller=channel)
    if peer is None:
        log.info("%s: bridge failed: %s", channel.name, cause)
        channel.set("originate_failed_cause", cause)
        handle_cause(channel, cause)
    else:
        await talk(channel, peer)


def handle_cause(channel: Channel, cause: str) -> None:
    """Hang up after a failed bridge, unless the dialplan is to go on (switch_channel_handle_cause)."""
    if not channel.up:
        return
    goes_on, ends = channel.get("continue_on_fail"), channel.get("failure_causes")
    if ends is not None and not matches(cause, ends):
        return
    if goes_on is not None and (true(goes_on) or matches(cause, goes_on)):
        return
    if goes_on is None and ends is None and cause in _ALWAYS_CONTINUE:
        return
    if not channel.transferring and channel.state is not State.CS_ROUTING:
        channel.hangup(cause)


class _Ear:
    """What one leg hears the other says: recordings of the call want to know."""

    def __init__(self, other: Channel) -> None:
        self._other = other

    def frame(self, samples: Frame, /) -> None:
        self._other.said = samples


async def talk(one: Channel, peer: Channel) -> None:
    """Bridge until one of them leaves; then see what ``one`` does next (switch_ivr_multi_threaded_bridge)."""
    if peer.answered:
        await one.answer()
    else:
        await one.pre_answer()
    _join(one, peer)
    media = Bridge(one.leg, peer.leg)
    ears = ((one, _Ear(peer)), (peer, _Ear(one)))
    for channel, ear in ears:
        channel.leg.sinks.append(ear)
    try:
        await _until_over(one, peer)
    finally:
        media.close()
        for channel, ear in ears:
            if ear in channel.leg.sinks:
                channel.leg.sinks.remove(ear)
        _part(one, peer)
    _afterwards(one, peer)


def _join(one: Channel, peer: Channel) -> None:
    one.partner, peer.partner = peer, one
    one.other, peer.other = peer.profile, one.profile
    one.bridged = peer.bridged = one.originator = True
    one.profile.times.bridged = peer.profile.times.bridged = now()
    for channel, other in ((one, peer), (peer, one)):
        channel.set("bridge_channel", other.name)
        channel.set("bridge_uuid", other.uuid)
        channel.set("signal_bond", other.uuid)
        channel.set("last_bridge_to", other.uuid)
    peer.move(State.CS_EXCHANGE_MEDIA)
    if one.answered:
        one.calling("ACTIVE")
    one.fire("CHANNEL_BRIDGE", {"Bridge-A-Unique-ID": one.uuid, "Bridge-B-Unique-ID": peer.uuid})


async def _until_over(one: Channel, peer: Channel) -> None:
    changed = asyncio.Event()
    for channel in (one, peer):
        channel.watchers.append(changed.set)
    try:
        while one.ready and peer.up and peer.state in (State.CS_EXCHANGE_MEDIA, State.CS_CONSUME_MEDIA):
            changed.clear()
            if peer.answered and not one.answered:
                await one.answer()
            if one.runnable:
                await one.switch.run_commands(one)
                continue
            if one.take_break():
                peer.hangup("NORMAL_CLEARING")
                continue
            one.switch.spawn(_pass_digits(one, peer))
            one.switch.spawn(_pass_digits(peer, one))
            await changed.wait()
    finally:
        for channel in (one, peer):
            channel.watchers.remove(changed.set)


async def _pass_digits(source: Channel, target: Channel) -> None:
    digits = ""
    while source.digits:
        digits += source.take_digit()
    if digits:
        try:
            await target.leg.send_digits(digits)
        except (LegEnded, ValueError):
            log.debug("%s: digits were not passed on", target.name)


def _part(one: Channel, peer: Channel) -> None:
    one.fire("CHANNEL_UNBRIDGE", {"Bridge-A-Unique-ID": one.uuid, "Bridge-B-Unique-ID": peer.uuid})
    for channel, other in ((one, peer), (peer, one)):
        channel.set("bridge_hangup_cause", other.hangup_cause or channel.hangup_cause or "NORMAL_CLEARING")
        channel.set("signal_bond", None)
        channel.bridged = False
        channel.said = None
    one.partner = peer.partner = None


def _afterwards(one: Channel, peer: Channel) -> None:
    if peer.up and peer.state in (State.CS_EXCHANGE_MEDIA, State.CS_CONSUME_MEDIA):
        _leave_peer(one, peer)
    if not one.ready:
        return
    cause = peer.hangup_cause or "NORMAL_CLEARING"
    after = (one.get("hangup_after_bridge") or "").lower()
    if not peer.answered:
        handle_cause(one, cause)
    elif true(one.get("park_after_bridge")):
        one.transferring = True
        one.move(State.CS_PARK)
    elif where := one.get("transfer_after_bridge"):
        one.switch.transfer(one, *where.replace(":", " ").split()[:3])
    elif true(after) or after == "explicit":
        one.hangup(cause)


def _leave_peer(one: Channel, peer: Channel) -> None:
    if one.transferring and true(peer.get("park_after_bridge")):
        peer.transferring = True
        peer.move(State.CS_PARK)
    else:
        peer.hangup(one.hangup_cause or "NORMAL_CLEARING")


async def _soft_execute(channel: Channel) -> None:
    """The state in which ``uuid_bridge`` puts a channel: talk to the other, and hang up afterwards."""
    channel.enter(State.CS_SOFT_EXECUTE)
    peer, channel.joining = channel.joining, None
    if peer and peer.up:
        await talk(channel, peer)
    if channel.ready:
        channel.hangup("NORMAL_CLEARING")


HANDLERS[State.CS_SOFT_EXECUTE] = _soft_execute


def join(one: Channel, peer: Channel) -> None:
    """Take two channels from what they do, and let them talk to each other (switch_ivr_uuid_bridge)."""
    for channel in (one, peer):
        channel.extension.clear()
        channel.transferring = True
        channel.digits.clear()
        if channel.bridged and channel.partner:
            channel.partner.hangup("ATTENDED_TRANSFER")
    one.joining = peer
    peer.move(State.CS_EXCHANGE_MEDIA)
    one.move(State.CS_SOFT_EXECUTE)
