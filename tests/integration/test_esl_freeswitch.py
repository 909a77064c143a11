"""What FreeSWITCH itself makes of all this."""

import asyncio
import logging
from pathlib import Path

import pytest
from harness.esl_peer import run
from harness.esl_switch import freeswitch, program

from media.esl import protocol
from media.esl.errors import AuthError, CommandError, ConnectionClosed
from media.esl.inbound import Inbound, connect
from media.esl.queue import EventQueue
from media.esl.server import OutboundCall, OutboundServer

pytestmark = pytest.mark.skipif(program() is None, reason="no FreeSWITCH")
WAIT = 20.0


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    with freeswitch(tmp_path_factory.mktemp("freeswitch")) as found:
        yield found


async def call(switch, on_call, *, to="worker"):
    """Place a call, whose other end is a worker with ``on_call``; what that returned, once the call is over."""
    result = asyncio.get_running_loop().create_future()

    async def handled(one: OutboundCall):
        try:
            result.set_result(await on_call(one))
        except Exception as error:
            result.set_exception(error)

    server = OutboundServer("127.0.0.1", switch.worker, handled)
    await server.start()
    client = await connect("127.0.0.1", switch.port, switch.password)
    placing = asyncio.create_task(client.bgapi("originate", f"loopback/{to} &park"))
    try:
        return await asyncio.wait_for(result, WAIT)
    finally:
        await client.bgapi("hupall", timeout=WAIT)
        await asyncio.wait([placing], timeout=WAIT)
        placing.exception()
        await server.close()
        await client.close()


def test_a_wrong_password(switch):
    async def main():
        with pytest.raises(AuthError, match="refuses the password.*invalid"):
            await connect("127.0.0.1", switch.port, "wrong")

    run(main())


def test_an_address_that_is_refused(tmp_path: Path):
    async def main():
        more = '<param name="apply-inbound-acl" value="nobody"/>'
        with freeswitch(tmp_path, more=more) as switch, pytest.raises(AuthError, match="apply-inbound-acl"):
            await connect("127.0.0.1", switch.port, switch.password)

    run(main(), timeout=60)


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("nonsense", "command not found"),
        ("linger 5", "not controlling a session"),
        ("noevents", "not listening for events"),
        ("event plain NONSENSE", "no keywords supplied"),
        ("filter A", "invalid syntax"),
        ("sendmsg nix", "invalid session id [nix]"),
        ("api nix", "nix Command not found!"),
        ("api uuid_kill nix", "No such channel!"),
        ("api originate nix/x &park", "CHAN_NOT_IMPLEMENTED"),
    ],
)
def test_refusals(switch, command, reply):
    async def main():
        connection = await connect("127.0.0.1", switch.port, switch.password)
        with pytest.raises(CommandError) as caught:
            await connection.send(command)
        assert caught.value.reply == reply
        assert "is ready" in await connection.api("status")
        await connection.close()

    run(main())


def test_commands_and_replies_in_order(switch):
    async def main():
        async with Inbound(("127.0.0.1", switch.port), switch.password, events=["CUSTOM a::b"]) as client:
            await client.connected(timeout=WAIT)
            asked = [asyncio.create_task(client.api("echo", str(number))) for number in range(200)]
            await asyncio.sleep(0)
            for task in asked[::3]:
                task.cancel()
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert found[1::3] == [str(number) for number in range(1, 200, 3)]
            assert await client.bgapi("echo", "a") == "a"
            assert await client.api("global_getvar", "nix") == ""
            assert await client.bgapi("global_getvar", "nix") == ""

    run(main())


@pytest.mark.parametrize("kind", ["plain", "json"])
def test_events(switch, kind):
    async def main():
        connection = await connect("127.0.0.1", switch.port, switch.password)
        queue = EventQueue()
        connection.listen(queue.put)
        await connection.send(f"event {kind} CUSTOM a::b")
        value, body = "100% a&b+c ü", "body\n\nünder it\n"
        await connection.sendevent("CUSTOM", {"Event-Subclass": "a::b", "X": value}, body)
        event = await queue.get(WAIT)
        assert (event.name, event.subclass, event["X"], event.body) == ("CUSTOM", "a::b", value, body)
        await connection.close()

    run(main())


def test_a_filter_lets_jobs_pass(switch):
    async def main():
        connection = await connect("127.0.0.1", switch.port, switch.password)
        await connection.filter("Unique-ID", "nix")
        assert await connection.bgapi("echo", "a", timeout=WAIT) == "a"
        await connection.close()

    run(main())


