"""M9: what a script does when its call has ended."""

from __future__ import annotations

import asyncio
from typing import Any

from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import Session


async def hangs_up(call: Call) -> None:
    await call.hears(700)
    await call.hangup()


def test_the_hook_sees_every_variable_and_runs_once(switch: Switch) -> None:
    seen: list[tuple[str, Any, str | None, str | None]] = []

    async def hook(session: Session, status: str, argument: Any) -> None:
        env = session.hangup_env()
        assert env.get_header("uuid") == session.get_uuid()
        assert await session.get_variable("my_custom_var") == "foobar"
        seen.append((status, argument, env.get_header("my_custom_var"), env.get_header("hangup_cause")))

    async def script(session: Session) -> None:
        session.set_hangup_hook(hook, "blah")
        await session.answer()
        await session.set_variable("my_custom_var", "foobar")
        await session.stream_file("tone_stream://%(300,0,700)")
        await session.stream_file("silence_stream://30000")
        assert not session.ready()

    talk(switch, script, hangs_up)
    assert seen == [("hangup", "blah", "foobar", "NORMAL_CLEARING")]


def test_the_hook_runs_when_the_script_hangs_up(switch: Switch) -> None:
    seen: list[str] = []

    async def hook(session: Session, status: str, argument: Any) -> None:
        seen.append(session.hangup_cause())

    async def script(session: Session) -> None:
        session.set_hangup_hook(hook)
        await session.answer()
        await session.hangup("USER_BUSY")

    async def caller(call: Call) -> None:
        await call.ended()

    talk(switch, script, caller)
    assert seen == ["USER_BUSY"]


def test_the_hook_tells_a_transfer_from_a_hangup(switch: Switch) -> None:
    seen: list[str] = []

    async def hook(session: Session, status: str, argument: Any) -> None:
        seen.append(status)

    async def script(session: Session) -> None:
        session.set_hangup_hook(hook)
        await session.answer()
        await session.transfer("900", "XML", "contract")

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [900]

    talk(switch, script, caller)
    assert seen == ["transfer"]


def test_a_hook_that_says_exit_ends_the_script(switch: Switch) -> None:
    after = asyncio.Event()

    async def hook(session: Session, status: str, argument: Any) -> str:
        return "exit"

    async def script(session: Session) -> None:
        session.set_hangup_hook(hook)
        await session.answer()
        await session.stream_file("tone_stream://%(300,0,700)")
        await session.stream_file("silence_stream://30000")
        after.set()

    talk(switch, script, hangs_up)
    assert not after.is_set()
