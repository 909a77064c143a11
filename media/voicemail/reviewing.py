"""What a caller records of their own: greetings, their name, a comment. Kept once they have said so, and not before."""

from __future__ import annotations

import asyncio
from typing import Any

from media.voicemail import keys
from media.voicemail.recording import Takes
from media.voicemail.talk import CallOver, Talk

ENDS = "#"


async def recorded(talk: Talk, recording: Takes, *words: Any, seconds: int) -> bool:
    """Record until ``#``, and have it reviewed; whether it is to be kept. If not, the recording is discarded.

    :raises CallOver: when the caller hangs up, even in the review. :raises GoodBye: for who presses nothing there.
    """
    keep = False
    try:
        await _record(talk, recording, words, seconds)
        while (choice := await talk.choose(keys.REVIEW, "vm-greeting-review")) in ("listen", "again"):
            if choice == "listen":
                await talk.say(recording.audio)
            else:
                recording.again()
                await _record(talk, recording, words, seconds)
        keep = choice == "keep"
    finally:
        if not keep:
            await asyncio.to_thread(recording.discard)
    return keep


async def _record(talk: Talk, recording: Takes, words: tuple[Any, ...], seconds: int) -> None:
    await talk.say(*words)
    await talk.say("beep")
    done = await talk.session.record_until(str(recording.audio), ENDS, max_seconds=seconds)
    if done.ended == "hangup":
        raise CallOver
