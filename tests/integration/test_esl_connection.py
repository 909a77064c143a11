"""A connection to a switch that does as it should, and to some that do not."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from harness.esl_peer import PASSWORD, EslPeer, event_bytes, ignore, run

from media.esl import link, protocol
from media.esl.errors import ArgumentError, CommandError, ConnectionClosed, LimitError, ProtocolError, StalledError
from media.esl.inbound import connect
from media.esl.message import Event, Headers
from media.esl.queue import EventQueue

WAIT = 10.0


@asynccontextmanager
async def connected(**answers):
    """A switch with these answers, a connection to it, and the switch's end of that."""
    async with EslPeer() as peer:
        peer.answers |= answers
        connection = await connect("127.0.0.1", peer.port, PASSWORD)
        try:
            yield connection, peer.wire
        finally:
            await connection.close()


def test_commands():
    async def main():
        async with connected() as (connection, wire):
            assert (await connection.send("noevents")).text == "+OK"
            assert await connection.api("echo", "a  b") == "a  b"
            assert await connection.bgapi("echo", "c") == "c"
            await connection.sendevent("CUSTOM", {"Event-Subclass": "a::b"}, "body")
            assert wire.commands[-1].body == "body"

    run(main())


def test_refusals():
    async def main():
        async with connected(noevents=lambda wire, _: wire.reply("-ERR not listening for events")) as (connection, _):
            with pytest.raises(CommandError) as caught:
                await connection.send("noevents")
            assert (caught.value.command, caught.value.reply) == ("noevents", "not listening for events")
            with pytest.raises(CommandError, match="api nix"):
                await connection.api("nix", "4711")
            with pytest.raises(CommandError, match="bgapi nix") as caught:
                await connection.bgapi("nix", "4711")
            assert "4711" not in str(caught.value)

    run(main())


@pytest.mark.parametrize("bad", ["a\nexit", "a\rb", "a\0b"])
def test_nothing_is_sent_of_what_cannot_be(bad):
    async def main():
        async with connected() as (connection, wire):
            for attempt in (
                connection.send(bad), connection.api("echo", bad), connection.bgapi("echo", bad),
                connection.sendmsg(None, {"a": bad}), connection.execute("playback", bad), connection.events(bad),
                connection.execute("playback", uuid=bad), connection.filter("Unique-ID", bad),
                connection.sendevent(bad, {}), connection.sendevent("CUSTOM", {bad: "x"}), connection.send("getvar a"),
                connection.linger(0),
            ):  # fmt: skip
                with pytest.raises(ArgumentError):
                    await attempt
            assert await connection.api("echo", "x") == "x"
            assert [one.name for one in wire.commands] == ["auth", "api"]

    run(main())


def test_the_late_reply_goes_to_nobody_else():
    async def main():
        held = []
        async with connected(api=lambda wire, command: held.append(command)) as (connection, wire):
            with pytest.raises(TimeoutError, match="api"):
                await connection.api("slow", timeout=0.01)
            cancelled = asyncio.create_task(connection.api("slower"))
            while len(held) < 2:
                await asyncio.sleep(0)
            cancelled.cancel()
            third = asyncio.create_task(connection.api("third"))
            await asyncio.wait([cancelled])
            while len(held) < 3:
                await asyncio.sleep(0)
            for words in ("late", "later", "third's own"):
                wire.response(words)
            assert await third == "third's own"

    run(main())


def test_commands_in_order_from_many_tasks():
    async def main():
        async with connected() as (connection, _):
            asked = [asyncio.create_task(connection.api("echo", str(number))) for number in range(500)]
            for task in asked[::7]:
                task.cancel()
            found = await asyncio.gather(*asked, return_exceptions=True)
            for number, answer in enumerate(found):
                if number % 7:
                    assert answer == str(number)
                else:
                    assert isinstance(answer, asyncio.CancelledError)

    run(main())


