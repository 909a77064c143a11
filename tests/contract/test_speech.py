"""What a worker says: by an engine, by recorded prompts, by both; and what stops it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path

import pytest
from harness.audio import frequencies, silence, tone, write_wav
from harness.phone import Call
from harness.speech import found_in, speaker, through_g711
from harness.switches import Switch
from harness.talk import talk

from media.session import Session, load_menus
from media.speech import say
from media.speech import speaker as speaking
from media.speech.cache import key
from media.speech.speaker import Text

RECORDED = {"vm-youhave": 500, "digits/3": 700, "vm-messages": 900, "vm-goodbye": 1100}
LONG = "tone_stream://%(9000,0,600)"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompts that are tones, in the names of Asterisk's and the folder of Debian's package."""
    sounds = tmp_path_factory.mktemp("recorded")
    for name, pitch in RECORDED.items():
        write_wav(sounds / "en_US_f_Allison" / f"{name}.wav", silence(0.2), tone(pitch, 0.3), silence(0.2))
    return sounds


def heard_of(switch: Switch, script: Callable[[Session], Awaitable[None]]) -> Call:
    """A call that only listens."""
    calls: list[Call] = []

    async def caller(call: Call) -> None:
        calls.append(call)
        await call.ended()

    talk(switch, script, caller)
    return calls[0]


def test_what_is_spoken_is_heard_sample_by_sample(switch: Switch, tmp_path: Path) -> None:
    made = speaker(tmp_path)
    files: list[str] = []

    async def script(session: Session) -> None:
        await session.answer()
        files.extend(await made.files(Text("Please say the name of the person you are trying to contact")))
        assert await made.play(session, Text("Please say the name of the person you are trying to contact"))

    call = heard_of(switch, script)
    _, equal = found_in(call.ear.sent, through_g711(files[0]))
    assert equal >= 0.999


def test_speak_is_the_workers_where_there_is_one(switch: Switch, tmp_path: Path) -> None:
    made = speaker(tmp_path)
    files: list[Path] = []

    async def script(session: Session) -> None:
        speaking.use(made)
        await session.answer()
        session.set_tts_params("flite", "rms")
        files.append(await made.speech.render("the costs are $5 & 30 cents | no more", engine="flite", voice="rms"))
        assert await session.speak("the costs are $5 & 30 cents | no more")

    call = heard_of(switch, script)
    _, equal = found_in(call.ear.sent, through_g711(files[0]))
    assert equal >= 0.999


def test_recorded_prompts_come_as_one(switch: Switch, tmp_path: Path, recorded: Path) -> None:
    made = speaker(tmp_path, recorded)

    async def script(session: Session) -> None:
        await session.answer()
        assert await made.play(session, "vm-youhave", say.number(3), "vm-messages")

    heard = heard_of(switch, script).ear.tones()
    assert frequencies(heard) == [500, 700, 900]
    for before, after in pairwise(heard):
        assert after.start - before.end <= 0.2, "there was a gap"


def test_streams_files_and_prompts_are_mixed(switch: Switch, tmp_path: Path, recorded: Path) -> None:
    made = speaker(tmp_path, recorded)
    own = write_wav(tmp_path / "own.wav", tone(1300, 0.3))

    async def script(session: Session) -> None:
        await session.answer()
        assert await made.play(session, "vm-goodbye", "silence_stream://300", own, "silence_stream://300", "beep")

    call = heard_of(switch, script)
    # A beep that is not recorded is a tone.
    assert frequencies(call.ear.tones()) == [1100, 1300, 1000]


def test_a_row_that_is_not_all_recorded_is_spoken(switch: Switch, tmp_path: Path, recorded: Path) -> None:
    made = speaker(tmp_path, recorded)
    files: list[str] = []

    async def script(session: Session) -> None:
        await session.answer()
        files.extend(await made.files("vm-youhave", say.number(4), "vm-messages"))
        await made.play(session, "vm-youhave", say.number(4), "vm-messages")

    call = heard_of(switch, script)
    spoken = key("flite", "slt", 8000, "You have four messages")
    assert files == [str(made.speech.cache.path(spoken))]
    _, equal = found_in(call.ear.sent, through_g711(files[0]))
    assert equal >= 0.999


