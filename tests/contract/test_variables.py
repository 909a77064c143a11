"""M3: variables of the channel and of the switch."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.phone import Call, Phone
from harness.switches import Switch
from harness.talk import at_once, serving, talk, with_phone

from media.esl.errors import ArgumentError
from media.session import API, Session, get_global_variable


async def ends(call: Call) -> None:
    await call.ended()


@pytest.mark.parametrize(
    "value", ["plain", "with spaces  and, commas", "Grüße, 世界", "a=b;c|d", "100%41", "'quoted' \"twice\"", "a\\nb"]
)
def test_a_variable_is_read_as_it_was_set(switch: Switch, value: str) -> None:
    async def script(session: Session) -> None:
        await session.set_variable("seen", value)
        assert await session.get_variable("seen") == value

    talk(switch, script, ends)


def test_a_variable_that_is_not_there_is_none(switch: Switch) -> None:
    async def script(session: Session) -> None:
        assert await session.get_variable("nobody_set_this") is None

    talk(switch, script, ends)


def test_an_empty_value_takes_a_variable_away(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.set_variable("seen", "once")
        await session.set_variable("seen", "")
        assert not await session.get_variable("seen")

    talk(switch, script, ends)


def test_who_calls_and_whom(switch: Switch) -> None:
    async def script(session: Session) -> None:
        assert await session.get_variable("caller_id_number") == "1000"
        assert await session.get_variable("destination_number") == "5001"
        assert await session.get_variable("context") == "strowger"
        assert await session.get_variable("uuid") == session.get_uuid()
        assert await session.get_variable("sip_h_X-Strowger-App") == "welcome"

    talk(switch, script, ends, number="5001", headers={"X-Strowger-App": "welcome"})


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "a\n\napi status", "a\0b"])
def test_no_command_can_be_brought_in(switch: Switch, evil: str) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(ArgumentError):
            await session.set_variable("seen", evil)
        with pytest.raises(ArgumentError):
            await session.set_variable(evil, "value")
        with pytest.raises(ArgumentError):
            await session.execute("set", f"seen={evil}")
        assert await session.get_variable("seen") is None
        assert session.ready()

    talk(switch, script, ends)


def test_variables_of_the_switch(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await API().execute("global_setvar", "region=north")
        assert await get_global_variable("region") == "north"
        assert await get_global_variable("nobody_set_this") is None
        assert await session.get_variable("region") == "north"

    talk(switch, script, ends)


@pytest.mark.parametrize("name", ["${system(touch MARK)}", "${system touch MARK}", "${global_setvar(mark=x)}"])
def test_a_caller_s_name_is_no_command(switch: Switch, tmp_path: Path, name: str) -> None:
    mark = tmp_path / "mark"
    words = name.replace("MARK", str(mark))

    async def script(session: Session) -> None:
        told = await session.get_variable("caller_id_name")
        # FreeSWITCH writes the dollar of a name otherwise (switch_channel_set_variable_var_check).
        assert told in (words, words.replace("$", "%"))
        await session.answer()
        await session.set_variable("kept", words)
        assert await session.get_variable("kept") == words
        await session.say_phrase("contract-goodbye", words)
        await session.stream_file(f"/nowhere/{words}.wav")
        # A script should not hand on like this what a caller says; where it does, nothing is run.
        await session.execute("set", f"seen={words}")

    async def scenario(phone: Phone) -> None:
        async with serving(switch, script) as served:
            await at_once(phone.call(name=words).ended(), served.done())
        assert not mark.exists()
        assert await get_global_variable("mark") is None

    with_phone(switch, scenario)
