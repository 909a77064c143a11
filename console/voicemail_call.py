"""The demonstration's mailbox: a caller leaves a spoken message in it, and its owner listens to that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray

from console import phone
from console.lamp import Lamp
from console.media_call import BEEP, PAUSE, Finding
from devswitch.audio import speech, wav
from devswitch.leg import RATE, Frame, LegEnded
from media.voicemail.store import Box, Store, Stored

BOX, NAME, PIN, DIAL_IN = "2001", "Almon Strowger", "7203", "*97"
MESSAGE, VOICE = "Please call me back when you have a moment.", "rms"
"What the caller says, and in which voice of flite: another one than that of the prompts."
GREETING = 2.0
"Seconds of the greeting that the caller listens to; then a key brings the beep."
BEHIND = 0.5
"Seconds of silence from the message to the caller's hanging up."
PIECE = RATE // 2
"Samples that are looked for at a time."
ALIKE = 0.7
"Least correlation of what was said and what is heard; that of other words is below 0.5."
WORDS = 0.7
"Least share of words written down that are right."
PATIENCE, TO_WRITE, SOON = 40.0, 60.0, 10.0
"Seconds for a call, for the transcript, and for what follows within one."

Samples = NDArray[np.float64]


@dataclass(slots=True)
class Left:
    """The caller's side of a message."""

    call_id: str = ""
    greeting: float = 0.0
    "Seconds heard."
    beep: bool = False
    said: Frame = field(default_factory=lambda: np.zeros(0, dtype=np.int16), repr=False)
    cause: str = ""


@dataclass(slots=True)
class Listened:
    """The owner's side."""

    call_id: str = ""
    asked: float = 0.0
    "Seconds of the question for the PIN."
    heard: Frame = field(default_factory=lambda: np.zeros(0, dtype=np.int16), repr=False)
    "From the PIN on."
    cause: str = ""


def prepare(store: Store, lamp: str) -> None:
    """Make the box as it is to be, with a telephone that shows its lamp. New messages of before count as heard.

    Raises OSError and VoicemailError.
    """
    if BOX not in store.boxes():
        store.put_box(Box(number=BOX))
    store.update_box(BOX, name=NAME, transcribe=True, min_seconds=1, quota_messages=0, phones=(lamp,))
    store.set_pin(BOX, PIN)
    for id in store.ids(BOX, "new"):
        store.move(BOX, id, "saved")


def leave(server: tuple[str, int], caller: str) -> Left:
    """Call the box's telephone, which nobody takes, and leave a message, as far as that goes."""
    left = Left()
    left.said = asyncio.run(speech.speak(MESSAGE, voice=VOICE))

    async def talk(call: phone.PhoneCall) -> None:
        left.call_id = call.call_id
        await call.answered()
        await call.until(lambda: call.sound(0) >= GREETING)
        await call.press("1")
        await call.until(lambda: call.rings_at(BEEP))
        left.beep, left.greeting = True, call.sound(0, call.mark() - 1)
        await call.until(lambda: not call.rings_at(BEEP))
        call.play(left.said)
        await asyncio.sleep(len(left.said) / RATE + BEHIND)
        await call.hang_up()

    left.cause = asyncio.run(_call(BOX, server, caller, talk))
    return left


def listen(server: tuple[str, int], left: Left) -> Listened:
    """Dial in from the box's telephone, hear the message that was left, and leave."""
    listened, seconds = Listened(), phone.sounding(left.said)

    async def talk(call: phone.PhoneCall) -> None:
        listened.call_id = call.call_id
        await call.answered()
        await call.until(lambda: call.sound(0) > 0 and call.quiet(0) >= PAUSE)
        listened.asked, since = call.sound(0), call.mark()
        # The first message, and no envelope.
        await call.press(f"{PIN}#1#")
        await call.until(lambda: call.sound(since) >= seconds)
        # Over what is left of it, and out of the menu.
        await call.press("##")
        try:
            await call.ended()
        finally:
            listened.heard = call.heard(since)

    listened.cause = asyncio.run(_call(DIAL_IN, server, BOX, talk))
    return listened


async def _call(
    number: str, server: tuple[str, int], caller: str, talk: Callable[[phone.PhoneCall], Awaitable[None]]
) -> str:
    """Why the call ended."""
    async with phone.call(number, server, caller=caller) as call:
        try:
            async with asyncio.timeout(PATIENCE):
                await talk(call)
                return await call.ended()
        except LegEnded as error:
            return error.cause
        except TimeoutError:
            return f"nothing for {PATIENCE:.0f} s"