def test_all_who_wait_learn_of_the_end():
    async def main():
        async with connected(api=ignore, bgapi=lambda wire, _: wire.reply(), sendmsg=lambda wire, _: wire.reply()) as (
            connection, wire,
        ):  # fmt: skip
            asked = [
                asyncio.create_task(one)
                for one in (connection.bgapi("x"), connection.execute("playback"), connection.api("x"))
            ]
            await wire.sent("api", "bgapi", "sendmsg")
            wire.end()
            for error in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(error, ConnectionClosed)
            assert connection.closed
            with pytest.raises(ConnectionClosed):
                await connection.api("x")
            with pytest.raises(ConnectionClosed):
                connection.write(protocol.command("noevents"))

    run(main())


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n", ProtocolError),
        (b"Content-Type: api/response\nContent-Length: -1\n\n", ProtocolError),
        (b"Content-Type: api/response\nContent-Length: many\n\n", ProtocolError),
        (b"Content-Type: api/response\nContent-Length: 99999999999\n\n", LimitError),
        (b"X: " + b"y" * 10_000_000, LimitError),
        (b"Content-Type: command/reply\nReply-Text: +OK\n\n" * 2, ProtocolError),
        (b"Content-Type: text/event-xml\nContent-Length: 3\n\n<a>", ProtocolError),
        (b"Content-Type: text/event-json\nContent-Length: 3\n\n{a}", ProtocolError),
    ],
)
def test_a_broken_switch_is_left(sent, cause):
    async def main():
        async with connected(bgapi=lambda wire, _: wire.raw(sent)) as (connection, _):
            with pytest.raises(ConnectionClosed) as caught:
                await connection.bgapi("x", timeout=WAIT)
            assert isinstance(caught.value.__cause__, cause)
            assert connection.closed

    run(main())


@pytest.mark.parametrize("cut", [b"Content-Type: api/resp", b"Content-Type: api/response\nContent-Length: 10\n\nhalf"])
def test_a_frame_that_is_cut(cut):
    async def main():
        def answer(wire, _):
            wire.raw(cut)
            wire.end()

        async with connected(api=answer) as (connection, _):
            with pytest.raises(ConnectionClosed, match="within a frame"):
                await connection.api("x")

    run(main())


def test_a_switch_that_dies():
    async def main():
        async with connected(api=lambda wire, _: wire.die()) as (connection, _):
            with pytest.raises(ConnectionClosed):
                await connection.api("x")

    run(main())


def stalls(wire, _):
    wire.writer.transport.pause_reading()
    wire.reply()


def test_a_switch_that_stops_reading_is_left():
    async def main():
        async with connected(noevents=stalls) as (connection, _):
            connection.link.stall_timeout = 0.2
            await connection.send("noevents")
            asked = [asyncio.create_task(connection.api("echo", "x" * 100_000)) for _ in range(200)]
            for error in await asyncio.gather(*asked, return_exceptions=True):
                assert isinstance(error, ConnectionClosed)
                assert isinstance(error.__cause__, StalledError)

    run(main())


def test_the_wait_for_room_has_a_timeout_and_sends_nothing():
    async def main():
        async with connected(noevents=stalls) as (connection, wire):
            await connection.send("noevents")
            while not connection.link.full:
                connection.write(protocol.command("api", "echo", "x" * 100_000))
                await asyncio.sleep(0)
            with pytest.raises(TimeoutError, match="filter"):
                await connection.filter("a", "b", timeout=0.05)
            wire.writer.transport.resume_reading()
            assert await connection.api("echo", "last") == "last"
            assert "filter" not in {one.name for one in wire.commands}

    run(main())


def write_often(connection, data, times):
    for _ in range(times):
        connection.write(data)


def test_what_waits_to_be_written_is_bounded():
    async def main():
        async with connected(noevents=stalls) as (connection, _):
            await connection.send("noevents")
            some = protocol.command("api", "echo", "x" * 100_000)
            with pytest.raises(ConnectionClosed) as caught:
                write_often(connection, some, 1000)
            assert isinstance(caught.value.__cause__, StalledError)

    run(main())


