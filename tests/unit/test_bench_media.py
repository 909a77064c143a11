"""The arithmetic of the media benchmark, and what it makes of configuration and packets."""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path

import pytest

from bench.media import callers, cpu, freeswitch, replay
from bench.media.packets import Packet, latencies, read
from bench.media.run import cpu_figures

EXECUTED = b"Content-Length: 9\nContent-Type: text/event-plain\n\nEvent-Name: CHANNEL_EXECUTE_COMPLETE\n"


def test_latency_is_from_the_event_to_the_first_command_after_it() -> None:
    packets = [
        Packet(1.000, 1, True, EXECUTED),
        Packet(1.001, 2, True, EXECUTED),
        Packet(1.004, 1, False, b"sendmsg"),
        Packet(1.005, 1, False, b"sendmsg"),
        Packet(1.011, 2, False, b"sendmsg"),
    ]
    assert latencies(packets) == pytest.approx([0.004, 0.010])


def test_what_follows_an_event_does_not_shorten_its_latency() -> None:
    packets = [
        Packet(1.000, 1, True, EXECUTED),
        Packet(1.009, 1, True, b"Event-Name: DTMF\n"),
        Packet(1.010, 1, True, EXECUTED),
        Packet(1.012, 1, False, b"sendmsg"),
    ]
    assert latencies(packets) == pytest.approx([0.012])


def test_replies_ask_for_no_command() -> None:
    assert latencies([Packet(1.0, 1, True, b"Content-Type: command/reply\n"), Packet(2.0, 1, False, b"api")]) == []


def frame(source: int, target: int, payload: bytes) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", source, target, 0, 0, 5 << 4, 0, 0, 0, 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, b"\x7f\0\0\1", b"\x7f\0\0\1") + tcp
    # What is short is padded.
    return bytes(12) + b"\x08\0" + ip + bytes(6)


def test_frames_of_the_loopback_are_packets() -> None:
    assert read(frame(40001, 8084, b"to the worker"), 1.0, 8084) == Packet(1.0, 40001, True, b"to the worker", 13)
    assert read(frame(8084, 40001, b"back"), 1.0, 8084) == Packet(1.0, 40001, False, b"back", 4)
    assert read(frame(8084, 40001, b""), 1.0, 8084) is None


def test_cpu_clock_of_a_process_counts_its_threads() -> None:
    import os
    import threading

    def work() -> None:
        sum(range(3_000_000))

    before = cpu.seconds_of(os.getpid())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    used = cpu.seconds_of(os.getpid()) - before
    assert 0.001 < used <= time.process_time()


def test_every_variant_has_every_switch_in_turn() -> None:
    variants = [cpu.Variant(name, {}, callers.Does.LISTENS) for name in "abc"]
    switches = ["one", "two", "three"]
    turns = [cpu.turn(variants, switches, number) for number in range(3)]  # type: ignore[arg-type]
    for name in "abc":
        assert {str(where[name]) for where in turns} == set(switches)
    for where in turns:
        assert len(set(where.values())) == 3


def test_goals_speak_of_what_calls_use_alone() -> None:
    found = cpu.Blocks(
        busy={"mod_lua": [4.0, 5.0], "control": [4.0, 5.0], "ahead": [5.2, 6.5]},
        all={"mod_lua": [5.0, 6.0], "control": [5.0, 6.0], "ahead": [6.5, 7.8]},
        worker={"mod_lua": [0.0, 0.0], "control": [0.0, 0.0], "ahead": [0.65, 0.78]},
    )
    from bench.figures import Goal

    figures = {one.figure: one for one in cpu_figures("CPU", found, {"ahead": Goal(1.4)})}
    assert list(figures) == ["CPU: control", "CPU: ahead", "CPU: ahead, with idle use", "CPU: ahead, worker's share"]
    assert figures["CPU: ahead"].ratio == pytest.approx(1.3)
    assert figures["CPU: ahead"].met is True
    assert figures["CPU: ahead, with idle use"].goal is None
    assert figures["CPU: ahead, worker's share"].ratio == pytest.approx(0.1)


def test_the_shipped_dialplan_gets_an_extension_for_each_number() -> None:
    shipped = (freeswitch.CONFIGURATION / "dialplan" / "strowger.xml").read_text()
    made = freeswitch.dialplan(shipped, {"mod_lua": Path("/x/tone.lua")}, {"ahead": "127.0.0.1:9"})
    lua, *rest = made.split("</extension>")[:-1]
    assert 'expression="^mod_lua$"' in lua
    assert 'application="lua" data="/x/tone.lua"' in lua
    ours, theirs = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    for own, original in zip(ours, theirs, strict=True):
        assert 'expression="^ahead$"' in own
        assert "127.0.0.1:9 " in own
        # All but the address is as shipped.
        assert own.count("<action") == original.count("<action")
        assert "$${workers}" in original


def test_a_dialplan_that_has_changed_is_refused() -> None:
    with pytest.raises(freeswitch.NoSwitchError, match="not what the benchmark knows"):
        freeswitch.dialplan('<context name="strowger"></context>', {}, {})


def test_the_profile_plays_to_who_sends_nothing() -> None:
    shipped = (freeswitch.CONFIGURATION / "sip_profiles" / "private.xml").read_text()
    made = freeswitch.profile(shipped)
    assert made.count("rtp-timer-name") == 1
    assert '"dtmf-type" value="info"' in made
    assert freeswitch.profile(made.replace('"info"', '"rfc2833"')) == made


def test_alaw_is_that_of_g711() -> None:
    # G.711 table 1a: zero, the smallest and the largest value of each sign, with even bits inverted.
    assert [callers._alaw(sample) for sample in (0, -8, 32767, -32767)] == [0xD5, 0x55, 0xAA, 0x2A]
    assert len(callers.tone(0.5)) == 4000


def test_commands_are_read_with_and_without_blanks() -> None:
    assert replay.command("connect\n\n") == ("connect", {})
    text = "sendmsg\ncall-command:execute\nExecute-App-Arg: tone_stream://%(1,0,2)\n\n"
    assert replay.command(text) == (
        "sendmsg", {"call-command": "execute", "execute-app-arg": "tone_stream://%(1,0,2)"},
    )  # fmt: skip


def test_a_played_call_is_that_of_the_switch() -> None:
    """The driver against a worker of a few lines: one prompt, then the hangup."""

    tasks: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.current_task())
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the time was up
        finally:
            writer.close()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"connect\n\n")
        data = (await reader.readuntil(b"\n\n")).decode()
        assert "\nvariable_sip_h_X-Strowger-App: talk\n" in data
        assert "{" not in data
        writer.write(b"sendmsg\ncall-command: execute\nexecute-app-name: playback\nevent-uuid: 7\n\n")
        assert b"+OK" in await reader.readuntil(b"\n\n")
        while b"Application-UUID: 7\n" not in await reader.readuntil(b"\n\n"):
            pass
        writer.write(b"sendmsg\ncall-command: hangup\n\n")
        await reader.read()

    async def main() -> replay.Played:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        given = {"X-Strowger-App": "talk"}
        load = replay.Load(port=port, sessions=2, seconds=1.0, prompt=(0.0, 0.01), handover=given)
        try:
            return await replay.Player(load).run()
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.gather(*(task for task in tasks if task))

    played = asyncio.run(main())
    assert played.calls > 2
    assert played.broken == 0
    assert played.events >= played.calls * 2
    assert played.octets > played.events * 1000
