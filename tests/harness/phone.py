"""A phone for tests: calls a switch or is called by it, sends digits and tones, and hears what comes back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from console.ports import free_port, free_range
from devswitch.leg import Leg
from devswitch.sip.endpoint import Endpoint
from devswitch.sip.message import Request
from harness.audio import FRAME, Samples, Tone, frequencies
from harness.ear import Ear, HeardSocket

PATIENCE = 10.0
"Seconds that a test waits for what must come; only a failure lasts that long."
RTP_PORTS = 40

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended."""

    cause: str
    "As FreeSWITCH names it."
    status: int
    "Of the reply that ended it; 0 for a BYE."


class _Played:
    def __init__(self, samples: Samples) -> None:
        self._left = samples

    @property
    def is_over(self) -> bool:
        return not len(self._left)

    def frame(self) -> Samples | None:
        now, self._left = self._left[:FRAME], self._left[FRAME:]
        if not len(now):
            return None
        return np.concatenate((now, np.zeros(FRAME - len(now), dtype=np.int16)))


class Call:
    """One call of the phone. Whatever is awaited fails with what was seen and heard instead."""

    def __init__(self, leg: Leg, audio: HeardSocket) -> None:
        self.leg = leg
        self.progress: list[int] = []
        self.digits = ""
        "Those that the peer sent."
        self._played = _Played(np.zeros(0, dtype=np.int16))
        self._answered = False
        self._ended: Ended | None = None
        self._condition: asyncio.Event = asyncio.Event()
        self.ear = Ear(self._condition.set)
        audio.on_packet = self.ear.packet
        leg.sinks.append(self.ear)
        leg.on_progress, leg.on_answer = self._on_progress, self._on_answer
        leg.on_hangup, leg.on_digit = self._on_hangup, self._on_digit

    # What the leg tells.

    def _on_progress(self, status: int) -> None:
        self.progress.append(status)
        self._condition.set()

    def _on_answer(self, status: int) -> None:
        self._answered = True
        self._condition.set()

    def _on_hangup(self, cause: str, status: int) -> None:
        self._ended = Ended(cause, status)
        self._condition.set()

    def _on_digit(self, digit: str, duration: int) -> None:
        self.digits += digit
        self._condition.set()

    # What may be awaited.

    async def until(self, look: Callable[[], T | None], what: str, timeout: float = PATIENCE) -> T:
        """Wait until ``look`` finds something, and return it; fail after ``timeout`` seconds without ``what``."""
        try:
            async with asyncio.timeout(timeout):
                while not (found := look()):
                    self._condition.clear()
                    await self._condition.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"{what} did not come in {timeout} s: {self}") from None

    async def answered(self) -> None:
        """Until the call is answered."""
        await self.until(lambda: self._answered or self._ended, "an answer")
        assert self._answered, f"no answer came: {self}"

    async def progressed(self, status: int) -> None:
        """Until a provisional reply came."""
        await self.until(lambda: status in self.progress, f"a {status}")

    async def ended(self, timeout: float = PATIENCE) -> Ended:
        """Until the call is over."""
        return await self.until(lambda: self._ended, "the end", timeout)

    async def hears(self, frequency: float, *, since: float = 0.0, timeout: float = PATIENCE) -> Tone:
        """Until a tone of ``frequency`` begins that is younger than ``since``; return as much as came of it."""

        def look() -> Tone | None:
            return next((found for found in self.ear.tones(since) if found.is_at(frequency)), None)

        return await self.until(look, f"a tone of {frequency} Hz", timeout)

    async def hears_silence(self, seconds: float, timeout: float = PATIENCE) -> None:
        """Until there has been silence for ``seconds``, which begin now."""
        begin = self.ear.elapsed
        await self.until(
            lambda: min(self.ear.quiet(), self.ear.elapsed - begin) >= seconds, f"{seconds} s of silence", timeout
        )

    async def heard_until_end(self) -> list[int]:
        """All tones of the call, once it is over: their frequencies."""
        await self.ended()
        return frequencies(self.ear.tones())

    # What the phone does.

    async def dial(self, digits: str, ms: int = 80) -> None:
        """Send digits, and return when the last was sent."""
        await self.leg.send_digits(digits, ms)

    def play(self, *parts: Samples) -> None:
        """Send audio instead of what is being sent."""
        self._played = _Played(np.concatenate(parts))
        self.leg.source = self._played

    async def played(self, timeout: float = PATIENCE) -> None:
        """Until all of that has gone out, which on a busy machine takes longer than it lasts."""
        await self.until(lambda: self._played.is_over, "the end of what it says", timeout)

    async def hangup(self, cause: str = "NORMAL_CLEARING") -> None:
        """End the call, or refuse it with the reply that fits the cause."""
        await self.leg.hangup(cause)

    async def ring(self) -> None:
        """Send 180."""
        await self.leg.ring()

    async def answer(self) -> None:
        """Answer a call that came."""
        await self.leg.answer()
        self._answered = True

    def __str__(self) -> str:
        heard = ", ".join(f"{t.frequency:.0f} Hz at {t.start:.2f} for {t.seconds:.2f} s" for t in self.ear.tones())
        return (
            f"replies {self.progress}, answered: {self._answered}, ended: {self._ended}, "
            f"heard in {self.ear.elapsed:.2f} s: {heard or 'nothing'}"
        )


