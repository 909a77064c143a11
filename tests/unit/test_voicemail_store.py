"""Mailboxes on the disk: what each operation does, sequences of them against a simple model, and many at once."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from console import serve
from media.voicemail import orphans, wav
from media.voicemail.store import (
    FOLDERS,
    BadAudioError,
    BadBoxError,
    BadPinError,
    Box,
    BoxExistsError,
    Counts,
    DamagedBoxError,
    DamagedMessageError,
    Folder,
    Message,
    NoSuchBoxError,
    NoSuchMessageError,
    NothingRecordedError,
    QuotaError,
    Store,
    Takes,
)

SPEECH = bytes(range(256)) * 400  # 6.4 s


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "voicemail")
    found.put_box(Box(number="1001"))
    found.put_box(Box(number="1002"))
    return found


def record(takes: Takes, data: bytes = SPEECH) -> None:
    """As a switch that was killed leaves it."""
    takes.audio.write_bytes(wav.header(0) + data)


def leave(store: Store, box: str = "1001", *, urgent: bool = False, data: bytes = SPEECH) -> Message:
    recording = store.begin(box, caller="+4930123")
    record(recording, data)
    return recording.accept(urgent)


def quiet(path: Path) -> None:
    """As if nobody had written to it for long."""
    for file in path.iterdir():
        os.utime(file, (1e9, 1e9))


# A message is left.


def test_what_is_said_is_kept_as_it_was(store: Store) -> None:
    recording = store.begin("1001", caller="+4930123", caller_name="Anna", callee="+4930999", reason="busy", call="c-1")
    record(recording)
    assert recording.seconds() == 6.4
    assert not store.ids("1001", "new")
    left = recording.accept(urgent=True)
    found = store.message("1001", left.id)
    assert found.message == left
    assert (left.caller, left.caller_name, left.callee, left.reason, left.call, left.urgent, left.adopted) == (
        "+4930123", "Anna", "+4930999", "busy", "c-1", True, False,
    )  # fmt: skip
    assert abs(left.received - time.time()) < 60
    assert found.audio.read_bytes() == wav.header(len(SPEECH)) + SPEECH
    assert left.sha256 == hashlib.sha256(found.audio.read_bytes()).hexdigest()
    assert (found.folder, found.transcript, found.delivery) == ("new", None, None)
    assert sorted(path.name for path in found.path.iterdir()) == ["audio.wav", "message.json"]
    assert store.counts("1001") == Counts(new=1, urgent_new=1)
    assert not store.orphans()


def test_what_the_box_wants_done_is_written_down(store: Store) -> None:
    store.update_box("1001", email="a@example.com", transcribe=False)
    left = leave(store)
    store.update_box("1001", webhook="https://example.com/hook")
    assert store.message("1001", left.id).message.wanted == ("mail",)
    assert leave(store).wanted == ("mail", "webhook")


def test_the_last_take_counts(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    first = recording.audio
    assert recording.again() != first
    assert first.exists()
    assert recording.seconds() == 0
    record(recording, SPEECH[::-1])
    left = recording.accept()
    assert store.message("1001", left.id).audio.read_bytes()[wav.HEADER :] == SPEECH[::-1]


@pytest.mark.parametrize("last", [None, b"", b"\1\2" * 100])
def test_a_last_take_with_nothing_in_it_does_not(store: Store, last: bytes | None) -> None:
    recording = store.begin("1001")
    record(recording)
    recording.again()
    if last is not None:
        record(recording, last)
    left = recording.accept()
    assert store.message("1001", left.id).audio.read_bytes()[wav.HEADER :] == SPEECH


def test_the_last_of_ten_takes_is_the_tenth(store: Store) -> None:
    recording = store.begin("1001")
    for number in range(10):
        record(recording, bytes([number]) * 64000)
        if number < 9:
            recording.again()
    left = recording.accept()
    assert store.message("1001", left.id).audio.read_bytes()[wav.HEADER :] == bytes([9]) * 64000


def test_nothing_is_no_message(store: Store) -> None:
    recording = store.begin("1001")
    with pytest.raises(NothingRecordedError):
        recording.accept()
    recording.audio.write_bytes(b"OggS" + os.urandom(9000))
    with pytest.raises(BadAudioError):
        recording.accept()
    recording.discard()
    assert store.counts("1001") == Counts()
    assert not list((store.folder / "incoming").iterdir())
    assert not list((store.folder / "trash").iterdir())


def test_there_must_be_a_box_with_room(store: Store) -> None:
    for number in ("1009", "..", "a/b", ""):
        with pytest.raises(NoSuchBoxError):
            store.begin(number)
    store.update_box("1001", quota_messages=2)
    leave(store)
    store.move("1001", leave(store).id, "saved")
    with pytest.raises(QuotaError):
        store.begin("1001")
    store.move("1001", store.ids("1001", "new")[0], "deleted")
    leave(store)
    store.update_box("1002", quota_seconds=12)
    leave(store, "1002")
    leave(store, "1002")
    with pytest.raises(QuotaError, match="12 seconds"):
        store.forward("1001", store.ids("1001", "new")[0], "1002")


def test_a_box_that_goes_meanwhile_leaves_the_recording(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    store.remove_box("1001")
    with pytest.raises(NoSuchBoxError):
        recording.accept(urgent=True)
    recording.close()
    (orphan,) = store.orphans()
    assert store.reap(orphan).what == "aside"
    assert store.aside() == [(recording.id, "the box is gone")]
    assert (store.folder / "aside" / recording.id / "audio.wav").exists()


# What is left behind.


def test_who_records_is_no_orphan(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    assert not store.orphans()
    recording.close()
    assert [orphan.id for orphan in store.orphans()] == [recording.id]


def test_what_the_switch_still_writes_is_left_alone(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    recording.close()
    (orphan,) = store.orphans()
    assert store.reap(orphan).what == "later"
    assert store.adopt(orphan) is None
    quiet(orphan.path)
    adopted = store.adopt(orphan)
    assert adopted is not None
    assert adopted.adopted
    assert store.message("1001", adopted.id).audio.read_bytes() == wav.header(len(SPEECH)) + SPEECH
    assert store.reap(orphan).what == "gone"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (None, "discarded"),
        (b"", "discarded"),
        (wav.header(0) + b"\1\2" * 12000, "discarded"),
        (wav.header(0) + b"\1\2" * 24000, "adopted"),
        (b"OggS" + os.urandom(90000), "aside"),
    ],
    ids=["no file", "empty", "1.5 s", "3 s", "no audio"],
)  # fmt: skip
def test_what_becomes_of_what_was_said(store: Store, data: bytes | None, what: str) -> None:
    recording = store.begin("1001")
    if data is not None:
        recording.audio.write_bytes(data)
    recording.close()
    quiet(recording.audio.parent)
    (orphan,) = store.orphans()
    assert store.reap(orphan).what == what
    assert store.counts("1001").new == (what == "adopted")
    assert len(store.aside()) == (what == "aside")
    assert not store.orphans()
    if what == "aside":
        assert (store.folder / "aside" / orphan.id / "audio.wav").read_bytes() == data


def test_what_the_switch_has_not_begun_to_write_is_left_alone(store: Store) -> None:
    recording = store.begin("1001")
    recording.close()
    (orphan,) = store.orphans()
    assert store.reap(orphan).what == "later"
    record(recording)
    quiet(recording.audio.parent)
    assert store.reap(orphan).what == "adopted"


def test_a_recording_that_nobody_has_any_more_is_an_orphan(store: Store) -> None:
    # As where a call ended while a thread was making it.
    store.begin("1001")
    gc.collect()
    assert len(store.orphans()) == 1


def test_a_box_that_cannot_be_read_does_not_keep_others_from_expiring(store: Store) -> None:
    (store.folder / "boxes/1001/box.json").unlink()
    (store.folder / "boxes/1001/box.json").mkdir()
    store.move("1002", leave(store, "1002").id, "deleted")
    assert len(store.expire(now=time.time() + 1e6)) == 1


def test_one_that_the_disk_refuses_holds_up_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        recording = store.begin("1001", caller="+4930123")
        record(recording)
        recording.close()
        quiet(recording.audio.parent)
    refused = store.orphans()[0]
    repair = wav.repair

    def refusing(path: Path) -> wav.Shape:
        if path.parent == refused.path:
            raise OSError(28, "No space left on device", str(path))
        return repair(path)

    monkeypatch.setattr(wav, "repair", refusing)
    for _ in range(3):
        for orphan in store.orphans():
            store.adopt(orphan)
    assert store.reap(refused).what == "later"
    assert [orphan.id for orphan in store.orphans()] == [refused.id]
    assert store.counts("1001").new == 1
    assert caplog.messages == [f"recording {refused.id} cannot be adopted yet: No space left on device"]
    monkeypatch.undo()
    assert store.adopt(refused) is not None


def test_a_manifest_that_cannot_be_read_is_put_aside(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    (recording.audio.parent / "intent.json").write_bytes(b"{")
    recording.close()
    quiet(recording.audio.parent)
    assert store.reap(store.orphans()[0]).what == "aside"
    assert (store.folder / "aside" / recording.id / "audio.wav").exists()


def test_an_earlier_take_is_adopted_where_the_last_is_too_short(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    recording.again()
    record(recording, b"\1\2" * 500)
    recording.close()
    quiet(recording.audio.parent)
    adopted = store.adopt(store.orphans()[0])
    assert adopted is not None
    assert adopted.seconds == 6.4


def test_what_its_caller_deleted_is_never_adopted(store: Store) -> None:
    recording = store.begin("1001")
    record(recording)
    recording.discard()
    assert not store.orphans()
    store.clean()
    assert not list(store.folder.rglob("audio*.wav"))


def test_greetings_and_comments_are_not_adopted(store: Store) -> None:
    for takes in (store.begin_greeting("1001", "busy"), store.begin_comment("1001")):
        record(takes)
        takes.close()
        quiet(takes.audio.parent)
        assert store.reap(store.orphans()[0]).what == "discarded"
    assert store.greeting("1001", "busy") is None


def test_two_reapers_adopt_once(store: Store) -> None:
    for _ in range(10):
        recording = store.begin("1001")
        record(recording)
        recording.close()
        quiet(recording.audio.parent)
    found = store.orphans()
    with ThreadPoolExecutor(8) as pool:
        adopted = list(pool.map(store.adopt, found * 4))
    # One that meets another's lock comes again.
    adopted += [store.adopt(orphan) for orphan in store.orphans()]
    assert len([one for one in adopted if one]) == 10
    assert store.counts("1001").new == 10


def test_remains_are_removed_when_nobody_makes_them_any_more(store: Store) -> None:
    making, trash = store.folder / "making", store.folder / "trash"
    for path in (making / "young", making / "old", trash / "gone"):
        (path / "new").mkdir(parents=True)
        (path / "audio.wav").touch()
    os.symlink("1001", making / "link")
    for name in ("young.wav", "old.wav"):
        (store.folder / "live" / name).touch()
    os.utime(store.folder / "live/old.wav", (1e9, 1e9))
    os.utime(making / "old", (1e9, 1e9))
    id, marks = leave(store, urgent=True).id, store.folder / "boxes/1001/urgent"
    for name in (id, "20260131T180000Z-00000000", "20260131T180000Z-00000001"):
        (marks / name).touch()
    for name in (id, "20260131T180000Z-00000000"):
        os.utime(marks / name, (1e9, 1e9))
    store.clean()
    assert (store.folder / "live").stat().st_mode & 0o7777 == 0o2770
    assert {path.name for path in marks.iterdir()} == {id, "20260131T180000Z-00000001"}
    assert {path.name for path in making.iterdir()} == {"young", "link"}
    assert [path.name for path in (store.folder / "live").iterdir()] == ["young.wav"]
    assert not list(trash.iterdir())


def test_what_is_made_while_remains_are_removed_is_no_trouble(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    making, old, new = store.folder / "making", store.folder / "making/1", store.folder / "making/2"
    for path in (old, new):
        path.mkdir()
        os.utime(path, (1e9, 1e9))
    remove = orphans._remove

    def removing(path: Path) -> None:
        remove(path)
        for other in making.iterdir():
            other.rename(store.folder / "incoming" / other.name)  # by who made it

    monkeypatch.setattr(orphans, "_remove", removing)
    store.clean()
    assert not list(making.iterdir())


# Messages.


def test_a_message_moves_and_goes(store: Store) -> None:
    left = leave(store, urgent=True)
    assert store.move("1001", left.id, "saved")
    assert not store.move("1001", left.id, "saved")
    assert store.counts("1001") == Counts(saved=1, urgent_saved=1)
    assert store.where("1001", left.id) == "saved"
    store.move("1001", left.id, "deleted")
    assert store.counts("1001") == Counts(deleted=1)
    store.move("1001", left.id, "new")
    assert store.message("1001", left.id).message == left
    store.purge("1001", left.id)
    assert store.counts("1001") == Counts()
    assert store.where("1001", left.id) is None
    assert not store.urgent_ids("1001")
    assert not list(store.folder.rglob("audio.wav"))


def test_a_message_moves_only_from_where_it_is_thought_to_be(store: Store) -> None:
    left = leave(store)
    store.move("1001", left.id, "deleted")
    assert not store.move("1001", left.id, "saved", source="new")
    assert store.where("1001", left.id) == "deleted"
    assert store.move("1001", left.id, "saved", source="deleted")
    assert store.where("1001", left.id) == "saved"


def test_what_is_not_there_is_said(store: Store) -> None:
    left = leave(store)
    store.purge("1001", left.id)
    for id in (left.id, "x", "../../1002/new", ""):
        for do in (
            lambda id: store.message("1001", id),
            lambda id: store.move("1001", id, "saved"),
            lambda id: store.purge("1001", id),
            lambda id: store.forward("1001", id, "1002"),
            lambda id: store.put_transcript("1001", id, {}),
        ):
            with pytest.raises(NoSuchMessageError):
                do(id)
    for ask in (store.counts, store.box, store.remove_box, lambda box: store.ids(box, "new")):
        with pytest.raises(NoSuchBoxError):
            ask("1009")


@pytest.mark.parametrize("box", ["../../outside", ".boxes", "", ".."])
@pytest.mark.timeout(30)
def test_what_no_box_can_be_called_touches_nothing(store: Store, box: str) -> None:
    left = leave(store)
    before = sorted(store.folder.parent.rglob("*"))
    for do in (
        lambda: store.purge(box, left.id),
        lambda: store.move(box, left.id, "saved"),
        lambda: store.where(box, left.id),
        lambda: store.message(box, left.id),
        lambda: store.put_transcript(box, left.id, {}),
        lambda: store.put_delivery(box, left.id, {}),
        lambda: store.remove_box(box),
        lambda: store.begin(box),
    ):
        with pytest.raises(NoSuchBoxError):
            do()
    assert sorted(store.folder.parent.rglob("*")) == before


def test_a_damaged_message_is_named(store: Store) -> None:
    left = leave(store)
    path = store.message("1001", left.id).path / "message.json"
    path.write_bytes(b'{"id": 1}')
    with pytest.raises(DamagedMessageError, match=r"message\.json"):
        store.message("1001", left.id)


def test_a_copy_for_another_box(store: Store) -> None:
    left = leave(store, urgent=True)
    copy = store.forward("1001", left.id, "1002")
    assert (copy.box, copy.forwarded_from, copy.comment, copy.urgent) == ("1002", "1001", False, True)
    assert copy.id != left.id
    assert (copy.caller, copy.seconds, copy.sha256) == (left.caller, left.seconds, left.sha256)
    store.purge("1001", left.id)
    assert store.message("1002", copy.id).audio.read_bytes() == wav.header(len(SPEECH)) + SPEECH
    said = store.begin_comment("1002")
    record(said, b"\1\2" * 800)
    back = store.forward("1002", copy.id, "1001", said.audio)
    said.discard()
    assert back.comment
    assert store.message("1001", back.id).audio.read_bytes()[wav.HEADER :] == b"\1\2" * 800 + SPEECH
    with pytest.raises(NoSuchBoxError):
        store.forward("1001", back.id, "1009")


def test_what_stands_beside_a_message(store: Store) -> None:
    left = leave(store)
    store.put_transcript("1001", left.id, {"state": "failed", "reason": "timeout"})
    store.put_transcript("1001", left.id, {"state": "done", "text": "hello"})
    store.put_delivery("1001", left.id, {"mail": {"state": "sent"}})
    store.put_delivery("1001", left.id, {"webhook": {"state": "failed"}})
    found = store.message("1001", left.id)
    assert found.transcript == {"state": "done", "text": "hello"}
    assert found.delivery == {"mail": {"state": "sent"}, "webhook": {"state": "failed"}}


def test_a_greeting(store: Store) -> None:
    assert store.greeting("1001", "busy") is None
    greeting = store.begin_greeting("1001", "busy")
    record(greeting)
    assert store.greeting("1001", "busy") is None
    path = greeting.accept()
    assert store.greeting("1001", "busy") == path
    assert path.read_bytes() == wav.header(len(SPEECH)) + SPEECH
    assert store.remove_greeting("1001", "busy")
    assert not store.remove_greeting("1001", "busy")
    assert not list((store.folder / "incoming").iterdir())
    with pytest.raises(ValueError, match="loud"):
        store.greeting("1001", "loud")  # type: ignore[arg-type]


# Time.


def test_messages_expire_from_their_folder(store: Store) -> None:
    store.update_box("1001", expire_days=2, expire_deleted_hours=1)
    ids = [leave(store).id for _ in range(3)]
    store.move("1001", ids[1], "saved")
    store.move("1001", ids[2], "deleted")
    now = time.time()
    assert store.expire(now=now + 3500) == []
    assert store.expire(now=now + 3700) == [("1001", ids[2])]
    assert store.expire(now=now + 47 * 3600) == []
    assert store.expire(now=now + 49 * 3600) == [("1001", ids[1])]
    assert store.expire(now=now + 1e9) == []
    assert store.ids("1001", "new") == [ids[0]]


def test_a_message_that_is_had_back_does_not_expire(store: Store) -> None:
    id = leave(store).id
    store.move("1001", id, "deleted")
    store.move("1001", id, "saved")
    assert store.expire(now=time.time() + 1e9) == []


# Boxes.


def test_a_box_is_found_by_any_of_its_numbers(store: Store) -> None:
    store.update_box("1001", numbers=("+4930123", "2001"))
    assert [store.find_box(number) for number in ("1001", "+4930123", "2001")] == ["1001"] * 3
    with pytest.raises(BadBoxError, match=r"numbers\[0\].*box 1001's already"):
        store.update_box("1002", numbers=("2001",))
    with pytest.raises(BadBoxError, match=r"number: it leads to box 1001"):
        store.put_box(Box(number="2001"))
    with pytest.raises(BadBoxError, match=r"box 1002's already"):
        store.update_box("1001", numbers=("1002",))
    store.update_box("1001", numbers=("2001",))
    store.update_box("1002", numbers=("+4930123",))
    assert store.find_box("+4930123") == "1002"
    store.remove_box("1002")
    for number in ("+4930123", "1002", "../x", ""):
        with pytest.raises(NoSuchBoxError):
            store.find_box(number)


def test_settings_change_one_by_one(store: Store) -> None:
    with pytest.raises(BoxExistsError):
        store.put_box(Box(number="1001"), new=True)
    assert store.update_box("1001", name="Anna") == replace(Box(number="1001"), name="Anna")
    for changes in ({"number": "1003"}, {"time_zone": "nowhere"}, {"nmae": "x"}):
        with pytest.raises(BadBoxError, match="box 1001: "):
            store.update_box("1001", **changes)
    assert store.box("1001").name == "Anna"
    assert (store.folder / "boxes/1001/box.json").stat().st_mode & 0o777 == 0o600


def test_a_pin_is_set_and_checked(store: Store) -> None:
    assert not store.check_pin("1001", "")
    for digits in ("", "1001", "1111"):
        with pytest.raises(BadPinError):
            store.set_pin("1001", digits)
    store.set_pin("1001", "4711")
    assert store.check_pin("1001", "4711")
    assert not store.check_pin("1001", "4712")
    assert not store.check_pin("1002", "4711")
    assert "4711" not in (store.folder / "boxes/1001/box.json").read_text()


@pytest.mark.parametrize("text", [None, "{", '{"number": "1001", "nmae": ""}'])
def test_a_damaged_box_is_named_and_can_be_mended_or_removed(store: Store, text: str | None) -> None:
    file, id = store.folder / "boxes/1001/box.json", leave(store).id
    for mend in (True, False):
        file.unlink() if text is None else file.write_text(text)
        for do in (lambda: store.box("1001"), lambda: store.begin("1001"), lambda: store.update_box("1001", name="x")):
            with pytest.raises(DamagedBoxError, match=r"1001/box\.json"):
                do()
        assert store.boxes() == ["1001", "1002"]
        assert store.expire(now=time.time() + 1e9) == []
        assert store.ids("1001", "new") == [id]
        if mend:
            store.put_box(Box(number="1001", name="mended"))
            assert store.box("1001").name == "mended"
    store.remove_box("1001")
    assert store.boxes() == ["1002"]


# What Redis is not told.


@pytest.mark.parametrize(
    ("do", "box"),
    [
        (lambda store, id: leave(store, "1002"), "1002"),
        (lambda store, id: store.move("1001", id, "saved"), "1001"),
        (lambda store, id: store.purge("1001", id), "1001"),
        (lambda store, id: store.forward("1001", id, "1002"), "1002"),
        (lambda store, id: store.expire(now=time.time() + 1e9), "1001"),
    ],
    ids=["left", "moved", "purged", "forwarded", "expired"],
)
def test_every_change_of_a_message_leaves_a_mark(store: Store, do: Callable[[Store, str], object], box: str) -> None:
    left = leave(store)
    store.move("1001", left.id, "deleted")
    for one in store.pending():
        store.settled(one)
    assert not store.pending()
    do(store, left.id)
    (one,) = store.pending()
    assert one.box == box
    assert one == store.pending_of(one.box, one.id)
    store.settled(one)
    assert not store.pending()
    store.settled(one)


def test_so_does_every_change_of_a_box(store: Store) -> None:
    for one in store.pending():
        store.settled(one)
    for change in (
        lambda: store.put_box(Box(number="1003")),
        lambda: store.update_box("1003", name="x"),
        lambda: store.remove_box("1003"),
    ):
        change()
        (one,) = store.pending()
        assert (one.box, one.id) == ("1003", "")
        store.settled(one)


def test_a_change_that_comes_meanwhile_is_not_settled(store: Store) -> None:
    left = leave(store)
    seen = store.pending_of("1001", left.id)
    store.move("1001", left.id, "saved")
    store.settled(seen)
    assert len(store.pending_of("1001", left.id).marks) == 1


# Many at once.


def test_no_setting_is_lost_among_processes(store: Store) -> None:
    source = """
