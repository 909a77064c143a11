"""V1: leaving a message, on a worker of its own; what the caller hears are tones, one for each prompt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness.audio import Samples, frequencies, read_wav, silence, tone, tones, write_wav
from harness.phone import Call, Phone, phone
from harness.switches import Switch
from harness.worker import SECRET, at_work, until

from console.ports import free_port
from devswitch.audio import g711
from media.voicemail.store import Box, Store, Stored
from media.worker import Worker
from model.handover import Handover
from model.settings import SCRIPTS, Settings

BEEP = 1000
NAMES = (
    "vm-theperson", "vm-isunavail", "vm-isonphone", "vm-intro", "vm-mailboxfull", "vm-tooshort", "vm-review",
    "vm-review-urgent", "vm-review-nonurgent", "vm-review-delete", "vm-reachoper", "vm-keep-or-delete", "vm-msgsaved",
    "vm-marked-urgent", "vm-marked-nonurgent", "vm-deleted", "vm-goodbye", "vm-sorry", "vm-nobodyavail",
    "vm-cannot-record", "vm-incomplete", "digits/1", "digits/0", "vm-password", "unavailable", "busy",
    "temporary", "name",
)  # fmt: skip
PITCHES = {name: 1100 + 50 * number for number, name in enumerate(NAMES)}
SECONDS, PAUSE = 0.12, 0.06
FIRST, SECOND = 500, 700
"What callers say."
NUMBER = "1001"
OPERATOR = "1009"


@dataclass
class Caller:
    """A call to the box, and what is in the box."""

    call: Call
    box: Store
    since: float = 0.0
    "Until when it was listened to."

    async def hears(self, *names: str) -> None:
        """These prompts, in this order, whatever else there is between them."""
        for name in names:
            heard = await self.call.hears(PITCHES[name], since=self.since)
            self.since = heard.start + SECONDS / 2

    async def hears_beep(self) -> None:
        """To the beep's end."""
        self.since = (await self.call.hears(BEEP, since=self.since)).start + 0.1
        await self.call.until(lambda: self.call.ear.now > self.since + 0.6, "the end of the beep")

    async def says(self, frequency: int, seconds: float = 1.2) -> None:
        """A tone, to its end."""
        self.call.play(tone(frequency, seconds))
        await asyncio.sleep(seconds)

    async def presses(self, key: str) -> None:
        """One key."""
        await self.call.dial(key)

    async def leaves(self, frequency: int = FIRST, key: str = "#") -> None:
        """Waits for the beep, speaks, and presses a key."""
        await self.hears_beep()
        await self.says(frequency)
        await self.presses(key)

    @property
    def messages(self) -> list[Stored]:
        """In the box now."""
        return [self.box.message(NUMBER, id) for id in self.box.ids(NUMBER, "new")]

    async def gone(self) -> None:
        """Until the call is over, and the worker has nothing of it any more."""
        await self.call.ended()
        await until(lambda: not list((self.box.folder / "incoming").iterdir()))

    async def left(self) -> Stored:
        """The only message, once the call is over."""
        await self.gone()
        [message] = self.messages
        return message


class Place:
    """A switch, a worker, a box and a phone."""

    def __init__(self, phone: Phone, worker: Worker, store: Store) -> None:
        self.phone, self.worker, self.store = phone, worker, store

    def call(self, args: str = f"box={NUMBER}", *, headers: Mapping[str, str] | None = None, **more: Any) -> Caller:
        """A call that Kamailio hands over."""
        made = Handover(call="c1", app="voicemail", args=args, caller="2001", callee="5000", **more)
        proof = dict(replace(made, expires=2**31).headers(SECRET))
        return Caller(self.phone.call("5000", headers={**proof, **(headers or {})}, name="Ann"), self.store)

    def end(self) -> None:
        """End the worker at once, with its calls under way."""
        self.worker.stop()
        self.worker.stop()

    def box(self, **changes: Any) -> None:
        """Change the box."""
        self.store.put_box(replace(self.store.box(NUMBER), **changes))


