"""Saying numbers, moments and phrases: recorded prompts where there are, speech where there are none."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from devswitch.apps import english
from devswitch.apps.playing import OnDigit, Status, play, resolve, speak, terminated_by
from devswitch.channel.channel import Channel
from devswitch.registry import app

log = logging.getLogger("devswitch")


async def say(channel: Channel, kind: str, method: str, text: str, on_digit: OnDigit | None = None) -> Status:
    """Say ``text`` as a kind (NUMBER, CURRENT_DATE_TIME, ...) by a method (PRONOUNCED, ITERATED, ...)."""
    try:
        names = english.prompts(kind, method, text)
    except english.SayError as error:
        log.error("%s: %s", channel.uuid, error)
        return Status.FALSE
    if not names:
        return Status.SUCCESS
    files = [name if "://" in name else f"{name}.wav" for name in names]
    if await _recorded(channel, files):
        return await play(channel, "file_string://" + "!".join(files), on_digit)
    return await speak(channel, english.words(names), on_digit=on_digit)


async def _recorded(channel: Channel, files: list[str]) -> bool:
    return all(["://" in file or Path(await resolve(channel, file)).is_file() for file in files])


@app("say", media=True)
async def say_app(channel: Channel, data: str) -> None:
    """``en NUMBER PRONOUNCED text``."""
    words = data.split(None, 3)
    if len(words) < 4:
        log.error("%s: say: a language, a type, a method and a text are expected", channel.uuid)
        return
    language, kind, method, text = words
    if not language.lower().startswith("en"):
        log.error("%s: say %s is not supported", channel.uuid, language)
        return
    channel.set("playback_terminator_used", None)
    await say(channel, kind, method.partition(":")[0], text, terminated_by(channel))


@app("phrase", media=True)
async def phrase_app(channel: Channel, data: str) -> None:
    """``macro[,argument]``."""
    name, _, argument = data.partition(",")
    channel.set("playback_terminator_used", None)
    await channel.switch.phrase(channel, name, argument, terminated_by(channel))


@dataclass(slots=True)
class Step:
    """One action of a macro."""

    function: str
    data: str
    attributes: dict[str, str] = field(default_factory=dict)


async def perform(channel: Channel, step: Step, on_digit: OnDigit | None) -> Status:
    """Do one action of a phrase macro."""
    match step.function:
        case "play-file":
            return await play(channel, step.data, on_digit)
        case "speak-text":
            return await speak(channel, step.data, on_digit=on_digit)
        case "say":
            return await say(
                channel, step.attributes.get("type", ""), step.attributes.get("method", ""), step.data, on_digit
            )
        case _:
            await channel.switch.execute(channel, step.attributes.get("application", "sleep"), step.data)
            return Status.SUCCESS
