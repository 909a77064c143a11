"""Collecting digits (switch_ivr_collect_digits_count, switch_ivr_read, switch_play_and_get_digits)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from devswitch.apps.playing import Status, play
from devswitch.channel.channel import Channel

_BUFFER = 128  # characters that the applications read and play_and_get_digits have room for


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for. Times in milliseconds; ``digit_timeout`` 0: as ``timeout``."""

    minimum: int
    maximum: int
    timeout: int
    terminators: str
    prompt: str = ""
    variable: str = ""
    digit_timeout: int = 0


async def collect(
    channel: Channel, digits: str, *, maximum: int, terminators: str, first: int, between: int
) -> tuple[Status, str, str]:
    """Digits until there are ``maximum``, one is a terminator, or nothing came for so many milliseconds.

    Returns how it ended, the digits (with those given), and the terminator or "".
    """
    timeout = first or between
    since = time.monotonic()
    while channel.ready:
        left = since + timeout / 1000 - time.monotonic() if timeout else None
        if left is not None and left <= 0:
            return Status.TIMEOUT, digits, ""
        while channel.digits:
            timeout, since = between or timeout, time.monotonic()
            digit = channel.take_digit()
            if digit in terminators:
                return Status.SUCCESS, digits, digit
            digits += digit
            if len(digits) >= maximum:
                return Status.SUCCESS, digits, ""
            left = timeout / 1000 if timeout else None
        await channel.idle(left)
    return Status.FALSE, digits, ""


async def read(channel: Channel, wanted: Wanted) -> tuple[Status, str]:
    """Play the prompt until the first digit, and collect; the variables read_result and the one named tell."""
    maximum = max(wanted.maximum, wanted.minimum)
    channel.set("read_result", None)
    if wanted.variable:
        channel.set(wanted.variable, None)
    if maximum > _BUFFER or not await channel.pre_answer():
        return Status.FALSE, ""
    status, digits = await _prompt(channel, wanted.prompt)
    if status is Status.SUCCESS:
        status, digits = await _collect(channel, wanted, maximum, digits)
    if status is not Status.RESTART and maximum == 1 and digits and digits in wanted.terminators:
        digits = ""
    if wanted.variable and digits:
        channel.set(wanted.variable, digits)
    return status, digits


async def _prompt(channel: Channel, prompt: str) -> tuple[Status, str]:
    heard: list[str] = []

    def on_digit(digit: str) -> bool:
        heard.append(digit)
        return True

    if not prompt or prompt.lower() == "silence":
        return Status.SUCCESS, ""
    status = await play(channel, prompt, on_digit)
    return Status.SUCCESS if status is Status.BREAK else status, "".join(heard)


async def _collect(channel: Channel, wanted: Wanted, maximum: int, digits: str) -> tuple[Status, str]:
    between = wanted.digit_timeout or wanted.timeout
    status, terminator = Status.SUCCESS, ""
    if len(digits) < maximum:
        if digits and digits in wanted.terminators:
            digits, terminator = "", digits
        else:
            first = between if digits else wanted.timeout
            status, digits, terminator = await collect(
                channel, digits, maximum=maximum, terminators=wanted.terminators, first=first, between=between
            )
    if terminator:
        channel.set("read_terminator_used", terminator)
        mark = wanted.terminators[: wanted.terminators.index(terminator)][-1:]
        if mark and mark in "+x":
            digits += terminator
            status = Status.RESTART if mark == "x" else status
    elif wanted.terminators.startswith("="):
        status = Status.TOO_SMALL
    if wanted.minimum and len(digits) < wanted.minimum:
        status = Status.TOO_SMALL
    known = {Status.SUCCESS: "success", Status.TIMEOUT: "timeout"}
    channel.set("read_result", known.get(status, "failure"))
    return status, digits


async def play_and_get_digits(
    channel: Channel, wanted: Wanted, *, tries: int, bad_input: str, regex: str, on_failure: str
) -> str:
    """Ask up to ``tries`` times for digits that match; "" where none did, and then ``on_failure`` is gone to."""
    invalid = f"{wanted.variable}_invalid" if regex and wanted.variable else ""
    if invalid:
        channel.set(invalid, None)
    while channel.ready and tries > 0:
        status, digits = await read(channel, wanted)
        if status is Status.RESTART:
            return digits
        if status is Status.TIMEOUT and len(digits) >= wanted.minimum:
            status = Status.SUCCESS
        if not wanted.minimum and not digits and channel.get("read_terminator_used"):
            return ""
        if status is Status.SUCCESS and digits:
            if not regex or re.search(regex, digits):
                return digits
            channel.set(wanted.variable, None)
            if invalid:
                channel.set(invalid, digits)
        if not channel.ready:
            break
        await play(channel, bad_input)
        tries -= 1
    if on_failure and channel.up:
        channel.switch.transfer(channel, *on_failure.split()[:3])
    return ""
