"""A session on a made-up switch; what real ones do is in tests/contract."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from harness.esl_peer import CHANNEL, Command, Wire
from harness.session_peer import UUID, FakeSwitch, with_session

from media.esl.errors import ArgumentError
from media.session import AnswerNeeded, Digit, ScriptExit, Session, literal
from media.session.callbacks import file_command
from media.session.recording import Recorded


def test_an_application_runs_to_its_end() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        assert session.ready()
        assert await session.answer()
        assert session.answered()
        assert await session.execute("playback", "a.wav") == ""

    switch = with_session(script)
    assert switch.ran == [("playback", "a.wav")]
    assert switch.api == [f"uuid_answer {UUID}"]  # the application would fire two events


def test_a_leg_that_was_called_is_not_answered_by_asking() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        early = {"Answer-State": "early"}
        switch.apps["answer"] = lambda wire, command: switch.complete(wire, command, early)
        assert not await session.answer()

    assert with_session(script, {**CHANNEL, "Call-Direction": "outbound"}).ran == [("answer", "")]


def test_who_cannot_be_answered_has_hung_up() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        def refuse(wire: Wire, command: Command) -> None:
            wire.response("-ERROR\n")
            switch.hang_up(wire, "INCOMPATIBLE_DESTINATION")

        switch.answers["api"] = refuse
        assert not await session.answer()
        assert not session.ready()
        assert session.hangup_cause() == "INCOMPATIBLE_DESTINATION"

    with_session(script)


def test_nothing_is_subscribed_to_before_a_command_waits() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.set_variable("a", "1")
        session.console_log("info", "hello")
        assert session.ready()
        await session.hangup()

    names = [command.name for command in with_session(script).wire.commands]
    assert names == ["connect", "api", "api", "sendmsg"]


def test_what_is_sent_ahead_is_one_write_and_no_event() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        with session.ahead():
            await session.answer()
            await session.stream_file("tone_stream://%(200,0,440)")
            await session.hangup("USER_BUSY")
        await switch.wire.sent("sendmsg")
        while len(switch.wire.commands) < 4:
            switch.wire.arrived.clear()
            await switch.wire.arrived.wait()
        switch.wire.end()

    switch = with_session(script)
    assert [command.name for command in switch.wire.commands[1:]] == ["api", "sendmsg", "sendmsg"]
    locked = [command.headers.get("event-lock") for command in switch.wire.commands[2:]]
    assert locked == ["true", None]  # or the hangup would cut the tone off
    assert switch.terminators == ["none"]


def test_an_answer_sent_ahead_waits_for_what_was_sent_before() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        with session.ahead():
            await session.stream_file("a.wav")
            await session.answer()
        while len(switch.ran) < 2:
            switch.wire.arrived.clear()
            await switch.wire.arrived.wait()
        switch.wire.end()

    assert with_session(script).ran == [("playback", "a.wav"), ("answer", "")]


@pytest.mark.parametrize("name", ["get_digits", "get_variable", "sleep"])
def test_what_needs_an_answer_is_not_sent_ahead(name: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        async def wrong() -> None:
            with session.ahead():
                await session.answer()
                await getattr(session, name)("a" if name == "get_variable" else 1)

        with pytest.raises(AnswerNeeded):
            await wrong()
        assert switch.ran == []

    with_session(script)


def test_digits_between_two_commands_and_during_one_are_kept() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        def playing(wire: Wire, command: Command) -> None:
            switch.press(wire, "23")
            switch.complete(wire, command)

        switch.apps["playback"] = playing
        await session.answer()
        switch.press(switch.wire, "1")
        assert await session.stream_file("a.wav")
        switch.press(switch.wire, "4#5")
        assert await session.get_digits(9, "#", 5000) == "1234"
        assert await session.get_digits(1, "#", 5000) == "5"

    with_session(script)


def test_digits_of_an_application_that_asks_for_them_are_its_own() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        def reading(wire: Wire, command: Command) -> None:
            switch.press(wire, "99")
            switch.complete(wire, command)

        switch.apps["read"] = reading
        await session.answer()
        switch.press(switch.wire, "1")
        await session.execute("log", "INFO x")  # so that the digit has come
        await session.execute("read", "1 2 silence pin 5000 #")
        assert f"uuid_recv_dtmf {UUID} 1" in switch.api  # what was pressed before is given to it first
        assert await session.get_digits(9, "", 50) == ""

    with_session(script)


def test_play_and_get_digits_asks_again() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        answers = iter(("7", "", "3"))

        def prompt(wire: Wire, command: Command) -> None:
            if command.argument.endswith("]ask.wav"):
                switch.press(wire, next(answers))
            switch.complete(wire, command)

        switch.apps["playback"] = prompt
        digits = await session.play_and_get_digits(1, 1, 3, 100, "#", "ask.wav", "no.wav", "[134]", "choice")
        assert digits == "3"
        assert await session.get_variable("choice") == "3"
        assert await session.get_variable("choice_invalid") == "7"

    switch = with_session(script)
    played = [arg for app, arg in switch.ran if app == "playback"]
    assert played == ["ask.wav", "no.wav", "ask.wav", "no.wav", "ask.wav"]
    assert switch.terminators == ["any", "none", "any", "none", "any"]


def test_the_switch_is_told_how_reading_went_before_it_may_look() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.answer()
        switch.press(switch.wire, "5#")
        assert await session.read(1, 4, "", 5000, "#") == "5"
        assert await session.get_variable("read_result") == "success"
        assert await session.get_variable("read_terminator_used") == "#"
        assert switch.variables == {}
        await session.execute("log", "INFO ${read_result}")
        assert switch.variables == {"read_result": "success", "read_terminator_used": "#"}
        await session.set_variable("read_result", "mine")
        assert await session.get_variable("read_result") == "mine"

    with_session(script)


def test_what_was_not_sent_ahead_did_not_hang_up() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        async def wrong() -> None:
            with session.ahead():
                await session.hangup()
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            await wrong()
        with session.ahead():
            await session.answer()

    sent = with_session(script).wire.commands  # the first was not sent
    assert [command.headers.get("call-command", command.line) for command in sent[1:]] == [
        f"api uuid_answer {UUID}", "hangup",
    ]  # fmt: skip


def test_events_of_a_bridge_are_asked_for_by_what_bridges() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.answer()
        await session.execute("playback", "a.wav")
        assert not any("CHANNEL_BRIDGE" in command.line for command in switch.wire.commands)
        await session.execute("bridge", "user/1001")
        assert any("CHANNEL_BRIDGE CHANNEL_UNBRIDGE" in command.line for command in switch.wire.commands)

    with_session(script)


def test_play_and_get_digits_leaves_nothing_of_what_was_pressed_before() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.set_variable("pin", "1234")
        await session.set_variable("pin_invalid", "99")
        assert await session.play_and_get_digits(4, 4, 1, 50, "#", "ask.wav", "", r"\d+", "pin") == ""
        assert await session.get_variable("pin") is None
        assert await session.get_variable("pin_invalid") is None

    with_session(script)


def test_play_and_get_digits_waits_for_each_digit_as_long_as_it_is_told() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        def prompt(wire: Wire, command: Command) -> None:
            switch.press(wire, "1")
            switch.complete(wire, command)

        switch.apps["playback"] = prompt
        # All by place, as in Lua; the second digit does not come within the last but one.
        arguments = (1, 4, 1, 60_000, "#", "ask.wav", "no.wav", r"^\d$", "choice", 20, "0 XML default")
        assert await session.play_and_get_digits(*arguments) == "1"
        assert session.ready()

    with_session(script)


@pytest.mark.parametrize("extension", ["-both", "-bleg", ""])
def test_no_extension_is_an_option_of_the_command(extension: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        with pytest.raises(ArgumentError):
            await session.transfer(extension)

    with_session(script)


def test_play_and_get_digits_transfers_who_fails() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        found = await session.play_and_get_digits(1, 1, 1, 50, "#", "ask.wav", transfer_on_failure="0 XML default")
        assert found == ""
        assert not session.ready()
        assert session.hangup_status() == "transfer"

    assert f"uuid_transfer {UUID} 0 XML default" in with_session(script).api


@pytest.mark.parametrize(
    ("pressed", "terminators", "read", "result"),
    [("12#", "#", "12", "success"), ("1#", "#", "1", "failure"), ("1234", "#", "123", "success"),
     ("12#", "+#", "12#", "success"), ("123", "=#", "123", "failure")],
)  # fmt: skip
def test_read(pressed: str, terminators: str, read: str, result: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.answer()
        switch.press(switch.wire, pressed)
        assert await session.read(2, 3, "silence", 300, terminators) == read
        assert await session.get_variable("read_result") == result

    with_session(script)


def test_the_call_ends_within_a_command() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        seen: list[tuple[str, Any, str | None]] = []

        async def hook(ended: Session, status: str, arg: Any) -> None:
            seen.append((status, arg, ended.hangup_env().get_header("mood")))

        switch.apps["playback"] = lambda wire, command: switch.hang_up(wire, "USER_BUSY", mood="fine")
        session.set_hangup_hook(hook, "blah")
        assert not await session.stream_file("a.wav")
        assert not session.ready()
        assert session.hangup_cause() == "USER_BUSY"
        assert await session.get_variable("mood") == "fine"
        assert await session.get_digits(1) == ""
        assert seen == [("hangup", "blah", "fine")]

    with_session(script)


def test_a_hook_may_end_the_script() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        session.set_hangup_hook(lambda session, status, arg: "exit")
        switch.hang_up(switch.wire)
        with pytest.raises(ScriptExit):
            await session.get_digits(1)

    with_session(script)


def test_a_transfer_from_outside_takes_the_call_away() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.answer()
        left = {"Unique-ID": UUID, "Application": "socket", "Application-UUID": "x", "Answer-State": "answered"}
        switch.wire.event("CHANNEL_EXECUTE_COMPLETE", left)
        assert await session.get_digits(1, "", 5000) == ""
        assert session.hangup_status() == "transfer"

    assert all(command.headers.get("call-command") != "hangup" for command in with_session(script).wire.commands)


def test_the_script_that_ends_hangs_up_unless_told_otherwise() -> None:
    async def keeps(session: Session, switch: FakeSwitch) -> None:
        await session.answer()
        session.set_auto_hangup(False)

    async def ends(session: Session, switch: FakeSwitch) -> None:
        await session.answer()

    def hangups(switch: FakeSwitch) -> int:
        return sum(command.headers.get("call-command") == "hangup" for command in switch.wire.commands)

    assert (hangups(with_session(ends)), hangups(with_session(keeps))) == (1, 0)


def test_a_callback_stops_and_seeks() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        pending: list[tuple[Wire, Command]] = []

        def playing(wire: Wire, command: Command) -> None:
            pending.append((wire, command))
            switch.press(wire, "12")

        def api(wire: Wire, command: Command) -> None:
            switch._api(wire, command)
            if "uuid_break" in command.line:
                switch.complete(*pending.pop(), {"Application-Response": "FILE PLAYED"})

        seen: list[tuple[str, str, int, str]] = []

        async def pressed(session: Session, kind: str, obj: Digit, arg: str) -> str:
            seen.append((kind, obj.digit, obj.duration, arg))
            return {"1": "seek:+2000", "2": "break"}[obj.digit]

        switch.apps["playback"], switch.answers["api"] = playing, api
        session.set_input_callback(pressed, "blah")
        assert not await session.stream_file("a.wav")
        assert seen == [("dtmf", "1", 800, "blah"), ("dtmf", "2", 800, "blah")]
        asked = [line for line in switch.api if "setvar" not in line]
        assert asked == [f"uuid_fileman {UUID} seek:+2000", f"uuid_break {UUID}"]

    with_session(script)


def test_an_error_of_a_callback_ends_the_command() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        def pressed(*_: object) -> None:
            raise LookupError("of the script")

        switch.apps["playback"] = lambda wire, command: switch.press(wire, "1")
        session.set_input_callback(pressed)
        with pytest.raises(LookupError):
            await session.stream_file("a.wav")

    with_session(script)


def test_a_hangup_while_a_callback_waits_ends_the_command() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        def hung_up(wire: Wire, command: Command) -> None:
            # As switches do it: first the application ends, then the call.
            switch.complete(wire, command, {"Answer-State": "hangup"})
            asyncio.get_running_loop().call_later(0.05, switch.hang_up, wire)

        switch.apps["playback"] = hung_up
        session.set_input_callback(lambda *_: None)
        async with asyncio.timeout(5):
            assert await session.stream_file("a.wav") is False
        assert session.hangup_status() == "hangup"

    with_session(script)


def test_a_callback_ends_a_sleep() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        session.set_input_callback(lambda session, kind, obj, arg: False)
        await session.answer()
        switch.press(switch.wire, "1")
        assert not await session.sleep(20_000)
        session.unset_input_callback()
        assert await session.sleep(1)

    with_session(script)


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_no_value_is_a_second_command(value: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        for call in (
            session.execute("log", value), session.execute(value), session.set_variable("a", value),
            session.set_variable(value, "a"), session.stream_file(value), session.get_variable(value),
            session.transfer(value), session.hangup(value),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r"line end|name of"):
                await call
        with pytest.raises(ArgumentError), session.ahead():
            await session.stream_file(value)

    assert with_session(script).ran == []


def test_recording_tells_whether_silence_ended_it() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        silent = {"variable_silence_hits_exhausted": "true"}
        switch.apps["record"] = lambda wire, command: switch.complete(wire, command, silent)
        assert await session.record_file("/tmp/a.wav", 10, 200, 2)
        switch.apps["record"] = switch.complete
        assert not await session.record_file("/tmp/a.wav", 10)

    assert ("record", "/tmp/a.wav 10 200 2") in with_session(script).ran


def recorded_until(switch: FakeSwitch, before: str, after: str, **told: str) -> None:
    """The next recording ends after digits, and more come then; the switch tells these variables."""

    def obey(wire: Wire, command: Command) -> None:
        switch.press(wire, before)
        switch.complete(wire, command, {f"variable_{name}": value for name, value in told.items()})
        switch.press(wire, after)

    switch.apps["record"] = obey


@pytest.mark.parametrize(("before", "after"), [("12#", "3"), ("12", "#3"), ("12##", "3")])
def test_the_digit_that_ends_a_recording_is_taken_off_the_others(before: str, after: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        await session.answer()
        switch.press(switch.wire, "99")
        await session.execute("set", "a=b")
        recorded_until(switch, before, after, playback_terminator_used="#", record_samples="16000")
        made = await session.record_until("/tmp/a.wav", "#0", max_seconds=10, threshold=100, silence_seconds=3)
        assert made == Recorded(ended="digit", digit="#", samples=16000)
        assert await session.get_digits(9, "", 200) == "12" + "#" * before.count("##") + "3"

    made = with_session(script)
    assert ("record", "/tmp/a.wav 10 100 3") in made.ran
    assert "#0" in made.terminators


def test_how_a_recording_ended() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        recorded_until(switch, "1", "", silence_hits_exhausted="true", record_samples="1")
        assert await session.record_until("/tmp/a.wav", "#") == Recorded(ended="silence", samples=1)
        assert await session.get_digits(1) == "1"
        recorded_until(switch, "", "", silence_hits_exhausted="false")
        assert await session.record_until("/tmp/a.wav", "#") == Recorded(ended="")
        for path, digits in (("/tmp/a b.wav", "#"), ("/tmp/a.wav", "")):
            with pytest.raises(ArgumentError, match="record_until"):
                await session.record_until(path, digits)

        def hung_up(wire: Wire, command: Command) -> None:
            switch.complete(wire, command, {"Answer-State": "hangup", "variable_record_samples": "8000"})
            switch.hang_up(wire)

        switch.apps["record"] = hung_up
        assert await session.record_until("/tmp/a.wav", "#") == Recorded(ended="hangup", samples=8000)

    with_session(script)


def test_a_recording_whose_switch_is_gone_may_still_grow() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        switch.apps["record"] = lambda wire, command: wire.end()
        assert await session.record_until("/tmp/a.wav", "#") == Recorded(ended="hangup", closed=False)

    with_session(script)


@pytest.mark.parametrize(
    ("value", "command"),
    [("pause", "pause"), ("restart", "restart"), ("seek:+2000", "seek:+2000"), ("SPEED:-1", "speed:-1"),
     ("volume:0", "volume:0"), ("seek:+", "seek:+"), ("seek:x y", ""), ("speed", ""), ("stop", ""), ("truncate", ""),
     ("break", ""), (False, ""), (7, "")],
)  # fmt: skip
def test_what_a_returned_value_asks_of_a_file(value: object, command: str) -> None:
    assert file_command(value) == command


def test_literal_text_is_not_expanded() -> None:
    assert literal("it's plain") == "it's plain"
    assert literal("${a} \\ $b") == "\\${a} \\\\ \\$b"


def test_two_waits_at_once_both_end_with_the_call() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        switch.apps["sleep"] = lambda wire, command: None
        await session.answer()
        both = asyncio.gather(session.execute("sleep", "9999"), session.execute("sleep", "9999"))
        await switch.wire.sent("linger")
        switch.hang_up(switch.wire)
        assert await both == ["", ""]

    with_session(script)


DEAD: list[tuple[str, tuple[Any, ...]]] = [
    ("stream_file", ("a.wav",)), ("sleep", (5,)), ("collect_digits", (5,)), ("record_file", ("a.wav",)),
    ("say", ("1", "en", "number", "pronounced")), ("get_digits", (1,)), ("wait_for_answer", ()), ("answer", ()),
    ("hangup", ()), ("get_variable", ("a",)), ("transfer", ("1",)), ("execute", ("a",)), ("hangup_state", ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), DEAD)
def test_once_the_switch_is_gone_commands_return_at_once(name: str, arguments: tuple[Any, ...]) -> None:
    hooked: list[str] = []

    async def script(session: Session, switch: FakeSwitch) -> None:
        switch.wire.end()
        await session.connection.wait_closed()
        session.set_input_callback(lambda *_: None)
        assert not await getattr(session, name)(*arguments)
        session.set_hangup_hook(lambda _session, status, _arg: hooked.append(status))

    with_session(script)
    assert hooked == ["hangup"]


def test_the_switch_is_gone_within_a_command() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        switch.apps["playback"] = lambda wire, _: wire.end()
        session.set_input_callback(lambda *_: None)
        assert not await session.stream_file("a.wav")
        assert not session.ready()

    with_session(script)


def test_the_switch_is_gone_while_digits_are_awaited() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        asked = asyncio.ensure_future(session.get_digits(1))
        await switch.wire.sent("event")
        switch.wire.end()
        assert await asked == ""

    with_session(script)


@pytest.mark.parametrize("leaves", ["back", "transfer"])
@pytest.mark.parametrize("own", ["", "#"])
def test_the_dialplan_gets_the_terminators_that_it_had(leaves: str, own: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        session.set_auto_hangup(False)
        await session.stream_file("a.wav")
        if leaves == "transfer":
            await session.transfer("900")

    channel = CHANNEL | ({"variable_playback_terminators": own} if own else {})
    switch = with_session(script, channel)
    assert switch.terminators == ["none"]
    assert "playback_terminators" not in switch.variables
