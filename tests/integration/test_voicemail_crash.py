"""Two hundred messages are left while every process in turn is killed with -9: none that was told of is lost.

A caller is told when the phone hears what is said after the recording. In the end each such message is in its box once,
with what that phone sent, was transcribed, and mailed under one Message-ID. STROWGER_TEST_SEED repeats a run's choices;
STROWGER_TEST_PATIENT=1 has real sentences written down by pocketsphinx.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from harness.audio import RATE, read_wav
from harness.killing import Kept, children, supervised
from harness.leaving import LEAD, Callers, Left, callers, make_sounds
from harness.matching import found_of
from harness.media_worker import running
from harness.sentences import SENTENCES, spoken
from harness.site import MEDIA, Site, site
from harness.switches import Embedded, FreeSwitch, Switch
from harness.voicemail import Mailbox, mail_server
from harness.writing_down import written

from console import serve
from console.ports import free_port
from media.voicemail.letter import message_id
from media.voicemail.message import Message
from media.voicemail.store import FOLDERS, Box, Store, Stored
from model.policy import MEDIA_RETRY, MediaApp, Route
from state import keys

PATIENT = bool(os.environ.get("STROWGER_TEST_PATIENT"))
pytestmark = pytest.mark.timeout(900 if PATIENT else 600)

BOXES = ("1001", "1002", "1003", "1004")
MESSAGES = 200
AT_ONCE = 12
MOST = 3 * MESSAGES
"Calls that get through, in which two hundred messages must be left."
TIMES = 2
"How often each is killed at least."
STALLED = 10.0
"Seconds after which the next is killed although no message came: what is down then should be up again."
LOST = 20_000
"Bytes that Redis had acknowledged and not fsynced yet: more than it writes in a second here (appendfsync everysec)."
RECOVERY = 400.0 if PATIENT else 150.0
"Seconds in which all must have come right: retries, claims and orphans wait for theirs."
MIN_SECONDS = 1
SURELY = 2.5
"Seconds of speech that surely make a message: a shortest one, and time for the recording to begin."
LATE, SHORT = 1.0, 0.2
"Seconds of the beginning and of the end of speech that a switch may miss which is late."
MISSING = 0.1
"Share of the frames that a switch may drop where too many come at once, as on a machine that has too much to do."
CARRIES_AUDIO = ("switch", "media")
SERVICES = ("voicemail-1", "voicemail-2")
KINDS = ("redis", "agent", "kamailio", *CARRIES_AUDIO, *SERVICES, "engine")


@dataclass
class Kill:
    """One of them, and the calls that were under way."""

    kind: str
    calls: list[Left]

    @property
    def broken(self) -> int:
        """How many of these were not told, though they wanted to be."""
        return sum(1 for call in self.calls if not call.told and not call.hangs_up)


class Victims:
    """The processes of a site, supervised, and killed."""

    def __init__(self, site: Site, chance: random.Random) -> None:
        self._random = chance
        self.kept = {name: Kept(process) for name, process in site.processes.items()}
        self.kept["kamailio"].before = lambda: serve.prepare(site.settings)
        self.kept["redis"].before = lambda: lose_the_newest(site.node.directory / "redis")
        for name in SERVICES:
            # An engine has a session of its own, and must find out for itself.
            self.kept[name].alone = True

    def kill(self, kind: str) -> bool:
        """Kill one with -9; False where it is not at work."""
        return self._kill_engine() if kind == "engine" else self.kept[kind].kill()

    def _kill_engine(self) -> bool:
        for name in self._random.sample(SERVICES, len(SERVICES)):
            popen = self.kept[name].process.popen
            for child in children(popen.pid, "media.transcription.child") if popen else []:
                os.kill(child, signal.SIGKILL)
                return True
        return False


def lose_the_newest(data: Path) -> None:
    """Take the end off what Redis wrote: the kernel keeps that when Redis dies, and loses it when power fails."""
    for path in data.glob("appendonlydir/*.incr.aof"):
        size = path.stat().st_size
        os.truncate(path, size - min(LOST, size // 4))


@pytest.fixture(params=[Embedded, FreeSwitch], ids=lambda kind: kind.name)
def switch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Switch]:
    """A switch at an address of its own, with ports for callers who are gone and it does not know."""
    yield from running(request.param, tmp_path_factory.mktemp("switch"), address=MEDIA, rtp_ports=800)


@pytest.fixture
def mails() -> Iterator[tuple[int, Mailbox]]:
    """A mail server."""
    port = free_port()
    with mail_server(port) as mailbox:
        yield port, mailbox


@pytest.fixture
def place(switch: Switch, mails: tuple[int, Mailbox], tmp_path: Path) -> Iterator[Site]:
    """A whole site, with boxes."""
    transcriber = "pocketsphinx" if PATIENT else "harness.writing_down:Digest"
    with site(
        switch,
        tmp_path,
        sounds=make_sounds(tmp_path / "sounds"),
        services=SERVICES,
        STROWGER_SMTP=f"127.0.0.1:{mails[0]}",
        STROWGER_TRANSCRIBER=transcriber,
    ) as made:
        for number in BOXES:
            made.store.put_box(
                Box(
                    number=number,
                    min_seconds=MIN_SECONDS,
                    max_seconds=30,
                    email=f"{number}@example.org",
                    quota_messages=MOST,
                ),
                new=True,
            )
        made.start()
        made.apply(Route("boxes", ("100",), ("fs-1",), media=MediaApp("voicemail"), retry=MEDIA_RETRY))
        yield made


# Killing


async def kill_all_in_turn(victims: Victims, phone: Callers, chance: random.Random) -> list[Kill]:
    """Each of them some times, spread over the messages, at random moments."""
    turns = [kind for _ in range(TIMES) for kind in chance.sample(KINDS, len(KINDS))]
    step = 0.9 * MESSAGES / len(turns)
    kills: list[Kill] = []
    for number, kind in enumerate(turns, 1):
        await _until(lambda goal=number * step: phone.left >= goal, STALLED)  # type: ignore[misc]
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        kills.append(await _kill(victims, phone, kind))
    return kills


async def _kill(victims: Victims, phone: Callers, kind: str) -> Kill:
    deadline = time.monotonic() + 60
    while True:
        now, sent = time.monotonic(), {call.number: call.frames for call in phone.under_way}
        if any(call.beep for call in phone.under_way) and await asyncio.to_thread(victims.kill, kind):
            break
        assert now < deadline, f"{kind} was not at work in a minute"
        await asyncio.sleep(0.02)
    # Also those that ended meanwhile, or began.
    calls = [call for call in phone.calls if call.number in sent or not call.ended]
    for call in calls:
        call.hits.append(kind)
        if kind in CARRIES_AUDIO and not call.hit:
            call.hit, call.sent_before = now, sent.get(call.number, 0)
    return Kill(kind, calls)


async def _until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)


# What must be so in the end


def all_messages(store: Store) -> list[Stored]:
    """In all folders of all boxes."""
    return [
        store.message(box, id) for box in store.boxes() for folder in FOLDERS for id in store.ids(box, folder)
    ]  # fmt: skip


def unsettled(place: Site, phone: Callers, mailbox: Mailbox) -> list[str]:
    """What is not as it must be, and may still come to be so."""
    store, found = place.store, []
    messages = all_messages(store)
    times = Counter(stored.message.caller for stored in messages)
    found += [f"{call.number} has no message: {call.why}, heard {call.heard}, {call.hits}" for call in phone.calls
              if call.is_owed(SURELY) and not times[call.number]]  # fmt: skip
    for name in ("incoming", "pending"):
        found += [f"in {name}: {entry}" for entry in os.listdir(store.folder / name)]
    mailed = set(mailbox.ids)
    for stored in messages:
        message = stored.message
        if (stored.transcript or {}).get("state") not in ("done", "failed"):
            found.append(f"{message.id} has no transcript")
        if message_id(message) not in mailed or (stored.delivery or {}).get("mail", {}).get("state") != "sent":
            found.append(f"{message.id} was not mailed: {stored.delivery}")
    return found + _unsettled_in_redis(place)


def _unsettled_in_redis(place: Site) -> list[str]:
    found = []
    try:
        with redis.Redis.from_url(place.settings.redis_url, decode_responses=True) as client:
            found += [f"open job {job}" for job in client.hkeys(keys.VM_OPEN)]
            found += [f"waiting job {job}" for job in client.zrange(keys.VM_DUE, 0, -1)]
            found += [f"dead letter {job}" for job in client.hkeys(keys.VM_DEAD)]
            for box in place.store.boxes():
                for folder in FOLDERS:
                    known = set(client.zrange(keys.vm_folder(box, folder), 0, -1))
                    if wrong := known ^ set(place.store.ids(box, folder)):
                        found.append(f"index of {box}, {folder}: {len(wrong)} are wrong")
                lamp = json.loads(str(client.hget(keys.MWI, box) or "{}"))
                counts = place.store.counts(box)
                want = (counts.new, counts.saved, counts.urgent_new, counts.urgent_saved)
                shown = tuple(lamp.get(name) for name in ("new", "saved", "urgent_new", "urgent_saved"))
                if shown != want:
                    found.append(f"lamp of {box} shows {shown}, not {want}")
    except redis.RedisError as error:
        found.append(f"Redis: {error}")
    return found


def wrong(place: Site, phone: Callers, mailbox: Mailbox) -> list[str]:
    """What must never be, once all has settled."""
    found, calls = [], {call.number: call for call in phone.calls}
    times: Counter[str] = Counter()
    for stored in all_messages(place.store):
        message = stored.message
        call = calls.get(message.caller)
        if call is None:
            found.append(f"{message.id} is of nobody")
            continue
        times[call.number] += 1
        found += [f"{call.number}, {call.why}, {call.hits}, adopted {message.adopted}: {what}"
                  for what in _wrong_message(stored, call)]  # fmt: skip
    found += [f"{number} has {count} messages" for number, count in times.items() if count > 1]
    found += [f"aside: {entry}" for entry in place.store.aside()]
    return [*found, *_wrong_mails(place, mailbox)]


def _wrong_message(stored: Stored, call: Left) -> Iterator[str]:
    if stored.message.box != call.box:
        yield "it is in another's box"
    audio = read_wav(stored.audio)
    if hashlib.sha256(stored.audio.read_bytes()).hexdigest() != stored.message.sha256:
        yield "its audio has changed"
    if abs(len(audio) / RATE - stored.message.seconds) > 0.01:
        yield f"it has {len(audio) / RATE} s, and says {stored.message.seconds}"
    found = found_of(call.sent, audio)
    frames = len(audio) // 160
    if found.foreign > 2:
        yield f"{found.foreign} of {frames} frames are not the caller's"
    if call.told:
        # All of it, from when the switch was there to hear it.
        if found.first > LATE * 50:
            yield f"the first {found.first} frames of {call.frames} are missing"
        if call.frames - found.last > SHORT * 50:
            yield f"the last {call.frames - found.last} frames of {call.frames} are missing"
        if found.missing > MISSING * call.frames:
            yield f"{found.missing} frames of {call.frames} are missing, of those from the {found.first}th on"
        if frames > call.frames + 50 * (call.told - call.spoke + LEAD):
            yield f"it has {frames} frames, and {call.frames} were sent"
    elif call.is_owed(SURELY) and found.last < 50 * MIN_SECONDS:
        yield f"only {found.last} frames of {call.frames} are there"
    text = (stored.transcript or {}).get("text", "")
    if (stored.transcript or {}).get("state") != "done":
        yield f"its transcript failed: {(stored.transcript or {}).get('reason')}"
    elif not PATIENT and text != written(audio.astype("<i2").tobytes()):
        yield "its transcript is of another audio"


def _wrong_mails(place: Site, mailbox: Mailbox) -> Iterator[str]:
    """All mails of a message go by its one Message-ID, and no other."""
    # Two that hung up at once may have left the same silence.
    by_audio: dict[str, list[Message]] = {}
    for stored in all_messages(place.store):
        by_audio.setdefault(stored.message.sha256, []).append(stored.message)
    for mail in mailbox.mails:
        [audio] = [part.get_content() for part in mail.iter_attachments()]
        messages = by_audio.get(hashlib.sha256(audio).hexdigest(), [])
        if not messages:
            yield f"a mail of no message: {mail['Subject']}"
        elif not any(mail["Message-ID"] == message_id(one) and one.caller in mail["Subject"] for one in messages):
            yield f"the mail of {messages[0].id} is {mail['Message-ID']}, {mail['Subject']}"


@pytest.mark.skipif(shutil.which("kamailio") is None, reason="no Kamailio")
def test_no_message_is_lost_whatever_dies(
    place: Site, mails: tuple[int, Mailbox], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("STROWGER_TEST_SEED") or random.randrange(1 << 20))
    with capsys.disabled():
        print(f"\nSTROWGER_TEST_SEED={seed}")
    chance = random.Random(seed)
    said = [spoken(text, tmp_path / "said.wav") for text in SENTENCES[:8]] if PATIENT else []
    mailbox = mails[1]

    async def scenario() -> tuple[Callers, list[Kill], list[str]]:
        async with callers(place.node.sip, BOXES, seed, AT_ONCE, SURELY) as phone:
            if PATIENT:
                phone.speech = lambda rng, _: rng.choice(said)
            began = time.monotonic()
            async with asyncio.TaskGroup() as both:
                killing = both.create_task(kill_all_in_turn(victims, phone, chance))
                both.create_task(phone.run(MESSAGES, AT_ONCE, MOST))
            kills = killing.result()
            print(f"calls took {time.monotonic() - began:.1f} s")
            return phone, kills, await settle(phone)

    async def settle(phone: Callers) -> list[str]:
        deadline = time.monotonic() + RECOVERY
        while (left := await asyncio.to_thread(unsettled, place, phone, mailbox)) and time.monotonic() < deadline:
            await asyncio.sleep(0.5)
        return left

    victims = Victims(place, chance)
    with supervised(list(victims.kept.values())):
        began = time.monotonic()
        phone, kills, left = asyncio.run(scenario())
        seconds = time.monotonic() - began
        found = [] if left else wrong(place, phone, mailbox)
    with capsys.disabled():
        print(report(place, phone, kills, mailbox, seconds))
    assert not left, f"seed {seed}: {len(left)} things are not settled:\n" + "\n".join([*left[:40], place.logs()])
    assert not found, f"seed {seed}: {len(found)} things are wrong:\n" + "\n".join(found[:40])
    assert phone.left >= MESSAGES
    for kind in KINDS:
        assert sum(1 for kill in kills if kill.kind == kind and kill.calls) >= TIMES, f"{kind} was not killed in a call"
    for kind in CARRIES_AUDIO:
        assert sum(kill.broken for kill in kills if kill.kind == kind), f"no call was broken by killing {kind}"


def losses_of(place: Site, phone: Callers) -> list[int]:
    """Frames that are missing in each message whose caller was told."""
    calls = {call.number: call for call in phone.calls if call.told}
    found = [
        found_of(calls[stored.message.caller].sent, read_wav(stored.audio))
        for stored in all_messages(place.store)
        if stored.message.caller in calls
    ]
    return [match.lost for match in found]


def report(place: Site, phone: Callers, kills: list[Kill], mailbox: Mailbox, seconds: float) -> str:
    """How it went, for who reads the log."""
    told = sum(1 for call in phone.calls if call.told)
    losses = sorted(losses_of(place, phone))
    lines = [
        f"frames that were not recorded: {sum(losses)} of {len(losses)} callers who were told, {losses[-1:]} of one",
        f"{len(phone.calls)} calls: {told} were told, {phone.left} are owed a message",
        f"{len(mailbox.mails)} mails of {len(set(mailbox.ids))} messages; {seconds:.0f} s",
    ]
    for kind in KINDS:
        of = [kill for kill in kills if kill.kind == kind]
        calls, broken = sum(len(kill.calls) for kill in of), sum(kill.broken for kill in of)
        lines.append(f"{kind:12} killed {len(of)} times in {calls} calls, of which {broken} were not told")
    return "\n".join(lines)
