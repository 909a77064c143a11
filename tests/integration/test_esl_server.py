"""The outbound server: each call by itself, whatever the others do."""

import asyncio
import logging
import socket
import time
from contextlib import suppress

import pytest
from harness.esl_peer import CHANNEL, EslPeer, event_bytes, ignore, run

from media.esl import protocol
from media.esl.errors import ConnectionClosed
from media.esl.server import OutboundCall, OutboundServer

WAIT = 10.0


class Worker:
    """A server on a port of its own, and the switch that calls it."""

    def __init__(self, on_call, **more):
        self.server = OutboundServer("127.0.0.1", 0, on_call, **more)
        self.peer = EslPeer()

    async def __aenter__(self):
        await self.server.start()
        return self

    async def __aexit__(self, *_):
        await self.server.close()
        await self.peer.stop()

    async def call(self, **channel: str):
        return await self.peer.call(self.server.port, CHANNEL | channel)


async def ended(wire):
    """The worker has closed the connection."""
    with suppress(ConnectionError):
        await asyncio.wait_for(wire.writer.wait_closed(), WAIT)


def test_a_call():
    async def main():
        found = []

        async def on_call(call: OutboundCall):
            found.append((call.uuid, call.channel["Caller-Destination-Number"], call.channel.variable("sip_from_user")))
            found.append((await call.connection.linger(5)).text)

        async with Worker(on_call) as worker:
            wire = await worker.call()
            await ended(wire)
            assert [one.line for one in wire.commands] == ["connect", "linger 5"]
            assert found == [(CHANNEL["Unique-ID"], "5000", "alice & bob"), "+OK"]
            assert await worker.server.drain(timeout=WAIT)
            assert (worker.server.taken, worker.server.calls) == (1, 0)

    run(main())


def test_events_are_limited_to_the_channel():
    async def main():
        async def on_call(call: OutboundCall):
            await call.connection.events("DTMF")
            await call.connection.events("CHANNEL_ANSWER")
            await call.connection.bgapi("echo", "x")

        async with Worker(on_call) as worker:
            wire = await worker.call()
            await ended(wire)
            uuid = CHANNEL["Unique-ID"]
            assert [one.line for one in wire.commands] == [
                "connect", f"filter Unique-ID {uuid}", "event plain DTMF", "event plain CHANNEL_ANSWER",
                f"filter Job-Owner-UUID {uuid}", "event plain BACKGROUND_JOB", "bgapi echo x",
            ]  # fmt: skip

    run(main())


def test_the_fast_path_is_one_write():
    async def main():
        async def on_call(call: OutboundCall):
            call.connection.write(
                protocol.execute("answer"), protocol.execute("playback", "x"), protocol.execute("hangup")
            )

        async with Worker(on_call) as worker:
            wire = await worker.call()
            await ended(wire)
            assert [one.headers.get("execute-app-name") for one in wire.commands] == [
                None, "answer", "playback", "hangup",
            ]  # fmt: skip

    run(main())


def test_a_call_that_fails_is_no_matter_of_the_others(caplog):
    async def main():
        go = asyncio.Event()
        answers = []

        async def on_call(call: OutboundCall):
            if call.uuid == "bad":
                raise RuntimeError("a bug of the script")
            await go.wait()
            answers.append(await call.connection.api("echo", "x"))

        async with Worker(on_call) as worker:
            good = await worker.call()
            await good.sent("connect")
            await ended(await worker.call(**{"Unique-ID": "bad"}))
            go.set()
            await ended(good)
            assert answers == ["x"]

    with caplog.at_level(logging.ERROR):
        run(main())
    assert "call bad failed" in caplog.text


@pytest.mark.parametrize(
    "hello",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"Content-Type: command/reply\nReply-Text: +OK\n\n",
        b"Content-Type: text/disconnect-notice\nContent-Length: -5\n\n",
        b"X: " + b"y" * 1_000_000,
        event_bytes("CHANNEL_DATA", {"Unique-ID": "x", "Content-Type": "command/reply", "Control": "single-channel"})
        .partition(b"\n\n")[2],
    ],
)  # fmt: skip
def test_a_peer_that_is_no_call(hello, caplog):
    async def main():
        calls = []

        async def on_call(call: OutboundCall):
            calls.append(call)

        async with Worker(on_call) as worker:
            reader, writer = await asyncio.open_connection("127.0.0.1", worker.server.port)
            writer.write(hello)
            with pytest.raises((ConnectionError, EOFError)):
                await asyncio.wait_for(read_all(reader), WAIT)
            writer.close()
            assert await worker.server.drain(timeout=WAIT)
            assert not calls

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "was no call" in caplog.text


async def read_all(reader):
    await reader.read()
    raise EOFError


def test_a_peer_that_says_nothing(caplog):
    async def main():
        async def on_call(call: OutboundCall):
            raise AssertionError

        async with Worker(on_call, connect_timeout=0.05) as worker:
            worker.peer.answers["connect"] = ignore
            await ended(await worker.call())
            assert worker.server.calls == 0

    run(main())