def test_no_command_is_written_twice_after_a_full_buffer():
    async def main():
        async with connected() as (connection, wire):
            big = "x" * 50_000
            asked = [asyncio.create_task(connection.api("echo", f"{number} {big}")) for number in range(100)]
            found = await asyncio.gather(*asked)
            assert [answer.split()[0] for answer in found] == [str(number) for number in range(100)]
            assert sum(one.name == "api" for one in wire.commands) == 100

    run(main())


def test_what_is_sent_ahead_leaves_the_replies_in_order(caplog):
    async def main():
        def answer(wire, command):
            wire.reply("-ERR invalid session id [4711]" if "4711" in command.line else "+OK")

        async with connected(sendmsg=answer) as (connection, wire):
            connection.write(protocol.execute("answer"), protocol.execute("hangup", uuid="4711"))
            assert await connection.api("echo", "x") == "x"
            assert [one.name for one in wire.commands] == ["auth", "sendmsg", "sendmsg", "api"]

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "sendmsg, sent ahead, was refused" in caplog.text
    assert "4711" not in caplog.text


@pytest.mark.parametrize("before", [0, 2000])
def test_what_is_refused_is_told_where_only_the_end_is_of_interest(before, caplog):
    """Of few replies, and of so many that they are looked at before the end."""

    async def main():
        def answer(wire, command):
            wire.reply("-ERR memory error")
            wire.end()

        async with connected(sendmsg=answer) as (connection, _):
            connection.write(*[protocol.command("noevents")] * before, protocol.execute("answer"))
            connection.link.silence()
            await asyncio.wait_for(connection.link.wait_closed(), WAIT)

    with caplog.at_level(logging.WARNING):
        run(main())
    assert [one.getMessage() for one in caplog.records] == ["sendmsg, sent ahead, was refused"]


def test_execute_ends_with_its_own_event():
    async def main():
        async with connected() as (connection, wire):
            heard = []
            connection.listen(heard.append)
            playing = asyncio.create_task(connection.execute("playback", "a.wav"))
            command = (await wire.sent("sendmsg"))[-1]
            assert [one.name for one in wire.commands] == ["auth", "event", "sendmsg"]
            wire.event("CHANNEL_EXECUTE_COMPLETE", {"Application-UUID": "another", "Unique-ID": "x"})
            wire.event("CHANNEL_EXECUTE_COMPLETE", {"Application-UUID": command.headers["Event-UUID"], "A": "b c"})
            assert (await playing)["A"] == "b c"
            assert [one["Application-UUID"] for one in heard] == ["another"]

    run(main())


def test_execute_given_up():
    async def main():
        async with connected() as (connection, wire):
            heard = []
            connection.listen(heard.append)
            with pytest.raises(TimeoutError, match="CHANNEL_EXECUTE_COMPLETE"):
                await connection.execute("playback", timeout=0.05)
            command = (await wire.sent("sendmsg"))[-1]
            wire.event("CHANNEL_EXECUTE_COMPLETE", {"Application-UUID": command.headers["Event-UUID"]})
            assert await connection.api("echo", "x") == "x"
            assert len(heard) == 1

    run(main())


def test_waiting_works_beside_filters():
    async def main():
        async with connected() as (connection, wire):
            await connection.filter("Unique-ID", "x")
            await connection.bgapi("echo", "a")
            await connection.bgapi("echo", "a")
            lines = [one.line for one in wire.commands if one.name == "filter"]
            assert lines == ["filter Unique-ID x", "filter Event-Name BACKGROUND_JOB"]

    run(main())


def test_events_are_asked_for_once():
    async def main():
        async with connected() as (connection, wire):
            await connection.events("DTMF", "CUSTOM a::b")
            await connection.events("DTMF", "CHANNEL_ANSWER")
            await connection.events("DTMF")
            lines = [one.line for one in wire.commands if one.name == "event"]
            assert lines == ["event plain DTMF CUSTOM a::b", "event plain CHANNEL_ANSWER"]

    run(main())


