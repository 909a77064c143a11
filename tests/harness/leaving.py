"""Callers who leave messages: what each of them sent, and what each was told, known from the caller's side alone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from console.ports import free_port
from devswitch.audio import g711
from devswitch.leg import Frame, Leg, LegEnded
from devswitch.rtp.stream import payload_of
from harness.audio import FRAME, RATE, SAME, Samples, pitch, silence, tone, write_wav
from harness.phone import HearingEndpoint
from harness.wide_ports import wide_range
from media.speech.prompts import CATALOGUE

BEEP = 1000
BEEP_SECONDS = 0.64
TOLD = {"vm-review": 1400, "vm-msgsaved": 1800}
"Prompts that say that the recording has ended, as tones."
OTHERS = {"vm-cannot-record": 2200, "vm-incomplete": 2600, "vm-tooshort": 600, "vm-mailboxfull": 3000}
SURE = 3
"Frames in a row that make a prompt."
PATIENCE = 8.0
"Seconds that a caller waits for an answer, or for something to be said."
AGAIN = 1.5
"Seconds after which the next one calls where somebody did not get through."
LEAD = 0.4
"Seconds that a caller draws breath after the beep."
PAUSE = 0.3
"Seconds from the last word to the key."


def make_sounds(folder: Path) -> Path:
    """A recording of every prompt: those that a caller listens for are tones, the others a moment of silence."""
    tones = {**TOLD, **OTHERS}
    for name in CATALOGUE:
        sound = tone(tones[name], 0.2) if name in tones else silence(0.02)
        write_wav(folder / f"{name}.wav", sound, silence(0.04))
    return folder


def babble(seconds: float, seed: int) -> Samples:
    """What no two callers say, and no moment of it is like another; G.711 carries it unchanged."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 4000, round(seconds * RATE)).clip(-30000, 30000).astype(np.int16)
    return g711.decode(g711.encode(noise, g711.ULAW), g711.ULAW)