def test_a_call(switch):
    async def main():
        async def on_call(one: OutboundCall):
            connection, heard = one.connection, []
            connection.listen(lambda event: heard.append(event.uuid))
            assert one.channel["Reply-Text"] == "+OK\n"
            await connection.execute("answer", timeout=WAIT)
            event = await connection.execute("playback", "tone_stream://%(100,0,440)", timeout=WAIT)
            assert event["Application-Response"] == "FILE PLAYED"
            long = "x" * 20_000
            await connection.execute("set", f"long={long}", timeout=WAIT)
            assert await connection.api("uuid_getvar", f"{one.uuid} long") == long
            assert await connection.bgapi("uuid_getvar", f"{one.uuid} direction", timeout=WAIT) == "inbound"
            with pytest.raises(CommandError, match="invalid session id"):
                await connection.execute("answer", uuid="nix")
            await connection.events("CHANNEL_CREATE", "CHANNEL_EXECUTE")
            await connection.bgapi("originate", "loopback/answered &sleep(1)", timeout=WAIT)
            await connection.execute("set", "a=b", timeout=WAIT)
            return one.uuid, set(heard)

        uuid, heard = await call(switch, on_call)
        assert heard == {uuid}

    run(main(), timeout=60)


def test_a_hangup_within_a_command_and_lingering(switch):
    async def main():
        async def on_call(one: OutboundCall):
            connection, notices = one.connection, []
            connection.on_notice = lambda message: notices.append(message.headers.get("Content-Disposition"))
            assert (await connection.linger(2)).text == "+OK will linger 2 seconds"
            playing = asyncio.create_task(connection.execute("playback", "silence_stream://-1"))
            await asyncio.sleep(0.2)
            await connection.api("uuid_kill", one.uuid)
            assert (await playing)["Application-Response"] == "PLAYBACK ERROR"
            assert not connection.closed
            with pytest.raises(TimeoutError):  # +OK, and never completed
                await connection.execute("set", "a=b", timeout=0.5)
            await connection.wait_closed()
            return notices

        assert await call(switch, on_call) == ["linger", "disconnect"]

    run(main(), timeout=60)


def test_an_unknown_application_hangs_up(switch):
    async def main():
        async def on_call(one: OutboundCall):
            with pytest.raises(ConnectionClosed):
                await one.connection.execute("nix", timeout=WAIT)
            return True

        assert await call(switch, on_call)

    run(main(), timeout=60)


def test_what_is_sent_ahead_is_done_in_order_though_we_leave_at_once(switch):
    async def main():
        watcher = await connect("127.0.0.1", switch.port, switch.password)
        queue = EventQueue()
        watcher.listen(queue.put)
        await watcher.events("CHANNEL_EXECUTE_COMPLETE")
        wanted = ["answer", "playback", "hangup"]

        async def on_call(one: OutboundCall):
            one.connection.write(
                *(
                    protocol.execute(app, arg, lock=True)
                    for app, arg in zip(wanted, ("", "tone_stream://%(300,0,440)", ""), strict=True)
                )
            )
            await one.connection.close()
            return [(await queue.get(WAIT)).get("Application") for _ in wanted]

        assert await call(switch, on_call) == wanted
        await watcher.close()

    run(main(), timeout=60)


def test_a_socket_application_without_full_is_refused(switch, caplog):
    async def main():
        async def on_call(one: OutboundCall):
            raise AssertionError

        async with asyncio.timeout(WAIT):
            task = asyncio.create_task(call(switch, on_call, to="static"))
            while "was no call" not in caplog.text:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    with caplog.at_level(logging.WARNING):
        run(main())
    assert 'socket <address> async full"' in caplog.text


def test_the_switch_dies_and_comes_back(tmp_path: Path):
    async def main():
        with freeswitch(tmp_path) as switch:
            async with Inbound(("127.0.0.1", switch.port), switch.password, events=["CUSTOM a::b"]) as client:
                await client.connected(timeout=WAIT)
                waiting = asyncio.create_task(client.bgapi("msleep", "60000"))
                await client.api("status")
                switch.process.kill()
                with pytest.raises(ConnectionClosed):
                    await waiting
                switch.process.start()
                await client.connected(timeout=WAIT)
                queue = EventQueue()
                client.listen(queue.put)
                await client.sendevent("CUSTOM", {"Event-Subclass": "a::b"})
                assert (await queue.get(WAIT)).subclass == "a::b"

    run(main(), timeout=90)
