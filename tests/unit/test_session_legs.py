"""Legs that nobody wants any more; what real switches do with legs is in tests/contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from harness.esl_peer import CHANNEL, PASSWORD, Command, EslPeer, Wire, ignore, run

from media.esl.errors import ConnectionClosed
from media.esl.inbound import Inbound
from media.esl.message import Event as SwitchEvent
from media.esl.message import Headers
from media.session import Session, runtime

WAIT = 10.0


def other(cause: str = "NONE") -> Session:
    """A session whose call is over."""
    return Session(None, SwitchEvent(Headers.of(CHANNEL)), cause=cause)


class Ringing(EslPeer):
    """A switch whose legs ring until they are killed, by their uuid; ``early``: kills that come too early for it."""

    def __init__(self, early: int = 0) -> None:
        super().__init__()
        self.early = early
        self.killed: list[str] = []
        self.jobs: dict[str, Command] = {}
        self.answers |= {"bgapi": self._bgapi, "api": self._api}

    def _bgapi(self, wire: Wire, command: Command) -> None:
        self.jobs[command.line.partition("origination_uuid=")[2][:36]] = command
        wire.reply("+OK")

    def _api(self, wire: Wire, command: Command) -> None:
        name, _, args = command.line.removeprefix("api ").partition(" ")
        if name != "uuid_kill":
            wire.response("+OK\n")
            return
        uuid, _, cause = args.partition(" ")
        if self.early or uuid not in self.jobs:
            self.early -= 1
            wire.response("-ERR No such channel!\n")
            return
        self.killed.append(cause)
        wire.response("+OK\n")
        wire.event("BACKGROUND_JOB", {"Job-UUID": self.jobs[uuid].headers["Job-UUID"]}, f"-ERR {cause}\n")


def with_switch(peer: EslPeer, work: Callable[[Inbound], Awaitable[None]]) -> None:
    async def main() -> None:
        client = Inbound(("127.0.0.1", peer.port), PASSWORD, backoff=(0.01, 0.05))
        async with client:
            await client.connected(timeout=WAIT)
            await work(client)

    async def whole() -> None:
        async with peer:
            await main()

    run(whole())


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT):
        while not true():
            await asyncio.sleep(0.01)


def test_nobody_is_called_for_a_caller_who_hung_up() -> None:
    peer = Ringing()

    async def work(switch: Inbound) -> None:
        leg = await Session.originate(switch, "sofia/x/1", other())
        assert (leg.ready(), leg.hangup_cause()) == (False, "ORIGINATOR_CANCEL")
        assert not peer.jobs

    with_switch(peer, work)


@pytest.mark.parametrize("early", [0, 1])
def test_a_script_that_is_cancelled_leaves_no_leg_that_rings(early: int) -> None:
    peer = Ringing(early)

    async def work(switch: Inbound) -> None:
        task = asyncio.ensure_future(Session.originate(switch, "sofia/x/1"))
        await until(lambda: peer.jobs)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await until(lambda: peer.killed == ["ORIGINATOR_CANCEL"])

    with_switch(peer, work)


def test_a_leg_is_given_up_that_was_rung_when_the_connection_ended() -> None:
    peer = Ringing()

    async def work(switch: Inbound) -> None:
        task = asyncio.ensure_future(Session.originate(switch, "sofia/x/1"))
        await until(lambda: peer.jobs)
        peer.wire.die()
        with pytest.raises(ConnectionClosed):
            await task
        await until(lambda: peer.killed == ["ORIGINATOR_CANCEL"])

    with_switch(peer, work)


def test_a_leg_that_ended_before_the_script_had_it_has_a_cause() -> None:
    peer = EslPeer()

    def answered(wire: Wire, command: Command) -> None:
        job = {"Job-UUID": command.headers["Job-UUID"]}
        wire.reply("+OK")
        wire.event("BACKGROUND_JOB", job, "+OK 0f6a6ad2-2b6a-4c7e-8f0c-5b8a0a1f9d11\n")

    peer.answers |= {"bgapi": answered, "myevents": lambda wire, _: wire.reply("-ERR invalid uuid")}

    async def work(switch: Inbound) -> None:
        leg = await Session.originate(switch, "sofia/x/1")
        assert (leg.ready(), leg.hangup_cause()) == (False, "NORMAL_CLEARING")

    with_switch(peer, work)


def test_a_leg_that_is_closed_is_forgotten() -> None:
    peer = EslPeer()
    uuid = CHANNEL["Unique-ID"]
    peer.answers |= {"api": lambda wire, _: wire.response(f"Unique-ID: {uuid}\n"), "sendmsg": ignore}

    async def work(switch: Inbound) -> None:
        runtime.use(switch)
        leg = await Session.attach(switch, uuid)
        assert runtime._legs.get() == [leg]
        peer.wire.end()
        await leg.connection.wait_closed()
        await leg.close()
        assert runtime._legs.get() == []

    with_switch(peer, work)
