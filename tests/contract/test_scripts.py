"""M17 and M18, and the call scripts that Strowger ships, on a worker of their own."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from harness.audio import frequencies, silence, tone, write_wav
from harness.phone import PATIENCE, Call, Phone, phone
from harness.switches import Switch
from harness.talk import at_once, inbound
from harness.worker import ask, at_work, handed_over, until

from console.ports import free_port
from media.session import EventConsumer
from media.worker import Worker
from model.settings import SCRIPTS, Address, Settings

WELCOME, INVALID, GOODBYE = 1200, 1600, 2000
OWN = """
    from media.script import script
    from media.session import API

    @script("gives-back")
    async def gives_back(session, args):
        session.set_auto_hangup(False)
        await session.answer()
        await session.stream_file("tone_stream://%(300,0,700)" if args == "one two" else "")

    heard = []

    @script("note")
    async def note(env):
        heard.append(env.get_header("my_var"))

    @script("noted")
    async def noted(stream):
        stream.write(repr(heard))

    @script("pitch", http=True)
    async def pitch(stream, args):
        stream.write("1300" if args == "a b" else "500")

    @script("goes-to")
    async def goes_to(session, args):
        extension, _, url = args.partition(" ")
        await session.set_variable("script_url", url)
        await session.transfer(extension, "XML", "scripts")

    @script("breaks")
    async def breaks(session):
        raise ValueError

    modes = []

    @script("sent-ahead", ahead=True)
    async def sent_ahead(session, args):
        modes.append(session.channel.get("Socket-Mode"))
        if args == "breaks":
            raise ValueError
        session.set_auto_hangup(args != "gives back")
        await session.answer()
        await session.stream_file("tone_stream://%(600,0,700)")
        await session.stream_file("tone_stream://%(600,0,1100)")

    @script("modes")
    async def said_modes(stream):
        known = await API().execute("global_getvar", "strowger_ahead")
        stream.write(f"{known} {modes}")

    @script("breaks-late")
    async def breaks_late(session):
        await session.answer()
        raise ValueError
"""


class Place:
    """A switch, a worker with a folder of scripts, and a phone."""

    def __init__(self, phone: Phone, settings: Settings, worker: Worker) -> None:
        self.phone, self.settings, self.worker = phone, settings, worker

    def call(self, app: str, args: str = "", *, valid: float = 30) -> Call:
        """A call that Kamailio hands over."""
        return self.phone.call("5000", headers=handed_over(app, args, valid=valid))

    async def status(self) -> dict[str, object]:
        """The worker's."""
        return await ask(self.settings, "status")


@pytest.fixture
def at(switch: Switch, tmp_path: Path) -> Callable[[Callable[[Place], Awaitable[None]]], None]:
    """Runs a scenario with all shipped scripts, and a few of its own."""
    lines = [line.removeprefix("    ") for line in OWN.splitlines()]
    folder = Path(shutil.copytree(SCRIPTS, tmp_path / "scripts"))
    (folder / "own.py").write_text("\n".join(lines))
    for name, pitch in (("that_was_an_invalid_entry", INVALID), ("welcome_to_freeswitch", WELCOME)):
        write_wav(switch.sounds / "ivr" / "8000" / f"ivr-{name}.wav", tone(pitch, 1.0))
    write_wav(switch.sounds / "voicemail" / "8000" / "vm-goodbye.wav", tone(GOODBYE, 0.3))
    host, port = switch.workers[0]
    settings = Settings.from_env(
        {
            "STROWGER_RUN": str(tmp_path / "run"),
            "STROWGER_SCRIPTS": str(folder),
            "STROWGER_MEDIA_STATE": str(tmp_path / "state"),
            "STROWGER_VOICEMAIL": str(tmp_path / "voicemail"),
            "STROWGER_SPEECH_CACHE": str(tmp_path / "speech"),
            "STROWGER_ESL_ADDRESS": "{}:{}".format(*switch.esl),
            "STROWGER_WORKER_ADDRESS": f"{host}:{port}",
            "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port()}",
        }
    )

    def run(scenario: Callable[[Place], Awaitable[None]]) -> None:
        async def main() -> None:
            async with at_work(settings, switch.password) as worker, phone(switch.sip) as made:
                await scenario(Place(made, settings, worker))

        asyncio.run(main())

    return run


Run = Callable[[Callable[[Place], Awaitable[None]]], None]


