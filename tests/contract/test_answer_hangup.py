"""M1 and M2: what a call's state is, and how it ends."""

from __future__ import annotations

import pytest
from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import Session

GIVEN_BACK = "NORMAL_TEMPORARY_FAILURE"
"How our dialplan releases a call that is left to it."


async def ends(call: Call) -> None:
    await call.ended()


def test_the_state_of_a_call_is_the_switch_s(switch: Switch) -> None:
    async def script(session: Session) -> None:
        assert session.ready()
        assert not session.answered()
        assert not session.media_ready()
        assert session.get_state() == "CS_EXECUTE"
        assert len(session.get_uuid()) == 36
        await session.answer()
        assert session.ready()
        assert session.answered()
        assert session.media_ready()
        assert not session.bridged()
        await session.hangup()
        assert not session.ready()
        assert session.get_state() in {"CS_HANGUP", "CS_REPORTING", "CS_DESTROY"}

    async def caller(call: Call) -> None:
        await call.answered()
        assert (await call.ended()).cause == "NORMAL_CLEARING"

    talk(switch, script, caller)


def test_early_media_is_heard_before_the_answer(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.pre_answer()
        assert session.media_ready()
        assert not session.answered()
        await session.stream_file("tone_stream://%(300,0,700)")
        await session.hangup("USER_BUSY")

    async def caller(call: Call) -> None:
        await call.progressed(183)
        await call.hears(700)
        ended = await call.ended()
        assert (ended.cause, ended.status) == ("USER_BUSY", 486)

    talk(switch, script, caller)


def test_ready_turns_false_when_the_caller_hangs_up(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("silence_stream://30000")
        assert not session.ready()
        assert session.hangup_cause() == "NORMAL_CLEARING"
        # As in Lua: commands to a call that is over do nothing.
        assert await session.get_digits(1, "#", 30_000) == ""
        await session.stream_file("silence_stream://30000")

    async def caller(call: Call) -> None:
        await call.answered()
        await call.hears_silence(0.2)
        await call.hangup()

    talk(switch, script, caller)


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        ("USER_BUSY", 486),
        ("CALL_REJECTED", 603),
        ("UNALLOCATED_NUMBER", 404),
        ("NO_USER_RESPONSE", 408),
        ("NO_ANSWER", 480),
        ("NORMAL_TEMPORARY_FAILURE", 503),
        ("INCOMPATIBLE_DESTINATION", 488),
        ("RECOVERY_ON_TIMER_EXPIRE", 504),
    ],
)
def test_causes_become_replies_to_who_was_not_answered(switch: Switch, cause: str, status: int) -> None:
    async def script(session: Session) -> None:
        await session.hangup(cause)
        assert session.hangup_cause() == cause

    async def caller(call: Call) -> None:
        ended = await call.ended()
        assert (ended.cause, ended.status) == (cause, status)

    talk(switch, script, caller)


def test_causes_go_with_the_bye(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.hangup("USER_BUSY")

    async def caller(call: Call) -> None:
        ended = await call.ended()
        assert (ended.cause, ended.status) == ("USER_BUSY", 0)

    talk(switch, script, caller)


def test_a_script_that_ends_hangs_up(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()

    async def caller(call: Call) -> None:
        await call.answered()
        assert (await call.ended()).cause == "NORMAL_CLEARING"

    talk(switch, script, caller)


def test_without_auto_hangup_the_dialplan_goes_on(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        session.set_auto_hangup(False)

    async def caller(call: Call) -> None:
        await call.answered()
        assert (await call.ended()).cause == GIVEN_BACK

    talk(switch, script, caller)


def test_destroy_ends_the_script_and_the_call(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.destroy("enough")
        raise AssertionError("the script went on")

    async def caller(call: Call) -> None:
        await call.answered()
        assert (await call.ended()).cause == "NORMAL_CLEARING"

    talk(switch, script, caller)


def test_a_transfer_ends_the_script_but_not_the_call(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.transfer("900", "XML", "contract")
        assert not session.ready()

    async def caller(call: Call) -> None:
        await call.hears(900)
        assert (await call.ended()).cause == "NORMAL_CLEARING"

    talk(switch, script, caller)
