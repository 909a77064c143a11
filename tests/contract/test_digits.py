"""M6: digits that callers press."""

from __future__ import annotations

import asyncio

import pytest
from harness.audio import tone, write_wav
from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import Session
from media.session.core import Digit

PROMPT = "tone_stream://%(300,0,700)"
ERROR = "tone_stream://%(300,0,1500)"
LONG = "tone_stream://%(10000,0,700)"


async def asked(call: Call) -> None:
    """Until the script waits for digits: it says so by a tone of 700 Hz."""
    await call.hears(700)


@pytest.mark.parametrize(
    ("limit", "terminators", "pressed", "got"),
    [
        (3, "#", "123", "123"),
        (5, "#", "12#", "12"),
        (5, "*#", "12*", "12"),
        (16, "#", "0123456789*", "0123456789*"),
        (1, "", "#", "#"),
        (5, "#", "#", ""),
    ],
)
def test_digits_are_got_up_to_a_number_or_a_terminator(
    switch: Switch, limit: int, terminators: str, pressed: str, got: str
) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(PROMPT)
        assert await session.get_digits(limit, terminators, 3000 if len(pressed) > 9 else 10_000) == got

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.1)
        await call.dial(pressed)
        await call.ended()

    talk(switch, script, caller)


def test_who_presses_nothing_is_waited_for_so_long(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        before = asyncio.get_running_loop().time()
        assert await session.get_digits(3, "#", 800) == ""
        assert asyncio.get_running_loop().time() - before >= 0.7
        assert session.ready()

    async def caller(call: Call) -> None:
        await call.ended()

    talk(switch, script, caller)


def test_after_a_digit_the_inter_digit_timeout_counts(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(PROMPT)
        # Were the first timeout in force, the test would last as long.
        assert await session.get_digits(3, "#", 60_000, 700) == "1"
        await session.stream_file(PROMPT)

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.1)
        await call.dial("1")
        await call.hears(700, since=call.ear.now)
        await call.ended()

    talk(switch, script, caller)


def test_a_digit_between_two_commands_is_not_lost(switch: Switch) -> None:
    heard = asyncio.Event()

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(PROMPT)
        # Nothing runs at the switch meanwhile.
        await asyncio.wait_for(heard.wait(), 10.0)
        await session.set_variable("unrelated", "1")
        assert await session.get_digits(2, "#", 5000) == "42"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.3)
        await call.dial("42")
        heard.set()
        await call.ended()

    talk(switch, script, caller)


def test_digits_before_a_flush_are_gone(switch: Switch) -> None:
    pressed = asyncio.Event()

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(PROMPT)
        await asyncio.wait_for(pressed.wait(), 10.0)
        # The last of them may be on its way still.
        await session.sleep(300)
        await session.flush_digits()
        session.flush_events()
        await session.stream_file("tone_stream://%(300,0,900)")
        assert await session.get_digits(1, "#", 5000) == "7"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.1)
        await call.dial("12")
        pressed.set()
        await call.hears(900)
        await call.hears_silence(0.1)
        await call.dial("7")
        await call.ended()

    talk(switch, script, caller)


def test_read_plays_a_file_that_digits_end(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.set_variable("read_terminator_used", "")
        assert await session.read(2, 10, LONG, 3000, "*#") == "123"
        assert await session.get_variable("read_terminator_used") == "*"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.dial("123*")
        await call.ended()
        (prompt,) = call.ear.tones()
        assert prompt.seconds < 3.0

    talk(switch, script, caller)


def test_read_with_too_few_digits_says_so(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        assert await session.read(3, 10, PROMPT, 800, "#") == "1"
        assert await session.get_variable("read_result") == "failure"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.dial("1")
        await call.ended()

    talk(switch, script, caller)


def test_play_and_get_digits_takes_what_fits(switch: Switch) -> None:
    path = write_wav(switch.directory / "pagd.wav", tone(700, 8.0))

    async def script(session: Session) -> None:
        await session.answer()
        got = await session.play_and_get_digits(2, 5, 3, 3000, "#", str(path), ERROR, r"\d+", "digits_received")
        assert got == "1234"
        assert await session.get_variable("digits_received") == "1234"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.dial("1234#")
        assert await call.heard_until_end() == [700]

    talk(switch, script, caller)


def test_play_and_get_digits_asks_again_after_what_does_not_fit(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        assert await session.play_and_get_digits(1, 1, 3, 4000, "", PROMPT, ERROR, "[134]") == "3"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.1)
        await call.dial("2")
        error = await call.hears(1500)
        await call.hears(700, since=error.start)
        await call.hears_silence(0.1)
        await call.dial("3")
        assert await call.heard_until_end() == [700, 1500, 700]

    talk(switch, script, caller)


def test_play_and_get_digits_gives_up_after_its_tries(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        assert await session.play_and_get_digits(1, 1, 2, 500, "", PROMPT, ERROR, "[134]") == ""
        assert session.ready()

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [700, 1500, 700, 1500]

    talk(switch, script, caller)


def test_play_and_get_digits_takes_a_star_where_the_regex_has_one(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        assert await session.play_and_get_digits(2, 5, 1, 3000, "#", PROMPT, "", r"\d+|\*+") == "**"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.dial("**#")
        await call.ended()

    talk(switch, script, caller)


def test_play_and_get_digits_waits_between_digits_for_its_own_timeout(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        got = await session.play_and_get_digits(1, 5, 1, 60_000, "#", PROMPT, "", r"\d+", digit_timeout=700)
        assert got == "12"

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.1)
        await call.dial("12")
        await call.ended()

    talk(switch, script, caller)


def test_play_and_get_digits_transfers_on_failure(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        got = await session.play_and_get_digits(
            1, 1, 1, 300, "", PROMPT, "", "[134]", "digits_received", 300, "900 XML contract"
        )
        assert not got
        assert not session.ready()

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [700, 900]

    talk(switch, script, caller)


def test_collected_digits_go_to_the_callback(switch: Switch) -> None:
    got: list[str] = []

    async def on_input(session: Session, kind: str, digit: Digit, argument: object) -> None:
        got.append(digit.digit)

    async def script(session: Session) -> None:
        await session.answer()
        session.set_input_callback(on_input)
        await session.stream_file(PROMPT)
        await session.collect_digits(1500)
        assert got == ["5", "6"]

    async def caller(call: Call) -> None:
        await asked(call)
        await call.hears_silence(0.2)
        await call.dial("56")
        await call.ended()

    talk(switch, script, caller)
