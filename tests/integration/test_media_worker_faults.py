"""What goes wrong with scripts, switch and peers of a media worker, and that the next call is none the wiser."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.callers import Callers, Heard
from harness.load import until
from harness.media_worker import MediaWorker, channels, handed_over, running, write
from harness.switches import Embedded, FreeSwitch, Switch

from media import calls
from media.esl.protocol import LIMIT_HEADERS

pytestmark = pytest.mark.timeout(120)

PATIENT = bool(os.environ.get("STROWGER_TEST_PATIENT"))
"Whether to wait for what takes half a minute."
SCRIPTS = """
    import asyncio, time
    from media.script import script
    from media.session import API

    @script("fine")
    async def fine(session):
        await session.answer()
        await session.sleep(100)
        await session.hangup()

    @script("raises")
    async def raises(session):
        await session.answer()
        return {}["07700900123"]

    @script("raises-first")
    async def raises_first(session):
        return {}["07700900123"]

    @script("blocks")
    async def blocks(session):
        await session.answer()
        time.sleep(1.5)
        await session.hangup()

    @script("forever")
    async def forever(session):
        await session.answer()
        while True:
            await asyncio.sleep(0.05)

    @script("waits")
    async def waits(session):
        await session.answer()
        await session.execute("playback", "silence_stream://600000")
        assert not session.ready()

    @script("sleeps")
    async def sleeps(session):
        await session.answer()
        await session.sleep(600_000)
        assert not session.ready()

    @script("asks")
    async def asks(session):
        await session.answer()
        assert await API().execute("msleep", "60000") == "never"

    @script("prompts")
    async def prompts(session):
        await session.answer()
        for _ in range(2):
            assert not await session.stream_file("nowhere/07700900123/greeting.wav")
        assert session.ready()
        await session.hangup()
