"""From a caller through Kamailio to somebody who is on the phone, and to their mailbox from there."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from harness.audio import frequencies, read_wav, tone, tones
from harness.load import until
from harness.media_worker import MediaWorker, running
from harness.node import TRUNK, Node, at
from harness.phone import phone
from harness.switches import Embedded, FreeSwitch, Switch

from media.voicemail.store import Box, Store
from model.policy import MEDIA_RETRY, Gateway, MediaApp, Route, Voicemail
from model.record import CallRecord
from model.settings import SCRIPTS
from state import records

pytestmark = pytest.mark.timeout(120)

MEDIA = "127.0.0.9"
"A media node's own address: what comes from it belongs to no trunk."
OUTSIDE = replace(TRUNK, sources=("127.0.0.1/32",))
NUMBER = "+442079460001"
BEEP = 1000
SAID = 600


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch at an address of its own."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), address=MEDIA)


@pytest.mark.parametrize(
    ("called", "reason"), [("02079460001", "busy"), ("5000", "direct")], ids=["the line is busy", "the box is dialled"]
)
def test_a_message_comes_to_the_box(node: Node, switch: Switch, tmp_path: Path, called: str, reason: str) -> None:
    media = Gateway("fs-1", MEDIA, switch.sip[1], media=True, no_reply=15.0, progress=15.0, breaker=None)
    routes = [
        Route("staff", ("",), ("pbx",), voicemail=Voicemail()),
        Route("box", ("5000",), ("fs-1",), media=MediaApp("voicemail", "box=1001"), retry=MEDIA_RETRY),
    ]
    node.apply(routes, [media, at("pbx", node.refusing(486))], trunks=[OUTSIDE])
    secret = node.stack.settings.media_secret_file.read_bytes()
    redis = {"STROWGER_REDIS_URL": node.stack.settings.redis_url}
    with MediaWorker(tmp_path / "worker", switch, SCRIPTS, secret=secret, **redis) as worker:
        store = Store(worker.settings.voicemail)
        store.put_box(Box(number="1001", numbers=(NUMBER,), min_seconds=1, transcribe=False))
        asyncio.run(leave(node.sip, called))
        until(lambda: store.ids("1001", "new"), "the message is in the box")
        [id] = store.ids("1001", "new")
        until(lambda: named(node, f"1001/{id}"), "the record names the message")
    message = store.message("1001", id)
    about = message.message
    assert (about.caller, about.reason) == ("1001", reason)
    assert about.callee == (NUMBER if reason == "busy" else "5000")
    assert frequencies(tones(read_wav(message.audio))) == [SAID]
    # By the id of the call's record the two are found together.
    [record] = named(node, f"1001/{id}")
    assert (record.call, record.media_node) == (about.call, "fs-1")
    assert record.media_seconds >= record.duration >= 2.0


def named(node: Node, message: str) -> list[CallRecord]:
    """The records of the calls that left a message."""
    return [record for _, record in records.newest(node.store, message) if record.message == message]


async def leave(kamailio: tuple[str, int], number: str) -> None:
    """Call, wait for the beep, speak, and hang up."""
    async with phone(kamailio, "1001") as made:
        call = made.call(number)
        beep = await call.hears(BEEP, timeout=30)
        await call.until(lambda: call.ear.now > beep.start + 0.75, "the end of the beep")
        call.play(tone(SAID, 2.0))
        await asyncio.sleep(2.0)
        await call.hangup()
