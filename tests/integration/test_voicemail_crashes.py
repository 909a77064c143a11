"""A process dies at any of its steps: each message is there once and whole, or still to be adopted."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.crashing import Run, crashing

from console import serve
from media.voicemail import orphans, wav
from media.voicemail.store import FOLDERS, Box, Store, Stored

SPEECH = bytes(range(256)) * 400  # 6.4 s
OPENING = """
from media.voicemail import wav
from media.voicemail.store import Box, Store
store = Store(folder)
speech = bytes(range(256)) * 400
def record(path, data=speech):
    with open(path, "wb") as file:
        file.write(wav.header(0) + data)
"""


@pytest.fixture(scope="module")
def dying() -> Iterator[Run]:
    with crashing() as run:
        yield run


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # That the switch goes on writing is another test's.
    monkeypatch.setattr(orphans, "QUIET", 0.0)


def every_step(
    dying: Run, tmp_path: Path, before: Callable[[Store], None], source: str
) -> Iterator[tuple[Store, bool]]:
    """The store after a process died at its first step, at its second, …; and at last after it came to its end."""
    template = tmp_path / "template"
    before(Store(template))
    for calls in range(1, 1000):
        folder = tmp_path / str(calls)
        shutil.copytree(template, folder, symlinks=True)
        done = dying(OPENING + source, folder, calls)
        yield Store(folder), done
        shutil.rmtree(folder)
        if done:
            assert calls > 10, "the calls are not counted"
            return
    raise AssertionError("it never came to its end")


def recovered(store: Store) -> None:
    """What the service does after a crash; doing it twice changes nothing."""
    for _ in range(2):
        for orphan in store.orphans():
            assert store.reap(orphan).what in ("adopted", "discarded")
    store.clean()
    assert not list((store.folder / "incoming").iterdir())
    assert not list((store.folder / "aside").iterdir())
    assert not list((store.folder / "trash").iterdir())


def messages(store: Store) -> list[Stored]:
    """All of all boxes, each whole."""
    found = [store.message(box, id) for box in store.boxes() for folder in FOLDERS for id in store.ids(box, folder)]
    for one in found:
        data = one.audio.read_bytes()
        assert hashlib.sha256(data).hexdigest() == one.message.sha256
        assert wav.measure(one.audio).sound
        assert one.message.seconds == pytest.approx(wav.measure(one.audio).seconds, abs=0.001)
        assert store.counts(one.message.box)
    return found


def told(store: Store) -> set[tuple[str, str]]:
    """What Redis will be told of."""
    return {(one.box, one.id) for one in store.pending()}


def fresh(store: Store) -> None:
    store.put_box(Box(number="1001"))
    store.put_box(Box(number="1002"))
    for one in store.pending():
        store.settled(one)


def with_message(store: Store) -> None:
    fresh(store)
    left = store.begin("1001", caller="+4930123")
    left.audio.write_bytes(wav.header(0) + SPEECH)
    left.accept(urgent=True)
    for one in store.pending():
        store.settled(one)


def test_a_message_that_is_left(dying: Run, tmp_path: Path) -> None:
    source = """
recording = store.begin("1001", caller="+4930123")
record(recording.audio)
with open(folder / "heard", "w"): pass
recording.accept(urgent=True)
with open(folder / "told", "w"): pass
"""
    seen = set()
    for store, done in every_step(dying, tmp_path, fresh, source):
        heard, accepted = (store.folder / "heard").exists(), (store.folder / "told").exists()
        before = len(messages(store))
        recovered(store)
        found = messages(store)
        assert len(found) <= 1
        assert before <= len(found)
        if heard:
            assert len(found) == 1
            assert found[0].audio.read_bytes() == wav.header(len(SPEECH)) + SPEECH
        if accepted:
            assert before == 1
        for one in found:
            assert one.folder == "new"
            assert one.message.caller == "+4930123"
            assert (one.message.box, one.message.id) in told(store)
            # Marked urgent, or its caller never came to be told that it was.
            assert store.counts("1001").urgent_new == one.message.urgent
            assert one.message.urgent or one.message.adopted
        seen.add((before, len(found), done))
    assert seen == {(0, 0, False), (0, 1, False), (1, 1, False), (1, 1, True)}


def test_a_message_that_is_recorded_again(dying: Run, tmp_path: Path) -> None:
    source = """
recording = store.begin("1001")
record(recording.audio)
with open(folder / "first", "w"): pass
record(recording.again(), speech[::-1])
with open(folder / "second", "w"): pass
recording.accept()
"""
    other = SPEECH[::-1]
    for store, _ in every_step(dying, tmp_path, fresh, source):
        recovered(store)
        found = messages(store)
        if (store.folder / "first").exists():
            assert len(found) == 1
            sound = found[0].audio.read_bytes()[wav.HEADER :]
            assert sound in (SPEECH, other)
            if (store.folder / "second").exists():
                assert sound == other


def test_a_message_that_its_caller_deletes(dying: Run, tmp_path: Path) -> None:
    source = """
