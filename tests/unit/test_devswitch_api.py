"""API commands of the embedded switch, and what they answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from harness.fake_leg import FakeLeg, World

from devswitch.audio import wav
from devswitch.channel.channel import Channel

RATE = 8000


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        async with World() as world:
            await scenario(world)

    asyncio.run(play())


async def parked(world: World) -> tuple[FakeLeg, Channel]:
    leg = world.begin("answer", "park")
    await world.ear.wait("CHANNEL_PARK", Unique_ID=leg.uuid)
    return leg, world.switch.channels[leg.uuid]


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("echo a b", "a b"),
        ("eval ${sound_prefix}!$${nosuch}!", "sounds!!"),
        ("expand echo ${sound_prefix}", "sounds"),
        ("regex abc|^a(.)c$|$1", "b"),
        ("regex abc|^x", "false"),
        ("regex abc|^x|$1", "abc"),
        ("regex m:~a|b~^a", "true"),
        ("cond 2 > 10 ? yes : no", "no"),
        ("cond a == a ? yes : no", "yes"),
        ("cond 1==1 ? yes : no", "-ERR"),
        ("md5 abc", "900150983cd24fb0d6963f7d28e17f72"),
        ("url_encode a b/c", "a%20b/c"),
        ("url_decode a%20b", "a b"),
        ("toupper ab", "AB"),
        ("tolower AB", "ab"),
        ("strepoch nonsense", "-ERR\n"),
        ("strftime 0|%s", "0"),
        ("msleep 1", "+OK"),
        ("log err x", "+OK\n"),
        ("show channels", "\n0 total.\n"),
        ("uuid_exists x", "false"),
        ("uuid_kill x", "-ERR No such channel!\n"),
        ("uuid_getvar", "-USAGE: <uuid> <var>\n"),
        ("uuid_answer x", "-ERROR\n"),
        ("uuid_broadcast x y", "-ERR invalid uuid\n"),
        ("uuid_bridge x y", "-ERR Invalid uuid\n"),
        ("uuid_record x start /tmp/x.wav", "-ERR Cannot locate session!\n"),
        ("sched_hangup x", "-ERR No such channel!\n"),
        ("hupall", "+OK hangup all channels with cause MANAGER_REQUEST\n"),
        ("fsctl pause_check", "false"),
    ],
)
def test_answers(line: str, answer: str) -> None:
    async def scenario(world: World) -> None:
        assert await world.api(line) == answer

    run(scenario)


def test_tables_and_global_variables() -> None:
    async def scenario(world: World) -> None:
        lines = {
            "hash insert/r/k/v": "+OK\n",
            "hash select/r/k": "v",
            "hash delete/r/k": "+OK\n",
            "hash delete/r/k ": "-ERR Not found\n",
            "db insert/r/k/a/b": "+OK",
            "db select/r/k": "a/b",
            "db exists/r/k": "true",
            "db count/r": "1",
            "db delete/r/k": "+OK",
            "db exists/r/k ": "false",
            "global_setvar a=b": "+OK",
            "global_getvar a": "b",
        }
        for line, answer in lines.items():
            assert await world.api(line.strip()) == answer, line

    run(scenario)


def test_the_switch_is_paused_and_resumed() -> None:
    async def scenario(world: World) -> None:
        await world.api("fsctl pause")
        assert (world.endpoint.paused, await world.api("fsctl pause_check")) == (True, "true")
        await world.api("fsctl resume")
        assert not world.endpoint.paused
        await world.api("fsctl shutdown")
        assert world.switch.stopping.is_set()

    run(scenario)


def test_variables_of_a_call() -> None:
    async def scenario(world: World) -> None:
        leg, _ = await parked(world)
        assert await world.api(f"uuid_setvar {leg.uuid} a x y") == "+OK\n"
        assert await world.api(f"uuid_setvar_multi {leg.uuid} b=1;c=2") == "+OK\n"
        assert await world.api(f"uuid_getvar {leg.uuid} a") == "x y"
        assert await world.api(f"uuid_getvar {leg.uuid} nosuch") == "_undef_"
        assert await world.api(f"eval uuid:{leg.uuid} ${{b}}${{destination_number}}") == "15000"
        dumped = json.loads(await world.api(f"uuid_dump {leg.uuid} json"))
        assert (dumped["variable_c"], dumped["Caller-Caller-ID-Number"]) == ("2", "100")
        assert "variable_a: x y\n" in await world.api(f"uuid_dump {leg.uuid}")
        await world.api(f"uuid_setvar {leg.uuid} a")
        assert await world.api(f"uuid_getvar {leg.uuid} a") == "_undef_"
        assert (await world.api("show channels")).splitlines()[-1] == "1 total."
        assert await world.api("show calls count") == "\n1 total.\n"

    run(scenario)


def test_digits_to_and_from_a_call() -> None:
    async def scenario(world: World) -> None:
        leg, channel = await parked(world)
        await world.api(f"uuid_send_dtmf {leg.uuid} 5@60")
        while ("digits", "5", 60) not in leg.done:
            await asyncio.sleep(0)
        await world.api(f"uuid_recv_dtmf {leg.uuid} 7")
        await world.ear.wait("DTMF", DTMF_Digit="7")
        channel.digits.append(("1", 800))
        await world.api(f"uuid_flush_dtmf {leg.uuid}")
        assert not channel.digits

    run(scenario)


def test_a_call_is_recorded_beside(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        leg, channel = await parked(world)
        path = tmp_path / "a.wav"
        assert await world.api(f"uuid_record {leg.uuid} start {path}") == "+OK Success\n"
        while channel.recordings[str(path)].recorder.samples < 4 * RATE:
            await asyncio.sleep(0)
        assert await world.api(f"uuid_record {leg.uuid} mask {path}") == "+OK Success\n"
        assert channel.recordings[str(path)].recorder.paused
        assert await world.api(f"uuid_record {leg.uuid} stop {path}") == "+OK Success\n"
        stop = await world.ear.wait("RECORD_STOP")
        assert stop.headers["Record-Completion-Cause"] == "success-maxtime"
        assert len(wav.read(path)) >= 4 * RATE
        assert await world.api(f"uuid_record {leg.uuid} stop {path}") == "-ERR Cannot stop record session!\n"
        assert await world.api(f"uuid_record {leg.uuid} start /no/such/folder/a.wav") == "-ERR Cannot record session!\n"

    run(scenario)


def test_what_is_played_is_steered(tmp_path: Path) -> None:
    wav.write(tmp_path / "a.wav", np.full(60 * RATE, 100, np.int16))

    async def scenario(world: World) -> None:
        leg, channel = await parked(world)
        assert await world.api(f"uuid_fileman {leg.uuid} pause") == "-ERR no file is being played\n"
        assert await world.api(f"uuid_broadcast {leg.uuid} {tmp_path}/a.wav") == "+OK Message sent\n"
        await world.ear.wait("PLAYBACK_START")
        assert channel.playing
        player = channel.playing.player
        assert player
        await world.api(f"uuid_fileman {leg.uuid} pause")
        assert player.paused
        await world.api(f"uuid_fileman {leg.uuid} seek:2000")
        assert player.position == 2 * RATE
        await world.api(f"uuid_fileman {leg.uuid} seek:-1000")
        assert player.position == RATE
        await world.api(f"uuid_fileman {leg.uuid} speed:+1")
        await world.api(f"uuid_fileman {leg.uuid} volume:-2")
        assert (player.speed, player.volume) == (1, -2)
        await world.api(f"uuid_fileman {leg.uuid} restart")
        assert player.position == 0
        assert await world.api(f"uuid_fileman {leg.uuid} dance") == "-ERR dance is not supported\n"
        await world.api(f"uuid_fileman {leg.uuid} stop")
        await world.ear.wait("PLAYBACK_STOP", Playback_Status="done")

    run(scenario)


def test_an_application_is_broadcast_and_broken_off() -> None:
    async def scenario(world: World) -> None:
        leg, _ = await parked(world)
        await world.api(f"uuid_broadcast {leg.uuid} playback::silence_stream://-1")
        await world.ear.wait("PLAYBACK_START")
        await world.api(f"uuid_break {leg.uuid} all")
        await world.ear.wait("PLAYBACK_STOP", Playback_Status="break")
        await world.api(f"uuid_broadcast {leg.uuid} playback!USER_BUSY::silence_stream://20")
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="USER_BUSY")
        assert await world.api(f"uuid_exists {leg.uuid}") == "false"

    run(scenario)


def test_later() -> None:
    async def scenario(world: World) -> None:
        leg, _ = await parked(world)
        assert await world.api("sched_api +0 none global_setvar later=1") == "+OK Added: 1\n"
        while world.switch.globals.get("later") != "1":
            await asyncio.sleep(0)
        assert await world.api(f"sched_hangup +0 {leg.uuid} ALLOTTED_TIMEOUT") == "+OK\n"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="ALLOTTED_TIMEOUT")

    run(scenario)


def test_a_hook_runs_when_the_call_is_over() -> None:
    async def scenario(world: World) -> None:
        hook = "set api_hangup_hook=global_setvar hooked=${a}-\\${hangup_cause}"
        await world.run("set a=7", hook, "hangup USER_BUSY")
        assert world.switch.globals["hooked"] == "7-USER_BUSY"

    run(scenario)


def test_calls_are_parked_and_answered_from_outside() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("ring_ready", "sleep 60000")
        await world.ear.wait("CHANNEL_PROGRESS")
        assert await world.api(f"uuid_pre_answer {leg.uuid}") == "+OK\n"
        assert await world.api(f"uuid_answer {leg.uuid}") == "+OK\n"
        assert await world.api(f"uuid_park {leg.uuid}") == "+OK\n"
        await world.ear.wait("CHANNEL_PARK", Channel_State="CS_PARK")
        assert await world.api("hupall CALL_REJECTED destination_number 5000") == (
            "+OK hangup all channels matching [destination_number]=[5000] with cause: CALL_REJECTED\n"
        )
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="CALL_REJECTED")

    run(scenario)


def test_a_dialplan_that_cannot_be_read_leaves_the_old_one(tmp_path: Path) -> None:
    async def play() -> None:
        async with World(dialplan=f"<!-- {tmp_path} -->") as world:
            old = world.switch.dialplan
            world.switch.options = type(world.switch.options)(dialplan=tmp_path)
            (tmp_path / "a.xml").write_text("<include><wrong/></include>")
            answer = await world.api("reloadxml")
            assert answer.startswith("-ERR [")
            assert "a.xml:1: <wrong> is not supported" in answer
            assert world.switch.dialplan is old
            (tmp_path / "a.xml").write_text("<include/>")
            assert await world.api("reloadxml") == "+OK [Success]\n"
            await world.ear.wait("RELOADXML")

    asyncio.run(play())
