"""Applications that change the state of a call: answer, hang up, send elsewhere (mod_dptools.c)."""

from __future__ import annotations

import asyncio
import logging
import time

from devswitch.channel.causes import named
from devswitch.channel.channel import Channel
from devswitch.registry import app
from devswitch.sip.causes import from_status
from devswitch.text import number, separate, true

log = logging.getLogger("devswitch")


@app("answer")
async def answer(channel: Channel, _: str) -> None:
    """Answer the call."""
    await channel.answer()


@app("pre_answer")
async def pre_answer(channel: Channel, _: str) -> None:
    """Let early media flow (183)."""
    await channel.pre_answer()


@app("ring_ready")
async def ring_ready(channel: Channel, _: str) -> None:
    """Tell the caller that it rings (180)."""
    await channel.ring()


@app("hangup")
async def hangup(channel: Channel, data: str) -> None:
    """Hang up, for a cause by name or number; without one for that set before (hangup_cause), else normally."""
    channel.hangup(named(data.strip()))


@app("respond")
async def respond(channel: Channel, data: str) -> None:
    """Refuse a call that is not answered with a SIP status: ``respond 486 Busy Here``."""
    status = number(data)
    if status >= 300:
        channel.set("sip_respond_status", str(status))
        channel.hangup(from_status(status))
    elif status in (180, 183):
        await (channel.ring() if status == 180 else channel.pre_answer())
    else:
        log.error("%s: respond %d is not supported", channel.uuid, status)


@app("redirect")
async def redirect(channel: Channel, data: str) -> None:
    """Send a caller who is not answered elsewhere (302)."""
    if channel.answered:
        log.error("%s: redirect needs a call that is not answered", channel.uuid)
        return
    await channel.leg.redirect(data)
    channel.hangup("REDIRECTION_TO_NEW_DESTINATION")


@app("deflect")
async def deflect(channel: Channel, data: str) -> None:
    """Ask the peer of an answered call to call elsewhere (REFER)."""
    if not channel.answered:
        log.error("%s: deflect needs an answered call", channel.uuid)
        return
    await channel.leg.refer(data)


@app("transfer")
async def transfer(channel: Channel, data: str) -> None:
    """``[-bleg|-both] extension [dialplan [context]]``."""
    words = separate(data, limit=4)
    if not words:
        log.error("%s: transfer without an extension", channel.uuid)
        return
    partner = channel.partner
    if words[0].lower() in ("-bleg", "-both"):
        if partner:
            channel.switch.transfer(partner, *words[1:4])
        if words[0].lower() == "-both":
            channel.switch.transfer(channel, *words[1:4])
    else:
        channel.switch.transfer(channel, *words[:3])


@app("sched_hangup", inline=True)
async def sched_hangup(channel: Channel, data: str) -> None:
    """``[+]seconds [cause]``: hang up later; a moment since the epoch without the plus."""
    words = data.split()
    schedule_hangup(channel, words[0] if words else "", named(words[1] if len(words) > 1 else "ALLOTTED_TIMEOUT"))


def schedule_hangup(channel: Channel, when: str, cause: str) -> None:
    seconds = float(number(when[1:])) if when.startswith("+") else number(when) - time.time()
    handle = asyncio.get_running_loop().call_later(max(seconds, 0), channel.hangup, cause)
    channel.closers.append(handle.cancel)


@app("sleep")
async def sleep(channel: Channel, data: str) -> None:
    """Wait for milliseconds; digits stay in the queue, but where ``sleep_eat_digits`` is set."""
    deadline = time.monotonic() + number(data) / 1000
    eats = true(channel.get("sleep_eat_digits"))
    while channel.ready and not channel.take_break() and (left := deadline - time.monotonic()) > 0:
        await channel.idle(left)
        while eats and channel.digits:
            channel.take_digit()


@app("send_dtmf")
async def send_dtmf(channel: Channel, data: str) -> None:
    """Send digits to the peer: ``1234@100`` (milliseconds each); w and W are pauses."""
    await send_digits(channel, data)


async def send_digits(channel: Channel, data: str) -> None:
    digits, _, duration = data.partition("@")
    for digit in digits:
        if digit in "wW":
            await asyncio.sleep(0.5 if digit == "w" else 1.0)
        else:
            await channel.leg.send_digits(digit, number(duration, 100))


@app("queue_dtmf")
async def queue_dtmf(channel: Channel, data: str) -> None:
    """Send digits to the peer as soon as the call can take them; here at once."""
    await send_digits(channel, data)


@app("flush_dtmf")
async def flush_dtmf(channel: Channel, _: str) -> None:
    """Forget the digits that wait."""
    channel.digits.clear()
