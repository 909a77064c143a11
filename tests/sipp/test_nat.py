"""Phones behind NAT: what goes to them goes where they send from, and both sides hear each other by the media relay."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from harness.audio import tone
from harness.node import GB, Node
from harness.phone import Call, phone
from harness.rtpengine import Rtpengine

from console.ports import free_port
from model.policy import Gateway, Policy, Route, Subscribers, Trunk
from model.side import Side
from model.subscriber import Subscriber, hashes

REALM = "phones.example"
OFFICE, NATED, HOME = "127.0.0.2", "127.0.0.7", "127.0.0.8"
PRIVATE = "10.99.99.9"
SOUND = 5.0


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rtpengine]:
    with Rtpengine(tmp_path_factory.mktemp("relay")) as own:
        yield own


@pytest.fixture(scope="module")
def gateway() -> int:
    return free_port()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, relay: Rtpengine, gateway: int) -> Iterator[Node]:
    own = Node.create(
        tmp_path_factory.mktemp("nat"), name="nat", workers=2, STROWGER_RTPENGINE=relay.address, STROWGER_NAT_PING="1"
    )
    try:
        own.stack.start()
        carrier = Gateway("carrier", "127.0.0.1", gateway, no_reply=15.0, progress=15.0, breaker=None)
        own.put_in_force(
            Policy(
                trunks=(
                    Trunk("office", (f"{OFFICE}/32",), GB),
                    Trunk("nated", (f"{NATED}/32",), GB, side=Side("auto")),
                ),
                gateways={"carrier": carrier},
                dialling=GB,
                subscribers=Subscribers(REALM, GB, edges=("127.0.0.5/32",)),
            ),
            (
                Route("phones", ("1",), subscribers=True, ring=5.0),
                Route("world", ("+44",), ("carrier",)),
                Route("anchored", ("+33",), ("carrier",), relay=True),
            ),
        )
        for name in ("1001", "1002"):
            one = Subscriber(name=name, realm=REALM, ha1=hashes(name, REALM, f"secret-of-{name}"))
            own.confirmed(own.store.put_subscriber(one, own.store.subscriber(one.name)))
        yield own
    finally:
        own.close()


async def talk(first: Call, second: Call) -> None:
    """Each hears the other."""
    first.play(tone(400, SOUND))
    second.play(tone(1000, SOUND))
    await asyncio.gather(first.hears(1000), second.hears(400))


def test_a_caller_behind_nat_is_heard_and_hung_up_on(node: Node, relay: Rtpengine, gateway: int) -> None:
    async def run() -> str:
        async with (
            phone(node.sip, port=gateway) as callee,
            phone(node.sip, address=NATED, claims=PRIVATE) as caller,
        ):
            call = caller.call("02079460000")
            other = await callee.called()
            await other.answer()
            await call.answered()
            await talk(call, other)
            call_id = call.leg.call_id
            assert relay.holds(call_id)
            await other.hangup()
            assert (await call.ended()).cause == "NORMAL_CLEARING"
            return call_id

    call_id = asyncio.run(run())
    record = node.record(call_id)
    assert (record.outcome, record.relay) == ("answered", "the caller is behind NAT")
    assert not relay.holds(call_id)
