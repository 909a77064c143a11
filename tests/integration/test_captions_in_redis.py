"""Captions of a call are in the stream of events that others read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from harness.audio import silence, tone
from harness.load import until
from harness.media_worker import MediaWorker, handed_over, running, write
from harness.phone import phone
from harness.redis_server import RedisServer, redis_server
from harness.switches import Embedded, Switch

from console.serve import ROOT
from state import keys

SCRIPT = """
    from media.script import script
    from media.transcription.live import live

    @script("captions")
    async def captions(session):
        await session.answer()
        async with live(session, legs=("caller",)):
            await session.sleep(60_000)
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


@pytest.fixture
def switch(tmp_path: Path) -> Iterator[Switch]:
    directory = tmp_path / "switch"
    directory.mkdir()
    yield from running(Embedded, directory)


def test_a_script_says_nothing_of_redis(tmp_path: Path, redis: RedisServer, switch: Switch) -> None:
    more = {
        "STROWGER_REDIS_URL": redis.url,
        "STROWGER_TRANSCRIBER": "harness.engines:Good:sound",
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
    }
    scripts = write(tmp_path / "scripts", {"captions.py": SCRIPT})
    with MediaWorker(tmp_path / "worker", switch, scripts, **more):
        asyncio.run(speak(switch, redis))
    [caption] = of_kind(redis, "transcript.final")
    assert caption["text"]
    assert caption["leg"] == "caller"


async def speak(switch: Switch, redis: RedisServer) -> None:
    async with phone(switch.sip) as made:
        call = made.call("5000", headers=dict(handed_over("captions")))
        await call.answered()
        call.play(silence(1.0), tone(800, 1.0), silence(30.0))
        told = partial(of_kind, redis, "transcript.final")
        # Off the loop, so that the caller goes on speaking.
        await asyncio.to_thread(until, told, "the caption is in the stream", 30)
        await call.hangup()


def of_kind(redis: RedisServer, kind: str) -> list[dict[str, Any]]:
    """What the stream has of a kind of event."""
    with redis.client() as client:
        entries: Any = client.xrange(keys.EVENTS)
    fields = [{str(name): str(value) for name, value in entry[1].items()} for entry in entries]
    return [json.loads(one["data"]) for one in fields if one["kind"] == kind]
