"""M5: files, tones, silence, speech, numbers and phrases."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import numpy as np
import pytest
from harness.audio import frequencies, tone, write_wav
from harness.phone import Call
from harness.prompts import spoken
from harness.switches import Switch
from harness.talk import talk

from media.session import Session


def heard_as(*names: str):  # type: ignore[no-untyped-def]
    async def caller(call: Call) -> None:
        await call.ended()
        assert spoken(call.ear.tones()) == list(names)

    return caller


def test_a_file_is_played_to_its_end(switch: Switch) -> None:
    path = write_wav(switch.directory / "two.wav", tone(500, 0.4), tone(900, 0.6))

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(str(path))

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [500, 900]
        first, second = call.ear.tones()
        assert first.seconds == pytest.approx(0.4, abs=0.08)
        assert second.seconds == pytest.approx(0.6, abs=0.08)

    talk(switch, script, caller)


def test_a_file_is_played_from_a_sample_on(switch: Switch) -> None:
    path = write_wav(switch.directory / "offset.wav", tone(500, 1.0), tone(900, 0.5))

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(str(path), 6000)

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [500, 900]
        assert call.ear.tones()[0].seconds == pytest.approx(0.25, abs=0.08)

    talk(switch, script, caller)


def test_wide_band_files_are_converted(switch: Switch) -> None:
    path = write_wav(switch.directory / "wide.wav", tone(600, 0.4, rate=16_000), rate=16_000)

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file(str(path))

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [600]
        assert call.ear.tones()[0].seconds == pytest.approx(0.4, abs=0.08)

    talk(switch, script, caller)


def test_a_prompt_is_found_in_the_folder_of_its_rate(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("voicemail/vm-goodbye.wav")

    talk(switch, script, heard_as("voicemail/vm-goodbye"))


def test_a_file_that_is_not_there_does_not_end_the_script(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("/nowhere/at-all.wav")
        await session.stream_file("tone_stream://%(200,0,600)")
        assert session.ready()

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [600]

    talk(switch, script, caller)


def test_tones_have_their_cadence(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("tone_stream://L=2;%(200,300,600)")

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [600, 600]
        first, second = call.ear.tones()
        assert first.seconds == pytest.approx(0.2, abs=0.05)
        assert second.start - first.start == pytest.approx(0.5, abs=0.05)

    talk(switch, script, caller)


def test_two_frequencies_sound_at_once(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("tone_stream://%(600,0,600,1400)")

    async def caller(call: Call) -> None:
        await call.ended()
        spectrum = np.abs(np.fft.rfft(call.ear.samples, 8000))
        strongest = {round(at, -1) for at in np.argsort(spectrum)[-6:]}
        assert strongest == {600, 1400}

    talk(switch, script, caller)


def test_silence_lasts_as_long_as_it_says(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("tone_stream://%(200,0,600)")
        await session.stream_file("silence_stream://700")
        await session.stream_file("tone_stream://%(200,0,900)")
        await session.sleep(700)
        await session.stream_file("tone_stream://%(200,0,600)")

    async def caller(call: Call) -> None:
        assert await call.heard_until_end() == [600, 900, 600]
        first, second, third = call.ear.tones()
        assert second.start - first.end == pytest.approx(0.7, abs=0.25)
        assert third.start - second.end == pytest.approx(0.7, abs=0.25)

    talk(switch, script, caller)


def test_text_is_spoken(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        session.set_tts_params("flite", "rms")
        await session.speak("Please say the name of the person you are trying to contact")

    async def caller(call: Call) -> None:
        await call.ended()
        loud = np.abs(call.ear.samples.astype(float)) > 1000
        # Five seconds of words, no tone of which lasts.
        assert loud.sum() / 8000 > 0.3
        assert call.ear.now > 2.0

    talk(switch, script, caller)


@pytest.mark.parametrize(
    ("value", "kind", "method", "names"),
    [
        ("12345", "number", "pronounced",
         ["digits/12", "digits/thousand", "digits/3", "digits/hundred", "digits/40", "digits/5"]),
        ("2026", "number", "iterated", ["digits/2", "digits/0", "digits/2", "digits/6"]),
        ("21", "number", "counted", ["digits/20", "digits/h-1"]),
        ("3.02", "currency", "pronounced",
         ["digits/3", "currency/dollars", "currency/and", "digits/2", "currency/cents"]),
        ("0:02:03", "time_measurement", "pronounced",
         ["digits/0", "time/hours", "digits/2", "time/minutes", "digits/3", "time/seconds"]),
        ("abc", "name_spelled", "pronounced", ["ascii/97", "ascii/98", "ascii/99"]),
        ("442", "telephone_number", "pronounced", ["digits/4", "digits/4", "digits/2"]),
        # 1970-01-19, a Monday.
        ("1600000", "current_date", "pronounced",
         ["time/day-1", "time/mon-0", "digits/19", "digits/19", "digits/70"]),
    ],
)  # fmt: skip
def test_recorded_words_are_said(switch: Switch, value: str, kind: str, method: str, names: list[str]) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.set_variable("timezone", "GMT")
        await session.say(value, "en", kind, method)

    talk(switch, script, heard_as(*names))


def test_a_phrase_is_said(switch: Switch) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        await session.say_phrase("spell", "cab", "en")
        await session.say_phrase("number", "12", "en")
        await session.say_phrase("contract-goodbye", "3", "en")

    talk(
        switch, script,
        heard_as("ascii/99", "ascii/97", "ascii/98", "digits/12", "digits/3", "voicemail/vm-goodbye"),
    )  # fmt: skip


def test_a_sound_ends_with_the_time_that_its_script_gives_it(switch: Switch) -> None:
    calls: list[Call] = []

    async def script(session: Session) -> None:
        await session.answer()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await session.stream_file("tone_stream://%(5000,0,500)")
        await session.stream_file("tone_stream://%(300,0,900)")
        await session.sleep(500)
        await session.stream_file("tone_stream://%(300,0,1300)")

    async def caller(call: Call) -> None:
        calls.append(call)
        await call.ended()

    talk(switch, script, caller)
    assert frequencies(calls[0].ear.tones()) == [500, 900, 1300]
