"""Callers who try PINs at two media workers at once, each with a switch of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness.mailbox import BOX, FREQUENCY, PIN, Listener, make_sounds
from harness.media_worker import MediaWorker, handed_over, running
from harness.phone import Call, Phone, phone
from harness.redis_server import RedisServer, redis_server
from harness.switches import Embedded, FreeSwitch, Switch

from media.voicemail import attempts
from media.voicemail.store import Box, Store
from model.settings import SCRIPTS

pytestmark = pytest.mark.timeout(180)

CALLS = 2
"At once, at each worker. With three tries each they are more than twice what is allowed."
PINS = [f"{pin:04}" for pin in range(8600, 8660)]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def sites(request: pytest.FixtureRequest, tmp_path: Path, redis: RedisServer) -> Iterator[list[Site]]:
    """Two switches, each with a worker; the mailboxes and Redis are theirs together."""
    sounds = make_sounds(tmp_path / "prompts")
    with ExitStack() as stack:
        yield [stack.enter_context(site(request.param, tmp_path, number, redis, sounds)) for number in range(2)]


class Site:
    """A switch with its worker."""

    def __init__(self, switch: Switch, worker: MediaWorker) -> None:
        self.switch, self.worker = switch, worker

    @property
    def logs(self) -> str:
        """What both wrote."""
        return self.worker.log + self.switch.log


@contextmanager
def site(kind: type[Switch], root: Path, number: int, redis: RedisServer, sounds: Path) -> Iterator[Site]:
    directory = root / f"switch-{number}"
    directory.mkdir()
    for switch in running(kind, directory):
        more = {"STROWGER_REDIS_URL": redis.url, "STROWGER_SOUNDS": str(sounds)}
        with MediaWorker(root / "worker", switch, SCRIPTS, **more) as worker:
            yield Site(switch, worker)


def mailboxes(sites: list[Site]) -> Store:
    store = Store(sites[0].worker.settings.voicemail)
    store.put_box(Box(number=BOX), new=True)
    store.set_pin(BOX, PIN)
    return store


async def tries(made: Phone, pins: Iterator[str]) -> None:
    """A call in which every try is wrong."""
    listener = dials_in(made)
    for _ in range(3):
        await listener.hears("vm-password", timeout=30)
        await listener.dials(f"{next(pins)}#")
    await listener.hears("vm-incorrect", timeout=30)
    await listener.call.ended(timeout=30)


async def is_let_in(made: Phone, pin: str) -> bool:
    """Whether a caller with this PIN is told of messages."""
    listener = dials_in(made)
    await listener.hears("vm-password", timeout=30)
    await listener.dials(f"{pin}#")
    answer: list[str] = []

    async def hears(name: str) -> None:
        await listener.call.hears(FREQUENCY[name], since=listener.since, timeout=30)
        answer.append(name)

    waits = [asyncio.ensure_future(hears(name)) for name in ("vm-youhave", "vm-incorrect")]
    _, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in rest:
        wait.cancel()
    await listener.call.hangup()
    return answer == ["vm-youhave"]


def dials_in(made: Phone) -> Listener:
    call: Call = made.call("5000", headers=dict(handed_over("mailbox", f"box={BOX}")))
    return Listener(call)


def test_two_workers_together_look_at_no_more_pins_than_one_may(sites: list[Site]) -> None:
    mailboxes(sites)
    asyncio.run(attack(sites))
    for one in sites:
        assert one.worker.running
        for secret in (BOX, PIN, *PINS):
            assert secret not in one.worker.log, f"{secret} stands in a worker's log"
    for one in sites:
        for pin in (PIN, *PINS[: CALLS * 2 * 3]):
            assert pin not in one.switch.log, "a PIN stands in a switch's log"


async def attack(sites: list[Site]) -> None:
    async with phone(sites[0].switch.sip) as one, phone(sites[1].switch.sip) as other:
        # Both let the owner in, so what follows is not the doing of a worker that lets in nobody.
        assert await is_let_in(one, PIN)
        assert await is_let_in(other, PIN)
        pins = iter(PINS)
        await asyncio.gather(*(tries(made, pins) for made in (one, other) for _ in range(CALLS)))
        # Locked, for who knows the PIN too, wherever they call.
        assert not await is_let_in(one, PIN)
        assert not await is_let_in(other, PIN)
    assert CALLS * 2 * 3 > 2 * attempts.TRIES
