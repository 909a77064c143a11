"""Applications that play and ask (mod_dptools.c)."""

from __future__ import annotations

import logging

from devswitch.apps.digits import Wanted, play_and_get_digits, read
from devswitch.apps.playing import Status, play, speak, terminated_by
from devswitch.channel.channel import Channel
from devswitch.registry import app
from devswitch.text import number, separate

log = logging.getLogger("devswitch")

_LEAST = 1000  # milliseconds: shorter time-outs of read and play_and_get_digits are raised to it


def _respond(channel: Channel, status: Status) -> None:
    answers = {Status.SUCCESS: "FILE PLAYED", Status.BREAK: "FILE PLAYED", Status.NOTFOUND: "FILE NOT FOUND"}
    channel.set("current_application_response", answers.get(status, "PLAYBACK ERROR"))


@app("playback", media=True)
async def playback(channel: Channel, data: str) -> None:
    """Play a file, or a stream; ``@@samples`` after it says where to begin."""
    path, _, start = data.partition("@@")
    channel.set("playback_terminator_used", None)
    _respond(channel, await play(channel, path, terminated_by(channel), start=number(start)))


@app("endless_playback", media=True)
async def endless_playback(channel: Channel, data: str) -> None:
    """Play a file again and again; digits wait."""
    status = Status.SUCCESS
    while channel.ready and status in (Status.SUCCESS, Status.BREAK):
        status = await play(channel, data)
    _respond(channel, status)


@app("speak", media=True)
async def speak_text(channel: Channel, data: str) -> None:
    """``engine|voice|text``, ``voice|text`` or ``text``; what is missing comes from the variables."""
    engine, voice, text = ["", "", *data.split("|", 2)][-3:]
    channel.set("playback_terminator_used", None)
    await speak(channel, text, engine=engine, voice=voice, on_digit=terminated_by(channel))


def _words(channel: Channel, name: str, data: str, count: int) -> list[str]:
    """So many arguments, "" for those that are missing; none, and a line in the log, if all are."""
    words = separate(data, limit=count)
    if not words:
        log.error("%s: %s without arguments", channel.uuid, name)
        return []
    return words + [""] * (count - len(words))


@app("play_and_get_digits", media=True)
async def ask(channel: Channel, data: str) -> None:
    """``min max tries timeout terminators file invalid_file [variable [regex [digit_timeout ['ext dp context']]]]``."""
    if not (words := _words(channel, "play_and_get_digits", data, 11)):
        return
    wanted = Wanted(
        minimum=max(number(words[0]), 0),
        maximum=number(words[1]),
        timeout=max(number(words[3], _LEAST), _LEAST),
        terminators=words[4] or "#",
        prompt=words[5],
        variable=words[7],
        digit_timeout=number(words[9]),
    )
    await play_and_get_digits(
        channel, wanted, tries=number(words[2]), bad_input=words[6], regex=words[8], on_failure=words[10]
    )


@app("read", media=True)
async def read_digits(channel: Channel, data: str) -> None:
    """``min max file variable timeout terminators [digit_timeout]``."""
    if not (words := _words(channel, "read", data, 7)):
        return
    wanted = Wanted(
        minimum=max(number(words[0]), 1),
        maximum=number(words[1]),
        timeout=max(number(words[4], _LEAST), _LEAST),
        terminators=words[5] or "#",
        prompt=words[2],
        variable=words[3],
        digit_timeout=number(words[6]),
    )
    await read(channel, wanted)