class Hearing:
    """Which prompts were heard, in their order; a small part of what an Ear knows, and cheap for many calls."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.changed = asyncio.Event()
        self._known = {float(BEEP): "beep", **{float(hz): name for name, hz in {**TOLD, **OTHERS}.items()}}
        self._last, self._times = "", 0

    def packet(self, data: bytes) -> None:
        """Take a packet of RTP."""
        payload = payload_of(data)
        law = data[1] & 0x7F
        if payload is None or law not in g711.SILENCE:
            return
        self._hear(self._name(pitch(g711.decode(payload, law))))

    def _name(self, frequency: float) -> str:
        return next((name for known, name in self._known.items() if abs(known - frequency) <= SAME), "")

    def _hear(self, name: str) -> None:
        self._times = self._times + 1 if name == self._last else 1
        self._last = name
        if name and self._times == SURE:
            self.names.append(name)
            self.changed.set()

    def frame(self, _: Frame) -> None:
        """As of every sink."""


class _Sent:
    """Counts what went out."""

    def __init__(self, samples: Samples, count: Callable[[], None]) -> None:
        self._left, self._count = samples, count

    def frame(self) -> Frame | None:
        now, self._left = self._left[:FRAME], self._left[FRAME:]
        if len(now) < FRAME:
            return None
        self._count()
        return now


@dataclass(slots=True)
class Left:
    """One call, as its caller knows it. Times are of time.monotonic()."""

    number: str
    "Of the caller, and of no other call."
    box: str
    speech: Samples
    hangs_up: bool
    "In the midst of what they say, on purpose."
    began: float = field(default_factory=time.monotonic)
    beep: float = 0.0
    spoke: float = 0.0
    "When they began to speak."
    frames: int = 0
    "Of the speech that went out."
    told: float = 0.0
    "When they heard that the recording had ended; 0: never."
    ended: float = 0.0
    heard: tuple[str, ...] = ()
    hits: list[str] = field(default_factory=list)
    "What was killed during the call."
    hit: float = 0.0
    "When the first of those was killed that the audio goes through."
    sent_before: int = 0
    "Frames of the speech that had gone out then."
    why: str = ""
    "How the call ended."

    def is_owed(self, seconds: float) -> bool:
        """Whether a message must be there: the caller was told, or spoke for ``seconds`` while all worked.

        By the packets too, since a phone that is late says less in that time.
        """
        end = min(self.ended, self.hit) if self.hit else self.ended
        frames = self.sent_before if self.hit else self.frames
        said_it = frames >= min(len(self.speech), seconds * RATE) // FRAME
        return bool(self.told or (self.spoke and end - self.spoke > seconds and said_it))

    @property
    def sent(self) -> Samples:
        """What went out of the speech."""
        return self.speech[: self.frames * FRAME]


class Callers:
    """Callers who all call at the same place, at most some of them at once."""

    def __init__(
        self, endpoint: HearingEndpoint, proxy: tuple[str, int], boxes: Sequence[str], seed: int, surely: float
    ) -> None:
        """``surely``: seconds of speech that surely make a message."""
        self.calls: list[Left] = []
        self.surely = surely
        self._endpoint, self._proxy, self._boxes = endpoint, proxy, boxes
        self._random = random.Random(seed)
        self._seed = seed
        self.speech: Callable[[random.Random, int], Samples] = lambda rng, seed: babble(rng.uniform(2.2, 3.4), seed)

    @property
    def under_way(self) -> list[Left]:
        """Calls that go on."""
        return [call for call in self.calls if not call.ended]

    @property
    def left(self) -> int:
        """How many callers are owed a message."""
        return sum(1 for call in self.calls if call.is_owed(self.surely))

    async def run(self, count: int, at_once: int, most: int) -> None:
        """Until ``count`` callers left something; AssertionError where that takes more than ``most`` beeps."""

        async def one_after_the_other() -> None:
            while self.left < count:
                through = sum(1 for call in self.calls if call.beep)
                assert through < most, f"{through} calls, and only {self.left} messages: {self._newest()}"
                call = self._next()
                await self._leave(call)
                if not call.beep:
                    # Refused at once, as by a proxy that is gone: who would call again in the same moment?
                    await asyncio.sleep(AGAIN)

        async with asyncio.TaskGroup() as group:
            for at in range(at_once):
                await asyncio.sleep(0.1 if at else 0)
                group.create_task(one_after_the_other())

    def _newest(self) -> list[tuple[str, tuple[str, ...]]]:
        """How the newest calls went."""
        return [(call.why, call.heard) for call in self.calls[-20:]]

    def _next(self) -> Left:
        at, rng = len(self.calls), self._random
        call = Left(
            number=f"2{at:05}", box=rng.choice(self._boxes),
            speech=self.speech(rng, self._seed * 1000 + at), hangs_up=rng.random() < 0.2,
        )  # fmt: skip
        self.calls.append(call)
        return call

    async def _leave(self, call: Left) -> None:
        host, port = self._proxy
        hearing = Hearing()
        leg = self._endpoint.originate(f"sip:{call.box}@{host}:{port}", caller=call.number)
        self._endpoint.audio.on_packet = hearing.packet
        over: list[str] = []

        def end(cause: str, _: int) -> None:
            over.append(cause)
            hearing.changed.set()

        leg.on_hangup = end
        leg.sinks.append(hearing)
        try:
            call.why = await self._talk(call, leg, hearing, over)
        finally:
            call.heard = tuple(hearing.names)
            await leg.hangup()
            call.ended = time.monotonic()

    async def _talk(self, call: Left, leg: Leg, hearing: Hearing, over: list[str]) -> str:
        if not await _until(hearing, over, {"beep"}):
            return f"no beep: {over}"
        call.beep = time.monotonic()
        await asyncio.sleep(BEEP_SECONDS + LEAD)
        self._speak(call, leg, hearing)
        seconds = len(call.speech) / RATE
        if call.hangs_up:
            await _over(over, hearing, self._random.uniform(self.surely * 0.8, seconds))
            return f"hung up: {over}"
        # By the packets, not by the clock: a phone that is late says what is left, and not after the key.
        await _over(over, hearing, seconds + PATIENCE, lambda: call.frames == len(call.speech) // FRAME)
        await _over(over, hearing, PAUSE)
        if over:
            return f"cut off: {over}"
        await _press(leg, "#")
        if not await _until(hearing, over, set(TOLD)):
            return f"heard nothing: {over}"
        call.told = time.monotonic()
        if self._random.random() < 0.4:
            return "told, and hung up"
        await asyncio.sleep(0.3)
        if over:
            return "told, and cut off"
        await _press(leg, "1")
        await _until(hearing, over, {"vm-msgsaved"})
        return "told twice"

    def _speak(self, call: Left, leg: Leg, hearing: Hearing) -> None:
        def count() -> None:
            call.frames += 1
            hearing.changed.set()

        call.spoke = time.monotonic()
        leg.source = _Sent(call.speech, count)


async def _press(leg: Leg, key: str) -> None:
    # Whether it came there is heard.
    with suppress(LegEnded):
        await leg.send_digits(key, 80)


async def _until(hearing: Hearing, over: list[str], names: set[str]) -> bool:
    """Whether one of these prompts is heard before the end of the call, and of the caller's patience."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not names & set(hearing.names) and not over:
                hearing.changed.clear()
                await hearing.changed.wait()
    except TimeoutError:
        return False
    return bool(names & set(hearing.names))


async def _over(
    over: list[str], hearing: Hearing, seconds: float, done: Callable[[], bool] = lambda: False
) -> None:  # fmt: skip
    """Some seconds, or until the call ends, or what is waited for is done."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not over and not done():
                hearing.changed.clear()
                await hearing.changed.wait()


@asynccontextmanager
async def callers(
    proxy: tuple[str, int], boxes: Sequence[str], seed: int, at_once: int, surely: float
) -> AsyncIterator[Callers]:
    """A phone with many lines, which calls by way of a proxy; the rest as :class:`Callers` has it."""
    endpoint = HearingEndpoint(
        "127.0.0.1",
        free_port(),
        on_invite=lambda leg: None,
        rtp_ports=wide_range(8 * at_once),
        user_agent="test phone",
    )
    await endpoint.start()
    try:
        yield Callers(endpoint, proxy, boxes, seed, surely)
    finally:
        await endpoint.stop()