@pytest.mark.parametrize("parts", [(LONG,), (LONG, "silence_stream://1000"), (Text("one two three " * 20),)])
def test_a_digit_stops_it_and_is_kept(switch: Switch, tmp_path: Path, parts: tuple[str | Text, ...]) -> None:
    made = speaker(tmp_path)

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("tone_stream://%(300,0,1500)")
        assert not await made.play(session, *parts)
        assert await session.get_digits(2, "#", 10_000) == "42"
        await session.stream_file("tone_stream://%(300,0,2000)")

    async def caller(call: Call) -> None:
        began = (await call.hears(1500)).start
        await call.until(lambda: call.ear.now > began + 1.5, "what is said then")
        await call.dial("42")
        await call.hears(2000, timeout=7)
        await call.ended()

    talk(switch, script, caller)


def test_who_pressed_before_does_not_hear_it(switch: Switch, tmp_path: Path) -> None:
    made = speaker(tmp_path)

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("tone_stream://%(300,0,1500)")
        await session.sleep(1500)
        assert not await made.play(session, LONG)
        assert await made.play(session, "tone_stream://%(300,0,1700)", digits="#")
        assert await session.get_digits(1, "", 10_000) == "7"

    async def caller(call: Call) -> None:
        await call.hears(1500)
        await call.dial("7")
        assert await call.heard_until_end() == [1500, 1700]

    talk(switch, script, caller)


def test_other_digits_are_kept_and_stop_nothing(switch: Switch, tmp_path: Path) -> None:
    made = speaker(tmp_path)

    async def script(session: Session) -> None:
        await session.answer()
        assert await made.play(session, "tone_stream://%(1500,0,600)", digits="none")
        assert not await made.play(session, LONG, digits="#")
        assert await session.get_digits(3, "", 10_000) == "12#"

    async def caller(call: Call) -> None:
        await call.hears(600)
        await call.dial("1")
        await call.hears(600)
        await call.dial("2#")
        await call.ended()

    talk(switch, script, caller)


def test_the_end_of_the_call_ends_it(switch: Switch, tmp_path: Path) -> None:
    made = speaker(tmp_path)

    async def script(session: Session) -> None:
        await session.answer()
        assert not await made.play(session, LONG)
        assert not await made.play(session, LONG)
        assert not session.ready()

    async def caller(call: Call) -> None:
        await call.hears(600)
        await call.hangup()

    talk(switch, script, caller)


def test_what_the_switch_has_no_recordings_for_is_said_all_the_same(switch: Switch, tmp_path: Path) -> None:
    made = speaker(tmp_path)

    async def script(session: Session) -> None:
        speaking.use(made)
        await session.answer()
        await session.set_variable("sound_prefix", str(tmp_path / "nothing"))
        assert await session.say("12345", "en", "number", "pronounced")

    call = heard_of(switch, script)
    spoken = made.speech.cache.path(key("flite", "slt", 8000, "twelve thousand three hundred forty five"))
    if spoken.exists():
        _, equal = found_in(call.ear.sent, through_g711(spoken))
        assert equal >= 0.999
    else:
        assert switch.name == "embedded", "which speaks by itself"
        assert (abs(call.ear.sent.astype(float)) > 1000).sum() > 4000


PHRASES = """\
phrases:
  choice:
    - match: "^([12])$"
      do: [{play: vm-youhave}, {sleep: 300}, {say: number, of: "3"}, {sleep: 300}, {play: vm-messages}]
"""
MENU = """\
phrases: phrases.yaml
menus:
  - name: main
    greeting_sound: vm-goodbye
    exit_sound: "say:one two three"
    timeout: 8000
    actions:
      - {press: "/^([12])$/", do: menu-say-phrase, with: "choice,$1"}
      - {press: "*", do: menu-exit}
"""


def test_a_menu_says_prompts_phrases_and_words(switch: Switch, tmp_path: Path, recorded: Path) -> None:
    (tmp_path / "phrases.yaml").write_text(PHRASES)
    (tmp_path / "menu.yaml").write_text(MENU)
    made, menu = speaker(tmp_path, recorded), load_menus(tmp_path / "menu.yaml")
    calls: list[Call] = []

    async def script(session: Session) -> None:
        speaking.use(made)
        await session.answer()
        await menu.execute(session)

    async def caller(call: Call) -> None:
        calls.append(call)
        since = (await call.hears(1100)).end
        await call.hears_silence(0.1)
        await call.dial("2")
        since = (await call.hears(1100, since=since + 0.1)).end
        await call.hears_silence(0.1)
        await call.dial("*")
        await call.ended()

    talk(switch, script, caller)
    assert frequencies(calls[0].ear.tones())[:5] == [1100, 500, 700, 900, 1100]
    spoken = made.speech.cache.path(key("flite", "slt", 8000, "one two three"))
    _, equal = found_in(calls[0].ear.sent, through_g711(spoken))
    assert equal >= 0.999
