"""V4: a caller dials in and listens to the messages of a box."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from harness.audio import FRAME, Samples, tone
from harness.mailbox import BOX, PIN, TONES, Boxes, Listener, make_boxes, speaker_of, warble
from harness.phone import Call
from harness.switches import Switch
from harness.talk import talk

from media.session import Session
from media.speech.speaker import Speaker
from media.voicemail.retrieval import retrieve

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
