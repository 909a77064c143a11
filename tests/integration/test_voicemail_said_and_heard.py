"""A spoken message all its way: said, written down, mailed, shown by a lamp, and heard; and engines that go wrong."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from harness.audio import FRAME, RATE, Samples, read_wav
from harness.lamp_phone import LampPhone
from harness.mailbox import FREQUENCY, Listener, make_sounds
from harness.matching import found_of
from harness.media_worker import running
from harness.node import at
from harness.phone import phone
from harness.raw import status
from harness.sentences import errors, spoken
from harness.site import MEDIA, Site, site
from harness.speech import found_in
from harness.switches import Embedded, FreeSwitch, Switch
from harness.voicemail import Mailbox, World, mail_server, until, world

from console.ports import free_port
from media.voicemail import work
from media.voicemail.service import Service
from media.voicemail.store import Box, Stored
from model.policy import MEDIA_RETRY, MediaApp, Route, Voicemail

NUMBER, DIAL_IN, PIN = "+442079460001", "5000", "2580"
SENTENCES = (
    "I am running late and will be there in twenty minutes",
    "Can you please send me the report before the meeting on Monday",
)
ERRORS_MAX = 0.15
"Share of the words that may be wrong."
EQUAL = 0.999
"Share of the samples that are heard as they were recorded, at one alignment."
LOST = 0.01
"Share of the frames with sound that a busy switch may drop."
RINGS = 1.0
"Seconds after which nobody has answered."
BEEP = 1000
RINGING = "uas-sends-PROVISIONAL-until-cancelled-STATUS.xml"
REASONS = {"Hangs": "timeout", "Dies:exit": "crash", "Dies:segv": "crash", "Garbage:none": "garbage"}
"What is said of engines that go wrong."


@pytest.fixture(scope="module", params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch at an address of its own."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), address=MEDIA)


@pytest.fixture
def mails() -> Iterator[tuple[int, Mailbox]]:
    """A mail server."""
    port = free_port()
    with mail_server(port) as mailbox:
        yield port, mailbox


@pytest.fixture
def place(switch: Switch, mails: tuple[int, Mailbox], tmp_path: Path) -> Iterator[Site]:
    """A site with a phone that nobody answers, whose calls go to box 1001."""
    with site(
        switch, tmp_path, sounds=make_sounds(tmp_path / "sounds"), STROWGER_SMTP=f"127.0.0.1:{mails[0]}"
    ) as made:
        made.store.put_box(Box(number="1001", numbers=(NUMBER,), min_seconds=1, email="box@example.org"), new=True)
        made.store.set_pin("1001", PIN)
        made.start()
        rings = made.node.gateway(RINGING, PROVISIONAL="180", STATUS="487")
        made.apply(
            Route("staff", ("",), ("pbx",), ring=RINGS, voicemail=Voicemail()),
            Route("dial-in", (DIAL_IN,), ("fs-1",), media=MediaApp("mailbox", "box=1001"), retry=MEDIA_RETRY),
            gateways=[at("pbx", rings)],
        )
        yield made


@pytest.mark.timeout(420)
@pytest.mark.skipif(shutil.which("flite") is None, reason="no flite")
def test_a_message_all_its_way(place: Site, mails: tuple[int, Mailbox], tmp_path: Path) -> None:
    said = np.concatenate([spoken(text, tmp_path / "said.wav") for text in SENTENCES])
    with LampPhone(place.node.sip) as lamp:
        # The service that has begun just now tells of the box.
        until(lambda: subscribed(lamp), "the phone may subscribe")
        assert lamp.notified().lamp == ("no", "0/0 (0/0)")
        asyncio.run(leave(place.node.sip, said))
        assert lamp.notified().lamp == ("yes", "1/0 (0/0)")
        stored = first(place, "new")
        assert (stored.message.reason, stored.message.callee) == ("no-answer", NUMBER)
        recorded = read_wav(stored.audio)
        found = found_of(said, recorded)
        assert (found.lost <= LOST * len(said) // FRAME, found.foreign) == (True, 0), found
        heard = asyncio.run(listen(place.node.sip, len(recorded) / RATE))
        assert agreement(heard, recorded) >= EQUAL
        assert lamp.notified().lamp == ("no", "0/1 (0/0)")
    until(lambda: first(place, "saved").transcript, "the transcript is there", 240)
    transcript = first(place, "saved").transcript or {}
    wrong, words = errors(" ".join(SENTENCES), transcript.get("text", ""))
    assert transcript["state"] == "done", transcript
    assert wrong <= ERRORS_MAX * words, transcript["text"]
    until(lambda: mails[1].mails, "the mail is there")
    [mail] = mails[1].mails
    text, audio = mail.iter_parts()
    assert mail["To"] == "box@example.org"
    assert transcript["text"] in " ".join(text.get_content().split())
    assert audio.get_content() == first(place, "saved").audio.read_bytes()


def subscribed(lamp: LampPhone) -> bool:
    """Whether the node takes a subscription."""
    lamp.new_dialog()
    return status(lamp.subscribe()) == 200


def first(place: Site, folder: str) -> Stored:
    """The only message, which is in that folder."""
    [id] = place.store.ids("1001", folder)  # type: ignore[arg-type]
    return place.store.message("1001", id)


async def leave(kamailio: tuple[str, int], said: Samples) -> None:
    """Call, find nobody, and say something to the end."""
    async with phone(kamailio, "1003") as made:
        call = made.call("02079460001")
        beep = await call.hears(BEEP, timeout=30)
        await call.until(lambda: call.ear.now > beep.start + 1.5, "the end of the beep")
        call.play(said)
        await call.played(len(said) / RATE + 30)
        await call.dial("#")
        await call.dial("1")
        await call.hears(FREQUENCY["vm-msgsaved"], since=beep.start)
        await call.ended()


async def listen(kamailio: tuple[str, int], seconds: float) -> Samples:
    """Dial in, and hear the first new message; what came."""
    async with phone(kamailio, "1004") as made:
        call = made.call(DIAL_IN)
        listener = Listener(call)
        await listener.hears("vm-password", timeout=30)
        await listener.dials(PIN + "#")
        await listener.hears("vm-youhave", "digits/1", "vm-INBOX", "vm-message")
        await listener.dials("1")
        await listener.hears("vm-first", "vm-message")
        await listener.hears("vm-advopts", timeout=seconds + 30)
        await listener.dials("#")
        await call.ended()
        return call.ear.sent


def agreement(heard: Samples, said: Samples) -> float:
    """Share of the samples that are the same, where the two agree best."""
    begin, _ = found_in(heard, said)
    return float(np.mean(heard[begin : begin + len(said)] == said))


@pytest.mark.parametrize("engine", REASONS)
def test_an_engine_that_goes_wrong_neither_delays_nor_loses_a_message(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A crash is tried again: seconds in between would tell no more.
    monkeypatch.setattr(work, "FIRST", 0.05)
    limit = "2" if engine == "Hangs" else "60"
    wrong = {"STROWGER_TRANSCRIBER": f"harness.engines:{engine}", "STROWGER_TRANSCRIBE_LIMIT": limit}
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    with world(tmp_path, **wrong) as place, mail_server(place.settings.smtp.port) as mailbox:
        place.put(email="box@example.org")
        asyncio.run(served(place, mailbox, REASONS[engine]))


async def served(place: World, mailbox: Mailbox, reason: str) -> None:
    """Leave a message, of which all is to be known in the end but what was said."""
    service = Service(place.settings)
    task = asyncio.create_task(service.run())
    try:
        message = await asyncio.to_thread(place.leave)
        stored = place.store.message("1001", message.id)
        # At once, with nothing known yet of what was said.
        assert (stored.folder, stored.transcript) == ("new", None)
        await asyncio.to_thread(until, lambda: place.transcript(message), "the transcript is marked")
        assert (place.transcript(message)["state"], place.transcript(message)["reason"]) == ("failed", reason)
        await asyncio.to_thread(until, lambda: place.delivery(message, "mail") == "sent", "mailed")
    finally:
        service.stop()
        await task
    [mail] = mailbox.mails
    text, audio = mail.iter_parts()
    assert "No transcript could be made" in text.get_content()
    assert audio.get_content() == stored.audio.read_bytes()