class HearingEndpoint(Endpoint):
    """An endpoint whose calls hear every packet."""

    audio: HeardSocket
    "Of the newest call."

    def open_rtp(self) -> socket.socket:
        """The socket of a call that begins."""
        self.audio = HeardSocket(fileno=super().open_rtp().detach())
        self.audio.setblocking(False)
        return self.audio


@dataclass(slots=True)
class Phone:
    """A phone on a port of its own. Calls that come are answered by nobody until ``called`` takes them."""

    endpoint: HearingEndpoint
    switch: tuple[str, int]
    number: str = "1000"
    _incoming: asyncio.Queue[Call] = field(default_factory=asyncio.Queue)
    calls: list[Call] = field(default_factory=list)
    _requests: asyncio.Queue[Request] = field(default_factory=asyncio.Queue)

    @property
    def uri(self) -> str:
        """Where it is called."""
        host, port = self.endpoint.address
        return f"sip:{self.number}@{host}:{port}"

    @property
    def dial_string(self) -> str:
        """How a switch calls it."""
        return f"sofia/private/{self.uri}"

    def call(self, number: str = "5000", *, name: str = "", headers: Mapping[str, str] | None = None) -> Call:
        """Call a number at the switch; ``name`` is what the caller calls themselves."""
        host, port = self.switch
        leg = self.endpoint.originate(
            f"sip:{number}@{host}:{port}", caller=self.number, caller_name=name, headers=headers or {}
        )
        self.calls.append(Call(leg, self.endpoint.audio))
        return self.calls[-1]

    async def called(self, timeout: float = PATIENCE) -> Call:
        """The next call that comes."""
        try:
            async with asyncio.timeout(timeout):
                return await self._incoming.get()
        except TimeoutError:
            raise AssertionError(f"the phone {self.number} was not called in {timeout} s") from None

    async def asked(self, timeout: float = PATIENCE) -> Request:
        """The next request outside of calls, such as a NOTIFY."""
        try:
            async with asyncio.timeout(timeout):
                return await self._requests.get()
        except TimeoutError:
            raise AssertionError(f"no request came to the phone {self.number} in {timeout} s") from None

    def on_invite(self, leg: Leg) -> None:
        """Take a call that comes; called by the endpoint."""
        self.calls.append(Call(leg, self.endpoint.audio))
        self._incoming.put_nowait(self.calls[-1])


@asynccontextmanager
async def phone(
    switch: tuple[str, int], number: str = "1000", *, address: str = "127.0.0.1", port: int = 0, claims: str = ""
) -> AsyncIterator[Phone]:
    """A phone that calls the switch at ``switch``; hangs up whatever is left.

    With ``claims`` it is as if behind NAT: what it writes into messages is this address.
    """
    made: Phone
    endpoint = HearingEndpoint(
        address,
        port or free_port(),
        on_invite=lambda leg: made.on_invite(leg),
        rtp_ports=free_range(RTP_PORTS),
        user_agent="test phone",
    )
    made = Phone(endpoint, switch, number)
    endpoint.on_request = made._requests.put_nowait
    await endpoint.start()
    if claims:
        endpoint.address = (claims, endpoint.address[1])
    try:
        yield made
    finally:
        for call in made.calls:
            await call.hangup()
        await endpoint.stop()
