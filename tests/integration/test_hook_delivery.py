"""Answers of route hooks handed to Kamailio, here a server that does as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from agent.hook_delivery import LIMIT, Delivery

OK = b"HTTP/1.1 200 OK\r\nServer: Strowger\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
TAKEN, LATE = (OK % (len(body), body) for body in (b"taken\n", b"late\n"))
CLOSE = b""


def told(*behaviour: tuple[bytes, ...], use: Callable[[Delivery], Awaitable[object]]) -> tuple[list[int], list[bytes]]:
    """For each connection what it answers to each question; how many each got, and what they were."""
    counts: list[int] = []
    asked: list[bytes] = []
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        try:
            await answered(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            # Who waited no longer.
            pass
        finally:
            writer.close()

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(counts)
        counts.append(0)
        for answer in behaviour[number]:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
            asked.append(head.split(b"\r\n")[0] + b" " + await reader.readexactly(length))
            counts[number] += 1
            # In two parts, as TCP may.
            for part in (answer[:20], answer[20:]):
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)
            if answer == CLOSE:
                break
        else:
            await reader.read()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        delivery = Delivery(server.sockets[0].getsockname()[1])
        async with asyncio.timeout(10):
            await use(delivery)
        delivery.close()
        server.close()
        await asyncio.gather(*(task for task in serving if task is not None))
        # Connections end a turn after they are closed.
        await asyncio.sleep(0.01)

    asyncio.run(run())
    return counts, asked


def test_one_connection_serves_many() -> None:
    async def use(delivery: Delivery) -> None:
        assert await delivery.tell("7/-8", b'{"a":1}')
        assert not await delivery.tell("9/10", b"{}")

    assert told((TAKEN, LATE), use=use) == (
        [2], [b'POST /hook/7/-8 HTTP/1.1 {"a":1}', b"POST /hook/9/10 HTTP/1.1 {}"],
    )  # fmt: skip


def test_as_many_connections_as_questions_at_once() -> None:
    async def use(delivery: Delivery) -> None:
        assert await asyncio.gather(delivery.tell("1/1", b"{}"), delivery.tell("2/2", b"{}")) == [True, True]

    assert told((TAKEN,), (TAKEN,), use=use)[0] == [1, 1]


def test_a_connection_that_was_closed_is_made_anew() -> None:
    async def use(delivery: Delivery) -> None:
        assert await delivery.tell("1/1", b"{}")
        assert await delivery.tell("2/2", b"{}")

    assert told((TAKEN, CLOSE), (TAKEN,), use=use)[0] == [2, 1]


@pytest.mark.parametrize("answer", [CLOSE, b"x" * (LIMIT + 1)])
def test_what_is_no_answer_ends_the_connection(answer: bytes) -> None:
    async def use(delivery: Delivery) -> None:
        with pytest.raises(ConnectionResetError):
            await delivery.tell("1/1", b"{}")
        assert await delivery.tell("2/2", b"{}")

    assert told((answer,), (TAKEN,), use=use)[0] == [1, 1]


def test_who_waits_no_longer_leaves_no_answer_to_the_next() -> None:
    async def use(delivery: Delivery) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await delivery.tell("1/1", b"{}")
        assert await delivery.tell("2/2", b"{}")

    never = OK % (6, b"")
    assert told((never,), (TAKEN,), use=use)[0] == [1, 1]
