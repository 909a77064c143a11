"""The inbound client comes back, with all that was asked for."""

import asyncio
import logging

import pytest
from harness.esl_peer import PASSWORD, EslPeer, ignore, run

from media.esl.errors import ArgumentError, AuthError, CommandError, ConnectionClosed, EslError, ProtocolError
from media.esl.inbound import Inbound, connect

WAIT = 10.0
FAST = (0.01, 0.05)


def client(peer: EslPeer, password: str = PASSWORD, **more) -> Inbound:
    return Inbound(("127.0.0.1", peer.port), password, backoff=FAST, **more)


async def wire_after(peer: EslPeer, count: int, *names: str):
    """The switch's end of the connection after the first ``count``, once these commands came."""
    while len(peer.wires) <= count:
        await asyncio.sleep(0.01)
    await peer.wire.sent(*names)
    return peer.wire


def test_login_and_commands():
    async def main():
        async with EslPeer() as peer, client(peer, events=["HEARTBEAT"], filters=[("A", "b")]) as inbound:
            with pytest.raises(ConnectionClosed, match="no connection to the switch at 127"):
                await inbound.api("echo", "x")
            await inbound.connected(timeout=WAIT)
            assert await inbound.api("echo", "x") == "x"
            assert await inbound.bgapi("echo", "x") == "x"
            assert [one.name for one in peer.wire.commands[:3]] == ["auth", "filter", "event"]

    run(main())


def test_a_wrong_password_is_final():
    async def main():
        async with EslPeer() as peer, client(peer, "wrong") as inbound:
            with pytest.raises(AuthError, match="refuses the password") as caught:
                await inbound.connected(timeout=WAIT)
            assert "wrong" not in str(caught.value)
            with pytest.raises(AuthError):
                await inbound.api("echo", "x")
            await asyncio.sleep(5 * FAST[1])
            assert len(peer.wires) == 1

    run(main())


def test_an_address_that_is_refused_is_final():
    rude = b"Content-Type: text/rude-rejection\nContent-Length: 24\n\nAccess Denied, go away.\n"

    async def main():
        async with EslPeer(greeting=rude) as peer, client(peer) as inbound:
            with pytest.raises(AuthError, match="apply-inbound-acl"):
                await inbound.connected(timeout=WAIT)

    run(main())


def test_a_password_with_a_line_end_is_refused():
    async def main():
        async with EslPeer() as peer:
            with pytest.raises(ArgumentError):
                await connect("127.0.0.1", peer.port, "a\nb")
            assert not peer.wires
            for bad in ({"password": "a\nb"}, {"events": ["a\nb"]}, {"filters": [("a", "b\n")]}):
                with pytest.raises(ArgumentError):
                    client(peer, **bad)

    run(main())


@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_peer_that_is_not_freeswitch(greeting):
    async def main():
        async with EslPeer(greeting=greeting) as peer:
            with pytest.raises(ConnectionClosed, match="does not speak the protocol") as caught:
                await connect("127.0.0.1", peer.port, PASSWORD, timeout=WAIT)
            assert isinstance(caught.value.__cause__, ProtocolError)

    run(main())


def test_a_peer_that_says_nothing():
    async def main():
        async with EslPeer(greeting=b"") as peer:
            with pytest.raises(TimeoutError):
                await connect("127.0.0.1", peer.port, PASSWORD, timeout=0.05)

    run(main())


def test_a_peer_that_does_not_answer_auth():
    async def main():
        async with EslPeer() as peer:
            peer.answers["auth"] = ignore
            with pytest.raises(TimeoutError):
                await connect("127.0.0.1", peer.port, PASSWORD, timeout=0.05)

    run(main())


def test_nobody_listens():
    async def main():
        async with EslPeer() as peer:
            await peer.stop()
            with pytest.raises(OSError, match="127.0.0.1"):
                await connect("127.0.0.1", peer.port, PASSWORD)

    run(main())


def test_it_comes_back_with_events_and_filters(caplog):
    async def main():
        changes = []
        async with (
            EslPeer() as peer,
            client(
                peer, events=["HEARTBEAT"],
                on_connect=lambda _: changes.append(True), on_disconnect=lambda: changes.append(False),
            ) as inbound,
        ):  # fmt: skip
            heard = []
            inbound.listen(lambda event: heard.append(event.name))
            await inbound.connected(timeout=WAIT)
            await inbound.events("DTMF", "CUSTOM a::b")
            await inbound.filter("Unique-ID", "x")
            peer.wire.event("HEARTBEAT")
            await inbound.api("echo", "x")
            await peer.stop()
            await asyncio.sleep(3 * FAST[1])  # some tries find nobody
            await peer.listen()
            wire = await wire_after(peer, 1, "filter", "event")
            await inbound.connected(timeout=WAIT)
            lines = [one.line for one in wire.commands]
            assert lines[1:] == ["filter Unique-ID x", "event plain HEARTBEAT DTMF CUSTOM a::b"]
            wire.event("DTMF")
            await inbound.api("echo", "x")
            assert heard == ["HEARTBEAT", "DTMF"]
            assert changes == [True, False, True]
        assert changes == [True, False, True, False]

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "no connection to the switch" in caplog.text


