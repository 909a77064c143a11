"""A leg without a network, for the embedded switch: audio passes as fast as the loop turns, and tests are the peer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import numpy as np

from devswitch import catalogue
from devswitch.dialplan.dialplan import Dialplan
from devswitch.events import Event
from devswitch.leg import FRAME, Frame, LegEnded, Sink, Source
from devswitch.switch import Options, Switch

assert catalogue.APPLICATIONS
TIMEOUT = 20.0


class FakeLeg:
    """What SIP would do stands in ``done``."""

    def __init__(self, *, inbound: bool = True, callee: str = "5000", headers: Mapping[str, str] | None = None) -> None:
        self.uuid = str(uuid4())
        self.inbound = inbound
        self.headers = headers or {}
        self.caller, self.callee, self.caller_name = "100", callee, "Ann"
        self.remote_address, self.remote_port, self.call_id = "192.0.2.1", 5060, "call-1"
        self.source: Source | None = None
        self.sinks: list[Sink] = []
        self.on_digit: Callable[[str, int], None] | None = None
        self.on_hangup: Callable[[str, int], None] | None = None
        self.on_progress: Callable[[int], None] | None = None
        self.on_answer: Callable[[int], None] | None = None
        self.done: list[Any] = []
        self.heard: list[Frame] = []
        self.says = 0
        "The sample that the peer says, all the time."
        self.over = ""

    async def pre_answer(self) -> None:
        self._note("pre_answer")

    async def ring(self) -> None:
        self._note("ring")

    async def answer(self) -> None:
        self._note("answer")

    async def hangup(self, cause: str = "NORMAL_CLEARING", headers: Mapping[str, str] | None = None) -> None:
        if not self.over:
            self.over = cause
            self.done.append(("hangup", cause))

    async def refer(self, uri: str) -> None:
        self._note(("refer", uri))

    async def redirect(self, uri: str) -> None:
        self._note(("redirect", uri))

    async def send_digits(self, digits: str, ms: int = 100) -> None:
        self._note(("digits", digits, ms))

    def _note(self, what: object) -> None:
        if self.over:
            raise LegEnded(self.over)
        self.done.append(what)

    # -- the peer ----------------------------------------------------------------------------------------------------

    def press(self, digits: str) -> None:
        for digit in digits:
            assert self.on_digit
            self.on_digit(digit, 800)

    def leave(self, cause: str = "NORMAL_CLEARING", status: int = 0) -> None:
        self.over = cause
        assert self.on_hangup
        self.on_hangup(cause, status)

    def tick(self) -> None:
        """20 ms of audio, both ways."""
        frame = self.source.frame() if self.source and not self.over else None
        if frame is not None:
            self.heard.append(frame)
        for sink in list(self.sinks):
            sink.frame(np.full(FRAME, self.says, np.int16))


class FakeEndpoint:
    """Legs that the switch calls wait in ``called``."""

    def __init__(self) -> None:
        self.paused = False
        self.address = ("192.0.2.9", 5060)
        self.called: list[tuple[str, FakeLeg, dict[str, Any]]] = []
        self.requests: list[tuple[str, str, Mapping[str, str], str]] = []
        self.on_call: Callable[[FakeLeg, str], None] | None = None
        self.legs: list[FakeLeg] = []

    def originate(self, uri: str, **options: Any) -> FakeLeg:
        leg = FakeLeg(inbound=False, callee=uri)
        self.called.append((uri, leg, options))
        self.legs.append(leg)
        if self.on_call:
            asyncio.get_running_loop().call_later(0.001, self.on_call, leg, uri)
        return leg

    async def send_request(self, method: str, uri: str, headers: Mapping[str, str], body: str = "") -> int:
        self.requests.append((method, uri, headers, body))
        return 200


class Ear:
    """A listener that keeps every event, and can be waited on."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._changed = asyncio.Event()

    def wants(self, name: str, subclass: str, unique_id: str) -> bool:
        return True

    def deliver(self, event: Event) -> None:
        self.events.append(event)
        self._changed.set()

    def named(self, name: str, **headers: str) -> list[Event]:
        wanted = {key.replace("_", "-"): value for key, value in headers.items()}
        return [e for e in self.events if e.name == name and wanted.items() <= e.headers.items()]

    async def wait(self, name: str, count: int = 1, **headers: str) -> Event:
        """The ``count``-th event of that name with these headers (Application="answer")."""

        async def arrive() -> None:
            while len(self.named(name, **headers)) < count:
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(arrive(), TIMEOUT)
        # What the switch began before the event, such as hanging up the leg, has its turn.
        await asyncio.sleep(0)
        return self.named(name, **headers)[count - 1]


class World:
    """A switch, its endpoint, and somebody who listens; ``async with`` runs the audio."""

    def __init__(self, dialplan: str = "", **options: Any) -> None:
        plan = Dialplan.from_text(f'<include><context name="strowger">{dialplan}</context></include>')
        self.switch = Switch(Options(**options), plan)
        self.endpoint = FakeEndpoint()
        self.switch.endpoint = self.endpoint
        self.ear = Ear()
        self.switch.bus.listeners.append(self.ear)

    async def __aenter__(self) -> World:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.switch.stop(0.2)
        self._ticking.cancel()

    async def _tick(self) -> None:
        while True:
            for leg in list(self.endpoint.legs):
                leg.tick()
            await asyncio.sleep(0)

    def call(self, callee: str = "5000", headers: Mapping[str, str] | None = None) -> FakeLeg:
        leg = FakeLeg(callee=callee, headers=headers)
        self.endpoint.legs.append(leg)
        self.switch.on_invite(leg)
        return leg

    async def run(self, *actions: str) -> tuple[FakeLeg, dict[str, str]]:
        """Let a call execute ``app data`` one after the other; the leg, and the variables at its end."""
        leg = self.begin(*actions)
        event = await self.ear.wait("CHANNEL_HANGUP_COMPLETE", Unique_ID=leg.uuid)
        return leg, variables(event)

    def begin(self, *actions: str) -> FakeLeg:
        pairs = (action.partition(" ") for action in actions)
        written = "".join(f"<action application='{name}'><![CDATA[{data}]]></action>" for name, _, data in pairs)
        text = f"<context name='strowger'><extension><condition>{written}</condition></extension></context>"
        self.switch.dialplan = Dialplan.from_text(text)
        return self.call()

    async def api(self, line: str) -> str:
        name, _, arguments = line.partition(" ")
        answer = await self.switch.api(name, arguments)
        assert answer is not None, line
        return answer


def variables(event: Event) -> dict[str, str]:
    return {k.removeprefix("variable_"): v for k, v in event.headers.items() if k.startswith("variable_")}