Scenario = Callable[[Place], Awaitable[None]]
Run = Callable[[Scenario], None]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tone for each prompt."""
    folder = tmp_path_factory.mktemp("sounds")
    for name, pitch in PITCHES.items():
        write_wav(folder / f"{name}.wav", silence(PAUSE), tone(pitch, SECONDS), silence(PAUSE))
    return folder


@pytest.fixture
def at(switch: Switch, sounds: Path, tmp_path: Path) -> Run:
    """Runs a scenario."""
    host, port = switch.workers[0]
    settings = Settings.from_env(
        {
            "STROWGER_RUN": str(tmp_path / "run"),
            "STROWGER_SCRIPTS": str(SCRIPTS),
            "STROWGER_MEDIA_STATE": str(tmp_path / "state"),
            "STROWGER_ESL_ADDRESS": "{}:{}".format(*switch.esl),
            "STROWGER_WORKER_ADDRESS": f"{host}:{port}",
            "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port()}",
            "STROWGER_VOICEMAIL": str(tmp_path / "voicemail"),
            "STROWGER_SPEECH_CACHE": str(tmp_path / "speech"),
            "STROWGER_SOUNDS": str(sounds),
            # Nobody is there: the disk is enough.
            "STROWGER_REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        }
    )
    store = Store(settings.voicemail)
    store.put_box(Box(number=NUMBER, min_seconds=1, silence_seconds=0, max_seconds=20, transcribe=False))

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            async with at_work(settings, switch.password) as worker, phone(switch.sip) as made:
                await scenario(Place(made, worker, store))

        asyncio.run(main())

    return run


def said(message: Stored) -> list[int]:
    """Frequencies of what was recorded."""
    return frequencies(tones(read_wav(message.audio)))


def test_a_message_is_on_the_disk_before_the_caller_hears_so(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears("vm-theperson", "digits/1", "digits/0", "digits/1", "vm-isunavail", "vm-intro")
        await caller.hears_beep()
        # Before the first byte was recorded.
        assert list((place.store.folder / "incoming").glob("*/intent.json"))
        await caller.says(FIRST)
        await caller.presses("#")
        await caller.hears("vm-review", "vm-review-urgent", "vm-review-delete")
        assert caller.messages == []
        await caller.presses("1")
        await caller.hears("vm-msgsaved")
        assert len(caller.messages) == 1
        await caller.hears("vm-goodbye")
        left = await caller.left()
        about = left.message
        assert (about.caller, about.caller_name, about.callee) == ("2001", "Ann", "5000")
        assert (about.call, about.reason, about.urgent, about.adopted) == ("c1", "direct", False, False)
        assert about.seconds == len(read_wav(left.audio)) / 8000
        assert said(left) == [FIRST]

    at(scenario)


def test_hanging_up_during_the_greeting_leaves_nothing(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears("vm-theperson")
        await caller.call.hangup()
        await caller.gone()
        assert caller.messages == []

    at(scenario)


def test_hanging_up_during_the_beep_leaves_nothing(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.call.hears(BEEP)
        await caller.call.hangup()
        await caller.gone()
        assert caller.messages == []

    at(scenario)


def test_hanging_up_while_speaking_keeps_what_was_said(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears_beep()
        caller.call.play(tone(FIRST, 5.0))
        await asyncio.sleep(1.5)
        await caller.call.hangup()
        left = await caller.left()
        assert said(left) == [FIRST]
        assert 1.0 < left.message.seconds < 3.0

    at(scenario)


def test_hanging_up_in_the_review_keeps_what_was_said(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.leaves()
        await caller.hears("vm-review")
        await caller.call.hangup()
        assert said(await caller.left()) == [FIRST]

    at(scenario)


def test_silence_ends_a_message_and_who_presses_nothing_has_left_it(at: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.voicemail.talk.KEY_TIMEOUT", 100)

    async def scenario(place: Place) -> None:
        place.box(silence_seconds=2)
        caller = place.call()
        await caller.hears_beep()
        await caller.says(FIRST)
        caller.call.play(silence(3.0))
        await caller.hears("vm-review", "vm-review", "vm-review", "vm-msgsaved", "vm-goodbye")
        left = await caller.left()
        assert said(left) == [FIRST]
        # Nothing is cut off: speech that is too soft would be, too.
        assert left.message.seconds > 2.5

    at(scenario)


def test_a_phone_that_sends_no_silence_leaves_what_was_said(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(silence_seconds=2)
        caller = place.call()
        await caller.hears_beep()
        await caller.says(FIRST, 1.5)
        stop_sending(caller.call)
        await caller.hears("vm-review")
        await caller.call.hangup()
        left = await caller.left()
        assert said(left) == [FIRST]
        assert left.message.seconds >= 1

    at(scenario)


def stop_sending(call: Call) -> None:
    """No packet goes out any more, as of a phone that detects that nobody speaks, or that is gone."""
    leg: Any = call.leg
    leg._endpoint.ticker.remove(leg._rtp)


def test_a_message_ends_at_its_greatest_length(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(max_seconds=2)
        caller = place.call()
        await caller.hears_beep()
        caller.call.play(tone(FIRST, 8.0))
        await caller.hears("vm-review")
        await caller.presses("1")
        await caller.hears("vm-msgsaved")
        left = await caller.left()
        # FreeSWITCH counts whole seconds by the clock on the wall.
        assert 1.8 <= left.message.seconds <= 3.3
        assert "vm-incomplete" not in heard(caller)

    at(scenario)


def heard(caller: Caller) -> list[str]:
    """The prompts of the whole call."""
    names = {pitch: name for name, pitch in PITCHES.items()}
    return [names.get(pitch, str(pitch)) for pitch in frequencies(caller.call.ear.tones())]


def test_a_caller_listens_and_marks_urgent(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.leaves()
        await caller.hears("vm-review")
        await caller.presses("2")
        await caller.call.hears(FIRST, since=caller.since)
        for key, told in (("4", "vm-marked-urgent"), ("4", "vm-marked-nonurgent"), ("4", "vm-marked-urgent")):
            await caller.presses(key)
            await caller.hears(told)
        await caller.hears("vm-review-nonurgent")
        await caller.presses("9")
        await caller.hears("vm-sorry")
        await caller.presses("1")
        await caller.hears("vm-msgsaved")
        left = await caller.left()
        assert left.message.urgent
        assert said(left) == [FIRST]

    at(scenario)


def test_a_caller_says_it_again(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.leaves(FIRST)
        await caller.hears("vm-review")
        await caller.presses("3")
        await caller.leaves(SECOND)
        await caller.hears("vm-review")
        await caller.presses("1")
        await caller.hears("vm-msgsaved")
        assert said(await caller.left()) == [SECOND]

    at(scenario)


@pytest.mark.parametrize("ending", ["hangs up", "says nothing", "too short"])
def test_the_first_take_counts_until_there_is_another(at: Run, ending: str) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.leaves(FIRST)
        await caller.hears("vm-review")
        await caller.presses("3")
        await caller.hears_beep()
        if ending == "too short":
            await caller.presses("#")
            await caller.hears("vm-tooshort", "vm-review")
            await caller.presses("2")
            await caller.call.hears(FIRST, since=caller.since)
        elif ending == "says nothing":
            caller.call.play(silence(2.0))
            await asyncio.sleep(1.8)
        await caller.call.hangup()
        assert said(await caller.left()) == [FIRST]

    at(scenario)


def test_a_caller_deletes_it(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.leaves()
        await caller.hears("vm-review")
        await caller.presses("7")
        await caller.hears("vm-deleted", "vm-goodbye")
        await caller.gone()
        assert caller.messages == []

    at(scenario)


def test_what_is_too_short_may_be_said_again(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears_beep()
        await caller.presses("#")
        await caller.hears("vm-tooshort")
        await caller.leaves()
        await caller.hears("vm-review")
        await caller.presses("#")
        await caller.hears("vm-msgsaved")
        assert said(await caller.left()) == [FIRST]

    at(scenario)


def test_who_says_nothing_leaves_nothing(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(silence_seconds=1)
        caller = place.call()
        caller.call.play(silence(30.0))
        await caller.hears("vm-tooshort", "vm-tooshort", "vm-tooshort", "vm-goodbye")
        await caller.gone()
        assert caller.messages == []

    at(scenario)


def test_a_box_that_is_full_says_so(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(quota_messages=1)
        first = place.call()
        await first.leaves()
        await first.call.hangup()
        await first.left()
        second = place.call()
        await second.hears("vm-mailboxfull", "vm-goodbye")
        await second.gone()
        assert len(second.messages) == 1

    at(scenario)


def test_a_number_without_a_box(at: Run) -> None:
    async def scenario(place: Place) -> None:
        for args in ("box=1002", ""):
            assert (await place.call(args).call.ended()).status == 404
        assert (await place.call("bax=1001").call.ended()).status == 480

    at(scenario)


def test_a_further_number_of_the_box(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(numbers=("+442079460001", "5000"))
        for args in ("box=+442079460001", ""):
            caller = place.call(args)
            await caller.hears("vm-theperson", "digits/1")
            await caller.call.hangup()

    at(scenario)


def test_a_call_that_was_diverted_and_a_caller_who_withholds_who_they_are(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call("", diverted=NUMBER, reason="unreachable", headers={"Privacy": "id"})
        await caller.leaves()
        await caller.call.hangup()
        about = (await caller.left()).message
        assert (about.caller, about.caller_name, about.callee, about.reason) == ("", "", "5000", "unreachable")

    at(scenario)


def test_a_disk_that_takes_nothing(at: Run) -> None:
    async def scenario(place: Place) -> None:
        incoming = place.store.folder / "incoming"
        incoming.rmdir()
        incoming.touch()
        caller = place.call()
        await caller.hears("vm-cannot-record", "vm-goodbye")
        await caller.call.ended()

    at(scenario)


def test_a_box_that_cannot_be_read(at: Run) -> None:
    async def scenario(place: Place) -> None:
        (place.store.folder / "boxes" / NUMBER / "box.json").write_text("{")
        caller = place.call()
        await caller.hears("vm-cannot-record", "vm-goodbye")
        await caller.call.ended()

    at(scenario)


def test_a_message_that_cannot_be_kept_waits_and_nothing_else_is_said(at: Run) -> None:
    async def scenario(place: Place) -> None:
        new = place.store.folder / "boxes" / NUMBER / "new"
        caller = place.call()
        await caller.leaves()
        await caller.hears("vm-review")
        new.rename(new.with_name("away"))
        await caller.presses("1")
        await caller.hears("vm-cannot-record")
        await caller.call.ended()
        assert "vm-msgsaved" not in heard(caller)
        new.with_name("away").rename(new)
        await until(place.store.orphans)
        [orphan] = place.store.orphans()
        assert place.store.adopt(orphan)
        assert said(await caller.left()) == [FIRST]

    at(scenario)


def test_a_worker_that_ends_in_the_review_keeps_the_message(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.leaves()
        await caller.hears("vm-review")
        place.end()
        left = await caller.left()
        assert said(left) == [FIRST]
        assert not left.message.adopted

    at(scenario)


def test_a_worker_that_ends_while_somebody_speaks_leaves_it_to_the_reaper(
    at: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.voicemail.orphans.QUIET", 0.1)

    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears_beep()
        caller.call.play(tone(FIRST, 5.0))
        await asyncio.sleep(1.5)
        place.end()
        await caller.call.ended()
        await until(place.store.orphans)
        [orphan] = place.store.orphans()
        await until(lambda: place.store.adopt(orphan))
        left = await caller.left()
        assert left.message.adopted
        assert said(left) == [FIRST]
        assert left.message.seconds > 1.0

    at(scenario)


def test_the_owner_logs_in_instead(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears("vm-theperson")
        await caller.presses("*")
        await caller.hears("vm-password")
        await caller.call.hangup()
        await caller.gone()
        assert caller.messages == []

    at(scenario)


@pytest.mark.parametrize(
    ("reason", "recorded", "greeted"),
    [
        ("busy", ("unavailable", "busy"), ["busy"]),
        ("no-answer", ("unavailable", "busy", "name"), ["unavailable"]),
        ("busy", ("unavailable", "busy", "temporary"), ["temporary"]),
        ("busy", ("name",), ["name", "vm-isonphone"]),
    ],
)
def test_the_greeting(at: Run, sounds: Path, reason: str, recorded: tuple[str, ...], greeted: list[str]) -> None:
    async def scenario(place: Place) -> None:
        for kind in recorded:
            write_wav(place.store.folder / "boxes" / NUMBER / "greetings" / f"{kind}.wav", tone(PITCHES[kind], 0.3))
        caller = place.call(reason=reason)
        await caller.hears(*greeted, "vm-intro")
        assert heard(caller)[: len(greeted) + 1] == [*greeted, "vm-intro"]
        await caller.leaves()
        await caller.call.hangup()
        assert (await caller.left()).message.reason == reason

    at(scenario)


def test_a_key_skips_the_greeting(at: Run) -> None:
    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears("vm-theperson")
        await caller.presses("#")
        await caller.leaves()
        await caller.call.hangup()
        assert said(await caller.left()) == [FIRST]
        assert "vm-intro" not in heard(caller)

    at(scenario)


def test_the_operator_instead_of_a_message(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(operator=OPERATOR)
        caller = place.call()
        await caller.hears("vm-reachoper")
        await caller.presses("0")
        operator = await place.phone.called()
        await operator.answer()
        operator.play(tone(SECOND, 1.0))
        await caller.call.hears(SECOND)
        await operator.hangup()
        await caller.gone()
        assert caller.messages == []

    at(scenario)


def test_an_operator_who_is_busy(at: Run) -> None:
    async def scenario(place: Place) -> None:
        place.box(operator=OPERATOR)
        caller = place.call()
        await caller.hears("vm-reachoper")
        await caller.presses("0")
        await (await place.phone.called()).hangup("USER_BUSY")
        await caller.hears("vm-nobodyavail")
        await caller.leaves()
        await caller.call.hangup()
        assert said(await caller.left()) == [FIRST]

    at(scenario)


@pytest.mark.parametrize(("key", "told", "kept"), [("1", "vm-msgsaved", 1), ("7", "vm-deleted", 0)])
@pytest.mark.parametrize("while_speaking", [True, False])
def test_the_operator_after_a_message(at: Run, key: str, told: str, kept: int, while_speaking: bool) -> None:
    async def scenario(place: Place) -> None:
        place.box(operator=OPERATOR)
        caller = place.call()
        await caller.leaves(key="0" if while_speaking else "#")
        if not while_speaking:
            await caller.hears("vm-review", "vm-reachoper")
            await caller.presses("0")
        await caller.hears("vm-keep-or-delete")
        await caller.presses(key)
        await caller.hears(told)
        operator = await place.phone.called()
        assert len(caller.messages) == kept
        await operator.answer()
        await operator.hangup()
        await caller.gone()

    at(scenario)


def test_what_is_kept_is_what_was_sent(at: Run) -> None:
    # Words with pauses between them, in the values that G.711 has.
    noise = np.random.default_rng(1).normal(0, 1, 8000 * 3)
    loud = noise * 3000 * (np.sin(np.arange(len(noise)) / 1500) > -0.5)
    sent = g711.decode(g711.encode(loud.clip(-30000, 30000).astype(np.int16), 0), 0)

    async def scenario(place: Place) -> None:
        caller = place.call()
        await caller.hears_beep()
        caller.call.play(silence(0.2), sent, silence(0.2))
        await asyncio.sleep(3.6)
        await caller.presses("#")
        await caller.hears("vm-review")
        await caller.call.hangup()
        left = await caller.left()
        assert equal(sent, read_wav(left.audio)) >= 0.999

    at(scenario)


def equal(sent: Samples, recorded: Samples) -> float:
    """Share of the samples that are there as they were sent, at the best alignment."""
    size = 1 << (len(sent) + len(recorded)).bit_length()
    spectrum = np.fft.rfft(recorded, size) * np.conj(np.fft.rfft(sent, size))
    at = int(np.argmax(np.fft.irfft(spectrum, size)[: len(recorded)]))
    common = min(len(sent), len(recorded) - at)
    return float(np.sum(recorded[at : at + common] == sent[:common])) / len(sent)