def test_what_was_asked_when_it_ended_fails_once():
    async def main():
        async with EslPeer() as peer, client(peer) as inbound:
            await inbound.connected(timeout=WAIT)
            peer.answers["bgapi"] = lambda wire, _: wire.die()
            with pytest.raises(ConnectionClosed):
                await inbound.bgapi("originate", "x")
            await wire_after(peer, 1, "auth")
            await inbound.connected(timeout=WAIT)
            await inbound.api("echo", "x")
            assert [one.name for one in peer.wire.commands] == ["auth", "api"]

    run(main())


def test_events_that_are_refused_do_not_end_the_client(caplog):
    async def main():
        async with EslPeer() as peer:
            peer.answers["event"] = lambda wire, _: wire.reply("-ERR no keywords supplied")
            async with client(peer, events=["NONSENSE"]) as inbound:
                await wire_after(peer, 2, "auth", "event")
                peer.answers.pop("event")
                await inbound.connected(timeout=WAIT)

    run(main())


def test_what_is_asked_for_while_it_connects_is_not_lost():
    async def main():
        held = []
        async with EslPeer() as peer:
            peer.answers["event"] = lambda wire, command: held.append(command)
            async with client(peer, events=["HEARTBEAT"]) as inbound:
                wire = await wire_after(peer, 0, "event")
                await inbound.events("DTMF")
                await inbound.filter("A", "b")
                peer.answers.pop("event")
                wire.reply()
                await inbound.connected(timeout=WAIT)
                lines = [one.line for one in wire.commands]
                assert lines[1:] == ["event plain HEARTBEAT", "filter A b", "event plain DTMF"]

    run(main())


def test_an_event_that_is_refused_is_not_remembered():
    async def main():
        async with EslPeer() as peer, client(peer) as inbound:
            await inbound.connected(timeout=WAIT)
            peer.answers["event"] = lambda wire, _: wire.reply("-ERR no keywords supplied")
            with pytest.raises(CommandError):
                await inbound.events("NONSENSE")
            peer.wire.die()
            wire = await wire_after(peer, 1, "auth")
            await inbound.connected(timeout=WAIT)
            await inbound.api("echo", "x")
            assert [one.name for one in wire.commands] == ["auth", "api"]

    run(main())


def test_connected_waits_for_a_connection_that_lives():
    async def main():
        async with EslPeer() as peer, client(peer) as inbound:
            first = await inbound.connected(timeout=WAIT)
            first.link.abort(ProtocolError("x"))
            second = await inbound.connected(timeout=WAIT)
            assert second is not first
            assert not second.closed

    run(main())


def test_closed_is_closed():
    async def main():
        async with EslPeer() as peer:
            async with client(peer) as inbound:
                await inbound.connected(timeout=WAIT)
            with pytest.raises(EslError, match="the client was closed"):
                await inbound.api("echo", "x")
            with pytest.raises(EslError, match="the client was closed"):
                await inbound.connected()
            assert len(peer.wires) == 1

    run(main())


def test_connected_has_a_timeout():
    async def main():
        async with EslPeer() as peer:
            await peer.stop()
            async with client(peer) as inbound:
                with pytest.raises(TimeoutError):
                    await inbound.connected(timeout=0.1)

    run(main())


def lines(peer: EslPeer, *names: str) -> list[str]:
    return [one.line for one in peer.wire.commands if one.name in names]


def test_events_that_nobody_wants_any_more_are_not_sent():
    async def main():
        async with EslPeer() as peer, client(peer) as inbound:
            await inbound.connected(timeout=WAIT)
            await inbound.events("DTMF", "CUSTOM a::b")
            await inbound.events("DTMF")
            inbound.release("DTMF", "CUSTOM a::b")
            assert await inbound.bgapi("echo", "x") == "x"
            assert lines(peer, "nixevent") == ["nixevent CUSTOM a::b"]
            inbound.release("DTMF")
            # Somebody waits for these still.
            await inbound.events("BACKGROUND_JOB")
            inbound.release("BACKGROUND_JOB")
            assert await inbound.bgapi("echo", "x") == "x"
            assert lines(peer, "nixevent") == ["nixevent CUSTOM a::b", "nixevent DTMF"]
            peer.wire.die()
            await wire_after(peer, 1, "auth")
            await inbound.connected(timeout=WAIT)
            await inbound.api("echo", "x")
            assert lines(peer, "event") == []

    run(main())


def test_without_all_events_those_of_others_go_on():
    async def main():
        async with EslPeer() as peer, client(peer) as inbound:
            await inbound.connected(timeout=WAIT)
            await inbound.events("ALL")
            await inbound.events("CUSTOM a::b")
            inbound.release("ALL")
            await inbound.api("echo", "x")
            (asked,) = lines(peer, "event")[2:]
            assert lines(peer, "nixevent") == ["nixevent ALL"]
            assert set(asked.split()[2:]) == {"BACKGROUND_JOB", "CHANNEL_EXECUTE_COMPLETE", "CUSTOM", "a::b"}

    run(main())
