"""Recording a call: by an application that waits for it, or beside what else the call does (switch_ivr_async.c)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from devswitch.apps.playing import terminated_by
from devswitch.audio.recorder import Recorder
from devswitch.channel.channel import Channel
from devswitch.leg import RATE, SILENCE, Frame
from devswitch.registry import app
from devswitch.text import number, separate, true

log = logging.getLogger("devswitch")

_LEAST = 3  # seconds; recordings of both sides that are shorter are not kept


def record_path(channel: Channel, path: str) -> Path:
    """Where a recording goes: relative paths begin at recordings_dir."""
    return Path(channel.get("recordings_dir") or "", path.partition("}")[2] if path.startswith("{") else path)


@app("record", media=True)
async def record(channel: Channel, data: str) -> None:
    """``path [limit_seconds [silence_threshold [silence_seconds]]]``: record the caller; a terminator ends it."""
    words = separate(data, limit=4)
    if not words:
        log.error("%s: record without a file", channel.uuid)
        return
    path = words[0]
    limit, threshold, silence = (number(word.lstrip("+")) for word in [*words[1:], "", "", ""][:3])
    channel.set("playback_terminator_used", None)
    channel.set("silence_hits_exhausted", "false")
    recorder = Recorder(
        record_path(channel, path),
        limit=limit,
        threshold=threshold,
        silence=silence,
        on_end=lambda _: channel.wake(),
    )
    if not await _record(channel, recorder, path):
        channel.hangup("DESTINATION_OUT_OF_ORDER")


async def _record(channel: Channel, recorder: Recorder, path: str) -> bool:
    try:
        await recorder.open()
    except OSError as error:
        log.error("%s: cannot record %s: %s", channel.uuid, path, error.strerror or error)
        return False
    channel.fire("RECORD_START", {"Record-File-Path": path})
    channel.leg.sinks.append(recorder)
    channel.recorder = recorder
    try:
        await _until_done(channel, recorder)
    finally:
        channel.recorder = None
        if recorder in channel.leg.sinks:
            channel.leg.sinks.remove(recorder)
        why = recorder.end
        await recorder.close()
    if why == "silence":
        channel.set("silence_hits_exhausted", "true")
    _tell(channel, recorder)
    channel.fire("RECORD_STOP", {"Record-File-Path": path})
    return recorder.end != "disk"


async def _until_done(channel: Channel, recorder: Recorder) -> None:
    on_digit = terminated_by(channel)
    while channel.ready and not recorder.end:
        if channel.take_break() or (channel.digits and on_digit(channel.take_digit())):
            return
        if not channel.digits:
            await channel.idle()


def _tell(channel: Channel, recorder: Recorder) -> None:
    channel.set("record_seconds", str(recorder.samples // 8000))
    channel.set("record_ms", str(recorder.samples // 8))
    channel.set("record_samples", str(recorder.samples))


class Recording:
    """A recording of both sides that runs beside: a sink for what is heard, and it looks at what is said."""

    def __init__(self, channel: Channel, path: str, limit: int, own: Mapping[str, str]) -> None:
        """``own``: variables of this recording, in front of the channel's (get_recording_var)."""
        self.path = path
        self.recorder = Recorder(record_path(channel, path), limit=limit, on_end=self._ended)
        self._channel = channel
        self._about = {"Media-Bug-Function": "session_record", "Media-Bug-Target": path}
        self._own = own
        self._listening = not true(self._variable("RECORD_WRITE_ONLY"))
        self._speaking = not true(self._variable("RECORD_READ_ONLY"))

    def _variable(self, name: str) -> str | None:
        return self._own.get(name) or self._channel.get(name)

    async def start(self) -> None:
        """Raises OSError."""
        await self.recorder.open()
        self._channel.recordings[self.path] = self
        self._channel.leg.sinks.append(self)
        self._channel.fire("RECORD_START", {"Record-File-Path": self.path})
        self._channel.fire("MEDIA_BUG_START", self._about)

    def frame(self, samples: Frame, /) -> None:
        heard = samples if self._listening else SILENCE
        said = self._channel.said if self._speaking else None
        if said is not None:
            heard = (heard.astype(np.int32) + said).clip(-32768, 32767).astype(np.int16)
        self.recorder.frame(heard)

    def _ended(self, _: str) -> None:
        self._channel.switch.spawn(self.stop())

    async def stop(self) -> None:
        """Close the file; told once."""
        if self._channel.recordings.pop(self.path, None) is None:
            return
        if self in self._channel.leg.sinks:
            self._channel.leg.sinks.remove(self)
        cause = "uri-failure" if self.recorder.end == "disk" else "success-maxtime"
        await self.recorder.close()
        # record_callback in switch_ivr_async.c: short files are thrown away; nobody looked for speech.
        least = number(self._variable("RECORD_MIN_SEC"), _LEAST)
        if self.recorder.samples < least * RATE:
            record_path(self._channel, self.path).unlink(missing_ok=True)
            self._channel.set("RECORD_DISCARDED", "true")
            cause = "input-too-short" if self.recorder.samples else "empty-file"
        elif not self._channel.up:
            cause = "no-input-timeout"
        _tell(self._channel, self.recorder)
        self._channel.set("record_completion_cause", cause)
        headers = {"Record-File-Path": self.path, "Record-Completion-Cause": cause}
        self._channel.fire("RECORD_STOP", headers)
        self._channel.fire("MEDIA_BUG_STOP", self._about)


async def start_recording(
    channel: Channel, path: str, limit: int = 0, own: Mapping[str, str] = MappingProxyType({})
) -> bool:
    """Record both sides beside what else the call does; false where it cannot be done."""
    if path in channel.recordings:
        return True
    try:
        await Recording(channel, path, limit, own).start()
    except OSError as error:
        log.error("%s: cannot record %s: %s", channel.uuid, path, error.strerror or error)
        return False
    return True


async def stop_recording(channel: Channel, path: str) -> bool:
    """Stop one recording, or ``all``; false where none ran."""
    found = [recording for own, recording in channel.recordings.items() if path in ("all", own)]
    for recording in found:
        await recording.stop()
    return bool(found)


@app("record_session", media=True)
async def record_session(channel: Channel, data: str) -> None:
    """``path [+limit_seconds]``: record both sides until the end of the call."""
    words = separate(data, limit=3)
    if words:
        await start_recording(channel, words[0], number(words[1].lstrip("+")) if len(words) > 1 else 0)


@app("stop_record_session")
async def stop_record_session(channel: Channel, data: str) -> None:
    """Stop the recording of that path, or ``all``."""
    await stop_recording(channel, data)
