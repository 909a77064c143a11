"""Calls between a phone and a call script, through a switch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from harness.phone import PATIENCE, Call, Phone, phone
from harness.switches import Switch
from media.esl.inbound import Inbound
from media.esl.server import OutboundCall, OutboundServer
from media.session import Session, originate, runtime
from media.session.errors import ScriptExit

Script = Callable[[Session], Awaitable[None]]
Caller = Callable[[Call], Awaitable[None]]


@dataclass(slots=True)
class Served:
    """The call scripts that ran in this process."""

    script: Script
    switch: Inbound
    sessions: list[Session] = field(default_factory=list)
    ended: int = 0
    _failures: list[BaseException] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, call: OutboundCall) -> None:
        """Run the script for a call, as a worker does."""
        runtime.use(self.switch)
        session = Session(call.connection, call.channel)
        self.sessions.append(session)
        try:
            await self._run(session)
        except Exception as error:
            self._failures.append(error)
        finally:
            self.ended += 1
            self._changed.set()

    async def _run(self, session: Session) -> None:
        with suppress(ScriptExit):
            try:
                await self.script(session)
            finally:
                await session.close()

    async def done(self, calls: int = 1, patience: float = PATIENCE) -> None:
        """Until so many scripts have ended; fails as soon as one of them failed."""
        try:
            async with asyncio.timeout(3 * patience):
                while self.ended < calls and not self._failures:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.ended} of {calls} call scripts ended in {3 * patience} s") from None
        if self._failures:
            raise self._failures[0]


@asynccontextmanager
async def serving(switch: Switch, script: Script, worker: int = 0) -> AsyncIterator[Served]:
    """Take the calls of a switch, as its first or second worker, while the block runs."""
    served = Served(script, runtime.switch())
    host, port = switch.workers[worker]
    server = OutboundServer(host, port, served.serve)
    await server.start()
    try:
        yield served
    finally:
        await server.close()


@asynccontextmanager
async def inbound(switch: Switch) -> AsyncIterator[Inbound]:
    """A client of the switch's event socket: what a script asks when it names none, as on a worker."""
    async with Inbound(switch.esl, switch.password) as client:
        await client.connected(timeout=PATIENCE)
        runtime.use(client)
        yield client


@asynccontextmanager
async def leg_to(dial_string: str, **options: Any) -> AsyncIterator[Session]:
    """A leg that is called, ``options`` as for ``originate``; hung up at the end if it is still there."""
    leg = await originate(dial_string, **options)
    try:
        yield leg
    finally:
        await leg.close()


async def at_once(*parts: Awaitable[object]) -> None:
    """Several things at once; the first failure ends the others and is raised."""

    async def awaited(part: Awaitable[object]) -> None:
        await part

    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(awaited(part))
    except BaseExceptionGroup as failures:
        raise _first(failures) from None


def _first(failures: BaseExceptionGroup[Any]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def talk(
    switch: Switch,
    script: Script,
    caller: Caller,
    *,
    number: str = "5000",
    headers: Mapping[str, str] | None = None,
    scripts: int = 1,
    patience: float = PATIENCE,
) -> None:
    """One call to ``number``: the script on its one end and the caller on the other, both until they are done.

    ``scripts`` is how often the switch asks for a script during it; ``patience``: a third of the seconds it may take.
    """

    async def whole(phone: Phone) -> None:
        async with serving(switch, script) as served:
            call = phone.call(number, headers=headers)
            await at_once(caller(call), served.done(scripts, patience))
            await call.hangup()

    with_phone(switch, whole)


def with_phone(
    switch: Switch, scenario: Callable[[Phone], Coroutine[Any, Any, None]], *, address: str = "127.0.0.1"
) -> None:
    """Run a scenario with a phone at ``address``, and a connection to the switch's event socket."""

    async def run() -> None:
        async with inbound(switch), phone(switch.sip, address=address) as made:
            await scenario(made)

    asyncio.run(run())
