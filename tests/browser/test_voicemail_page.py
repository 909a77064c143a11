"""A message that a caller leaves, in the page of a mailbox: it appears, is read, is heard, and is put away."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from harness.audio import tone
from harness.console import NARROW, Console, browsing, serious
from harness.load import until
from harness.mailbox import make_sounds
from harness.media_worker import running
from harness.phone import phone
from harness.site import MEDIA, Site, site
from harness.switches import Embedded, Switch
from harness.voicemail import write_audio
from playwright.sync_api import Page, expect

from media.voicemail.store import Box
from model.policy import MEDIA_RETRY, MediaApp, Route
from model.record import CallRecord
from model.settings import SCRIPTS
from state import audit, keys, records
from state.tokens import Role

pytestmark = pytest.mark.timeout(180)

BEEP = 1000
KEEPS = """
from media.script import script

@script("keeps")
async def keeps(session):
    await session.answer()
    await session.execute("playback", "tone_stream://%(300,0,1000)")
    await session.record_file(session.recording_path(), 2)
"""
WORDS = [{"word": word, "start": at, "end": at + 1.0, "confidence": 1.0} for at, word in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def switch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch at an address of its own."""
    yield from running(Embedded, tmp_path_factory.mktemp("switch"), address=MEDIA)


@pytest.fixture(scope="module")
def place(switch: Switch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site whose number 5000 takes messages for box 1001; what is said is always written down alike."""
    root = tmp_path_factory.mktemp("place")
    (root / "told").mkdir()
    engine = f"harness.job_engines:Told:{root / 'told'}"
    shutil.copytree(SCRIPTS, root / "scripts")
    (root / "scripts" / "keeps.py").write_text(KEEPS)
    own = {"STROWGER_TRANSCRIBER": engine, "STROWGER_SCRIPTS": str(root / "scripts")}
    with site(switch, root, sounds=make_sounds(root / "sounds"), **own) as made:
        made.store.put_box(Box(number="1001", name="Anna Berg", min_seconds=1), new=True)
        made.node.stack.web = True
        made.start()
        box, keeps = MediaApp("voicemail", "box=1001"), MediaApp("keeps", "")
        made.apply(
            Route("box", ("5000",), ("fs-1",), media=box, retry=MEDIA_RETRY),
            Route("keeps", ("5100",), ("fs-1",), media=keeps, retry=MEDIA_RETRY),
        )
        yield made


@pytest.fixture(scope="module")
def console(place: Site) -> Iterator[Console]:
    """The console of the site in a browser."""
    with browsing() as browser:
        yield Console(browser, place.node.store, f"http://{place.settings.web_address}")


def beside(work: Coroutine[Any, Any, None]) -> None:
    """Run it to its end in another thread: the browser's own loop runs in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def leave(kamailio: tuple[str, int]) -> None:
    """Call, wait for the beep, speak, and hang up."""
    async with phone(kamailio, "1003") as made:
        call = made.call("5000")
        beep = await call.hears(BEEP, timeout=30)
        await call.until(lambda: call.ear.now > beep.start + 0.75, "the end of the beep")
        call.play(tone(600, 2.0))
        await asyncio.sleep(2.0)
        await call.hangup()


def test_a_message_appears_is_heard_from_a_word_on_and_put_away(place: Site, console: Console) -> None:
    with console.opened("/voicemail/box?number=1001") as watched:
        page = watched.page
        expect(page.locator("#list")).to_contain_text("No messages here.")
        page.evaluate("""() => { window.came = new Promise((found) => new MutationObserver(() => {
          if (document.querySelector('#list tbody tr')) found(Date.now() / 1000);
        }).observe(document.getElementById('list'), {subtree: true, childList: true})); }""")
        beside(leave(place.node.sip))
        came = float(page.evaluate("window.came"))
        left = next(at for kind, at in events(place) if kind == "message.left")
        print(f"message.left is on the page after {came - left:.3f} s")
        # The text comes later, without reload.
        expect(page.locator("#list tbody tr")).to_contain_text("hello there", timeout=40_000)
        page.click("#list tbody a")
        expect(page.locator("#message-title")).to_contain_text("1003")
        expect(page.locator("#transcript .word")).to_have_count(2)
        becomes(page, "document.getElementById('player').readyState >= 1")
        assert page.evaluate("document.getElementById('player').duration") > 1.5
        page.click("#transcript .word >> nth=1")
        becomes(page, "document.getElementById('player').currentTime > 0.55")
        becomes(page, "document.querySelector('#transcript .word:nth-child(2)').ariaCurrent === 'true'")
        becomes(page, "document.getElementById('player').ended")
        page.evaluate("document.getElementById('player').currentTime = 0.2")
        expect(page.locator("#transcript .word").first).to_have_attribute("aria-current", "true")
        assert not serious(page)
        page.click("#to-saved")
        expect(page.locator("main .note.good")).to_contain_text("kept as heard")
        expect(page.locator("#list")).to_contain_text("No messages here.")
        page.click("text=Heard 1")
        page.click("#list tbody a")
        page.click("#to-deleted")
        page.click("text=Deleted 1")
        page.click("#list tbody a")
        page.click("#remove summary")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator("main .note.good")).to_contain_text("is removed for good")
    counts = place.store.counts("1001")
    assert (counts.new, counts.saved, counts.deleted) == (0, 0, 0)
    told = [(entry.what, entry.who) for entry in audit.read(place.node.store, limit=3)]
    assert told == [("message removed", "token:anna"), ("message moved", "token:anna"), ("message moved", "token:anna")]


