"""M16: the log, pauses, what scripts write, and a client of the event socket of one's own."""

from __future__ import annotations

import asyncio
import secrets
import time

import pytest
from harness.phone import Call, Phone
from harness.switches import Embedded, Switch
from harness.talk import talk, with_phone

from media.esl.errors import AuthError
from media.esl.inbound import Inbound
from media.session import Env, Session, Stream, console_clean_log, console_log, msleep


async def logged(switch: Switch, text: str) -> str:
    """The line of the switch's log that has ``text``."""
    async with asyncio.timeout(10):
        while not (found := [line for line in switch.log.splitlines() if text in line]):
            await asyncio.sleep(0.02)
    return found[0]


@pytest.mark.parametrize("level", ["info", "notice", "err", "warning"])
def test_a_script_writes_to_the_log_of_the_switch(switch: Switch, level: str) -> None:
    word = secrets.token_hex(8)

    async def script(session: Session) -> None:
        session.console_log(level, f"lua rocks {word}\n")
        line = await logged(switch, word)
        assert f"lua rocks {word}" in line
        # Of the levels the embedded switch has none between info and warning.
        assert level.upper() in line.upper() or (switch.name == Embedded.name and level == "notice")

    async def caller(call: Call) -> None:
        await call.ended()

    talk(switch, script, caller)


def test_without_a_call_too(switch: Switch) -> None:
    word = secrets.token_hex(8)

    async def scenario(phone: Phone) -> None:
        console_log("notice", f"first {word}\n")
        console_clean_log(f"this rocks {word}\n")
        await logged(switch, f"first {word}")
        await logged(switch, f"this rocks {word}")

    with_phone(switch, scenario)


def test_a_pause_lasts(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        before = time.monotonic()
        await msleep(200)
        assert time.monotonic() - before >= 0.19

    with_phone(switch, scenario)


def test_what_a_script_writes_and_is_told() -> None:
    stream, env = Stream(), Env({"command": "status", "odd": "two\nlines"})
    stream.write("Content-Type: text/html\n\n")
    stream.write(env.get_header("command") or "")
    env.add_header("cool", "true")
    assert stream.get_data() == "Content-Type: text/html\n\nstatus"
    assert "cool: true\n" in env.serialize()


def test_the_client_of_the_event_socket_is_for_all(switch: Switch) -> None:
    async def scenario(phone: Phone) -> None:
        async with Inbound(switch.esl, switch.password) as client:
            await client.connected(timeout=10)
            assert "FreeSWITCH" in await client.api("version")
            assert (await client.bgapi("eval", "seen", timeout=10)).strip() == "seen"

    with_phone(switch, scenario)


def test_a_wrong_password_is_final(switch: Switch) -> None:
    async def main() -> None:
        async with Inbound(switch.esl, "x" * 32) as client:
            with pytest.raises(AuthError):
                await client.connected(timeout=10)

    asyncio.run(main())
