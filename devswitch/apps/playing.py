"""Playing to a call: files, tones, silence, speech (switch_ivr_play_file, switch_ivr_speak_text)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum
from pathlib import Path

from devswitch.audio import speech
from devswitch.audio.paths import FILE_STRING, open_source
from devswitch.audio.sources import Player
from devswitch.audio.wav import AudioError
from devswitch.channel.channel import Channel
from devswitch.leg import FRAME, Frame, Source
from devswitch.text import number

log = logging.getLogger("devswitch")

OnDigit = Callable[[str], bool]
"Given a digit, it says whether playing is to stop."

_PAUSE = 250  # milliseconds between the files of a playback_delimiter


class Status(Enum):
    """How something on a channel ended, with FreeSWITCH's names (switch_status_t)."""

    SUCCESS = "success"
    FALSE = "false"
    TIMEOUT = "timeout"
    RESTART = "restart"
    BREAK = "break"
    NOTFOUND = "not found"
    TOO_SMALL = "too small"


class Playing:
    """The source that a channel's leg is given: it tells the channel when it has ended."""

    def __init__(self, channel: Channel, source: Source) -> None:
        self.source = source
        self.done = False
        self.frames = 0
        self._channel = channel

    @property
    def player(self) -> Player | None:
        """What can be paused and sought, if it is such a source."""
        return self.source if isinstance(self.source, Player) else None

    def stop(self) -> None:
        self.done = True
        self._channel.wake()

    def frame(self) -> Frame | None:
        samples = None if self.done else self.source.frame()
        if samples is None:
            self.stop()
        self.frames += samples is not None
        self._channel.said = samples
        return samples


async def play_source(channel: Channel, playing: Playing, on_digit: OnDigit | None = None) -> Status:
    """Play to the end, a break, a hangup, or a digit that ``on_digit`` takes for one; without it digits wait."""
    leg = channel.leg
    before, leg.source = leg.source, playing
    outer, channel.playing = channel.playing, playing
    status = Status.SUCCESS
    try:
        while channel.ready and not playing.done:
            if channel.take_break() or (on_digit and channel.digits and on_digit(channel.take_digit())):
                status = Status.BREAK
                break
            if on_digit is None or not channel.digits:
                await channel.idle()
            if not playing.done:
                leg.source = playing
    finally:
        playing.done = True
        channel.playing = outer
        if channel.up:
            leg.source = None if isinstance(before, Playing) and before.done else before
    return status if channel.up else Status.FALSE


async def play(channel: Channel, path: str, on_digit: OnDigit | None = None, *, start: int = 0) -> Status:
    """Play a path, or several joined by the variable ``playback_delimiter``."""
    if not await channel.pre_answer() or not path:
        return Status.FALSE
    delimiter = (channel.get("playback_delimiter") or "")[:1]
    status = Status.SUCCESS
    for index, part in enumerate(path.split(delimiter) if delimiter else [path]):
        if index and (pause := number(channel.get("playback_sleep_val"), _PAUSE)):
            part = f"file_string://silence_stream://{pause}!{part}"
        status = await _play_one(channel, part, on_digit, 0 if index else start)
        if status is not Status.SUCCESS or not channel.ready:
            break
    return status


async def _play_one(channel: Channel, path: str, on_digit: OnDigit | None, start: int) -> Status:
    kind, _, rest = path.partition(":")
    if kind.lower() == "say":
        return await speak(channel, rest, on_digit=on_digit)
    if kind.lower() == "phrase":
        name, _, argument = rest.partition(":")
        return await channel.switch.phrase(channel, name, argument, on_digit)
    try:
        source = await open_source(await resolve(channel, path), start=start)
    except AudioError as error:
        log.warning("%s: cannot play: %s", channel.uuid, error)
        return Status.NOTFOUND
    return await _play_file(channel, path, Playing(channel, source), on_digit)


async def _play_file(channel: Channel, path: str, playing: Playing, on_digit: OnDigit | None) -> Status:
    kind = path.partition("://")[0] if "://" in path else "file"
    channel.fire("PLAYBACK_START", {"Playback-File-Type": kind, "Playback-File-Path": path})
    status = await play_source(channel, playing, on_digit)
    samples = playing.frames * FRAME
    channel.set("playback_seconds", str(samples // 8000))
    channel.set("playback_ms", str(samples // 8))
    channel.set("playback_samples", str(samples))
    if playing.player:
        channel.set("playback_last_offset_pos", str(playing.player.position))
    ended = "break" if status is Status.BREAK else "done"
    channel.fire("PLAYBACK_STOP", {"Playback-File-Path": path, "Playback-Status": ended})
    return status


async def speak(
    channel: Channel, text: str, *, engine: str = "", voice: str = "", on_digit: OnDigit | None = None
) -> Status:
    """Speak a text; without an engine or voice, by those in the variables tts_engine and tts_voice."""
    if not await channel.pre_answer():
        return Status.FALSE
    engine = engine or channel.get("tts_engine") or speech.ENGINES[0]
    voice = voice or channel.get("tts_voice") or speech.DEFAULT_VOICE
    try:
        samples = await speech.speak(text, engine=engine, voice=voice)
    except AudioError as error:
        log.error("%s: cannot speak: %s", channel.uuid, error)
        return Status.FALSE
    return await play_source(channel, Playing(channel, Player(samples)), on_digit)


async def resolve(channel: Channel, path: str) -> str:
    """The path of a file: relative ones begin at sound_prefix; a folder for the rate (8000/) may lie between."""
    if path.startswith("{"):
        path = path.partition("}")[2]
    if path.startswith(FILE_STRING):
        parts = [await resolve(channel, part) for part in path.removeprefix(FILE_STRING).split("!")]
        return FILE_STRING + "!".join(parts)
    if "://" in path:
        return path
    file = Path(channel.get("sound_prefix") or "", path)
    for candidate in (file, file.parent / "8000" / file.name, file.parent / "16000" / file.name):
        if candidate.is_file():
            return str(candidate)
    return str(file)


def terminators(channel: Channel) -> str:
    """The digits that end playback and record (on_dtmf in mod_dptools.c)."""
    listed = channel.get("playback_terminators") or "*"
    return {"any": "1234567890*#", "none": ""}.get(listed.lower(), listed)


def terminated_by(channel: Channel) -> OnDigit:
    """Stop at a terminator, and note which; other digits are lost."""

    def on_digit(digit: str) -> bool:
        if digit not in terminators(channel):
            return False
        channel.set("playback_terminator_used", digit)
        return True

    return on_digit
