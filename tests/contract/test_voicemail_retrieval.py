"""V4: a caller dials in and listens to the messages of a box."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from harness.audio import FRAME, Samples, frequencies, read_wav, tone, tones
from harness.mailbox import BOX, PIN, TONES, Boxes, Listener, make_boxes, speaker_of, warble
from harness.phone import Call, phone
from harness.switches import Switch
from harness.talk import talk
from harness.worker import at_work, handed_over

from console.ports import free_port
from media.session import Session
from media.speech.speaker import Speaker
from media.voicemail.retrieval import retrieve
from model.settings import SCRIPTS, Settings

Dial = Callable[..., None]
Caller = Callable[[Listener], Awaitable[None]]


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Speaker:
    """Of tones."""
    return speaker_of(tmp_path_factory.mktemp("speech"))


@pytest.fixture
def boxes(switch: Switch, speaker: Speaker, tmp_path: Path) -> Boxes:
    """Two boxes without messages."""
    return make_boxes(tmp_path / "voicemail", speaker)


@pytest.fixture
def dial_in(switch: Switch, boxes: Boxes) -> Iterator[Dial]:
    """Runs a call to the box, until the caller is done."""

    def run(caller: Caller, offered: str = BOX) -> None:
        async def script(session: Session) -> None:
            await retrieve(session, boxes.mailboxes, boxes.speaker, offered)

        async def phone(call: Call) -> None:
            await caller(Listener(call))

        talk(switch, script, phone)

    return run


def beep(at: int, seconds: float = 1.0) -> Samples:
    return tone(TONES[at], seconds)


async def logs_in(listener: Listener) -> None:
    await listener.hears("vm-password")
    await listener.dials(PIN + "#")


def test_an_empty_box(dial_in: Dial) -> None:
    async def caller(listener: Listener) -> None:
        await logs_in(listener)
        await listener.hears("vm-youhave", "vm-no", "vm-messages", "vm-opts")
        await listener.dials("1")
        await listener.hears("vm-youhave", "vm-no", "vm-messages")
        await listener.dials("#")
        await listener.hears("vm-goodbye")
        assert (await listener.call.ended()).cause == "NORMAL_CLEARING"

    dial_in(caller)


def test_a_message_is_heard_as_it_was_recorded(dial_in: Dial, boxes: Boxes) -> None:
    said = warble(2.0, seed=5)
    boxes.leave(said, caller="123")
    heard: list[Samples] = []

    async def caller(listener: Listener) -> None:
        await logs_in(listener)
        await listener.hears("vm-youhave", "digits/1", "vm-INBOX", "vm-message", "vm-opts")
        await listener.dials("1")
        await listener.hears(
            "vm-first", "vm-message", "vm-from-phonenumber", "digits/1", "digits/2", "digits/3", "vm-received",
            "vm-duration", "vm-advopts",
        )  # fmt: skip
        await listener.dials("#")
        heard.append(listener.call.ear.samples)
        await listener.call.ended()

    dial_in(caller)
    assert agreement(heard[0], said) >= 0.999
    assert boxes.folders() == {"new": [], "saved": boxes.store.ids(BOX, "saved"), "deleted": []}
    assert len(boxes.folders()["saved"]) == 1


def agreement(heard: Samples, said: Samples) -> float:
    """Share of the samples that are the same where the two agree best."""
    # On a busy machine a switch pauses for a frame, of which its timestamps tell; that changes no sample.
    frames = heard[: len(heard) // FRAME * FRAME].reshape(-1, FRAME)
    heard = frames[frames.any(axis=1)].reshape(-1)
    probe = said[4000:4160]
    windows = np.lib.stride_tricks.sliding_window_view(heard, len(probe))
    at = int(np.argmax((windows == probe).sum(axis=1))) - 4000
    part = heard[at : at + len(said)]
    return float((part == said).mean()) if len(part) == len(said) else 0.0


async def shows(listener: Listener, pitch: int) -> None:
    """The message of that tone plays, from its beginning."""
    await listener.hears("vm-received", "vm-duration", pitch)


def test_the_keys_behind_a_message(dial_in: Dial, boxes: Boxes) -> None:
    ids = [boxes.leave(beep(at, seconds)).id for at, seconds in enumerate((0.4, 0.4, 4.0))]

    async def caller(listener: Listener) -> None:
        await logs_in(listener)
        await listener.hears("vm-opts")
        await listener.dials("1")
        await shows(listener, TONES[0])
        await listener.hears("vm-advopts")
        await listener.dials("6")
        await listener.hears("vm-message", "digits/2")
        await shows(listener, TONES[1])
        await listener.hears("vm-advopts")
        await listener.dials("7")
        await listener.hears("vm-deleted", "vm-advopts")
        assert boxes.folders()["deleted"] == [ids[1]]
        await listener.dials("5")
        await shows(listener, TONES[1])
        await listener.dials("6")
        await listener.hears("vm-last")
        await shows(listener, TONES[2])
        await listener.dials("6")
        await listener.hears("vm-nomore")
        await listener.dials("4")
        await shows(listener, TONES[1])
        await listener.hears("vm-advopts")
        await listener.dials("7")
        await listener.hears("vm-undeleted")
        await listener.dials("*")
        await listener.hears("vm-help")
        await listener.dials("9")
        await listener.hears("vm-savefolder")
        await listener.dials("0")
        await listener.hears("vm-savedto", "vm-INBOX")
        await listener.dials("#")
        await listener.hears("vm-goodbye")

    dial_in(caller)
    # The third was not heard to its end, and the second was kept as new.
    assert boxes.folders() == {"new": ids[1:], "saved": ids[:1], "deleted": []}


def test_a_message_is_paused_skipped_and_rewound(dial_in: Dial, boxes: Boxes) -> None:
    id = boxes.leave(*(beep(at, 2.0) for at in range(4))).id

    async def caller(listener: Listener) -> None:
        await logs_in(listener)
        await listener.hears("vm-opts")
        await listener.dials("1")
        await listener.hears("vm-duration", TONES[0])
        for keys, place in (("#", 1), ("#", 3), ("*", 1), ("*", 0)):
            await listener.dials(keys)
            await listener.hears(TONES[place])
        await listener.dials("0")
        await listener.call.hears_silence(1.0)
        await listener.dials("0")
        await listener.hears(TONES[0])
        await listener.dials("###")
        await listener.hears("vm-advopts")
        await listener.call.hangup()

    dial_in(caller)
    assert boxes.folders()["saved"] == [id]


def test_a_hangup_within_a_message_leaves_it_new(dial_in: Dial, boxes: Boxes) -> None:
    id = boxes.leave(beep(0, 6.0)).id

    async def caller(listener: Listener) -> None:
        await listener.call.answered()
        await listener.dials(PIN + "#1")
        await listener.hears(TONES[0])
        await listener.call.hangup()

    dial_in(caller)
    assert boxes.folders()["new"] == [id]


def test_forwarded_with_what_was_said_in_front(dial_in: Dial, boxes: Boxes) -> None:
    boxes.leave(beep(0, 0.6))

    async def caller(listener: Listener) -> None:
        await listener.call.answered()
        await listener.dials(PIN + "#1")
        await listener.hears("vm-advopts")
        await listener.dials("8")
        await listener.hears("vm-extension")
        await listener.dials("1002#")
        await listener.hears("vm-forwardoptions")
        await listener.dials("1")
        await says(listener, beep(2, 1.0))
        await listener.hears("vm-greeting-review")
        await listener.dials("1")
        await listener.hears("vm-msgforwarded", "vm-advopts")
        await listener.dials("#")
        await listener.call.ended()

    dial_in(caller)
    (copy,) = boxes.folders("1002")["new"]
    stored = boxes.store.message("1002", copy)
    assert stored.message.forwarded_from == BOX
    assert frequencies(tones(read_wav(stored.audio))) == [TONES[2], TONES[0]]


def test_a_greeting_is_recorded_and_heard(dial_in: Dial, boxes: Boxes) -> None:
    async def caller(listener: Listener) -> None:
        await listener.call.answered()
        await listener.dials(PIN + "#0")
        await listener.hears("vm-options")
        await listener.dials("1")
        await listener.hears("vm-no-greeting")
        await listener.dials("1")
        await listener.hears("vm-rec-unv")
        await says(listener, beep(1, 1.0))
        await listener.hears("vm-greeting-review")
        await listener.dials("2")
        await listener.hears(TONES[1], "vm-greeting-review")
        await listener.dials("1")
        await listener.hears("vm-msgsaved", "vm-greeting")
        await listener.dials("2")
        await listener.hears(TONES[1], "vm-greeting")
        await listener.call.hangup()

    dial_in(caller)
    path = boxes.store.greeting(BOX, "unavailable")
    assert path is not None
    assert frequencies(tones(read_wav(path))) == [TONES[1]]


async def says(listener: Listener, *sound: Samples) -> None:
    """Speak behind the beep, and press #."""
    await listener.hears("beep")
    await listener.call.hears_silence(0.3)
    listener.call.play(*sound)
    await listener.call.hears_silence(1.5)
    await listener.dials("#")