def test_the_switch_hangs_up_before_it_answers_connect():
    async def main():
        async def on_call(call: OutboundCall):
            raise AssertionError

        async with Worker(on_call) as worker:
            worker.peer.answers["connect"] = lambda wire, _: wire.die()
            await ended(await worker.call())
            assert await worker.server.drain(timeout=WAIT)

    run(main())


def test_a_call_ends_within_a_command():
    async def main():
        failed = asyncio.get_running_loop().create_future()

        async def on_call(call: OutboundCall):
            try:
                await call.connection.execute("playback", "x")
            except ConnectionClosed:
                failed.set_result(True)

        async with Worker(on_call) as worker:
            wire = await worker.call()
            await wire.sent("sendmsg")
            wire.end()
            assert await asyncio.wait_for(failed, WAIT)

    run(main())


def test_more_calls_than_it_takes():
    async def main():
        go = asyncio.Event()

        async def on_call(call: OutboundCall):
            await go.wait()

        async with Worker(on_call, max_calls=2) as worker:
            wires = [await worker.call() for _ in range(2)]
            for wire in wires:
                await wire.sent("connect")
            await ended(await worker.call())
            assert (worker.server.refused, worker.server.calls) == (1, 2)
            go.set()
            for wire in wires:
                await ended(wire)
            assert await worker.server.drain(timeout=WAIT)

    run(main())


def test_of_those_who_come_at_once_as_many_are_taken_as_there_is_room_for():
    async def main():
        async def on_call(call: OutboundCall):
            await call.connection.wait_closed()

        async with Worker(on_call, max_calls=2) as worker:
            callers = [socket.create_connection(("127.0.0.1", worker.server.port)) for _ in range(5)]
            while worker.server.refused < 3:
                await asyncio.sleep(0)
            assert (worker.server.refused, worker.server.calls) == (3, 2)
            for caller in callers:
                caller.close()

    run(main())


def test_drain_waits_for_calls_and_takes_no_more():
    async def main():
        go = asyncio.Event()

        async def on_call(call: OutboundCall):
            await go.wait()
            await call.connection.api("echo", "x")

        async with Worker(on_call) as worker:
            wire = await worker.call()
            await wire.sent("connect")
            assert not await worker.server.drain(timeout=0.05)
            with pytest.raises(OSError, match=str(worker.server.port)):
                await worker.call()
            draining = asyncio.create_task(worker.server.drain(timeout=WAIT))
            await asyncio.sleep(0)
            go.set()
            assert await draining
            assert wire.commands[-1].line == "api echo x"

    run(main())


def test_drain_counts_a_call_the_switch_has_not_named_yet():
    async def main():
        done = []

        async def on_call(call: OutboundCall):
            done.append(await call.connection.api("echo", "x"))

        async with Worker(on_call) as worker:
            worker.peer.answers["connect"] = ignore
            wire = await worker.call()
            await wire.sent("connect")
            draining = asyncio.create_task(worker.server.drain(timeout=WAIT))
            await asyncio.sleep(0.01)
            wire.raw(wire.hello)
            assert await draining
            assert done == ["x"]

    run(main())


def test_close_cancels_calls():
    async def main():
        cancelled = []

        async def on_call(call: OutboundCall):
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(call.uuid)

        async with Worker(on_call) as worker:
            wire = await worker.call()
            await wire.sent("connect")
            while not worker.server.taken:
                await asyncio.sleep(0)
            await asyncio.sleep(0)
            await worker.server.close()
            await ended(wire)
            assert cancelled == [CHANNEL["Unique-ID"]]

    run(main())


def test_many_short_calls():
    async def main():
        async def on_call(call: OutboundCall):
            assert await call.connection.api("echo", call.uuid) == call.uuid

        async with Worker(on_call) as worker:
            for start in range(0, 1000, 50):
                wires = await asyncio.gather(*(worker.call(**{"Unique-ID": str(start + n)}) for n in range(50)))
                await asyncio.gather(*map(ended, wires))
            assert worker.server.taken == 1000
            assert await worker.server.drain(timeout=WAIT)

    run(main())


def test_who_came_before_the_server_stopped_is_let_in():
    """Until the moment at which connections are refused, each that was made is a call."""
    made = lost = 0

    def comes(port: int) -> None:
        nonlocal made, lost
        with suppress(ConnectionRefusedError):
            while True:
                with socket.create_connection(("127.0.0.1", port), WAIT) as peer:
                    made += 1
                    with suppress(ConnectionResetError):
                        if peer.recv(100):
                            continue
                lost += 1

    async def main():
        async def on_call(_: OutboundCall):
            pass

        for _ in range(20):
            async with Worker(on_call) as worker:
                callers = [asyncio.ensure_future(asyncio.to_thread(comes, worker.server.port)) for _ in range(4)]
                await asyncio.sleep(0.02)
                time.sleep(0.005)  # the loop has other work, and connections wait
                assert await worker.server.drain(timeout=WAIT)
                await asyncio.gather(*callers)

    run(main())
    # The kernel refuses nobody between our last look and the end of the socket, so one may get in there.
    assert made > 100
    assert lost <= 2