recording = store.begin("1001")
record(recording.audio)
with open(folder / "heard", "w"): pass
recording.discard()
with open(folder / "told", "w"): pass
"""
    counts = set()
    for store, _ in every_step(dying, tmp_path, fresh, source):
        recovered(store)
        found = messages(store)
        counts.add(len(found))
        if (store.folder / "told").exists():
            assert not found
    assert counts == {0, 1}


def test_a_message_that_moves(dying: Run, tmp_path: Path) -> None:
    folders = set()
    source = 'store.move("1001", store.ids("1001", "new")[0], "saved")'
    for store, done in every_step(dying, tmp_path, with_message, source):
        recovered(store)
        (found,) = messages(store)
        folders.add(found.folder)
        if found.folder == "saved":
            assert told(store) == {("1001", found.message.id)}
        assert not done or found.folder == "saved"
        assert store.counts("1001").urgent_new + store.counts("1001").urgent_saved == 1
    assert folders == {"new", "saved"}


def test_a_message_that_is_removed(dying: Run, tmp_path: Path) -> None:
    counts = set()
    source = 'store.purge("1001", store.ids("1001", "new")[0])'
    for store, done in every_step(dying, tmp_path, with_message, source):
        recovered(store)
        found = messages(store)
        counts.add(len(found))
        if not found:
            assert len(told(store)) == 1
            assert not list((store.folder / "boxes").glob("*/*/*/audio.wav"))
        assert not done or not found
    assert counts == {0, 1}


@pytest.mark.parametrize("comment", [False, True])
def test_a_message_that_is_forwarded(dying: Run, tmp_path: Path, comment: bool) -> None:
    source = 'store.forward("1001", store.ids("1001", "new")[0], "1002")'
    if comment:
        source = f"""
said = store.begin_comment("1001")
record(said.audio, speech[:8000])
{source[:-1]}, said.audio)
said.discard()
"""
    counts = set()
    for store, done in every_step(dying, tmp_path, with_message, source):
        recovered(store)
        found = {one.message.box: one for one in messages(store)}
        assert len(messages(store)) == len(found)
        assert store.counts("1001").new == 1
        counts.add(len(found))
        assert not done or len(found) == 2
        if copy := found.get("1002"):
            sound = SPEECH[:8000] + SPEECH if comment else SPEECH
            assert copy.audio.read_bytes()[wav.HEADER :] == sound
            assert (copy.message.forwarded_from, copy.message.comment) == ("1001", comment)
            assert ("1002", copy.message.id) in told(store)
    assert counts == {1, 2}


def test_an_orphan_that_is_adopted(dying: Run, tmp_path: Path) -> None:
    def left_behind(store: Store) -> None:
        fresh(store)
        left = store.begin("1001")
        left.audio.write_bytes(wav.header(0) + b"\1\2" * 100)
        left.again().write_bytes(wav.header(0) + SPEECH)
        left.close()

    source = """
from media.voicemail import orphans
orphans.QUIET = 0.0
for orphan in store.orphans():
    store.adopt(orphan)
"""
    counts = set()
    for store, done in every_step(dying, tmp_path, left_behind, source):
        counts.add(store.counts("1001").new)
        assert not done or store.counts("1001").new == 1
        recovered(store)
        (found,) = messages(store)
        assert found.message.adopted
        assert found.audio.read_bytes() == wav.header(len(SPEECH)) + SPEECH
        assert ("1001", found.message.id) in told(store)
    assert counts == {0, 1}


def test_settings_that_are_written(dying: Run, tmp_path: Path) -> None:
    def made(store: Store) -> None:
        fresh(store)
        store.put_box(Box(number="1003", name="before", numbers=("2001", "2002")))

    before = Box(number="1003", name="before", numbers=("2001", "2002"))
    after = Box(number="1003", name="after", numbers=("2002", "2003"))
    source = 'store.put_box(Box(number="1003", name="after", numbers=("2002", "2003")))'
    seen = set()
    for store, done in every_step(dying, tmp_path, made, source):
        box = store.box("1003")
        assert box in (before, after)
        seen.add(box.name)
        for number in box.numbers:
            assert store.find_box(number) == "1003"
        gone = ({"2001", "2003"} - set(box.numbers)).pop()
        # What no longer leads to it can be given to another.
        store.put_box(Box(number="1004", numbers=(gone,)))
        assert store.find_box(gone) == "1004"
        assert not done or box == after
    assert seen == {"before", "after"}


def test_a_box_that_is_made(dying: Run, tmp_path: Path) -> None:
    seen = set()
    for store, done in every_step(dying, tmp_path, fresh, 'store.put_box(Box(number="1003", numbers=("2001",)))'):
        there = "1003" in store.boxes()
        seen.add(there)
        assert not done or there
        if there:
            assert store.box("1003").numbers == ("2001",)
            assert ("1003", "") in told(store)
        store.put_box(Box(number="1003", numbers=("2001",)))
        left = store.begin(store.find_box("2001"))
        left.audio.write_bytes(wav.header(0) + SPEECH)
        left.accept()
        assert len(messages(store)) == 1
    assert seen == {False, True}


def test_a_box_that_is_removed(dying: Run, tmp_path: Path) -> None:
    def made(store: Store) -> None:
        fresh(store)
        store.update_box("1001", numbers=("2001",))
        left = store.begin("1001")
        left.audio.write_bytes(wav.header(0) + SPEECH)
        left.accept()
        for one in store.pending():
            store.settled(one)

    seen = set()
    for store, done in every_step(dying, tmp_path, made, 'store.remove_box("1001")'):
        there = "1001" in store.boxes()
        seen.add(there)
        assert len(messages(store)) == there
        if not there:
            assert not done or told(store) == {("1001", "")}
            assert ("1001", "") in told(store)
            store.put_box(Box(number="1001", numbers=("2001",)))
            assert store.counts("1001").new == 0
    assert seen == {False, True}


def test_a_greeting_that_is_recorded(dying: Run, tmp_path: Path) -> None:
    def made(store: Store) -> None:
        fresh(store)
        greeting = store.begin_greeting("1001", "busy")
        greeting.audio.write_bytes(wav.header(0) + SPEECH)
        greeting.accept()

    source = """
