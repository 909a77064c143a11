"""Legs that the embedded switch calls, and bridges between legs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from harness.fake_leg import FakeLeg, World, variables

from devswitch.dialplan.dialstring import DialError, parse


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        async with World() as world:
            await scenario(world)

    asyncio.run(play())


def answers(leg: FakeLeg, _: str) -> None:
    assert leg.on_answer
    leg.on_answer(200)


def busy(leg: FakeLeg, _: str) -> None:
    leg.leave("USER_BUSY", 486)


def test_dial_strings() -> None:
    dialled = parse("{a=1,b='x,y'}[c=2]sofia/p/sip:1@h:5070,sofia/p/2@h|[^^;d=3;e=4]sofia/p/3@h;fs_path=sip:q")
    assert dialled.variables == {"a": "1", "b": "x,y"}
    assert [[target.uri for target in group] for group in dialled.groups] == [["sip:1@h:5070", "sip:2@h"], ["sip:3@h"]]
    assert dialled.groups[0][0].variables == {"c": "2"}
    assert dialled.groups[1][0].variables == {"d": "3", "e": "4"}
    assert dialled.groups[1][0].proxy == "sip:q"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "DESTINATION_OUT_OF_ORDER"),
        ("loopback/1", "CHAN_NOT_IMPLEMENTED"),
        ("sofia/gateway/g/1", "INVALID_GATEWAY"),
        ("sofia/p/nobody", "INVALID_URL"),
        ("a/1:_:b/2", "SERVICE_NOT_IMPLEMENTED"),
        ("{a=1", "DESTINATION_OUT_OF_ORDER"),
    ],
)
def test_dial_strings_that_cannot_be_used(text: str, cause: str) -> None:
    with pytest.raises(DialError) as refused:
        parse(text)
    assert refused.value.cause == cause


def test_a_leg_is_called_and_executes_an_application() -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = answers
        said = await world.api(
            "originate {origination_uuid=abc,sip_h_X-Name=v,origination_caller_id_number=55}sofia/p/1@h &park() "
        )
        assert said == "+OK abc\n"
        uri, _, options = world.endpoint.called[0]
        assert (uri, options["caller"], options["headers"]) == ("sip:1@h", "55", {"X-Name": "v"})
        parked = await world.ear.wait("CHANNEL_PARK", Unique_ID="abc")
        assert parked.headers["variable_channel_cid_flipped"] == "yes"
        names = [e.name for e in world.ear.events][:3]
        assert names == ["CHANNEL_OUTGOING", "CHANNEL_STATE", "CHANNEL_CREATE"]
        assert await world.api("uuid_kill abc CALL_REJECTED") == "+OK\n"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Hangup_Cause="CALL_REJECTED")

    run(scenario)


def test_a_leg_goes_to_an_extension() -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = answers
        said = await world.api("originate sofia/p/1@h set:a=1,hangup:USER_BUSY inline")
        assert said.startswith("+OK ")
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert (told["a"], told["hangup_cause"]) == ("1", "USER_BUSY")

    run(scenario)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("originate sofia/p/1@h &park", "-ERR USER_BUSY\n"),
        ("originate error/user_busy &park", "-ERR USER_BUSY\n"),
        ("originate sofia/gateway/g/1 &park", "-ERR INVALID_GATEWAY\n"),
    ],
)
def test_legs_that_cannot_be_called(line: str, answer: str) -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = busy
        assert await world.api(line) == answer

    run(scenario)


def test_nobody_answers() -> None:
    async def scenario(world: World) -> None:
        assert await world.api("originate {originate_timeout=1}sofia/p/1@h &park") == "-ERR NO_ANSWER\n"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE")
        assert world.endpoint.legs[0].over == "NO_ANSWER"

    run(scenario)


def test_groups_are_tried_in_turn_and_the_first_answer_wins() -> None:
    def by_uri(leg: FakeLeg, uri: str) -> None:
        (busy if uri == "sip:1@h" else answers)(leg, uri)

    async def scenario(world: World) -> None:
        world.endpoint.on_call = by_uri
        said = await world.api("originate sofia/p/1@h|sofia/p/2@h,sofia/p/3@h &park")
        legs = {uri: leg for uri, leg, _ in world.endpoint.called}
        assert said == f"+OK {legs['sip:2@h'].uuid}\n"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Unique_ID=legs["sip:3@h"].uuid)
        assert legs["sip:3@h"].over == "LOSE_RACE"

    run(scenario)


def test_what_is_to_be_executed_on_answer_is_done_before_the_leg_goes_on() -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = answers
        await world.api("originate {execute_on_answer='playback silence_stream://40'}sofia/p/1@h &hangup")
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE")
        apps = [e.headers["Application"] for e in world.ear.named("CHANNEL_EXECUTE")]
        assert apps == ["playback", "hangup"]
        assert world.ear.named("PLAYBACK_STOP")[0].headers["Playback-Status"] == "done"

    run(scenario)


def test_two_legs_talk_until_one_leaves() -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = answers
        leg = world.begin("set sip_h_X-Id=7", "export given=1", "bridge sofia/p/1@h", "hangup CALL_REJECTED")
        event = await world.ear.wait("CHANNEL_BRIDGE")
        _, other, options = world.endpoint.called[0]
        assert options["headers"] == {"X-Id": "7"}
        assert (event.headers["Bridge-B-Unique-ID"], event.headers["Other-Leg-Unique-ID"]) == (other.uuid, other.uuid)
        assert "answer" in leg.done
        leg.says, other.says = 11, 22
        leg.press("5")
        await world.ear.wait("DTMF")
        while not (leg.heard and leg.heard[-1][0] == 22 and other.heard and other.heard[-1][0] == 11):
            await asyncio.sleep(0)
        other.leave()
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Unique_ID=leg.uuid))
        assert ("digits", "5", 100) in other.done
        assert (told["hangup_cause"], told["last_bridge_hangup_cause"]) == ("CALL_REJECTED", "NORMAL_CLEARING")
        assert variables(world.ear.named("CHANNEL_HANGUP_COMPLETE", Unique_ID=other.uuid)[0])["given"] == "1"

    run(scenario)


@pytest.mark.parametrize(
    ("before", "cause"),
    [
        ("set a=1", "USER_BUSY"),
        ("set continue_on_fail=true", "CALL_REJECTED"),
        ("set continue_on_fail=no_answer,17", "CALL_REJECTED"),
        ("set continue_on_fail=no_answer", "USER_BUSY"),
        ("set failure_causes=no_answer", "CALL_REJECTED"),
    ],
)
def test_a_bridge_that_fails(before: str, cause: str) -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = busy
        leg, told = await world.run(before, "bridge sofia/p/1@h", "hangup CALL_REJECTED")
        assert leg.over == cause
        assert (told["originate_disposition"], told["DIALSTATUS"]) == ("USER_BUSY", "BUSY")
        assert told["last_bridge_proto_specific_hangup_cause"] == "sip:486"

    run(scenario)


def test_ringing_and_early_media_pass_to_the_caller() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("bridge sofia/p/1@h")
        while not world.endpoint.called:
            await asyncio.sleep(0)
        other = world.endpoint.called[0][1]
        assert other.on_progress
        assert other.on_answer
        other.on_progress(180)
        await world.ear.wait("CHANNEL_PROGRESS", Unique_ID=leg.uuid)
        other.on_progress(183)
        await world.ear.wait("CHANNEL_BRIDGE")
        assert leg.done == ["ring", "pre_answer"]
        other.on_answer(200)
        await world.ear.wait("CHANNEL_ANSWER", Unique_ID=leg.uuid)
        leg.leave()
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Unique_ID=other.uuid)

    run(scenario)


def test_the_caller_leaves_while_it_rings() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("bridge sofia/p/1@h")
        await world.ear.wait("CHANNEL_ORIGINATE")
        leg.leave("ORIGINATOR_CANCEL", 487)
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", 2)
        assert world.endpoint.legs[1].over == "ORIGINATOR_CANCEL"

    run(scenario)


def test_parked_legs_are_bridged_and_transferred() -> None:
    async def scenario(world: World) -> None:
        one = world.begin("answer", "park")
        other = world.call()
        await world.ear.wait("CHANNEL_PARK", 2)
        assert await world.api(f"uuid_bridge {one.uuid} {other.uuid}") == f"+OK {other.uuid}\n"
        await world.ear.wait("CHANNEL_BRIDGE", Unique_ID=one.uuid)
        assert await world.api(f"uuid_transfer {one.uuid} hangup:USER_BUSY inline") == "+OK\n"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", 2)
        assert (one.over, other.over) == ("USER_BUSY", "NORMAL_CLEARING")

    run(scenario)


def test_after_a_bridge_legs_may_be_parked_or_sent_elsewhere() -> None:
    async def scenario(world: World) -> None:
        one = world.begin("answer", "set park_after_bridge=true", "park")
        other = world.call()
        await world.ear.wait("CHANNEL_PARK", 2)
        await world.api(f"uuid_bridge {one.uuid} {other.uuid}")
        await world.ear.wait("CHANNEL_BRIDGE")
        one.leave()
        await world.ear.wait("CHANNEL_PARK", 2, Unique_ID=other.uuid)
        third = world.call()
        await world.ear.wait("CHANNEL_PARK", Unique_ID=third.uuid)
        await world.api(f"uuid_setvar {third.uuid} park_after_bridge")
        await world.api(f"uuid_setvar {third.uuid} transfer_after_bridge hangup:USER_BUSY:inline")
        await world.api(f"uuid_bridge {other.uuid} {third.uuid}")
        await world.ear.wait("CHANNEL_BRIDGE", 2)
        other.leave()
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Unique_ID=third.uuid)

    run(scenario)


@pytest.mark.parametrize(
    ("which", "causes"),
    [
        ("-both ", ("USER_BUSY", "USER_BUSY")),
        ("-bleg ", ("CALL_REJECTED", "USER_BUSY")),
        ("", ("USER_BUSY", "NORMAL_CLEARING")),
    ],
)
def test_which_legs_of_a_bridge_are_transferred(which: str, causes: tuple[str, str]) -> None:
    async def scenario(world: World) -> None:
        world.endpoint.on_call = answers
        leg = world.begin("bridge sofia/p/1@h", "hangup CALL_REJECTED")
        await world.ear.wait("CHANNEL_BRIDGE")
        other = world.endpoint.called[0][1]
        assert await world.api(f"uuid_transfer {leg.uuid} {which}hangup:USER_BUSY inline") == "+OK\n"
        await world.ear.wait("CHANNEL_HANGUP_COMPLETE", 2)
        assert (leg.over, other.over) == causes

    run(scenario)


def test_a_park_times_out() -> None:
    async def scenario(world: World) -> None:
        leg, _ = await world.run("answer", "set park_timeout=1:CALL_REJECTED", "park")
        assert leg.over == "CALL_REJECTED"

    run(scenario)
