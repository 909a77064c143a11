"""M8: recording, and putting one file into another."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from harness.audio import frequencies, read_wav, silence, tone, tones, write_wav
from harness.phone import PATIENCE, Call
from harness.switches import Switch
from harness.talk import talk

from media.session import Session

BEEP = "tone_stream://%(200,0,1000)"
HEADER_MAX = 100
"Bytes that a WAV file's header takes."


@pytest.fixture
def path(switch: Switch, request: pytest.FixtureRequest) -> Path:
    """Where the test records."""
    return switch.recordings / f"{request.node.originalname}.wav"


def test_what_the_caller_says_is_recorded_until_they_are_silent(switch: Switch, path: Path) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(BEEP)
        assert await session.record_file(str(path), 20, 200, 2) is True
        await session.stream_file(BEEP)

    async def caller(call: Call) -> None:
        await call.hears(1000)
        await call.hears_silence(0.1)
        call.play(tone(600, 0.6), silence(0.2), tone(1200, 0.6))
        await call.hears(1000, since=1.0)
        await call.ended()

    talk(switch, script, caller)
    recorded = tones(read_wav(path))
    assert frequencies(recorded) == [600, 1200]
    # What comes late to the switch is silence there, and all that follows is later.
    assert [found.sound for found in recorded] == pytest.approx([0.6, 0.6], abs=0.1)
    assert 0.1 < recorded[1].start - recorded[0].end < 0.5


def test_a_recording_ends_at_its_greatest_length(switch: Switch, path: Path) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(BEEP)
        assert await session.record_file(str(path), 1, 200, 5) is False

    async def caller(call: Call) -> None:
        await call.hears(1000)
        call.play(tone(600, 6.0))
        await call.ended()

    talk(switch, script, caller)
    # FreeSWITCH counts whole seconds by the clock on the wall (switch_ivr_record_file).
    assert 0.8 <= len(read_wav(path)) / 8000 <= 2.3


def test_a_recording_is_kept_when_the_caller_hangs_up(switch: Switch, path: Path) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(BEEP)
        assert await session.record_file(str(path), 20, 200, 5) is False
        assert not session.ready()

    async def caller(call: Call) -> None:
        await call.hears(1000)
        await call.hears_silence(0.1)
        call.play(tone(600, 6.0))
        await call.hears_silence(0.8)
        await call.hangup()

    talk(switch, script, caller)
    (recorded,) = tones(read_wav(path))
    assert recorded.is_at(600)
    assert recorded.seconds > 0.4


def test_a_digit_ends_a_recording_when_the_callback_says_so(switch: Switch, path: Path) -> None:
    async def on_input(session: Session, kind: str, obj: object, argument: object) -> str:
        return "break"

    async def script(session: Session) -> None:
        await session.answer()
        session.set_input_callback(on_input)
        await session.stream_file(BEEP)
        assert await session.record_file(str(path), 20, 200, 10) is False
        assert session.ready()

    async def caller(call: Call) -> None:
        await call.hears(1000)
        await call.hears_silence(0.1)
        call.play(tone(600, 0.6))
        await call.hears_silence(1.0)
        await call.dial("#")
        await call.ended()

    talk(switch, script, caller)
    assert frequencies(tones(read_wav(path))) == [600]


@pytest.mark.parametrize(("at", "order"), [(0, [900, 500]), (4000, [500, 900, 500]), (8000, [500, 900])])
def test_a_file_is_put_into_another_at_a_sample(switch: Switch, at: int, order: list[int]) -> None:
    whole = write_wav(switch.recordings / f"into-{at}.wav", tone(500, 1.0))
    part = write_wav(switch.recordings / "part.wav", tone(900, 0.5))

    async def script(session: Session) -> None:
        await session.answer()
        await session.insert_file(str(whole), str(part), at)

    async def caller(call: Call) -> None:
        await call.ended()

    talk(switch, script, caller)
    made = tones(read_wav(whole))
    assert frequencies(made) == order
    assert sum(found.seconds for found in made) == pytest.approx(1.5, abs=0.1)
    if at == 4000:
        assert [found.seconds for found in made] == pytest.approx([0.5, 0.5, 0.5], abs=0.06)


def test_a_digit_ends_a_recording_and_others_are_kept(switch: Switch, path: Path) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.set_variable("enable_file_write_buffering", "false")
        await session.stream_file(BEEP)
        made = await session.record_until(str(path), "#", max_seconds=20, threshold=100, silence_seconds=10)
        assert (made.ended, made.digit, made.closed) == ("digit", "#", True)
        assert made.samples == len(read_wav(path))
        assert await session.get_digits(2, "", 300) == "5"
        await session.stream_file(BEEP)

    async def caller(call: Call) -> None:
        await call.hears(1000)
        await call.hears_silence(0.1)
        call.play(tone(600, 0.6), silence(0.2), tone(1200, 0.6))
        await call.hears_silence(0.4)
        await call.dial("5")
        await call.hears_silence(1.2)
        await call.dial("#")
        await call.hears(1000, since=1.0)
        await call.ended()

    talk(switch, script, caller)
    # Neither the beep nor the keys.
    assert frequencies(tones(read_wav(path))) == [600, 1200]


def test_a_recording_that_only_digits_end_is_over_with_its_call(switch: Switch, path: Path) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(BEEP)
        made = await session.record_until(str(path), "#0", max_seconds=20)
        assert (made.ended, made.digit, made.closed) == ("hangup", "", True)
        assert made.samples == len(read_wav(path))

    async def caller(call: Call) -> None:
        await call.hears(1000)
        await call.hears_silence(0.1)
        call.play(tone(600, 6.0))
        await call.hears_silence(0.8)
        await call.hangup()

    talk(switch, script, caller)
    assert frequencies(tones(read_wav(path))) == [600]


def test_what_is_recorded_is_on_disk_while_it_grows(switch: Switch, path: Path) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.set_variable("enable_file_write_buffering", "false")
        await session.stream_file(BEEP)
        assert (await session.record_until(str(path), "#", max_seconds=20)).digit == "#"

    async def caller(call: Call) -> None:
        await call.hears(1000)
        await call.hears_silence(0.1)
        call.play(tone(600, 20.0))
        # FreeSWITCH would buffer four seconds (SWITCH_DEFAULT_FILE_BUFFER_LEN of switch_types.h), ours one.
        async with asyncio.timeout(PATIENCE):
            while not path.exists() or path.stat().st_size < HEADER_MAX + 2 * 800:
                await asyncio.sleep(0.01)
        assert path.stat().st_size < 2 * 6000
        await call.dial("#")
        await call.ended()

    talk(switch, script, caller)
