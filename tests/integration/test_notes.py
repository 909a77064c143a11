"""What is told to Redis while nobody waits: it arrives in order, is told once more where a connection ended, or is lost
and said to be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from harness.redis_server import RedisServer

from console.ports import free_port
from state import notes
from state.clients import connect
from state.notes import Notes
from state.wire import packed

Play = Callable[[Notes], Awaitable[None]]


def played(url: str, play: Play, timeout: float = 2.0) -> None:
    """Have ``play`` tell something."""

    async def run() -> None:
        client = connect(url, timeout=timeout)
        told = Notes(client)
        try:
            await play(told)
        finally:
            await told.close()
            await client.aclose()

    asyncio.run(asyncio.wait_for(run(), 20))


async def answered(told: Notes) -> None:
    """Until nothing waits for its answer."""
    while told._notes or told._connecting:
        await asyncio.sleep(0.01)


@pytest.fixture
def redis(tmp_path: Path) -> RedisServer:
    return RedisServer(tmp_path, free_port(), password="secret")


def test_notes_arrive_in_order(redis: RedisServer) -> None:
    async def play(told: Notes) -> None:
        for number in range(200):
            told.tell("a number", packed("RPUSH", "numbers", number), packed("XADD", "stream", "*", "n", number))
        await answered(told)

    redis.start()
    try:
        played(redis.url, play)
        with redis.client() as client:
            assert client.lrange("numbers", 0, -1) == [str(number) for number in range(200)]
            assert client.xlen("stream") == 200
    finally:
        redis.stop()


def test_what_a_connection_took_with_it_is_told_once_more(redis: RedisServer) -> None:
    async def play(told: Notes) -> None:
        told.tell("one", packed("RPUSH", "numbers", 1))
        await answered(told)
        redis.stop()
        redis.start()
        told.tell("two", packed("RPUSH", "numbers", 2))
        await answered(told)

    redis.start()
    try:
        played(redis.url, play)
        with redis.client() as client:
            assert client.lrange("numbers", 0, -1) == ["2"]
    finally:
        redis.stop()


def test_a_redis_that_hangs_is_given_up(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notes, "TIMEOUT", 0.05)

    async def play(told: Notes) -> None:
        told.tell("one", packed("PING"))
        await answered(told)
        with redis.hanging():
            told.tell("two", packed("PING"))
            await asyncio.sleep(0.1)
            told.tell("three", packed("PING"))
            await answered(told)

    redis.start()
    try:
        played(redis.url, play, timeout=0.2)
    finally:
        redis.stop()
    assert [message.partition(" is lost")[0] for message in caplog.messages] == ["two", "three"]


def test_a_redis_that_is_away_or_refuses_is_logged(redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def play(told: Notes) -> None:
        told.tell("a key", packed("PING"), level=logging.DEBUG)
        told.tell("a name", packed("PING"))
        await answered(told)

    async def wrong(told: Notes) -> None:
        told.tell("a list", packed("SET", "a", "b"), packed("RPUSH", "a", "c"), packed("PING"))
        await answered(told)

    played(redis.url, play)
    redis.start()
    try:
        played(redis.url, wrong)
    finally:
        redis.stop()
    assert caplog.messages == ["a name is lost: ConnectionError", "a list is lost: WRONGTYPE"]


def test_no_more_waits_than_a_bound(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(notes, "KEPT", 1)

    async def play(told: Notes) -> None:
        told.tell("one", packed("PING"))
        told.tell("two", packed("PING"))
        await answered(told)

    played(f"redis://127.0.0.1:{free_port()}/0", play)
    assert caplog.messages == ["two is lost: Redis does not answer", "one is lost: ConnectionError"]
