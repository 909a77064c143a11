"""Which recordings of a script its call's record names, and how; where they may be."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent import assembly
from media.esl.errors import ArgumentError
from media.session import recorded
from model.record import CallRecord
from model.settings import Settings
from operations import recordings
from operations.errors import MissingError
from telemetry.logs import about_call

NOON = 1769860800.0
"31 January 2026."


@pytest.fixture
def noted(tmp_path: Path) -> Iterator[list[tuple[str, str]]]:
    """What was noted: call and name; mailboxes are in ``tmp_path``."""
    found: list[tuple[str, str]] = []

    recorded.use(lambda call, name: found.append((call, name)), tmp_path, tmp_path / "recordings")
    yield found
    recorded.use(None, tmp_path, tmp_path / "recordings")


def told(app: str, data: str, call: str = "19af-1-0") -> None:
    """Have a script of a call run an application."""

    with about_call(call):
        recorded.tell_of(app, data)


@pytest.mark.parametrize(
    ("app", "data", "names"),
    [
        ("record", "BOXES/recordings/a/b.wav 60 200 2", ["a/b.wav"]),
        ("record", "%[playback_terminators=#]BOXES/recordings/b.wav", ["b.wav"]),
        ("record_session", "{rate=8000}/var/tmp/c.wav", ["/var/tmp/c.wav"]),
        ("record", "BOXES/incoming/20260131T180000Z-1a2b3c4d/audio.wav", []),
        ("record", "/tmp/${uuid}.wav", []),
        ("record", "", []),
        ("playback", "/tmp/a.wav", []),
    ],
)
def test_the_name_of_a_recording(
    noted: list[tuple[str, str]], tmp_path: Path, app: str, data: str, names: list[str]
) -> None:
    told(app, data.replace("BOXES", str(tmp_path)))
    assert noted == [("19af-1-0", name) for name in names]


def test_without_a_call_nothing_is_noted(noted: list[tuple[str, str]]) -> None:
    told("record", "/tmp/a.wav", call="")
    assert noted == []


def test_paths_are_below_the_folder_and_fresh(noted: list[tuple[str, str]], tmp_path: Path) -> None:
    with about_call("19af-1-0"):
        first = Path(recorded.path_of("", NOON, "uuid-1"))
        first.touch()
        second = recorded.path_of("", NOON, "uuid-1")
    folder = tmp_path / "recordings"
    assert first == folder / "2026-01-31" / "19af-1-0.wav"
    assert second == str(folder / "2026-01-31" / "19af-1-0-2.wav")
    assert recorded.path_of("", NOON, "uuid-1") == str(folder / "2026-01-31" / "uuid-1.wav")
    assert recorded.path_of("sales/x.mp3", NOON, "") == str(folder / "sales" / "x.mp3")
    # FreeSWITCH may be another user of the group.
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "sales")] == [0o2770] * 2
    for name in ("/etc/x.wav", "../x.wav", "a/../../x.wav", "a b.wav", "."):
        with pytest.raises(ArgumentError, match="recording_path"):
            recorded.path_of(name, NOON, "")


def left(message: str = "", *names: str) -> CallRecord:
    """A record that names recordings."""
    events = [{"event": "decided", "call": "c", "call_id": "i", "at": 0.0, "facts": {}, "steps": [], "gateways": ["a"]}]
    return replace(assembly.record("node1", "c", events), recordings=names, message=message)


def test_nothing_outside_of_the_folder_is_given_away(tmp_path: Path) -> None:
    settings = Settings.from_env({"STROWGER_VOICEMAIL": str(tmp_path)})
    folder, secret = settings.recordings, tmp_path / "secret"
    folder.mkdir()
    secret.write_text("x")
    (folder / "link.wav").symlink_to(secret)
    (folder / "a.mp3").write_bytes(b"abc")
    record = left("", "../secret", str(secret), "link.wav", "gone.wav", "a.mp3", "a\0.wav", ".")
    found = recordings.rows(record, settings)
    assert [row["here"] for row in found] == [False, False, False, False, True, False, False]
    assert (found[4]["kind"], found[4]["bytes"], found[4]["seconds"]) == ("recording", 3, None)
    assert recordings.file(record, 5, settings) == folder / "a.mp3"
    for number in (0, 1, 2, 3, 4, 6, 7, 8):
        with pytest.raises(MissingError):
            recordings.file(record, number, settings)


@pytest.mark.parametrize("folder", ["new", "saved", "deleted"])
def test_a_message_is_found_wherever_in_its_box_it_is(tmp_path: Path, folder: str) -> None:
    settings = Settings.from_env({"STROWGER_VOICEMAIL": str(tmp_path)})
    id = "20260131T180000Z-1a2b3c4d"
    audio = tmp_path / "boxes" / "1001" / folder / id / "audio.wav"
    audio.parent.mkdir(parents=True)
    audio.write_bytes(b"abc")
    record = left(f"1001/{id}", "gone.wav")
    first, message = recordings.rows(record, settings)
    assert (first["kind"], message["kind"], message["number"], message["here"]) == ("recording", "message", 2, True)
    assert recordings.file(record, 2, settings) == audio
    audio.unlink()
    for name in (record.message, "../1001", "1001/../x", "x"):
        [row] = recordings.rows(left(name), settings)
        assert (row["here"], row["why"]) == (False, recordings.GONE)