def what_came_of_it(left: Left, store: Store, lamp: Lamp) -> Iterator[Finding]:
    """What became of the message, each as soon as it is known."""
    yield Finding("heard", f"{left.greeting:.1f} s of a greeting", left.greeting >= GREETING)
    yield Finding("said", f'"{MESSAGE}"' if left.beep else f"nothing, since no beep was heard: {left.cause}", left.beep)
    if not left.beep:
        return
    until(lambda: store.ids(BOX, "new"))
    ids = store.ids(BOX, "new")
    if len(ids) != 1:
        yield Finding("message", f"{len(ids)} new ones in box {BOX}", False)
        return
    yield _stored(left, store.message(BOX, ids[0]))
    yield _lit(lamp, ("yes", 1))
    until(lambda: store.message(BOX, ids[0]).transcript, TO_WRITE)
    yield _written(store.message(BOX, ids[0]))


def what_was_heard(listened: Listened, left: Left, store: Store, lamp: Lamp) -> Iterator[Finding]:
    """What became of listening to it."""
    yield Finding("pressed", f"the PIN, after a question of {listened.asked:.1f} s", listened.asked > 0)
    found = alike(left.said, listened.heard)
    yield Finding("heard", f"the message: {found:.0%} like what was said", found >= ALIKE)
    until(lambda: not store.ids(BOX, "new"))
    counts = store.counts(BOX)
    yield Finding("box", f"{BOX}: {counts.new} new, {counts.saved} heard", counts.new == 0 and counts.saved > 0)
    yield _lit(lamp, ("no", 0))
    yield Finding("ended", listened.cause, listened.cause == "NORMAL_CLEARING")


def _stored(left: Left, one: Stored) -> Finding:
    about, found = one.message, alike(left.said, wav.read(one.audio))
    text = f"in box {BOX}: {about.seconds:.1f} s from {about.caller}, {about.reason}; {found:.0%} like what was said"
    return Finding("message", text, about.reason == "no-answer" and found >= ALIKE)


def _written(one: Stored) -> Finding:
    transcript = one.transcript or {"state": "none"}
    if transcript["state"] != "done":
        return Finding("transcript", f"{transcript['state']} {transcript.get('reason', '')}", False)
    text = f'"{transcript["text"]}" ({transcript["engine"]})'
    return Finding("transcript", text, _words_alike(MESSAGE, transcript["text"]) >= WORDS)


def _lit(lamp: Lamp, wanted: tuple[str, int]) -> Finding:
    until(lambda: lamp.shows is not None and lamp.shows[:2] == wanted)
    if lamp.shows is None:
        return Finding("lamp", "nobody told it anything", False)
    lit, new, heard = lamp.shows
    return Finding("lamp", f"{'on' if lit == 'yes' else 'off'}: {new} new, {heard} heard", lamp.shows[:2] == wanted)


def until(look: Callable[[], object], seconds: float = SOON) -> None:
    """Wait for it, but not for ever: what is not so in the end is found by who looks again."""
    deadline = time.monotonic() + seconds
    while not look() and time.monotonic() < deadline:
        time.sleep(0.05)


def alike(said: Frame, heard: Frame) -> float:
    """How much of what was said is in what was heard: correlation of its pieces where each fits best, 1 is the same.

    By pieces, since a busy switch leaves a frame out, or puts one in.
    """
    if len(said) < PIECE or len(heard) < PIECE:
        return 0.0
    other = heard.astype(np.float64)
    pieces = [said[at : at + PIECE].astype(np.float64) for at in range(0, len(said) - PIECE + 1, PIECE)]
    energies = [float(np.sum(piece**2)) for piece in pieces]
    shares = [_best(piece, other) * energy for piece, energy in zip(pieces, energies, strict=True)]
    return sum(shares) / max(sum(energies), 1.0)


def _best(piece: Samples, other: Samples) -> float:
    """Correlation at the place where it is highest."""
    size, places = len(other) + len(piece), len(other) - len(piece) + 1
    products = np.fft.irfft(np.fft.rfft(other, size) * np.conj(np.fft.rfft(piece, size)), size)[:places]
    sums = np.concatenate(([0.0], np.cumsum(other**2)))
    energies = (sums[len(piece) :] - sums[:places]) * np.sum(piece**2)
    return float(np.max(products / np.sqrt(np.maximum(energies, 1.0))))


def _words_alike(said: str, written: str) -> float:
    wanted, got = (text.lower().strip(".").split() for text in (said, written))
    matched = sum(block.size for block in SequenceMatcher(None, wanted, got, autojunk=False).get_matching_blocks())
    return matched / max(len(wanted), len(got))