def becomes(page: Page, expression: str) -> None:
    """Wait until it is true. Not by wait_for_function, which the content security policy forbids."""
    script = "() => new Promise((done) => { const look = () => (%s) ? done() : setTimeout(look, 20); look(); })"
    page.evaluate(script % expression)


def events(place: Site) -> list[tuple[str, float]]:
    """Kind and time of what happened, the last first."""
    rows = place.node.store._redis.xrevrange(keys.EVENTS, count=200)
    return [(row["kind"], float(row["at"])) for _, row in rows]


async def say(kamailio: tuple[str, int]) -> None:
    """Call the script that records, speak behind its tone, and wait for the end."""
    async with phone(kamailio, "1003") as made:
        call = made.call("5100")
        await call.hears(BEEP, timeout=30)
        call.play(tone(600, 3.0))
        await call.ended(30)


def recorded(place: Site) -> list[CallRecord]:
    """Records that name a recording."""
    return [record for _, record in records.newest(place.node.store) if record.recordings]


def test_what_a_script_recorded_is_played_on_the_calls_page(place: Site, console: Console) -> None:
    beside(say(place.node.sip))
    until(lambda: recorded(place), "the record names the recording", 30)
    [record] = recorded(place)
    [name] = record.recordings
    path = f"/calls/one?call={record.call}"
    with console.opened(path, size=NARROW) as watched:
        page = watched.page
        expect(page.locator("main")).to_contain_text(name)
        player = "document.querySelector('audio[aria-label=Recording]')"
        page.evaluate(f"{player}.load(), {player}.play()")
        becomes(page, f"{player}.duration > 1.5 && {player}.currentTime > 0.2")
        becomes(page, f"{player}.ended")
        assert not serious(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    with console.opened(path, Role.READ) as watched:
        expect(watched.page.locator("main")).to_contain_text(name)
        assert watched.page.locator("audio").count() == 0
        answer = watched.page.request.get("/calls/recording", params={"call": record.call, "number": 1})
        assert answer.status == 403
    (place.settings.recordings / name).unlink()
    with console.opened(path, dark=True) as watched:
        expect(watched.page.locator("main")).to_contain_text(f"{name} is not there: it was removed")
        assert watched.page.locator("audio").count() == 0
        assert not serious(watched.page)


@pytest.mark.parametrize("look", [{"dark": True}, {"size": NARROW}], ids=["dark", "narrow"])
def test_a_mailbox_is_there_for_everybody(place: Site, console: Console, look: dict[str, object]) -> None:
    recording = place.store.begin("1001", caller="+442079460123", caller_name="Tommy Flowers")
    write_audio(recording.audio)
    message = recording.accept(urgent=True)
    place.store.put_transcript("1001", message.id, {"state": "done", "text": "one two", "words": WORDS})
    with console.opened("/voicemail?search=berg", **look) as watched:
        page = watched.page
        for path in ("/voicemail?search=berg", f"/voicemail/box?number=1001&message={message.id}", "/voicemail/jobs"):
            page.goto(path)
            assert not serious(page), path
            assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"], path
        assert page.locator("h1").inner_text() == "Voicemail jobs"


def test_the_text_of_a_message_that_was_removed_meanwhile_says_so(place: Site, console: Console) -> None:
    with console.opened("/voicemail") as watched:
        answer = watched.page.request.get("/voicemail/message/part?number=1001&message=20260101T000000Z-00000000")
        assert answer.status == 200, answer.text()
        assert "This message was removed." in answer.text()
