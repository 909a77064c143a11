"""M10: calls that a script places, and bridges."""

from __future__ import annotations

import asyncio

import pytest
from harness.audio import tone
from harness.phone import Call, Phone, phone
from harness.switches import Switch
from harness.talk import at_once, leg_to, serving, with_phone

from media.session import Session, bridge, originate, retry_over_gateways


def test_a_leg_that_is_answered(switch: Switch) -> None:
    async def scenario(callee: Phone) -> None:
        async def answers() -> None:
            call = await callee.called()
            await call.ring()
            await call.answer()
            await call.hears(700)
            await call.hangup()

        async def calls() -> None:
            async with leg_to(callee.dial_string) as leg:
                assert leg.ready()
                assert leg.answered()
                await leg.stream_file("tone_stream://%(300,0,700)")
                await leg.stream_file("silence_stream://30000")
                assert not leg.ready()
                assert leg.hangup_cause() == "NORMAL_CLEARING"

        await at_once(answers(), calls())

    with_phone(switch, scenario)


@pytest.mark.parametrize("cause", ["USER_BUSY", "CALL_REJECTED", "NORMAL_TEMPORARY_FAILURE", "UNALLOCATED_NUMBER"])
def test_a_leg_that_is_refused_says_why(switch: Switch, cause: str) -> None:
    async def scenario(callee: Phone) -> None:
        async def refuses() -> None:
            await (await callee.called()).hangup(cause)

        async def calls() -> None:
            async with leg_to(callee.dial_string) as leg:
                assert not leg.ready()
                assert leg.hangup_cause() == cause

        await at_once(refuses(), calls())

    with_phone(switch, scenario)


def test_a_leg_that_rings_is_given_up_with_its_script(switch: Switch) -> None:
    async def scenario(callee: Phone) -> None:
        script = asyncio.ensure_future(originate(callee.dial_string))
        call = await callee.called()
        await call.ring()
        script.cancel()
        assert (await call.ended()).cause in {"ORIGINATOR_CANCEL", "NO_ANSWER"}

    with_phone(switch, scenario)


def test_legs_that_ring_at_once_are_given_up_with_their_caller(switch: Switch) -> None:
    async def scenario(first: Phone) -> None:
        async with phone(switch.sip, "1002") as second:

            async def script(session: Session) -> None:
                await session.answer()
                leg = await originate(f"{first.dial_string},{second.dial_string}", session)
                assert (leg.ready(), leg.hangup_cause()) == (False, "ORIGINATOR_CANCEL")

            async with serving(switch, script) as served:
                call = first.call()
                rung = [await first.called(), await second.called()]
                for leg in rung:
                    await leg.ring()
                await call.hangup()
                for leg in rung:
                    assert (await leg.ended()).cause in {"ORIGINATOR_CANCEL", "NO_ANSWER"}
                await served.done()

    with_phone(switch, scenario)


def test_a_leg_that_nobody_answers_times_out(switch: Switch) -> None:
    async def scenario(callee: Phone) -> None:
        async def rings() -> None:
            call = await callee.called()
            await call.ring()
            assert (await call.ended()).cause in {"ORIGINATOR_CANCEL", "NO_ANSWER"}

        async def calls() -> None:
            async with leg_to(callee.dial_string, timeout=2) as leg:
                assert not leg.ready()
                assert leg.hangup_cause() == "NO_ANSWER"

        await at_once(rings(), calls())

    with_phone(switch, scenario)


def test_variables_of_the_dial_string_and_what_runs_at_the_answer(switch: Switch) -> None:
    async def scenario(callee: Phone) -> None:
        async def answers() -> None:
            call = await callee.called()
            assert call.leg.caller == "4711"
            assert call.leg.headers["X-Campaign"] == "spring"
            await call.answer()
            await call.hears(700)
            await call.hangup()

        async def calls() -> None:
            dial_string = (
                "{origination_caller_id_number=4711,sip_h_X-Campaign=spring}"
                f"[execute_on_answer='set ran=at the answer',my_var=here]{callee.dial_string}"
            )
            async with leg_to(dial_string) as leg:
                assert await leg.get_variable("my_var") == "here"
                assert await leg.get_variable("ran") == "at the answer"
                await leg.stream_file("tone_stream://%(300,0,700)")
                await leg.stream_file("silence_stream://30000")

        await at_once(answers(), calls())

    with_phone(switch, scenario)


def test_two_legs_are_bridged_and_hear_each_other(switch: Switch) -> None:
    async def scenario(first: Phone) -> None:
        async with phone(switch.sip, "1002") as second:
            both_heard = asyncio.Barrier(3)

            async def speaks(who: Phone, mine: int, theirs: int) -> Call:
                call = await who.called()
                await call.answer()
                call.play(*[tone(mine, 1.0)] * 20)
                await call.hears(theirs)
                await both_heard.wait()
                return call

            async def one() -> None:
                call = await speaks(first, 600, 1200)
                await call.hangup()

            async def other() -> None:
                call = await speaks(second, 1200, 600)
                await call.ended()

            async def calls() -> None:
                async with leg_to(first.dial_string) as a, leg_to(second.dial_string) as b:
                    assert a.ready()
                    assert b.ready()
                    bridging = asyncio.ensure_future(bridge(a, b))
                    await both_heard.wait()
                    assert a.bridged()
                    assert await bridging
                    # It ends with the first that hangs up; the other is the script's again.
                    assert not a.ready()

            await at_once(one(), other(), calls())

    with_phone(switch, scenario)


