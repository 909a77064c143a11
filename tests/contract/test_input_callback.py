"""M7: what a callback that sees digits and events may do with what is playing."""

from __future__ import annotations

from typing import Any

import pytest
from harness.audio import frequencies, tone, write_wav
from harness.phone import Call, Phone
from harness.switches import Switch
from harness.talk import at_once, serving, talk, with_phone

from media.session import Event, Session

# Of what is played each part sounds otherwise.
PART = 0.7
SCALE = (500, 700, 900, 1100)


@pytest.fixture(scope="module")
def scale(switch: Switch) -> str:
    """A file of the scale."""
    return str(write_wav(switch.directory / "scale.wav", *(tone(pitch, PART) for pitch in SCALE)))


@pytest.fixture(scope="module")
def short(switch: Switch) -> str:
    """The same in one second."""
    return str(write_wav(switch.directory / "short.wav", *(tone(pitch, 0.25) for pitch in SCALE)))


def answers(*results: str | None):  # type: ignore[no-untyped-def]
    """A callback that returns these in turn."""
    left = list(results)

    async def on_input(session: Session, kind: str, obj: dict[str, str], argument: object) -> str | None:
        assert (kind, obj["digit"]) == ("dtmf", "5")
        assert int(obj["duration"]) > 0
        return left.pop(0)

    return on_input


def played(switch: Switch, scale: str, *results: str | None, at: float = 0.0, again: float = 0.0) -> Call:
    """Play the scale; press 5 after ``at`` seconds of it, and ``again`` seconds later once more."""
    calls: list[Call] = []

    async def script(session: Session) -> None:
        await session.answer()
        session.set_input_callback(answers(*results))
        await session.stream_file(scale)
        session.unset_input_callback()
        assert session.ready()

    async def caller(call: Call) -> None:
        calls.append(call)
        start = (await call.hears(SCALE[0])).start
        await call.until(lambda: call.ear.elapsed >= start + at, "audio")
        await call.dial("5")
        if again:
            await call.until(lambda: call.ear.elapsed >= start + at + again, "audio")
            await call.dial("5")
        await call.ended()

    talk(switch, script, caller)
    return calls[0]


@pytest.mark.parametrize("result", ["break", "stop", "false", "truncate", "anything"])
def test_these_end_it(switch: Switch, scale: str, result: str) -> None:
    call = played(switch, scale, result, at=0.2)
    assert frequencies(call.ear.tones()) == [500]
    assert call.ear.tones()[0].seconds < 0.9 * PART


@pytest.mark.parametrize("result", ["exit", "die"])
def test_these_end_the_script(switch: Switch, scale: str, result: str) -> None:
    async def script(session: Session) -> None:
        await session.answer()
        session.set_input_callback(answers(result))
        await session.stream_file(scale)
        raise AssertionError("the script went on")

    async def caller(call: Call) -> None:
        await call.hears(SCALE[0])
        await call.dial("5")
        assert (await call.ended()).cause == "NORMAL_CLEARING"
        assert frequencies(call.ear.tones()) == [SCALE[0]]

    talk(switch, script, caller)


@pytest.mark.parametrize("result", ["true", "", None, "undefined"])
def test_these_let_it_go_on(switch: Switch, short: str, result: str | None) -> None:
    call = played(switch, short, result, at=0.1)
    assert frequencies(call.ear.tones()) == list(SCALE)


def test_pause_pauses_and_goes_on_at_the_next(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "pause", "pause", at=0.3, again=1.4)
    heard = call.ear.tones()
    assert frequencies(heard) == [500, 500, 700, 900, 1100]
    assert heard[1].start - heard[0].end == pytest.approx(1.4, abs=0.5)
    assert heard[0].seconds + heard[1].seconds == pytest.approx(PART, abs=0.2)


def test_restart_begins_anew(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "restart", at=1.0)
    assert frequencies(call.ear.tones()) == [500, 700, *SCALE]


def test_seek_goes_forward(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "seek:+1400", at=0.25)
    heard = call.ear.tones()
    assert [pitch for pitch in frequencies(heard) if pitch != 700] == [500, 900, 1100]
    assert heard[-1].end - heard[0].start == pytest.approx(1.4, abs=0.4)


def test_seek_goes_back(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "seek:-1400", at=1.6)
    heard = frequencies(call.ear.tones())
    assert heard[:3] == [500, 700, 900]
    assert heard[-4:] == list(SCALE)


def test_seek_goes_to_a_place(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "seek:2100", at=0.25)
    assert frequencies(call.ear.tones()) == [500, 1100]


def test_volume_makes_it_softer(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "volume:-2", at=0.9)
    samples = call.ear.samples.astype(float)
    first, last = call.ear.tones()[0], call.ear.tones()[-1]

    def level(start: float) -> float:
        piece = samples[int((start + 0.2) * 8000) : int((start + 0.5) * 8000)]
        return float((piece**2).mean() ** 0.5)

    assert frequencies(call.ear.tones()) == list(SCALE)
    assert level(last.start) < 0.8 * level(first.start)


def test_speed_makes_it_shorter(switch: Switch, scale: str) -> None:
    call = played(switch, scale, "speed:+2", at=0.3)
    heard = call.ear.tones()
    assert heard[-1].end - heard[0].start < 2.6


def test_an_event_for_the_call_comes_to_the_callback(switch: Switch) -> None:
    seen: list[tuple[str, Any, str]] = []

    async def on_input(session: Session, kind: str, event: Event, argument: Any) -> str:
        # Of an event that came this way FreeSWITCH does not tell the name.
        seen.append((kind, argument, event.get_body()))
        return "break"

    async def script(session: Session) -> None:
        await session.answer()
        await session.stream_file("tone_stream://%(300,0,500)")
        session.set_input_callback(on_input, "blah")
        # While a file is played FreeSWITCH gives such an event to nobody (on_dtmf of mod_dptools.c).
        assert not await session.sleep(60_000)
        assert session.ready()

    async def scenario(phone: Phone) -> None:
        async with serving(switch, script) as served:
            call = phone.call()
            await call.hears(500)
            await call.hears_silence(0.2)
            event = Event("message")
            event.add_header("Unique-ID", served.sessions[0].get_uuid())
            event.add_body("you said hello")
            await event.fire()
            await at_once(call.ended(), served.done())
        assert seen == [("event", "blah", "you said hello")]

    with_phone(switch, scenario)