def test_events_refused_are_not_remembered():
    async def main():
        async with connected(event=lambda wire, _: wire.reply("-ERR no keywords supplied")) as (connection, _):
            with pytest.raises(CommandError):
                await connection.events("NONSENSE")
            assert not connection.subscribed

    run(main())


def test_events_come_in_order():
    async def main():
        async with connected() as (connection, wire):
            heard = EventQueue()
            connection.listen(heard.put)
            data = b"".join(event_bytes("CUSTOM", {"N": str(number)}) for number in range(2000))
            for start in range(0, len(data), 997):
                wire.raw(data[start : start + 997])
            assert [(await heard.get(WAIT))["N"] for _ in range(2000)] == [str(number) for number in range(2000)]

    run(main())


def test_a_queue_drops_the_oldest():
    async def main():
        async with connected() as (connection, wire):
            queue = EventQueue(3)
            connection.listen(queue.put)
            for number in range(10):
                wire.event("CUSTOM", {"N": str(number)})
            await connection.send("noevents")
            assert queue.dropped == 7
            queue.close()
            assert [(await queue.get())["N"] for _ in range(3)] == ["7", "8", "9"]
            with pytest.raises(ConnectionClosed):
                await queue.get()

    run(main())


def test_a_queue_loses_nothing_with_a_taker_that_is_cancelled():
    async def main():
        queue = EventQueue()
        takers = [asyncio.create_task(queue.get(WAIT)) for _ in range(3)]
        await asyncio.sleep(0)
        queue.put(Event(Headers.of({"Event-Name": "A"})))
        takers[0].cancel()
        await asyncio.wait(takers[:1])
        queue.put(Event(Headers.of({"Event-Name": "B"})))
        assert [(await taker).name for taker in takers[1:]] == ["A", "B"]
        with pytest.raises(TimeoutError):
            await queue.get(0.01)

    run(main())


def test_handlers_may_close_the_connection():
    async def main():
        async with connected() as (connection, wire):
            heard = []

            def first(event):
                heard.append(event.name)
                closing.append(asyncio.ensure_future(connection.close()))
                connection.link.abort(ProtocolError("enough"))

            closing = []
            connection.listen(first)
            wire.raw(event_bytes("A", {}) + event_bytes("B", {}))
            await connection.wait_closed()
            await asyncio.gather(*closing)
            assert heard == ["A"]

    run(main())


def test_notices():
    async def main():
        async with connected() as (connection, wire):
            seen = []
            connection.on_notice = seen.append
            wire.raw(
                b"Content-Type: text/disconnect-notice\nContent-Disposition: linger\nLinger-Time: 5\n"
                b"Content-Length: 0\n\n"
            )
            assert await connection.api("echo", "x") == "x"
            assert seen[0].headers["Linger-Time"] == "5"

    run(main())


def test_close_sends_what_was_written():
    async def main():
        async with connected(noevents=stalls) as (connection, wire):
            await connection.send("noevents")
            while not connection.link.full:
                connection.write(protocol.command("api", "echo", "x" * 100_000))
            connection.write(protocol.command("exit"))
            closing = asyncio.create_task(connection.close())
            await asyncio.sleep(0)
            wire.writer.transport.resume_reading()
            await wire.sent("exit")
            await closing

    run(main())


def test_close_does_not_wait_for_ever(monkeypatch):
    monkeypatch.setattr(link, "CLOSE_TIMEOUT", 0.05)

    async def main():
        async with connected(noevents=stalls) as (connection, _):
            await connection.send("noevents")
            await asyncio.wait_for(connection.close(), WAIT)

    run(main())


def test_other_connections_are_untouched():
    async def main():
        async with connected() as (good, _), connected(api=lambda wire, _: wire.raw(b"junk\n\n")) as (bad, _):
            with pytest.raises(ConnectionClosed):
                await bad.api("x")
            assert await good.api("echo", "x") == "x"

    run(main())
