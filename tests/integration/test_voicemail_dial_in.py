"""Dial-in with a real Redis: tries of two workers together, and a box of ten thousand messages."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.audio import silence
from harness.esl_peer import CHANNEL, Command, Wire
from harness.mailbox import BOX, PIN, Boxes, make_boxes
from harness.redis_server import RedisServer, redis_server
from harness.session_peer import FakeSwitch, with_session

from console.ports import free_port
from console.serve import ROOT
from media.session import Session
from media.speech.cache import Cache
from media.speech.engines import Flite
from media.speech.speaker import Speaker
from media.speech.speech import Speech
from media.voicemail import attempts
from media.voicemail.jobs import Jobs
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.reconcile import Reconciler
from media.voicemail.retrieval import retrieve
from state import keys
from state.clients import connect

MANY = 10_000
TIMES = 5
MOST = 40
"Times that it may take, where others keep the machine busy, until the box alone is measured."
MORE = 0.3
"Seconds to the first word that ten thousand messages may cost."


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


# A worker that tries PINs, as many at once as it can, and says how many of them were looked at.
TRIER = """
import asyncio, json, sys
from pathlib import Path
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import Store

async def main(folder, url, number, pins):
    store, looked = Store(Path(folder)), []
    check = store.check_pin
    store.check_pin = lambda number, pin: looked.append(pin) or check(number, pin)
    boxes = Mailboxes(store, url)
    print("ready", flush=True)
    sys.stdin.readline()
    found = await asyncio.gather(*(boxes.try_pin(number, pin) for pin in pins))
    await boxes.close()
    print(json.dumps({"looked": len(looked), "ok": sum(one.state == "ok" for one in found)}), flush=True)

asyncio.run(main(*sys.argv[1:4], sys.argv[4:]))
"""


def tried(boxes: Boxes, redis: RedisServer, pins: list[str]) -> list[dict[str, int]]:
    """Two workers that try all of ``pins`` at once."""
    command = [sys.executable, "-c", TRIER, str(boxes.store.folder), redis.url, BOX, *pins]
    workers = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        return [json.loads(worker.communicate(timeout=60)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def test_two_workers_together_try_no_more_pins_than_one_may(tmp_path: Path, redis: RedisServer) -> None:
    boxes = make_boxes(tmp_path / "voicemail", Speaks())  # type: ignore[arg-type]
    pins = [f"{pin:04}" for pin in range(8600, 8640)]
    found = tried(boxes, redis, pins)
    assert sum(one["looked"] for one in found) == attempts.TRIES
    # Locked for both, whoever knows the PIN.
    assert [one["looked"] for one in tried(boxes, redis, [PIN])] == [0, 0]


class Speaks:
    """Says names of prompts."""

    async def play(self, session: Session, *what: Any, digits: str = "any") -> bool:
        return await session.play_until(" ".join(map(str, what)), digits)


def first_word(boxes: Boxes, folder: Path) -> float:
    """Seconds from the PIN's last key to the first thing that is played, with speech that nobody has heard yet."""
    boxes.speaker = Speaker(Speech(Cache(folder), Flite(), "slt"), None)
    times: list[float] = []

    async def script(session: Session, switch: FakeSwitch) -> None:
        def playing(wire: Wire, command: Command) -> None:
            times.append(time.monotonic())
            if len(times) == 1:
                switch.press(wire, f"{PIN}#")
                switch.complete(wire, command, {"variable_playback_terminator_used": "2"})
            else:
                switch.hang_up(wire)

        switch.apps["playback"] = playing
        await retrieve(session, boxes.mailboxes, boxes.speaker, BOX)
        await boxes.mailboxes.close()

    with_session(script, {**CHANNEL, "Answer-State": "answered"})
    shutil.rmtree(folder)
    return times[1] - times[0]


def fill(boxes: Boxes) -> None:
    """Ten thousand messages, made of one."""
    first = boxes.leave(silence(0.5))
    path = boxes.store.message(BOX, first.id).path
    text = (path / "message.json").read_text()
    for number in range(MANY - 1):
        id = f"20250101T{number // 3600:02}{number // 60 % 60:02}{number % 60:02}Z-{number:08x}"
        (path.parent / id).mkdir()
        (path.parent / id / "message.json").write_text(text.replace(first.id, id))
        (path.parent / id / "audio.wav").hardlink_to(path / "audio.wav")


@pytest.mark.skipif(shutil.which("flite") is None, reason="no flite")
@pytest.mark.parametrize("with_redis", [True, False])
def test_ten_thousand_messages_are_not_in_the_way_of_the_first_word(
    tmp_path: Path, redis: RedisServer, with_redis: bool
) -> None:
    url = redis.url if with_redis else f"redis://127.0.0.1:{free_port()}/0"
    boxes = make_boxes(tmp_path / "voicemail", Speaks(), url)  # type: ignore[arg-type]
    empty = min(first_word(fresh(boxes, url), tmp_path / "speech") for _ in range(TIMES))
    fill(boxes)
    if with_redis:
        asyncio.run(index(boxes, url))
    full = math.inf
    for _ in range(MOST):
        full = min(full, first_word(fresh(boxes, url), tmp_path / "speech"))
        if full - empty < MORE:
            break
    assert full - empty < MORE, f"empty {empty * 1000:.0f} ms, {MANY} messages {full * 1000:.0f} ms"


def fresh(boxes: Boxes, url: str) -> Boxes:
    """The same with connections of its own: each call here has a loop of its own."""
    return Boxes(boxes.store, Mailboxes(boxes.store, url), boxes.speaker)


def test_the_lamp_follows_the_caller(tmp_path: Path, redis: RedisServer) -> None:
    boxes = make_boxes(tmp_path / "voicemail", Speaks(), redis.url)  # type: ignore[arg-type]
    boxes.leave(silence(0.5))
    steps = {"vm-password": f"{PIN}#", "vm-opts": "1", "vm-advopts": "7"}
    lamps = []

    async def script(session: Session, switch: FakeSwitch) -> None:
        def playing(wire: Wire, command: Command) -> None:
            word = next((word for word in switch.ran[-1][1].split() if word in steps), "")
            if "vm-deleted" in switch.ran[-1][1]:
                with redis.client() as client:
                    lamps.append(json.loads(str(client.hget(keys.MWI, BOX)))["new"])
                return switch.hang_up(wire)
            switch.press(wire, steps.pop(word, ""))
            switch.complete(wire, command, {"variable_playback_terminator_used": "1"} if word else {})

        switch.apps["playback"] = playing
        await boxes.mailboxes.rebuild(BOX)
        with redis.client() as client:
            lamps.append(json.loads(str(client.hget(keys.MWI, BOX)))["new"])
        await retrieve(session, boxes.mailboxes, boxes.speaker, BOX)
        await boxes.mailboxes.close()

    with_session(script, {**CHANNEL, "Answer-State": "answered"})
    assert lamps == [1, 0]


async def index(boxes: Boxes, url: str) -> None:
    """What the voicemail service does at its start."""
    client = connect(url)
    mailboxes = Mailboxes(boxes.store, url)
    await Reconciler(mailboxes, client, Jobs(client, "test")).rebuild()
    assert (await mailboxes.counts(BOX)).new == MANY
    await mailboxes.close()
    await client.aclose()
