"""Two channels that talk to each other (switch_ivr_bridge.c)."""

from __future__ import annotations

import asyncio
import logging

from devswitch.apps.originate import originate
from devswitch.audio.sources import Pipe
from devswitch.channel.causes import matches
from devswitch.channel.channel import Channel
from devswitch.channel.lifecycle import HANDLERS
from devswitch.channel.profile import now
from devswitch.channel.state import State
from devswitch.leg import Frame, LegEnded
from devswitch.registry import app
from devswitch.text import true

log = logging.getLogger("devswitch")

_LAST_WORDS = 0.1  # seconds in which who stays still hears what the other said before the hangup
_ALWAYS_CONTINUE = ("NO_ANSWER", "NO_USER_RESPONSE", "ORIGINATOR_CANCEL")


@app("bridge")
async def bridge(channel: Channel, data: str) -> None:
    """Call a dial string, and talk to who answers."""
    peer, cause = await originate(channel.switch, data, caller=channel)
    if peer is None:
        log.info("%s: bridge failed: %s", channel.uuid, cause)
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


class _Way:
    """What one leg hears, the other says; recordings of the other want to know of it."""

    def __init__(self, hearing: Channel, saying: Channel) -> None:
        self._hearing, self._saying = hearing, saying
        self._pipe = Pipe()
        hearing.leg.sinks.append(self)
        saying.leg.source = self._pipe

    def frame(self, samples: Frame, /) -> None:
        self._pipe.push(samples)
        self._saying.said = samples

    def close(self) -> None:
        if self in self._hearing.leg.sinks:
            self._hearing.leg.sinks.remove(self)
        if self._saying.leg.source is self._pipe:
            self._saying.leg.source = None


async def talk(one: Channel, peer: Channel) -> None:
    """Bridge until one of them leaves; then see what ``one`` does next (switch_ivr_multi_threaded_bridge)."""
    if peer.answered:
        await one.answer()
    else:
        await one.pre_answer()
    _join(one, peer)
    ways = [_Way(one, peer), _Way(peer, one)]
    try:
        await _until_over(one, peer)
        if one.up or peer.up:
            await asyncio.sleep(_LAST_WORDS)
    finally:
        for way in ways:
            way.close()
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
            log.debug("%s: digits were not passed on", target.uuid)


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
        _leave_peer(peer)
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


def _leave_peer(peer: Channel) -> None:
    """What becomes of the other leg (audio_bridge_on_exchange_media)."""
    if true(peer.get("park_after_bridge")):
        peer.transferring = True
        peer.move(State.CS_PARK)
    elif where := peer.get("transfer_after_bridge"):
        peer.switch.transfer(peer, *where.replace(":", " ").split()[:3])
    else:
        peer.hangup("NORMAL_CLEARING" if peer.answered else "ORIGINATOR_CANCEL")


async def _soft_execute(channel: Channel) -> None:
    """The state in which ``uuid_bridge`` puts a channel: talk to the other, and hang up afterwards."""
    channel.enter(State.CS_SOFT_EXECUTE)
    peer, channel.joining = channel.joining, None
    if peer and peer.up:
        for leg, other in ((channel, peer), (peer, channel)):
            leg.fire("CHANNEL_EXECUTE", {"Application": "uuid_bridge", "Application-Data": other.uuid})
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