"""


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"))


@pytest.fixture
def worker(switch: Switch, tmp_path: Path) -> Iterator[MediaWorker]:
    """A worker of it."""
    with MediaWorker(tmp_path / "worker", switch, write(tmp_path / "scripts", {"all.py": SCRIPTS})) as worker:
        yield worker
        assert worker.running, worker.log
        assert "07700900123" not in worker.log
        assert "0123" not in worker.log.replace("127.0.0.1", "")


class Caller:
    """Places single calls."""

    def __init__(self, switch: Switch, directory: Path) -> None:
        self._switch, self._directory, self._number = switch, directory, 0

    def places(self, app: str, *, calls: int = 1, hang_up_after: float | None = None, **options: object) -> Callers:
        """Calls to a script that are not placed yet."""
        self._number += 1
        headers = handed_over(app, **options)  # type: ignore[arg-type]
        directory = self._directory / f"caller-{self._number}"
        return Callers(directory, self._switch.sip, headers, calls=calls, rate=20, hang_up_after=hang_up_after)

    def call(self, app: str, **options: object) -> Heard:
        """What became of a call to a script."""
        with self.places(app, **options) as callers:  # type: ignore[arg-type]
            return callers.wait(30)[0]


@pytest.fixture
def caller(switch: Switch, tmp_path: Path) -> Caller:
    return Caller(switch, tmp_path)


def line(text: str) -> int:
    """Where the scripts say that; lines count from 1, and the text begins with an empty one."""
    return next(number for number, one in enumerate(SCRIPTS.splitlines(), 1) if text in one)


def test_a_script_that_raises(worker: MediaWorker, caller: Caller) -> None:
    assert caller.call("raises").reason == "cause=31"
    assert caller.call("raises-first").refused == "480 Temporarily Unavailable"
    assert caller.call("fine").reason == "cause=16"
    found = re.findall(r"script (\S+) failed: KeyError at \S+/all.py:(\d+)(?: call=\S+)?\n", worker.log)
    at = line('return {}["0770')
    assert found == [("raises", str(at)), ("raises-first", str(at + 4))]


def test_a_script_that_blocks_the_worker(worker: MediaWorker, caller: Caller) -> None:
    with caller.places("fine", calls=10) as others:
        assert caller.call("blocks").reason == "cause=16"
        assert {call.reason for call in others.wait(30)} == {"cause=16"}
    blocked = re.findall(r"a script blocks every call of this worker.*: at \S+/all.py:(\d+)(?: call|\n)", worker.log)
    assert blocked == [str(line("time.sleep(1.5)"))]
    assert worker.status()["blocked"] == 1


def test_a_script_that_never_ends(worker: MediaWorker, caller: Caller) -> None:
    assert caller.call("forever", hang_up_after=0.5).reason == "hung up"
    assert caller.call("fine").reason == "cause=16"
    # It may go on after its call, and is cancelled then; tests/integration/test_worker.py has that with less patience.
    until(lambda: [one["script"] for one in worker.status()["running"]] == ["forever"], "only that one runs")
    if not PATIENT:
        return
    until(lambda: not worker.status()["running"], "the script has ended", calls.GRACE + 10)
    assert re.search(rf"forever is cancelled, {calls.GRACE:g} s after its call ended: at \S+/all.py:\d+", worker.log)


def test_a_script_that_is_not_there(worker: MediaWorker, caller: Caller) -> None:
    assert caller.call("nobody").refused.startswith("404 ")
    assert "refused: there is no script 'nobody'" in worker.log


def test_a_call_without_proof(worker: MediaWorker, caller: Caller) -> None:
    assert caller.call("fine", secret=bytes(32)).refused.startswith("403 ")
    assert caller.call("fine").reason == "cause=16"
    assert "the token does not fit the headers" in worker.log


def test_a_prompt_that_is_not_there_is_left_out(worker: MediaWorker, caller: Caller) -> None:
    assert caller.call("prompts").reason == "cause=16"
    assert caller.call("prompts").reason == "cause=16"
    assert worker.log.count("there is no nowhere/#/greeting.wav, it is left out") == 1


PEERS = {
    "a browser": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "noise": bytes(range(256)) * 64,
    "an endless header": b"Content-Type: command/reply\nX: " + b"x" * 10_000_000,
    "endless headers": b"".join(b"Header-%d: %s\n" % (number, b"x" * 1000) for number in range(10_000)),
    "an endless body": b"Content-Type: command/reply\nContent-Length: 99999999999\n\n" + b"x" * 1000,
    "nothing": b"",
}


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_that_is_no_switch(worker: MediaWorker, caller: Caller, peer: str) -> None:
    assert len(PEERS["endless headers"]) > 10 * LIMIT_HEADERS
    before = worker.memory()
    with caller.places("fine", calls=10) as callers, socket.create_connection(worker.settings.worker_address) as wire:
        wire.settimeout(30)
        assert wire.recv(100) == b"connect\n\n"
        try:
            wire.sendall(PEERS[peer])
            # Closed by the worker, at once or for its silence.
            assert wire.recv(100) == b""
        except ConnectionError:
            pass
        assert {call.reason for call in callers.wait(30)} == {"cause=16"}
    until(lambda: "was no call" in worker.log, "the worker says so")
    assert worker.memory() - before < 4096
    until(lambda: worker.status()["calls"] == 0, "all is over")


def test_a_switch_that_dies(worker: MediaWorker, caller: Caller, switch: Switch) -> None:
    with (
        caller.places("waits", calls=10) as some,
        caller.places("sleeps", calls=10) as others,
        caller.places("asks") as asking,
    ):
        for callers in (some, others, asking):
            callers.until_up()
        assert worker.status()["calls"] == 21
        switch.kill()
        until(lambda: worker.status()["calls"] == 0, f"every script has ended: {worker.status()}", 10)
        assert not worker.status()["running"]
    assert not worker.status()["switch"]["connected"]
    # What an API command raises ends its script alone; the others went as those of calls that hung up.
    assert re.findall(r"script (\S+) failed: (\w+)", worker.log) == [("asks", "ConnectionClosed")]
    switch.start()
    until(lambda: worker.status()["switch"]["connected"], "the worker has its switch again", 30)
    assert caller.call("fine").reason == "cause=16"
    until(lambda: channels(switch) == 0, "no call stays behind")
