"""Many calls at once on one media worker, each of which does something every second.

STROWGER_TEST_CALLS is how many are up at once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.callers import Callers
from harness.load import percentile, until
from harness.media_worker import MediaWorker, channels, handed_over, running, write
from harness.switches import Embedded, FreeSwitch, Switch

pytestmark = pytest.mark.timeout(300)

CALLS = int(os.environ.get("STROWGER_TEST_CALLS", "60"))
RATE = 40
"Calls a second."
TURNS = 5 + CALLS // RATE
SCRIPTS = """
    import time
    from media.script import script

    @script("busy")
    async def busy(session, args):
        waits = []
        await session.answer()
        for _ in range(int(args)):
            began = time.monotonic()
            await session.execute("playback", "silence_stream://100")
            waits.append(time.monotonic() - began - 0.1)
            await session.sleep(900)
        with open("NOTES", "a") as file:
            file.write("".join(f"{wait * 1000:.1f}\\n" for wait in waits))
        await session.hangup()
"""


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch with ports for all calls."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), rtp_ports=2 * CALLS + 100)


def test_many_calls_at_once(switch: Switch, tmp_path: Path) -> None:
    scripts = write(tmp_path / "scripts", {"all.py": SCRIPTS.replace("NOTES", str(tmp_path / "notes"))})
    headers = handed_over("busy", str(TURNS))
    with (
        MediaWorker(tmp_path / "worker", switch, scripts) as worker,
        Callers(tmp_path / "callers", switch.sip, headers, calls=CALLS, rate=RATE) as callers,
    ):
        before = worker.memory()
        callers.until_up()
        assert worker.status()["calls"] == CALLS
        used = worker.memory() - before
        heard = callers.wait(TURNS + 60)
        cpu = _cpu_seconds(worker.pid)
        until(lambda: worker.status()["calls"] == 0, "every script has ended")
    assert Counter(call.reason or call.refused for call in heard) == {"cause=16": CALLS}
    assert min(call.seconds for call in heard) > TURNS * 0.99
    until(lambda: channels(switch) == 0, "no call stays behind")
    waits = [float(line) for line in (tmp_path / "notes").read_text().split()]
    assert len(waits) == CALLS * TURNS
    middle, late = percentile(waits, 0.5), percentile(waits, 0.99)
    print(f"{switch.name}: {CALLS} calls at once, {TURNS} commands each; they took p50 {middle:.0f} ms,"
          f" p99 {late:.0f} ms, at most {max(waits):.0f} ms longer than they play; the worker used {cpu:.1f} s"
          f" of CPU and {used / CALLS:.0f} KiB for each call")  # fmt: skip


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
