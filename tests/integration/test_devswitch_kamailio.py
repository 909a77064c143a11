"""The embedded switch behind Kamailio, which stays in the way of the call by Record-Route."""

from __future__ import annotations

import asyncio

import pytest
from harness.node import Node

from console.ports import free_port
from devswitch.sip.endpoint import Endpoint
from devswitch.sip.incoming import IncomingCall
from model.policy import Gateway, Route

TIMEOUT = 30.0


@pytest.mark.parametrize("caller_hangs_up", [True, False])
def test_a_call_by_way_of_kamailio(node: Node, caller_hangs_up: bool) -> None:
    async def test() -> None:
        calls: asyncio.Queue[IncomingCall] = asyncio.Queue()
        first = free_port() // 100 * 100
        switch, phone = (
            Endpoint("127.0.0.1", port, on_invite=calls.put_nowait, rtp_ports=ports, user_agent="test")
            for port, ports in (
                (free_port(), range(first, first + 50)),
                (free_port(), range(first + 50, first + 100)),
            )
        )
        await switch.start()
        await phone.start()
        try:
            gateway = Gateway(name="switch", address="127.0.0.1", port=switch.address[1], breaker=None)
            await asyncio.to_thread(node.apply, [Route("switch", ("",), ("switch",))], [gateway])
            there = phone.originate(f"sip:1002@{node.sip[0]}:{node.sip[1]}", caller="1001")
            here = await asyncio.wait_for(calls.get(), TIMEOUT)
            assert here.headers["Record-Route"]
            await here.ring()
            await here.answer()
            await asyncio.wait_for(there.answered(), TIMEOUT)
            digits: list[str] = []
            heard = asyncio.Event()

            def on_digit(digit: str, _: int) -> None:
                digits.append(digit)
                if digit == "#":
                    heard.set()

            here.on_digit = on_digit
            await there.send_digits("42#")
            await asyncio.wait_for(heard.wait(), TIMEOUT)
            first_leg, second_leg = (there, here) if caller_hangs_up else (here, there)
            await first_leg.hangup()
            assert await asyncio.wait_for(second_leg.ended(), TIMEOUT) == "NORMAL_CLEARING"
            assert digits == ["4", "2", "#"]
        finally:
            await phone.stop()
            await switch.stop()

    asyncio.run(test())


def test_a_call_given_up_by_way_of_kamailio(node: Node) -> None:
    async def test() -> None:
        calls: asyncio.Queue[IncomingCall] = asyncio.Queue()
        first = free_port() // 100 * 100
        ports = range(first, first + 100)
        switch = Endpoint("127.0.0.1", free_port(), on_invite=calls.put_nowait, rtp_ports=ports, user_agent="test")
        await switch.start()
        try:
            gateway = Gateway(name="switch", address="127.0.0.1", port=switch.address[1], breaker=None)
            await asyncio.to_thread(node.apply, [Route("switch", ("",), ("switch",))], [gateway])
            there = switch.originate("sip:1002@example.com", caller="1001", proxy=f"sip:{node.sip[0]}:{node.sip[1]};lr")
            here = await asyncio.wait_for(calls.get(), TIMEOUT)
            rang = asyncio.Event()
            there.on_progress = lambda _: rang.set()
            await here.ring()
            await asyncio.wait_for(rang.wait(), TIMEOUT)
            await there.hangup()
            assert await asyncio.wait_for(here.ended(), TIMEOUT) == "ORIGINATOR_CANCEL"
        finally:
            await switch.stop()

    asyncio.run(test())
