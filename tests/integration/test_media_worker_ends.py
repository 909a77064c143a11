"""A media worker that ends while it has calls, by itself or not: what becomes of them, and of new ones.

STROWGER_TEST_CALLS is how many calls are up at that moment.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from harness.callers import Callers, Heard
from harness.load import until
from harness.media_worker import MediaWorker, channels, handed_over, running, write
from harness.switches import Embedded, FreeSwitch, Switch

pytestmark = pytest.mark.timeout(300)

CALLS = int(os.environ.get("STROWGER_TEST_CALLS", "30"))
RATE = 50
"Calls a second."
FAST = {"STROWGER_FS_CALLS_PER_SECOND": "1000"}
STAY = 7 + 2 * CALLS / RATE
"Seconds that a call lasts, so that all are up at once for a while."
SCRIPTS = """
    import asyncio, os
    from media.script import script

    @script("stays")
    async def stays(session, args):
        await session.answer()
        await session.sleep(float(args) * 1000)
        await session.hangup()

    @script("hooked")
    async def hooked(session, args):
        note("hooked", session.uuid)
        session.set_hangup_hook(hook)
        await session.answer()
        await session.sleep(60_000)

    async def hook(session, status, arg):
        note("began", session.uuid)
        await asyncio.sleep(0.1)
        note("done", session.uuid)

    def note(what, uuid):
        # One write, which a SIGKILL cannot divide.
        file = os.open("NOTES", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{what} {uuid}\\n".encode())
        os.close(file)
"""


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch with ports for all calls."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), rtp_ports=4 * CALLS + 4 * RATE, **FAST)


@pytest.fixture
def workers(switch: Switch, tmp_path: Path) -> Iterator[tuple[MediaWorker, MediaWorker]]:
    """Both workers that the switch knows; calls go to the first while it takes them."""
    scripts = write(tmp_path / "scripts", {"all.py": SCRIPTS.replace("NOTES", str(tmp_path / "notes"))})
    directory = tmp_path / "workers"
    with (
        MediaWorker(directory, switch, scripts) as first,
        MediaWorker(directory, switch, scripts, number=1) as second,
    ):
        yield first, second
    until(lambda: channels(switch) == 0, "no call stays behind")


def causes(heard: Sequence[Heard]) -> Counter[str]:
    """How often calls ended how."""
    return Counter(call.reason or f"refused {call.refused}" for call in heard)


def test_sigterm_cuts_no_call_and_refuses_none(
    switch: Switch, workers: tuple[MediaWorker, MediaWorker], tmp_path: Path
) -> None:
    first, second = workers
    stays, brief = handed_over("stays", f"{STAY}"), handed_over("stays", "0.2")
    with Callers(tmp_path / "old", switch.sip, stays, calls=CALLS, rate=RATE) as old:
        old.until_up()
        with Callers(tmp_path / "new", switch.sip, brief, calls=3 * RATE, rate=RATE) as new:
            until(lambda: len(new.heard()) > RATE / 2, "new calls come")
            first.signal(signal.SIGTERM)
            came = new.wait(60)
            assert causes(came) == {"cause=16": 3 * RATE}
        assert len(old.up()) == CALLS
        assert first.running
        stayed = old.wait(STAY + 30)
    assert causes(stayed) == {"cause=16": CALLS}
    assert min(call.seconds for call in stayed) > STAY - 0.1
    assert first.wait(30) == 0
    assert second.status()["taken"] > RATE
    print(f"{switch.name}: {CALLS} calls of {STAY} s ended after {min(c.seconds for c in stayed):.2f} s or more; "
          f"{second.status()['taken']} of {3 * RATE} new ones went to the other worker")  # fmt: skip


def test_sigkill_leaves_no_call_behind_and_starts_no_hook_twice(
    switch: Switch, workers: tuple[MediaWorker, MediaWorker], tmp_path: Path
) -> None:
    first, second = workers
    hooked, brief = handed_over("hooked"), handed_over("stays", "0.2")
    leaving = Callers(tmp_path / "leaving", switch.sip, hooked, calls=CALLS, rate=RATE, hang_up_after=1.0)
    with Callers(tmp_path / "old", switch.sip, hooked, calls=CALLS, rate=RATE) as old, leaving:
        old.until_up()
        # The other callers come and go one after the other, so that some hooks are at work.
        until(lambda: len([call for call in leaving.heard() if call.over]) > CALLS / 2, "some have hung up")
        first.signal(signal.SIGKILL)
        # Until it is gone the kernel takes calls for it.
        first.wait(30)
        with Callers(tmp_path / "new", switch.sip, brief, calls=RATE, rate=RATE) as new:
            assert causes(new.wait(60)) == {"cause=16": RATE}
        released = old.wait(30)
        leaving.wait(30)
    assert causes(released) == {"cause=41": CALLS}
    until(lambda: channels(switch) == 0, "no call stays behind")
    first.start()
    notes = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    by = {what: Counter(uuid for said, uuid in notes if said == what) for what in ("hooked", "began", "done")}
    assert len(by["hooked"]) == sum(by["hooked"].values())
    # None begins twice, and each call's is either done or reported, or both where only its end was not noted any more.
    assert max(by["began"].values(), default=0) <= 1
    interrupted = {one["call"] for one in first.status()["interrupted"]}
    assert interrupted | by["done"].keys() == by["hooked"].keys()
    assert first.log.count("was interrupted: the hangup hook of hooked") == len(interrupted)
    assert len(interrupted) >= CALLS
    reported = {what: len(interrupted & by[what].keys()) for what in ("began", "done")}
    print(f"{switch.name}: {CALLS} + {CALLS} calls; {len(by['done'])} hooks done, {len(interrupted)} reported, "
          f"of which {reported['began']} had begun and {reported['done']} were done")  # fmt: skip
