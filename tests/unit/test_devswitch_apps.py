"""Applications of the embedded switch, on a leg without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from harness.fake_leg import FakeLeg, World, variables

from devswitch.audio import wav

RATE = 8000


def run(scenario: Callable[[World], Awaitable[None]], **options: object) -> None:
    async def play() -> None:
        async with World(**options) as world:  # type: ignore[arg-type]
            await scenario(world)

    asyncio.run(play())


def executed(*actions: str) -> tuple[FakeLeg, dict[str, str]]:
    found: list[tuple[FakeLeg, dict[str, str]]] = []

    async def scenario(world: World) -> None:
        found.append(await world.run(*actions))

    run(scenario)
    return found[0]


@pytest.mark.parametrize(
    ("action", "done"),
    [
        ("answer", "answer"),
        ("pre_answer", "pre_answer"),
        ("ring_ready", "ring"),
        ("redirect sip:a@192.0.2.3", ("redirect", "sip:a@192.0.2.3")),
        ("send_dtmf 12@80", ("digits", "2", 80)),
        ("queue_dtmf 7", ("digits", "7", 100)),
        ("respond 180", "ring"),
    ],
)
def test_what_the_caller_gets(action: str, done: object) -> None:
    leg, _ = executed(action)
    assert done in leg.done


@pytest.mark.parametrize(
    ("action", "cause"),
    [
        ("hangup USER_BUSY", "USER_BUSY"),
        ("hangup 21", "CALL_REJECTED"),
        ("hangup nonsense", "NORMAL_CLEARING"),
        ("respond 486 Busy Here", "USER_BUSY"),
        ("no_such_application", "DESTINATION_OUT_OF_ORDER"),
        ("redirect sip:a@192.0.2.3", "REDIRECTION_TO_NEW_DESTINATION"),
        ("sleep 1", "NORMAL_CLEARING"),
        ("record /no/such/folder/x.wav", "DESTINATION_OUT_OF_ORDER"),
    ],
)
def test_how_the_call_ends(action: str, cause: str) -> None:
    leg, told = executed(action)
    assert leg.over == cause
    assert told["hangup_cause"] == cause


def test_variables_are_set_unset_and_expanded() -> None:
    _, told = executed(
        "set_global api_expansion=true",
        "set a=1",
        "multiset b=2 c='x y'",
        "multiset ^^;d=4;e=${a}${b}",
        "unset a",
        "export nolocal:f=6",
        "set g=${regex(abc|^a(.)|$1)}-${toupper(q)}-${e:0:1}",
        "multiunset c d",
        "set quoted=${cond(${b} == 2 ? yes : no)}",
    )
    assert {"b": "2", "e": "12", "g": "b-Q-1", "quoted": "yes", "nolocal:f": "6"}.items() <= told.items()
    assert not {"a", "c", "d", "f"} & told.keys()


def test_a_command_in_an_argument_is_not_run_unless_that_is_wanted() -> None:
    _, told = executed("set g=${toupper(q)}")
    assert told["g"] == "<API Execute Permission Denied>"


def test_events_of_a_call_come_in_the_order_of_freeswitch() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("answer", "playback silence_stream://40", "hangup")
        await world.ear.wait("CHANNEL_DESTROY")
        names = [(e.name, e.headers.get("Application", "")) for e in world.ear.events if e.name != "CHANNEL_STATE"]
        assert names == [
            ("CHANNEL_CREATE", ""),
            ("CHANNEL_CALLSTATE", ""),
            ("CHANNEL_EXECUTE", "answer"),
            ("CHANNEL_ANSWER", ""),
            ("CHANNEL_CALLSTATE", ""),
            ("CHANNEL_EXECUTE_COMPLETE", "answer"),
            ("CHANNEL_EXECUTE", "playback"),
            ("PLAYBACK_START", ""),
            ("PLAYBACK_STOP", ""),
            ("CHANNEL_EXECUTE_COMPLETE", "playback"),
            ("CHANNEL_EXECUTE", "hangup"),
            ("CHANNEL_HANGUP", ""),
            ("CHANNEL_EXECUTE_COMPLETE", "hangup"),
            ("CHANNEL_CALLSTATE", ""),
            ("CHANNEL_HANGUP_COMPLETE", ""),
            ("CHANNEL_DESTROY", ""),
        ]
        assert [e.headers["Answer-State"] for e in world.ear.named("CHANNEL_EXECUTE")] == [
            "ringing",
            "answered",
            "answered",
        ]
        assert len(leg.heard) == 2

    run(scenario)


@pytest.mark.parametrize(
    ("data", "response"),
    [
        ("silence_stream://20", "FILE PLAYED"),
        ("/no/such/file.wav", "FILE NOT FOUND"),
        ("tone_stream://nonsense(", "FILE NOT FOUND"),
        ("", "PLAYBACK ERROR"),
    ],
)
def test_what_playback_answers(data: str, response: str) -> None:
    async def scenario(world: World) -> None:
        await world.run(f"playback {data}")
        assert world.ear.named("CHANNEL_EXECUTE_COMPLETE")[0].headers["Application-Response"] == response

    run(scenario)


def test_a_media_application_lets_early_media_flow() -> None:
    leg, _ = executed("playback silence_stream://20")
    assert leg.done[0] == "pre_answer"


def test_files_are_found_below_the_sounds_and_begin_at_a_sample(tmp_path: Path) -> None:
    wav.write(tmp_path / "a.wav", np.full(RATE, 5, np.int16))
    (tmp_path / "digits" / "8000").mkdir(parents=True)
    wav.write(tmp_path / "digits" / "8000" / "1.wav", np.full(160, 7, np.int16))

    async def scenario(world: World) -> None:
        leg, told = await world.run("playback a.wav@@7840", "playback file_string://digits/1.wav!a.wav")
        heard = np.concatenate(leg.heard)
        assert heard[:160].tolist() == [5] * 160
        assert heard[160:320].tolist() == [7] * 160
        assert len(heard) == 160 + 160 + RATE
        assert told["playback_ms"] == "1020"

    run(scenario, sounds=tmp_path)


@pytest.mark.parametrize(
    ("terminators", "pressed", "used"), [("#", "1#", "#"), ("any", "5", "5"), ("", "*", "*"), ("none", "*", None)]
)
def test_playback_ends_at_a_terminator(terminators: str, pressed: str, used: str | None) -> None:
    async def scenario(world: World) -> None:
        leg = world.begin(f"set playback_terminators={terminators}", "playback silence_stream://-1")
        await world.ear.wait("PLAYBACK_START")
        leg.press(pressed)
        if used is None:
            await world.ear.wait("DTMF")
            await world.api(f"uuid_break {leg.uuid}")
        stop = await world.ear.wait("PLAYBACK_STOP")
        assert stop.headers["Playback-Status"] == "break"
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert told.get("playback_terminator_used") == used
        assert told["digits_dialed"] == pressed

    run(scenario)


def test_speech_and_numbers(tmp_path: Path) -> None:
    for name in ("20", "1", "hundred"):
        (tmp_path / "digits").mkdir(exist_ok=True)
        wav.write(tmp_path / "digits" / f"{name}.wav", np.full(160, 9, np.int16))

    async def scenario(world: World) -> None:
        leg, _ = await world.run("say en NUMBER PRONOUNCED 121", "say de NUMBER PRONOUNCED 1", "say en URL ITERATED x")
        assert len(leg.heard) == 4
        start = world.ear.named("PLAYBACK_START")[0].headers["Playback-File-Path"]
        assert start == "file_string://digits/1.wav!digits/hundred.wav!digits/20.wav!digits/1.wav"

    run(scenario, sounds=tmp_path)


ASK = "play_and_get_digits 2 4 2 1000 # silence_stream://-1 silence_stream://20 got {} 1000 {}"


def test_digits_are_asked_for() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("answer", ASK.format(r"^\d+$", ""))
        await world.ear.wait("PLAYBACK_START")
        leg.press("12#")
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert (told["got"], told["read_result"], told["read_terminator_used"]) == ("12", "success", "#")
        digits = [e.headers["DTMF-Digit"] for e in world.ear.named("DTMF")]
        assert digits == ["1", "2", "#"]

    run(scenario)


def test_digits_that_do_not_match_are_asked_for_again() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("answer", ASK.format("^1", "'elsewhere XML other'"))
        await world.ear.wait("PLAYBACK_START")
        leg.press("2222")
        await world.ear.wait("PLAYBACK_START", 3)
        leg.press("34#")
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert told["got_invalid"] == "34"
        assert "got" not in told
        event = world.ear.named("CHANNEL_HANGUP_COMPLETE")[0]
        assert event.headers["Caller-Destination-Number"] == "elsewhere"
        assert event.headers["Caller-Context"] == "other"

    run(scenario)


@pytest.mark.parametrize(
    ("pressed", "digits", "result", "terminator"),
    [
        ("12", "12", "success", None),
        ("1#", "1", "success", "#"),
        ("1", "1", "timeout", None),
        ("", None, "failure", None),
    ],
)
def test_read(pressed: str, digits: str | None, result: str, terminator: str | None) -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("answer", "read 1 2 silence got 1000 # 100")
        await world.ear.wait("CHANNEL_EXECUTE", Application="read")
        leg.press(pressed)
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert told.get("got") == digits
        assert told["read_result"] == result
        assert told.get("read_terminator_used") == terminator

    run(scenario)


def test_a_recording_ends_by_silence(tmp_path: Path) -> None:
    leg, told = executed("answer", f"record {tmp_path}/a.wav 30 200 1")
    assert (told["silence_hits_exhausted"], told["record_ms"]) == ("true", "1000")
    assert len(wav.read(tmp_path / "a.wav")) == RATE
    assert leg.over == "NORMAL_CLEARING"


def test_a_recording_ends_by_its_limit_a_digit_and_a_hangup(tmp_path: Path) -> None:
    _, told = executed("answer", f"record {tmp_path}/limit.wav 2")
    assert (told["silence_hits_exhausted"], told["record_seconds"]) == ("false", "2")

    async def scenario(world: World) -> None:
        leg = world.begin("answer", f"record {tmp_path}/digit.wav", f"record {tmp_path}/gone.wav")
        leg.says = 1000
        await world.ear.wait("RECORD_START")
        leg.press("*")
        await world.ear.wait("RECORD_START", 2)
        leg.leave()
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert told["hangup_cause"] == "NORMAL_CLEARING"
        assert [e.headers["Record-File-Path"] for e in world.ear.named("RECORD_STOP")] == [
            f"{tmp_path}/digit.wav",
            f"{tmp_path}/gone.wav",
        ]

    run(scenario)


def test_both_sides_are_recorded_beside_what_is_played(tmp_path: Path) -> None:
    wav.write(tmp_path / "said.wav", np.full(4 * RATE, 300, np.int16))

    async def scenario(world: World) -> None:
        leg = world.begin("answer", f"record_session {tmp_path}/both.wav", f"playback {tmp_path}/said.wav")
        leg.says = 50
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert told["record_completion_cause"] == "no-input-timeout"
        samples = wav.read(tmp_path / "both.wav")
        assert {350} <= set(samples.tolist()) <= {50, 350}

    run(scenario)


def test_a_short_recording_of_both_sides_is_not_kept(tmp_path: Path) -> None:
    _, told = executed(
        "answer",
        "set RECORD_MIN_SEC=86400",
        f"record_session {tmp_path}/both.wav",
        "sleep 20",
        "stop_record_session all",
    )
    assert told["RECORD_DISCARDED"] == "true"
    assert not (tmp_path / "both.wav").exists()


def test_a_hangup_ends_any_application_at_once() -> None:
    async def scenario(world: World) -> None:
        for application in ("sleep 60000", "playback silence_stream://-1", "read 1 1 silence a 60000 #", "park"):
            leg = world.begin("answer", application)
            await world.ear.wait("CHANNEL_EXECUTE", Application=application.split()[0], Unique_ID=leg.uuid)
            leg.leave("NORMAL_CLEARING", 0)
            told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE", Unique_ID=leg.uuid))
            assert told["sip_hangup_disposition"] == "recv_bye"
        ended = world.ear.named("CHANNEL_EXECUTE_COMPLETE", Application="playback")[0]
        assert ended.headers["Application-Response"] == "PLAYBACK ERROR"

    run(scenario)


def test_a_transfer_goes_to_another_extension() -> None:
    plan = """
    <extension name="a"><condition field="destination_number" expression="^a$">
      <action application="transfer" data="b"/><action application="set" data="never=1"/></condition></extension>
    <extension name="b"><condition field="destination_number" expression="^(b)$">
      <action application="set" data="came=$1"/>
      <action application="transfer" data="set:inlined=1,hangup:USER_BUSY inline"/></condition></extension>
    """

    async def scenario(world: World) -> None:
        leg = world.call("a")
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert (told["came"], told["inlined"], leg.over) == ("b", "1", "USER_BUSY")
        assert "never" not in told

    run(scenario, dialplan=plan)


def test_digits_wait_while_nobody_asks_for_them() -> None:
    async def scenario(world: World) -> None:
        leg = world.begin("answer", "sleep 50", "read 3 3 silence got 1000 #")
        await world.ear.wait("CHANNEL_EXECUTE", Application="sleep")
        leg.press("123")
        told = variables(await world.ear.wait("CHANNEL_HANGUP_COMPLETE"))
        assert told["got"] == "123"

    run(scenario)


def test_what_is_to_be_executed_on_answer_is() -> None:
    async def scenario(world: World) -> None:
        await world.run("set execute_on_answer=set by=answer", "answer", "hangup")
        assert variables(world.ear.named("CHANNEL_HANGUP_COMPLETE")[0])["by"] == "answer"

    run(scenario)
