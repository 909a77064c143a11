"""Edits of call scripts while calls run: none is lost, none gets half an edit, and the worker does not grow.

STROWGER_TEST_RELOADS is how many edits there are.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from harness.callers import Callers
from harness.load import until
from harness.media_worker import MediaWorker, handed_over, running, write
from harness.switches import Embedded, FreeSwitch, Switch

from media.esl.inbound import connect
from media.esl.message import Event

pytestmark = pytest.mark.timeout(300)

RELOADS = int(os.environ.get("STROWGER_TEST_RELOADS", "12"))
RATE = 30
"Calls a second."
GROWTH = 16 * 1024
"KiB that the worker may grow from the first third of the edits to the end."
MAIN = """
    import first
    from media.script import script

    @script("versions")
    async def versions(session):
        await session.answer()
        await first.tell(session)
        await session.execute("playback", "silence_stream://300")
        import second
        await second.tell(session)
        await session.hangup()
"""
PART = """
    from media.session import Event
    from version import VERSION

    class Ballast:
        # What a reading has in memory: it shows when one stays.
        data = b"x" * 2_000_000

    async def tell(session):
        event = Event("custom", "test::version")
        event.add_header("Part", __name__.rpartition(".")[2])
        event.add_header("Version", VERSION)
        event.add_header("Call", session.uuid)
        await event.fire()
"""


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), rtp_ports=10 * RATE)


class Told:
    """What calls told in their events, collected by a thread of its own; a context manager."""

    def __init__(self, switch: Switch) -> None:
        self.versions: dict[str, dict[str, str]] = defaultdict(dict)
        self._switch = switch
        self._ready, self._loop = threading.Event(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._listen()])
        self._stop = asyncio.Event()

    def __enter__(self) -> Told:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        connection = await connect(*self._switch.esl, self._switch.password)
        connection.listen(self._take)
        await connection.events("CUSTOM test::version")
        self._ready.set()
        await self._stop.wait()
        await connection.close()

    def _take(self, event: Event) -> None:
        self.versions[event["Call"]][event["Part"]] = event["Version"]


def by_file(root: Path) -> Callable[[int], None]:
    """One module changes, and what the others took from it as they were loaded."""
    write(root / "scripts", {"main.py": MAIN, "first.py": PART, "second.py": PART, "version.py": "VERSION = '0'\n"})

    def edit(number: int) -> None:
        fresh = root / "version.py"
        fresh.write_text(f"VERSION = '{number}'\n")
        fresh.replace(root / "scripts" / "version.py")

    return edit


def by_link(root: Path) -> Callable[[int], None]:
    """The folder is a link to one that holds a release, and all modules change at once."""

    def edit(number: int) -> None:
        part = PART.replace("from version import VERSION", f"VERSION = '{number}'")
        write(root / f"release-{number}", {"main.py": MAIN, "first.py": part, "second.py": part})
        (root / "next").symlink_to(f"release-{number}")
        (root / "next").replace(root / "scripts")

    edit(0)
    return edit


@pytest.mark.parametrize("kind", [by_file, by_link])
def test_edits_under_load(switch: Switch, tmp_path: Path, kind: Callable[[Path], Callable[[int], None]]) -> None:
    edit = kind(tmp_path)
    memory = []
    calls = RATE * (RELOADS // 3 + 2)
    with (
        Told(switch) as told,
        MediaWorker(tmp_path / "worker", switch, tmp_path / "scripts") as worker,
        Callers(tmp_path / "callers", switch.sip, handed_over("versions"), calls=calls, rate=RATE) as callers,
    ):
        for number in range(1, RELOADS + 1):
            # Each edit is seen by calls, and comes while others are under way.
            until(partial(callers.placed, RATE * number // 3), "calls come", 60)
            edit(number)
            memory.append(worker.memory())
        heard = callers.wait(60)
        until(lambda: worker.status()["calls"] == 0, "the last script has ended")
        memory.append(worker.memory())
        assert Counter(call.reason or call.refused for call in heard) == {"cause=16": calls}
        until(lambda: sum(map(len, told.versions.values())) == 2 * calls, "every call told both versions")
        refused = worker.status()["refused"]
    mixed = [parts for parts in told.versions.values() if parts["first"] != parts["second"]]
    seen = {parts["first"] for parts in told.versions.values()}
    assert not mixed
    assert not refused
    assert len(seen) > RELOADS / 2
    assert max(memory[RELOADS // 3 :]) - memory[RELOADS // 3] < GROWTH, memory
    print(f"{switch.name}, {kind.__name__}: {RELOADS} edits, {calls} calls at {RATE} a second, "
          f"{len(seen)} versions seen, memory {memory[0]} to {memory[RELOADS // 3]} to {memory[-1]} KiB")  # fmt: skip