def test_the_script_that_is_shipped(
    switch: Switch, speaker: Speaker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the caller's own box, a call back, and a log that says nothing of either."""
    caplog.set_level("DEBUG")
    boxes = make_boxes(tmp_path / "voicemail", speaker)
    boxes.leave(beep(0, 0.6), caller="555123")
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPTS / "mailbox.py", tmp_path / "scripts")
    host, port = switch.workers[0]
    settings = Settings.from_env(
        {
            "STROWGER_RUN": str(tmp_path / "run"),
            "STROWGER_SCRIPTS": str(tmp_path / "scripts"),
            "STROWGER_MEDIA_STATE": str(tmp_path / "state"),
            "STROWGER_VOICEMAIL": str(tmp_path / "voicemail"),
            "STROWGER_SPEECH_CACHE": str(speaker.speech.cache.folder),
            "STROWGER_SOUNDS": str(speaker.speech.cache.folder.parent / "prompts"),
            "STROWGER_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "STROWGER_ESL_ADDRESS": "{}:{}".format(*switch.esl),
            "STROWGER_WORKER_ADDRESS": f"{host}:{port}",
            "STROWGER_WORKER_HTTP": f"127.0.0.1:{free_port()}",
        }
    )

    async def main() -> None:
        async with at_work(settings, switch.password), phone(switch.sip) as made:
            listener = Listener(made.call("5000", headers=handed_over("mailbox", caller=BOX)))
            await listener.hears("vm-password")
            await listener.dials("864297#")
            await listener.hears("vm-incorrect", "vm-password")
            await listener.dials(PIN + "#")
            await listener.hears("vm-opts")
            await listener.dials("1")
            await listener.hears("vm-advopts")
            await listener.dials("3")
            await listener.hears("vm-tocallback")
            await listener.dials("2")
            back = await made.called()
            await back.hangup("USER_BUSY")
            await listener.hears("vm-nobodyavail", "vm-advopts")
            await listener.dials("#")
            await listener.hears("vm-goodbye")
            await listener.call.ended()

    before = len(switch.log)
    asyncio.run(main())
    for secret in (BOX, PIN, "864297", "555123"):
        assert secret not in caplog.text
    for secret in (f"/{BOX}/", PIN, "864297"):
        assert secret not in switch.log[before:]
    assert len(boxes.folders()["saved"]) == 1