def test_the_caller_is_bridged_to_a_leg(switch: Switch) -> None:
    async def scenario(caller: Phone) -> None:
        async with phone(switch.sip, "1002") as callee:
            bridged: list[bool] = []
            both_heard = asyncio.Barrier(2)

            async def script(session: Session) -> None:
                await session.answer()
                await session.execute("bridge", callee.dial_string)
                bridged.append(session.ready())
                await session.stream_file("tone_stream://%(300,0,900)")

            async def calls() -> None:
                call = caller.call()
                call.play(*[tone(600, 1.0)] * 20)
                await call.hears(1200)
                await both_heard.wait()
                await call.hears(900)
                await call.ended()

            async def answers() -> None:
                call = await callee.called()
                await call.ring()
                await call.answer()
                call.play(*[tone(1200, 1.0)] * 20)
                await call.hears(600)
                await both_heard.wait()
                # The script goes on when the other leg has hung up.
                await call.hangup()

            async with serving(switch, script) as served:
                await at_once(calls(), answers(), served.done())
            assert bridged == [True]

    with_phone(switch, scenario)


def test_digits_pass_a_bridge(switch: Switch) -> None:
    async def scenario(caller: Phone) -> None:
        async with phone(switch.sip, "1002") as callee:

            async def script(session: Session) -> None:
                await session.execute("bridge", callee.dial_string)

            async def calls() -> None:
                call = caller.call()
                await call.answered()
                await call.hears(1200)
                await call.dial("42")
                await call.ended()

            async def answers() -> None:
                call = await callee.called()
                await call.answer()
                call.play(*[tone(1200, 1.0)] * 20)
                await call.until(lambda: call.digits == "42", "42")
                await call.hangup()

            async with serving(switch, script) as served:
                await at_once(calls(), answers(), served.done())

    with_phone(switch, scenario)


def test_a_bridge_that_fails_leaves_the_script_its_call(switch: Switch) -> None:
    async def scenario(caller: Phone) -> None:
        async with phone(switch.sip, "1002") as callee:

            async def script(session: Session) -> None:
                await session.execute("bridge", callee.dial_string)
                assert session.ready()
                assert await session.get_variable("originate_disposition") == "USER_BUSY"
                await session.answer()
                await session.stream_file("tone_stream://%(300,0,900)")

            async def calls() -> None:
                assert await caller.call().heard_until_end() == [900]

            async def refuses() -> None:
                await (await callee.called()).hangup("USER_BUSY")

            async with serving(switch, script) as served:
                await at_once(calls(), refuses(), served.done())

    with_phone(switch, scenario)


def test_a_leg_is_called_on_behalf_of_a_caller(switch: Switch) -> None:
    async def scenario(caller: Phone) -> None:
        async with phone(switch.sip, "1002") as callee:

            async def script(session: Session) -> None:
                await session.answer()
                async with leg_to(callee.dial_string, other=session) as leg:
                    # The caller hung up while it rang.
                    assert not leg.ready()
                    assert leg.hangup_cause() == "ORIGINATOR_CANCEL"
                assert not session.ready()

            async def calls() -> None:
                call = caller.call()
                rung = await callee.called()
                assert rung.leg.caller == "1000"
                await rung.ring()
                await call.answered()
                await call.hangup()
                assert (await rung.ended()).cause == "ORIGINATOR_CANCEL"

            async with serving(switch, script) as served:
                await at_once(calls(), served.done())

    with_phone(switch, scenario)


def test_an_answer_is_waited_for_after_early_media(switch: Switch) -> None:
    async def scenario(callee: Phone) -> None:
        async def answers() -> None:
            call = await callee.called()
            await call.leg.pre_answer()
            call.play(*[tone(600, 1.0)] * 20)
            await call.hears_silence(0.5)
            await call.answer()
            await call.hears(700)
            await call.ended()

        async def calls() -> None:
            async with leg_to(callee.dial_string) as leg:
                assert leg.ready()
                assert leg.media_ready()
                assert not leg.answered()
                assert await leg.wait_for_answer()
                assert leg.answered()
                await leg.stream_file("tone_stream://%(300,0,700)")

        await at_once(answers(), calls())

    with_phone(switch, scenario)


def test_gateways_are_tried_in_turn_until_a_cause_is_final(switch: Switch) -> None:
    """The reference's example of call retry, made right."""

    async def scenario(first: Phone) -> None:
        async with phone(switch.sip, "1002") as second:
            tried: list[str] = []

            async def refuse(who: Phone, *causes: str) -> None:
                for cause in causes:
                    call = await who.called()
                    tried.append(who.number)
                    await call.hangup(cause)

            async def calls() -> None:
                assert await retry_over_gateways([first.dial_string, second.dial_string], 5) == "USER_BUSY"

            await at_once(
                calls(),
                refuse(first, "NORMAL_TEMPORARY_FAILURE", "CALL_REJECTED"),
                refuse(second, "NO_ROUTE_DESTINATION", "USER_BUSY"),
            )
            assert tried == ["1000", "1002", "1000", "1002"]

    with_phone(switch, scenario)