import sys
from pathlib import Path
from media.voicemail.store import Store
store, field = Store(Path(sys.argv[1])), sys.argv[2]
for value in range(1, 41):
    store.update_box("1001", **{field: value})
"""
    wanted = ("max_seconds", "silence_seconds", "quota_messages", "expire_days")
    running = [
        subprocess.Popen([sys.executable, "-c", source, store.folder, field], cwd=serve.ROOT) for field in wanted
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    box = store.box("1001")
    assert [getattr(box, field) for field in wanted] == [40] * 4


def test_one_number_goes_to_one_of_two_boxes(store: Store) -> None:
    barrier = threading.Barrier(2)

    def claim(box: str, number: str) -> bool:
        barrier.wait(30)
        try:
            store.update_box(box, numbers=(number,))
        except BadBoxError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        for number in map(str, range(2000, 2020)):
            assert sorted(pool.map(claim, ("1001", "1002"), (number, number))) == [False, True]


def test_of_many_who_remove_a_message_one_does(store: Store) -> None:
    ids = [leave(store).id for _ in range(20)]
    stores = [Store(store.folder) for _ in range(4)]

    def purge(found: Store, id: str) -> bool:
        try:
            found.purge("1001", id)
        except NoSuchMessageError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        for id in ids:
            assert sum(pool.map(purge, stores, [id] * 4)) == 1


def test_a_message_that_moves_all_the_time_is_always_there(store: Store) -> None:
    id, stop = leave(store).id, threading.Event()

    def moving() -> int:
        moves = tries = 0
        while not stop.is_set():
            tries += 1
            moves += store.move("1001", id, FOLDERS[tries % 3])
        return moves

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(moving) for _ in range(2)]
        try:
            for _ in range(500):
                assert store.where("1001", id) is not None
                assert store.message("1001", id).message.id == id
        finally:
            stop.set()
        # Of two who wait for a lock, one may get it all the time.
        assert sum(one.result() for one in running) > 1


def test_many_messages_are_counted_without_opening_one(store: Store) -> None:
    new = store.folder / "boxes/1001/new"
    for number in range(10_000):
        (new / f"20260131T{number:06d}Z-0000{number % 10_000:04x}").mkdir()
    (store.folder / "boxes/1001/urgent" / "20260131T000007Z-00000007").touch()
    # Nothing is in them: who looked would fail.
    assert store.counts("1001") == Counts(new=10_000, urgent_new=1)
    assert store.ids("1001", "new")[:2] == ["20260131T000000Z-00000000", "20260131T000001Z-00000001"]


# Any sequence, against a model: where each message is.

BOXES = ("1001", "1002")
box_numbers, folders = st.sampled_from(BOXES), st.sampled_from(FOLDERS)


class Sequences(RuleBasedStateMachine):
    """A few dozen operations, whatever their order."""

    folder: Path
    runs = 0

    @initialize()
    def begin(self) -> None:
        Sequences.runs += 1
        self.store = Store(self.folder / str(self.runs))
        self.there: dict[str, dict[str, tuple[Folder, bool]]] = {}
        self.open: list[Takes] = []
        self.gone: list[tuple[str, str]] = []
        for number in BOXES:
            self.make(number)

    def make(self, number: str) -> None:
        if number not in self.there:
            self.store.put_box(Box(number=number, quota_messages=4))
            self.there[number] = {}

    @rule(number=box_numbers)
    def make_box(self, number: str) -> None:
        self.make(number)

    @rule(number=box_numbers)
    def remove_box(self, number: str) -> None:
        if number in self.there:
            self.gone += [(number, id) for id in self.there.pop(number)]
            self.store.remove_box(number)

    @rule(number=box_numbers, urgent=st.booleans(), end=st.sampled_from(("accept", "discard", "die", "go on")))
    def record(self, number: str, urgent: bool, end: str) -> None:
        full = sum(folder != "deleted" for folder, _ in self.there.get(number, {}).values()) >= 4
        try:
            recording = self.store.begin(number)
        except NoSuchBoxError:
            assert number not in self.there
            return
        except QuotaError:
            assert full
            return
        assert not full
        record(recording)
        if end == "accept":
            self.there[number][recording.accept(urgent).id] = ("new", urgent)
        elif end == "discard":
            recording.discard()
        elif end == "die":
            recording.close()
            (orphan,) = self.store.orphans()
            assert self.store.adopt(orphan) is None
            quiet(orphan.path)
            assert self.store.adopt(orphan) is not None
            self.there[number][recording.id] = ("new", False)
        else:
            self.open.append(recording)

    def some(self, number: str, choice: int) -> str:
        ids = sorted(self.there.get(number, {})) or [id for box, id in self.gone if box == number]
        return ids[choice % len(ids)] if ids else "20260131T000000Z-00000000"

    @rule(number=box_numbers, choice=st.integers(0, 9), folder=folders)
    def move(self, number: str, choice: int, folder: Folder) -> None:
        id = self.some(number, choice)
        try:
            moved = self.store.move(number, id, folder)
        except NoSuchMessageError:
            assert id not in self.there.get(number, {})
            return
        before, urgent = self.there[number][id]
        assert moved == (before != folder)
        self.there[number][id] = (folder, urgent)

    @rule(number=box_numbers, choice=st.integers(0, 9))
    def purge(self, number: str, choice: int) -> None:
        id = self.some(number, choice)
        try:
            self.store.purge(number, id)
        except NoSuchMessageError:
            assert id not in self.there.get(number, {})
            return
        del self.there[number][id]
        self.gone.append((number, id))

    @rule(number=box_numbers, to=box_numbers, choice=st.integers(0, 9))
    def forward(self, number: str, to: str, choice: int) -> None:
        id = self.some(number, choice)
        try:
            copy = self.store.forward(number, id, to)
        except NoSuchMessageError:
            assert id not in self.there.get(number, {})
            return
        except (NoSuchBoxError, QuotaError):
            return
        self.there[to][copy.id] = ("new", self.there[number][id][1])

    @rule(number=box_numbers)
    def expire(self, number: str) -> None:
        gone = self.store.expire([number], now=time.time() + 1e9)
        assert {id for _, id in gone} == {
            id for id, (folder, _) in self.there.get(number, {}).items() if folder == "deleted"
        }
        for _, id in gone:
            del self.there[number][id]

    @rule()
    def settle(self) -> None:
        for one in self.store.pending():
            self.store.settled(one)

    @invariant()
    def is_as_the_model_says(self) -> None:
        if not hasattr(self, "there"):
            return
        assert self.store.boxes() == sorted(self.there)
        assert not self.store.orphans()
        for number, messages in self.there.items():
            for folder in FOLDERS:
                ids = sorted(id for id, (found, _) in messages.items() if found == folder)
                assert self.store.ids(number, folder) == ids
            folders = list(messages.values())
            assert self.store.counts(number) == Counts(
                new=sum(folder == "new" for folder, _ in folders),
                saved=sum(folder == "saved" for folder, _ in folders),
                deleted=sum(folder == "deleted" for folder, _ in folders),
                urgent_new=folders.count(("new", True)),
                urgent_saved=folders.count(("saved", True)),
            )

    def teardown(self) -> None:
        for recording in getattr(self, "open", ()):
            recording.close()


def test_any_sequence(tmp_path: Path) -> None:
    Sequences.folder = tmp_path

    case = Sequences.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
    case().runTest()


def test_the_quiet_time_is_longer_than_a_switch_holds_back() -> None:
    # FreeSWITCH 1.11.1 writes 64 KiB at once where it is not told enable_file_write_buffering=false.
    assert orphans.QUIET > 2 * 65536 / (2 * wav.RATE)