greeting = store.begin_greeting("1001", "busy")
record(greeting.audio, speech[::-1])
greeting.accept()
"""
    seen = set()
    for store, done in every_step(dying, tmp_path, made, source):
        recovered(store)
        path = store.greeting("1001", "busy")
        assert path is not None
        assert wav.measure(path).sound
        seen.add(path.read_bytes()[wav.HEADER :])
        assert not done or path.read_bytes()[wav.HEADER :] == SPEECH[::-1]
        assert not messages(store)
    assert seen == {SPEECH, SPEECH[::-1]}


# Several processes at once on the same boxes, each killed at a random moment and started anew.
RESTLESS = """
import os, random, sys
from pathlib import Path
from media.voicemail import wav
from media.voicemail.store import FOLDERS, NoSuchMessageError, QuotaError, Store
folder, log, seed = Path(sys.argv[1]), open(sys.argv[2], "a", buffering=1), int(sys.argv[3])
dice, store = random.Random(seed), Store(folder)
print("begun", file=log)
while True:
    box, other = dice.sample(["1001", "1002"], 2)
    ids = [id for name in FOLDERS for id in store.ids(box, name)]
    id, what = dice.choice(ids) if ids else "", dice.random()
    try:
        if what < 0.4 or not ids:
            recording = store.begin(box)
            recording.audio.write_bytes(wav.header(0) + bytes(range(256)) * 200)
            print("heard", recording.id, file=log)
            recording.accept(dice.random() < 0.5)
            print("told", recording.id, file=log)
        elif what < 0.6:
            store.move(box, id, dice.choice(FOLDERS))
        elif what < 0.7:
            print("told", store.forward(box, id, other).id, file=log)
        elif what < 0.8:
            store.put_delivery(box, id, {str(os.getpid()): 1})
        else:
            print("purges", id, file=log)
            store.purge(box, id)
    except NoSuchMessageError:
        pass
"""


def test_processes_that_are_killed_all_the_time(tmp_path: Path) -> None:
    seed = int(os.environ.get("STROWGER_TEST_SEED") or random.randrange(1 << 32))
    print(f"STROWGER_TEST_SEED={seed}")
    dice, store = random.Random(seed), Store(tmp_path / "voicemail")
    for number in ("1001", "1002"):
        store.put_box(Box(number=number, quota_messages=0))
    said = [tmp_path / f"log-{place}" for place in range(3)]

    def started(place: int) -> subprocess.Popen[bytes]:
        lines = len(_lines(said[place : place + 1]))
        process = subprocess.Popen(
            [sys.executable, "-c", RESTLESS, store.folder, said[place], str(dice.randrange(1 << 32))], cwd=serve.ROOT
        )
        while len(_lines(said[place : place + 1])) == lines:
            assert process.poll() is None
            time.sleep(0.01)
        return process

    running = [started(place) for place in range(3)]
    try:
        for _ in range(15):
            # The reaper is at work beside them.
            for orphan in store.orphans():
                store.reap(orphan)
            time.sleep(dice.random() * 0.2)
            place = dice.randrange(3)
            assert running[place].poll() is None
            running[place].kill()
            running[place].wait()
            running[place] = started(place)
    finally:
        for process in running:
            process.kill()
            process.wait()
    recovered(store)
    ids = [one.message.id for one in messages(store)]
    assert len(ids) == len(set(ids))
    words = _lines(said)
    kept = {id for what, id in words if what in ("heard", "told")}
    purged = {id for what, id in words if what == "purges"}
    assert len(kept) > 30
    assert purged
    assert kept - purged <= set(ids)
    for number in ("1001", "1002"):
        urgent = {id for name in FOLDERS for id in store.ids(number, name) if store.message(number, id).message.urgent}
        assert urgent <= store.urgent_ids(number)


def _lines(files: list[Path]) -> list[tuple[str, str]]:
    """First and last word of what was written whole."""
    texts = [file.read_text().rpartition("\n")[0] for file in files if file.exists()]
    return [(line.split()[0], line.split()[-1]) for text in texts for line in text.splitlines()]
