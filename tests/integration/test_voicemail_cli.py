"""`strowger voicemail`: boxes and messages by hand, without Redis."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.cli import Cli, Runner, forking

from media.voicemail import wav
from media.voicemail.store import Box, Message, Store

SPEECH = bytes(range(256)) * 400  # 6.4 s


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with forking(tmp_path_factory.mktemp("cli")) as run:
        yield run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "voicemail")


@pytest.fixture
def cli(runner: Runner, store: Store) -> Cli:
    # Nothing listens there: no command needs it.
    return Cli(runner, {"STROWGER_VOICEMAIL": str(store.folder), "STROWGER_REDIS_URL": "redis://127.0.0.1:1/0"})


def leave(store: Store, *, urgent: bool = False) -> Message:
    recording = store.begin("1001", caller="+4930123", caller_name="[Anna]")
    recording.audio.write_bytes(wav.header(0) + SPEECH)
    return recording.accept(urgent)


def test_a_box_is_made_changed_shown_removed(cli: Cli, store: Store) -> None:
    assert cli("voicemail", "boxes").out.replace("\n", "") == f"no boxes in {store.folder}"
    cli("voicemail", "box", "add", "1001", "name=Anna B", "numbers=+4930123, 2001", "callback=no")
    assert store.box("1001") == Box(number="1001", name="Anna B", numbers=("+4930123", "2001"), callback=False)
    assert "exists" in cli("voicemail", "box", "add", "1001", status=1).said
    cli("voicemail", "box", "set", "1001", "max_seconds=60", "numbers=", "webhook_secret=hush", "name=")
    changed = Box(number="1001", callback=False, max_seconds=60, webhook_secret="hush")
    assert store.box("1001") == changed
    shown = cli("voicemail", "box", "show", "1001")
    assert "max_seconds=60\n" in shown.out
    assert "hush" not in shown.out
    data = cli("voicemail", "box", "show", "1001", "--json").data
    assert (data["callback"], data["pin"], data["webhook_secret"]) == (False, False, True)
    assert "pin_hash" not in data
    leave(store)
    assert "1 messages" in cli("voicemail", "box", "remove", "1001", status=1).said
    cli("voicemail", "box", "remove", "1001", "--messages")
    assert store.boxes() == []
    assert "no box" in cli("voicemail", "box", "remove", "1001", status=1).said


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("max_seconds=x", "max_seconds: 'x' is not a whole number"),
        ("max_seconds=9999", "box 1001: max_seconds: Expected `int` <= 7200"),
        ("callback=maybe", "callback: 'maybe' is neither yes nor no"),
        ("nmae=x", "nmae: there is no such setting"),
        ("pin_hash=x", "pin_hash: there is no such setting"),
        ("number=1002", "number: there is no such setting"),
        ("name", "'name' is not FIELD=VALUE"),
        ("time_zone=here", "box 1001: time_zone: 'here' is no time zone"),
    ],
)
def test_a_mistake_is_named_and_changes_nothing(cli: Cli, store: Store, word: str, said: str) -> None:
    store.put_box(Box(number="1001"))
    assert said in cli("voicemail", "box", "set", "1001", "name=Anna", word, status=2).said
    assert store.box("1001") == Box(number="1001")
    assert said.replace("box 1001: ", "") in cli("voicemail", "box", "add", "1002", word, status=2).said
    assert store.boxes() == ["1001"]


def test_a_pin_is_set_and_never_shown(cli: Cli, store: Store) -> None:
    store.put_box(Box(number="1001"))
    cli("voicemail", "box", "pin", "1001", "--stdin", text="4711\n")
    assert store.check_pin("1001", "4711")
    refused = cli("voicemail", "box", "pin", "1001", "--stdin", text="1234\n", status=2)
    assert "1234" not in refused.err
    cli("voicemail", "box", "pin", "1001", "--stdin", status=2)
    assert store.check_pin("1001", "4711")
    cli("voicemail", "box", "pin", "1001", "--clear")
    assert not store.box("1001").pin_hash
    cli("voicemail", "box", "pin", "1009", "--stdin", text="4711\n", status=1)


def test_a_file_makes_many_boxes(cli: Cli, store: Store, tmp_path: Path) -> None:
    store.put_box(Box(number="1001", name="Anna", email="a@example.com"))
    file = tmp_path / "boxes.csv"
    file.write_text("number,name,pin,numbers,transcribe\n1001,,,,no\n1002,Bert,4711,2001 2002,\n")
    assert cli("voicemail", "import", str(file), "--json").data == {"made": 1, "changed": 1}
    assert store.box("1001") == Box(number="1001", name="Anna", email="a@example.com", transcribe=False)
    assert store.box("1002").numbers == ("2001", "2002")
    assert store.check_pin("1002", "4711")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ":1: want a column number"),
        ("number,nmae\n", ":1: there is no setting 'nmae'"),
        ("number,name,name\n", ":1: want a column number, and none twice"),
        ("number,name\n1003\n", ":2: not as many columns"),
        ("number,name\n1003,x,y\n", ":2: not as many columns"),
        ("number,pin\n1003,4711\n1004,1111\n", ":3: pin: a PIN must not be one digit repeated"),
        ("number,max_seconds\n1003,60\n1004,0\n", ":3: max_seconds: Expected"),
        ("number\n1003\n..\n", ":3: number: '..' is not"),
        ("number\n1003\n1003\n", ":3: number: box 1003 stands there twice"),
        ("number,numbers\n1003,2001\n1004,2001\n", ":3: numbers: 2001 is box 1003's already"),
        ("number,numbers\n1003,2009\n", ":2: numbers: 2009 is box 1001's already"),
        ("number,numbers\n1003,1001\n", ":2: numbers: 1001 is box 1001's already"),
        ('number,name\n1003,"x\n', "boxes.csv:2: "),
    ],
)
def test_a_file_with_a_mistake_makes_none(cli: Cli, store: Store, tmp_path: Path, text: str, said: str) -> None:
    store.put_box(Box(number="1001", numbers=("2009",)))
    file = tmp_path / "boxes.csv"
    file.write_text(text)
    assert said in cli("voicemail", "import", str(file), status=2).said
    assert store.boxes() == ["1001"]


def test_boxes_are_listed_with_what_they_hold(cli: Cli, store: Store) -> None:
    store.put_box(Box(number="1001", name="Anna"))
    store.put_box(Box(number="1002"))
    leave(store, urgent=True)
    rows = cli("voicemail", "boxes", "--json").data
    assert [(row["number"], row["new"], row["urgent_new"]) for row in rows] == [("1001", 1, 1), ("1002", 0, 0)]
    (store.folder / "boxes/1002/box.json").write_text("{")
    listed = cli("voicemail", "boxes", status=1)
    assert "Anna" in listed.out
    assert "1002/box.json: not JSON" in listed.said


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
def test_root_makes_no_files_that_the_services_cannot_read(cli: Cli, store: Store) -> None:
    os.chown(store.folder, 1, 1)
    said = cli("voicemail", "box", "add", "1001", status=1).said
    assert f"sudo -u {pwd.getpwuid(1).pw_name}" in said
    assert store.boxes() == []


def test_a_table_can_be_copied_from(cli: Cli, store: Store) -> None:
    store.put_box(Box(number="1001"))
    left = leave(store)
    assert left.id in cli.where(COLUMNS="80")("voicemail", "list", "1001").out


def test_messages_are_listed_and_shown(cli: Cli, store: Store) -> None:
    store.put_box(Box(number="1001", numbers=("+4930999",)))
    assert cli("voicemail", "list", "1001").out == "no messages\n"
    ids = [leave(store).id for _ in range(3)]
    store.move("1001", ids[2], "deleted")
    store.put_transcript("1001", ids[0], {"state": "done", "text": "[call] me back"})
    store.put_delivery("1001", ids[0], {"mail": {"state": "sent", "tries": 1}})
    assert {one["id"] for one in cli("voicemail", "list", "+4930999", "--json").data} == set(ids[:2])
    assert [one["id"] for one in cli("voicemail", "list", "1001", "--folder", "deleted", "--json").data] == ids[2:]
    table = cli("voicemail", "list", "1001", "--limit", "1")
    assert "[Anna]" in table.out
    assert "1 of 2" in table.said
    cli("voicemail", "list", "1001", "--folder", "lost", status=2)
    shown = cli("voicemail", "show", "1001", ids[0])
    assert "[call] me back" in shown.out
    assert "state=sent tries=1" in shown.out
    assert cli("voicemail", "show", "1001", ids[0], "--json").data["transcript"]["state"] == "done"
    assert "has no message" in cli("voicemail", "show", "1001", "x", status=1).said
    assert cli("voicemail", "show", "1001", "--json").data["id"] == max(ids[:2])


def test_audio_is_exported_and_played(cli: Cli, store: Store, tmp_path: Path) -> None:
    store.put_box(Box(number="1001"))
    id, target, heard = leave(store).id, tmp_path / "out.wav", tmp_path / "heard"
    cli("voicemail", "export", "1001", id, "-o", str(target))
    assert target.read_bytes() == wav.header(len(SPEECH)) + SPEECH
    cli("voicemail", "export", "1001", id, "-o", str(tmp_path / "nowhere" / "out.wav"), status=1)
    nothing, players = tmp_path / "nothing", tmp_path / "players"
    nothing.mkdir()
    players.mkdir()
    assert "export" in cli.where(PATH=str(nothing))("voicemail", "play", "1001", id, status=1).said
    (players / "aplay").write_text(f'#!/bin/sh\n/bin/cp "$2" {heard}; echo played; exit ${{FAILS:-0}}\n')
    (players / "aplay").chmod(0o755)
    cli.where(PATH=str(players))("voicemail", "play", "1001", id)
    assert heard.read_bytes() == target.read_bytes()
    cli.where(PATH=str(players), FAILS="3")("voicemail", "play", "1001", id, status=1)


def test_messages_move_and_go(cli: Cli, store: Store) -> None:
    store.put_box(Box(number="1001"))
    ids = [leave(store).id for _ in range(3)]
    for one in store.pending():
        store.settled(one)
    cli("voicemail", "move", "1001", ids[0], "--to", "deleted")
    assert store.where("1001", ids[0]) == "deleted"
    gone = cli("voicemail", "delete", "1001", ids[0], "x", ids[1], status=1)
    assert gone.out == "2 removed\n"
    assert store.ids("1001", "new") == ids[2:]
    # By that Redis will know.
    assert {one.id for one in store.pending()} == {ids[0], ids[1]}


def test_a_folder_that_cannot_be_written_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    where = cli.where(STROWGER_VOICEMAIL=str(tmp_path / "file" / "voicemail"))
    assert str(tmp_path / "file") in where("voicemail", "boxes", status=1).said
    assert os.listdir(tmp_path)
