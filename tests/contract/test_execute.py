"""M4: applications and API commands."""

from __future__ import annotations

import asyncio
import re
import time

from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import API, Session


async def ends(call: Call) -> None:
    await call.ended()


def test_an_application_is_waited_for(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.execute("playback", "tone_stream://%(200,0,600)")
        await session.execute("playback", "tone_stream://%(200,0,900)")

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [600, 900]

    talk(switch, script, caller)


def test_execute_string_is_application_and_argument_in_one(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.execute_string("playback tone_stream://%(200,0,600)")

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [600]

    talk(switch, script, caller)


def test_an_application_expands_variables(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.set_variable("pitch", "800")
        await session.answer()
        await session.execute("playback", "tone_stream://%(200,0,${pitch})")

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [800]

    talk(switch, script, caller)


def test_commands_of_the_switch(switch: Switch) -> None:
    async def script(session: Session) -> None:
        api = API()
        assert await api.execute("eval", "seen") == "seen"
        assert await api.execute_string("eval seen too") == "seen too"
        assert abs(int(api.get_time()) / 1000 - time.time()) < 60
        assert re.fullmatch(r"[0-9a-f-]{36}", (await api.execute("create_uuid")).strip())
        assert await api.uuid("exists", session.get_uuid()) == "true"
        assert (await api.execute("nobody_wrote_this")).startswith("-ERR nobody_wrote_this")
        assert (await api.execute("strftime", "%Y")).strip() >= "2026"
        assert await api.execute("toupper", "abc") == "ABC"
        assert await api.execute("url_encode", "a b") == "a%20b"
        assert await api.execute("regex", "12345|^(\\d\\d)") == "true"

    talk(switch, script, ends)


def test_the_uuid_family_acts_on_a_call_from_outside(switch: Switch) -> None:
    async def script(session: Session) -> None:
        api = API()
        await session.answer()
        uuid = session.get_uuid()
        await api.uuid("setvar", uuid, "seen outside")
        assert await session.get_variable("seen") == "outside"
        assert (await api.uuid("getvar", uuid, "seen")).strip() == "outside"
        assert "variable_seen: outside" in await api.uuid("dump", uuid)
        await api.uuid("broadcast", uuid, "tone_stream://%(300,0,700)", "aleg")
        await session.sleep(1500)
        await api.uuid("kill", uuid, "USER_BUSY")
        await session.sleep(30_000)
        assert not session.ready()
        assert session.hangup_cause() == "USER_BUSY"

    async def caller(call: Call) -> None:
        await call.hears(700)
        assert (await call.ended()).cause == "USER_BUSY"

    talk(switch, script, caller)


def test_jobs_in_the_background_answer_by_their_id(switch: Switch) -> None:
    async def script(session: Session) -> None:
        api = API()
        first, second = await asyncio.gather(api.background("msleep", "300"), api.background("eval", "seen"))
        assert not first.startswith("-ERR")
        assert second.strip() == "seen"
        assert (await api.background("uuid_kill", "no-such-call")).startswith("-ERR")

    talk(switch, script, ends)
