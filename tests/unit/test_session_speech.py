"""What a session does itself and what it leaves to the switch, when it speaks; on a made-up switch."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from harness.audio import tone, write_wav
from harness.esl_peer import Command, Wire
from harness.session_peer import FakeSwitch, with_session

from media.esl.errors import ArgumentError
from media.session import IVRMenu, Phrases, Session, load_phrases, saying
from media.speech import speaker
from media.speech.cache import Cache
from media.speech.errors import EngineError, SpeechError, UnknownPromptError
from media.speech.prompts import text
from media.speech.speaker import Speaker, Text
from media.speech.speech import Speech


class Tone:
    """An engine that makes a tone, or fails where the text says so."""

    name = "tone"

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def render(self, text: str, voice: str, rate: int, path: Path) -> None:
        """0.1 s."""
        self.texts.append(text)
        if "fail" in text:
            raise EngineError("no voice today")
        write_wav(path, tone(500, 0.1))


@pytest.fixture
def engine() -> Tone:
    return Tone()


@pytest.fixture
def made(tmp_path: Path, engine: Tone) -> Speaker:
    return Speaker(Speech(Cache(tmp_path / "cache"), engine))


def ran(switch: FakeSwitch) -> list[str]:
    """What was run, files of the cache as their kind alone."""
    return [re.sub(r"\S*/cache/\w\w/\w+\.wav", "CACHED", f"{app} {data}") for app, data in switch.ran]


def test_speak_is_played_where_the_engine_is_ours(made: Speaker, engine: Tone) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        speaker.use(made)
        session.set_tts_params("tone", "any")
        assert await session.speak("hello")
        assert await session.speak("please fail")
        session.set_tts_params("cepstral", "callie")
        assert await session.speak("hello")
        with pytest.raises(ArgumentError, match="line end"):
            await session.speak("two\nlines")

    assert ran(with_session(script)) == ["playback CACHED", "speak tone|any|please fail", "speak cepstral|callie|hello"]
    assert engine.texts == ["hello", "please fail"]


def test_without_a_worker_the_switch_speaks() -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        session.set_tts_params("flite", "slt")
        assert await session.speak("hello")
        with pytest.raises(SpeechError, match="no worker"):
            speaker.current()

    assert ran(with_session(script)) == ["speak flite|slt|hello"]


def test_nothing_is_spoken_to_nobody(made: Speaker, engine: Tone) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        speaker.use(made)
        session.set_tts_params("tone", "any")
        await session.hangup()
        assert not await session.speak("hello")
        assert not await session.say("1", "en", "number", "pronounced")

    with_session(script)
    assert engine.texts == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [("false", "playback CACHED"), ("true", "say en number pronounced 12"), ("", "say en number pronounced 12")],
)
def test_say_is_the_switchs_where_it_has_recordings(made: Speaker, answer: str, said: str) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        speaker.use(made)
        switch.variables["sound_prefix"] = "/sounds"
        before = switch.answers["api"]

        def api(wire: Wire, command: Command) -> None:
            if "file_exists" in command.line:
                switch.api.append(command.line.removeprefix("api "))
                wire.response(answer or "-ERR file_exists Command not found!\n")
            else:
                before(wire, command)

        switch.answers["api"] = api
        for _ in range(2):
            assert await session.say("12", "en", "number", "pronounced")

    switch = with_session(script)
    assert ran(switch) == [said, said]
    asked = [line for line in switch.api if line.startswith("file_exists")]
    assert asked == [f"file_exists /sounds/digits/{rate}1.wav" for rate in ("", "8000/", "16000/", "32000/", "48000/")]


def test_other_languages_are_the_switchs(made: Speaker) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        speaker.use(made)
        made.switch_has_prompts = False
        await session.say("12", "de", "number", "pronounced")
        await session.say("12", "en", "colour", "pronounced")

    assert ran(with_session(script)) == ["say de number pronounced 12", "say en colour pronounced 12"]


@pytest.mark.parametrize(
    ("kind", "method", "value", "spoken"),
    [
        ("NUMBER", "PRONOUNCED", "1,234", "one thousand two hundred thirty four"),
        ("messages", "counted", "2", "second"),
        ("number", "iterated", "12", "one two"), ("telephone_number", "pronounced", "555", "five five five"),
        ("name_spelled", "pronounced", "b1", "b one"), ("name_phonetic", "pronounced", "b1", "bravo one"),
        ("currency", "pronounced", "$3.02", "three dollars and two cents"),
        ("time_measurement", "pronounced", "0:02:03", "two minutes three seconds"),
        ("time_measurement", "pronounced", "61", "one minute one second"),
        ("current_date", "pronounced", "1600000", "Monday January nineteenth nineteen seventy"),
        ("current_time", "pronounced", "0", "one o'clock a.m."),
        ("current_date_time", "pronounced", "0", "Thursday January first nineteen seventy at one o'clock a.m."),
        ("short_date_time", "pronounced", "0", "Thursday January first nineteen seventy at one o'clock a.m."),
        ("ip_address", "pronounced", "192.0.2.1", ""), ("number", "pronounced", "many", ""),
        ("time_measurement", "x", "a:b", ""),
        ("current_date", "pronounced", "9" * 30, ""),
    ],
)  # fmt: skip
def test_what_the_switch_says_has_words(kind: str, method: str, value: str, spoken: str) -> None:
    assert " ".join(map(text, saying.names(kind, method, value, "Europe/Berlin"))) == spoken


def test_now_is_said_where_no_moment_is_given() -> None:
    assert saying.names("short_date_time", "pronounced", "", None)[0] == "digits/today"
    assert saying.names("current_date", "pronounced", "", "nowhere") == ()
    assert datetime.now(UTC).year >= 2026


def test_a_name_that_is_none_plays_nothing(made: Speaker) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        with pytest.raises(UnknownPromptError):
            await made.play(session, "vm-goodbye", "vm-godbye")
        with pytest.raises(EngineError):
            await made.play(session, Text("this will fail"))

    assert with_session(script).ran == []


def test_what_stops_it_stands_in_the_argument(made: Speaker) -> None:
    async def script(session: Session, switch: FakeSwitch) -> None:
        for digits in ("any", "none", "#1", ""):
            await made.play(session, "tone_stream://%(1)", digits=digits)

    assert with_session(script).terminators[:2] == ["any", "none"]


def test_a_menu_has_its_own_phrases_before_the_switchs(made: Speaker, tmp_path: Path, engine: Tone) -> None:
    (tmp_path / "phrases.yaml").write_text('phrases: {ours: [{do: [{speak: "you pressed"}]}]}\n')
    phrases: Phrases = load_phrases(tmp_path / "phrases.yaml")
    menu = IVRMenu(None, "main", "phrase:ours:1", "phrase:theirs:1", timeout=100, max_timeouts=2)
    menu.phrases = phrases

    async def script(session: Session, switch: FakeSwitch) -> None:
        speaker.use(made)
        await menu.execute(session)

    assert ran(with_session(script)) == ["playback CACHED", "playback phrase:theirs:1"]
    assert engine.texts == ["you pressed"]


@pytest.mark.parametrize(
    ("tts", "sound", "played"),
    [
        (("", ""), "say:hello", "CACHED"), (("tone", "any"), "say:hello", "CACHED"),
        (("other", "any"), "say:hello", "say:hello"),
        (("", ""), "say:fail", "say:fail"), (("", ""), "vm-goodbye", "CACHED"), (("", ""), "a.wav", "a.wav"),
    ],
)  # fmt: skip
def test_a_menus_words_are_ours_where_the_engine_is(
    made: Speaker, tts: tuple[str, str], sound: str, played: str
) -> None:
    menu = IVRMenu(None, "main", sound, tts_engine=tts[0], tts_voice=tts[1], timeout=100, max_timeouts=1)

    async def script(session: Session, switch: FakeSwitch) -> None:
        speaker.use(made)
        await menu.execute(session)

    assert ran(with_session(script)) == [f"playback {played}"]