def test_answer_play_hang_up(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("welcome")
        await call.hears(WELCOME)
        assert (await call.ended()).cause == "NORMAL_CLEARING"

    at(scenario)


@pytest.mark.parametrize(
    ("app", "valid", "status"), [("welcome", -5.0, 403), ("nobody", 30.0, 404), ("breaks", 30.0, 480)]
)
def test_a_call_that_gets_no_script(at: Run, app: str, valid: float, status: int) -> None:
    async def scenario(place: Place) -> None:
        assert (await place.call(app, valid=valid).ended()).status == status

    at(scenario)


def test_a_call_from_elsewhere_gets_no_script(at: Run) -> None:
    async def scenario(place: Place) -> None:
        assert (await place.phone.call("5000", headers={"X-strowger_script": "welcome"}).ended()).status == 403

    at(scenario)


def test_a_script_that_fails_after_the_answer_ends_its_call(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("breaks-late")
        await call.answered()
        await call.ended()

    at(scenario)


def test_an_edit_serves_the_next_call_and_the_one_under_way_goes_on(at: Run) -> None:
    async def scenario(place: Place) -> None:
        file = place.settings.scripts / "welcome.py"
        first = place.call("welcome")
        await first.hears(WELCOME)
        file.write_text(file.read_text().replace("ivr/ivr-welcome_to_freeswitch.wav", "tone_stream://%(300,0,500)"))
        second = place.call("welcome")
        await second.hears(500)
        await at_once(first.ended(), second.ended())
        assert frequencies(first.ear.tones()) == [WELCOME]
        file.write_text("def (")
        third = place.call("welcome")
        await third.hears(500)
        await third.ended()

    at(scenario)


def test_a_key_interrupts(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("keys")
        heard = await call.hears(WELCOME)
        await call.dial("#")
        await call.ended()
        assert sum(found.end - found.start for found in call.ear.tones(heard.start)) < 0.95

    at(scenario)


def test_the_menu(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("ivr")
        since = 0.0
        for pitch, key in ((WELCOME, "2"), (440, "1"), (659, "*"), (WELCOME, "*")):
            since = (await call.hears(pitch, since=since)).start + 0.1
            await call.hears_silence(0.1)
            await call.dial(key)
        await call.hears(GOODBYE, since=since)
        await call.ended()

    at(scenario)


def test_the_hangup_hook(at: Run, switch: Switch) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("hangup-hook")
        await call.answered()
        await until(lambda: list(place.settings.media_state.rglob("*.json")))
        await call.hangup()
        await until(lambda: not list(place.settings.media_state.rglob("*.json")))
        await until(lambda: "NORMAL_CLEARING, my_custom_var is foobar" in switch.log)

    at(scenario)


def test_a_retry_over_two_gateways(at: Run) -> None:
    async def scenario(place: Place) -> None:
        async with phone(place.phone.switch, "2000") as first, phone(place.phone.switch, "3000") as second:
            call = place.call("retry", f"{first.dial_string} {second.dial_string}")
            await (await first.called()).hangup("NORMAL_TEMPORARY_FAILURE")
            callee = await second.called()
            await callee.answer()
            callee.play(tone(700, 2.0))
            await call.hears(700)
            await callee.hangup()
            await call.ended()

    at(scenario)


def test_a_retry_ends_where_the_cause_speaks_of_the_callee(at: Run) -> None:
    async def scenario(place: Place) -> None:
        async with phone(place.phone.switch, "2000") as callee:
            call = place.call("retry", f"{callee.dial_string} {callee.dial_string}")
            await (await callee.called()).hangup("USER_BUSY")
            assert (await call.ended()).cause == "USER_BUSY"
            assert len(callee.calls) == 1

    at(scenario)


def test_two_legs(at: Run) -> None:
    async def scenario(place: Place) -> None:
        async with phone(place.phone.switch, "2000") as second:
            args = f"{place.phone.dial_string} {second.dial_string}"
            said = asyncio.ensure_future(ask(place.settings, "run", name="two-legs", args=args))
            leg_a = await place.phone.called()
            await leg_a.answer()
            leg_b = await second.called()
            await leg_b.answer()
            leg_b.play(tone(700, 3.0))
            await leg_a.hears(700)
            await leg_b.hangup()
            assert (await said)["output"] == "leg A: ANSWER\nleg B: ANSWER\nthe two have talked\n"
            await leg_a.ended()

    at(scenario)


def test_captions_of_both_who_talk(at: Run, switch: Switch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROWGER_VOICEMAIL", str(tmp_path))
    monkeypatch.setenv("STROWGER_TRANSCRIBER", "harness.engines:Good:sound")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))

    async def finals(events: EventConsumer) -> AsyncIterator[str]:
        async for event in events:
            if event.get_header("Transcript-Final") == "true":
                assert json.loads(event.get_body())["text"] == "sound"
                yield event.get_header("Transcript-Leg") or ""

    async def scenario(place: Place) -> None:
        async with (
            phone(place.phone.switch, "2000") as second,
            inbound(switch),
            EventConsumer("CUSTOM", "strowger::transcript") as events,
            asyncio.timeout(3 * PATIENCE),
        ):
            call = place.call("captions", second.dial_string)
            callee = await second.called()
            await callee.answer()
            callee.play(tone(700, 1.0), silence(30))
            await call.hears(700)
            said = finals(events)
            assert await anext(said) == "callee"
            call.play(tone(900, 1.0), silence(30))
            assert await anext(said) == "caller"
            await callee.hangup()
            await call.ended()
            await until(lambda: not list((tmp_path / "live").iterdir()))

    at(scenario)


def test_a_leg_that_is_left_ends_with_its_script(at: Run) -> None:
    async def scenario(place: Place) -> None:
        async with phone(place.phone.switch, "2000") as second:
            args = f"{place.phone.dial_string} {second.dial_string}"
            said = asyncio.ensure_future(ask(place.settings, "run", name="two-legs", args=args))
            leg_a = await place.phone.called()
            await leg_a.answer()
            await (await second.called()).hangup("USER_BUSY")
            assert (await said)["output"] == "leg A: ANSWER\nleg B: USER_BUSY\n"
            await leg_a.ended()

    at(scenario)


def test_an_attached_script_gives_the_call_back_to_its_dialplan(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("goes-to", "910")
        await call.hears(700)
        await call.hears(1100)
        await call.ended()

    at(scenario)


def test_a_detached_script_lets_the_dialplan_go_on(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("goes-to", "911")
        await call.hears(900)
        await call.ended()
        assert (await ask(place.settings, "run", name="noted"))["output"] == "['foo bar']"

    at(scenario)


def test_a_dialplan_reads_what_a_script_writes(at: Run) -> None:
    async def scenario(place: Place) -> None:
        url = f"http://{place.settings.worker_http}/scripts/pitch?args=a%20b"
        call = place.call("goes-to", f"912 {url}")
        await call.hears(1300)
        await call.ended()

    at(scenario)


async def _modes(place: Place) -> str:
    """What the switch knows of scripts that are sent ahead, and which sockets their calls had."""
    return str((await ask(place.settings, "run", name="modes"))["output"])


def test_a_script_that_is_sent_ahead_has_a_socket_without_async(at: Run) -> None:
    async def scenario(place: Place) -> None:
        assert await _modes(place) == "sent\\-ahead []"
        call = place.call("sent-ahead")
        await call.hears(700)
        await call.hears(1100)
        assert (await call.ended()).cause == "NORMAL_CLEARING"
        assert (await place.call("sent-ahead", "breaks").ended()).status == 480
        back = place.call("sent-ahead", "gives back")
        await back.hears(1100)
        assert (await back.ended()).cause == "NORMAL_TEMPORARY_FAILURE"
        gone = place.call("sent-ahead")
        await gone.hears(700)
        await gone.hangup()
        while (await place.status())["calls"]:
            pass
        assert await _modes(place) == f"sent\\-ahead {['static'] * 4}"

    at(scenario)


def test_what_was_sent_ahead_outlives_its_worker(at: Run) -> None:
    async def scenario(place: Place) -> None:
        await _modes(place)
        call = place.call("sent-ahead")
        await call.hears(700)
        place.worker.stop()
        place.worker.stop()
        await call.hears(1100)
        assert (await call.ended()).cause == "NORMAL_CLEARING"

    at(scenario)


def test_a_script_that_is_not_sent_ahead_any_more_serves_the_next_call(at: Run) -> None:
    async def scenario(place: Place) -> None:
        await _modes(place)
        file = place.settings.scripts / "own.py"
        file.write_text(file.read_text().replace(", ahead=True", ""))
        for _ in range(2):
            call = place.call("sent-ahead")
            await call.hears(1100)
            assert (await call.ended()).cause == "NORMAL_CLEARING"
        assert await _modes(place) == f" {['async'] * 2}"

    at(scenario)


def test_another_worker_takes_the_calls_of_a_drained_one(at: Run, switch: Switch) -> None:
    async def scenario(place: Place) -> None:
        await ask(place.settings, "drain")
        host, port = switch.workers[1]
        http = Address("127.0.0.1", free_port())
        other = replace(place.settings, worker_address=Address(host, port), worker_http=http)
        async with at_work(other, switch.password):
            call = place.call("welcome")
            await call.hears(WELCOME)
            await call.ended()
            assert (await ask(other, "status"))["taken"] == 1

    at(scenario)


def test_a_drained_worker_takes_no_call(at: Run) -> None:
    async def scenario(place: Place) -> None:
        call = place.call("hangup-hook")
        await call.answered()
        await ask(place.settings, "drain")
        assert (await place.call("welcome").ended()).status == 503
        assert (await place.status())["calls"] == 1
        await call.hangup()
        async with asyncio.timeout(PATIENCE):
            while (await place.status())["calls"]:
                await asyncio.sleep(0.01)
        await ask(place.settings, "resume")
        again = place.call("welcome")
        await again.hears(WELCOME)

    at(scenario)
