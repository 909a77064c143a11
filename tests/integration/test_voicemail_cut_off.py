"""A process dies while somebody speaks: what they said so far becomes a message all the same."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.audio import frequencies, read_wav, tone, tones
from harness.load import until
from harness.media_worker import MediaWorker, handed_over, running
from harness.phone import phone
from harness.switches import Embedded, FreeSwitch, Switch

from media.voicemail.store import Box, Store, Stored
from model.settings import SCRIPTS

pytestmark = pytest.mark.timeout(120)

BEEP = 1000
SAID = 600
SECONDS = 3.0
LOST = 0.8
"Seconds that may be missing: those in which the test heard of the beep's end, and did what it does."


@pytest.fixture(params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Switch]:
    """A switch of the test's own."""
    directory = tmp_path / "switch"
    directory.mkdir()
    yield from running(request.param, directory)


@pytest.mark.parametrize("killed", ["switch", "worker"])
def test_what_was_said_before(switch: Switch, tmp_path: Path, killed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.voicemail.orphans.QUIET", 0.5)
    with MediaWorker(tmp_path / "worker", switch, SCRIPTS) as worker:
        store = Store(worker.settings.voicemail)
        store.put_box(Box(number="1001", min_seconds=1, transcribe=False))

        def kill() -> None:
            switch.kill() if killed == "switch" else worker.signal(signal.SIGKILL)

        asyncio.run(speak(switch, store, kill))
        message = adopted(store)
    assert message.message.adopted
    assert message.message.seconds == len(read_wav(message.audio)) / 8000
    [heard] = tones(read_wav(message.audio))
    assert frequencies([heard]) == [SAID]
    assert heard.sound >= SECONDS - LOST


async def speak(switch: Switch, store: Store, kill: Callable[[], None]) -> None:
    """Leave a message until the process dies in the midst of it."""
    async with phone(switch.sip) as made:
        call = made.call("5000", headers=dict(handed_over("voicemail", "box=1001")))
        beep = await call.hears(BEEP, timeout=30)
        await call.until(lambda: call.ear.now > beep.start + 0.75, "the end of the beep")
        call.play(tone(SAID, 3 * SECONDS))
        await asyncio.sleep(SECONDS)
        # Off the loop, so that the caller goes on speaking.
        await asyncio.to_thread(kill)


def adopted(store: Store) -> Stored:
    """What the reaper makes of what was left."""

    def reaped() -> bool:
        return any(store.adopt(orphan) for orphan in store.orphans())

    until(reaped, "the reaper has a message")
    [id] = store.ids("1001", "new")
    return store.message("1001", id)
