from __future__ import annotations

import calendar
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.spool_tail import SpoolTail
from kemi.spool import Spool, shared_spool
from operations.records import past_call

WORKERS, RECORDS = 4, 200
NINE, TEN = "calls-20260131T09.jsonl", "calls-20260131T10.jsonl"

records = st.dictionaries(
    st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text()), max_size=4
)


def read(directory: Path) -> list[Any]:
    return [json.loads(line) for path in sorted(directory.iterdir()) for line in path.read_bytes().splitlines()]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(records, max_size=5))
def test_records_come_back_as_they_were_in_order(tmp_path: Path, some: list[dict[str, Any]]) -> None:
    spool, tail = Spool(tmp_path), SpoolTail(tmp_path)
    for record in some:
        spool.append(record)
    assert tail.new() == some
    assert tail.new() == []


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Set the hour."""

    def set_hour(hour: str) -> None:
        moment = calendar.timegm(time.strptime(f"2026-01-31 {hour}", "%Y-%m-%d %H"))
        monkeypatch.setattr(time, "time", lambda: moment + 3599.9)

    return set_hour


def test_each_hour_has_a_file_of_its_own(tmp_path: Path, at: Callable[[str], None]) -> None:
    spool = Spool(tmp_path)
    at("09")
    spool.append({"n": 1})
    spool.append({"n": 2})
    at("10")
    spool.append({"n": 3})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        NINE: '{"n":1}\n{"n":2}\n',
        TEN: '{"n":3}\n',
    }


def test_an_hour_that_cannot_be_opened_is_tried_again_and_nothing_goes_to_the_last_one(
    tmp_path: Path, at: Callable[[str], None]
) -> None:
    spool = Spool(tmp_path)
    at("09")
    spool.append({"n": 1})
    at("10")
    (tmp_path / TEN).mkdir()
    for _ in range(2):
        with pytest.raises(IsADirectoryError):
            spool.append({"n": 2})
    (tmp_path / TEN).rmdir()
    spool.append({"n": 3})
    assert read(tmp_path) == [{"n": 1}, {"n": 3}]


def test_a_line_is_written_as_it_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(b'{"n":1}\n')
    spool.append({"n": 2})
    assert read(tmp_path) == [{"n": 1}, {"n": 2}]


def test_only_one_file_is_open_at_a_time(tmp_path: Path, at: Callable[[str], None]) -> None:
    spool = Spool(tmp_path / "spool")
    at("09")
    spool.append({})
    before = len(os.listdir("/proc/self/fd"))
    for hour in ("10", "11", "12"):
        at(hour)
        spool.append({})
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_directory_is_made_when_it_is_first_needed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    spool.append({"n": 1})
    assert read(tmp_path / "a" / "b") == [{"n": 1}]


def test_a_record_is_not_readable_for_everybody(tmp_path: Path) -> None:
    Spool(tmp_path).append({})
    assert [path.stat().st_mode & 0o007 for path in tmp_path.iterdir()] == [0]


def test_what_cannot_be_written_raises_and_leaves_the_spool_usable(tmp_path: Path) -> None:
    (tmp_path / "spool").touch()
    spool = Spool(tmp_path / "spool")
    with pytest.raises(OSError, match="exists"):
        spool.append({"n": 1})
    (tmp_path / "spool").unlink()
    spool.append({"n": 2})
    assert read(tmp_path / "spool") == [{"n": 2}]


def append_many(spool: Spool, worker: int) -> None:
    for number in range(RECORDS):
        spool.append({"worker": worker, "number": number, "text": "x" * 2000})


def test_lines_of_several_processes_never_mingle(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    # Opened before the fork, as a worker's parent may have done.
    spool.append({"worker": -1, "number": 0})
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=append_many, args=(spool, worker)) for worker in range(WORKERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = [(record["worker"], record["number"]) for record in read(tmp_path)]
    assert sorted(found) == [(-1, 0), *((worker, n) for worker in range(WORKERS) for n in range(RECORDS))]
    for worker in range(WORKERS):
        assert [number for owner, number in found if owner == worker] == list(range(RECORDS))


def test_a_process_has_one_spool_for_a_directory(tmp_path: Path) -> None:
    assert shared_spool(tmp_path) is shared_spool(tmp_path)
    assert shared_spool(tmp_path) is not shared_spool(tmp_path / "other")


def test_a_tail_begins_with_what_comes_next_and_waits_for_whole_lines(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append({"n": 1})
    tail = SpoolTail(tmp_path)
    (path,) = tmp_path.iterdir()
    with path.open("a") as file:
        file.write('{"n":')
        file.flush()
        assert tail.new() == []
        file.write("2}\n")
    assert tail.new() == [{"n": 2}]


def test_a_file_that_is_removed_once_it_was_listed_is_no_trouble(tmp_path: Path) -> None:
    tail = SpoolTail(tmp_path)
    # As one that went between the two.
    (tmp_path / NINE).symlink_to(tmp_path / "gone")
    event = {"call": "x", "call_id": "x@y", "event": "decided"}
    (tmp_path / TEN).write_text(json.dumps(event) + "\n")
    assert tail.new() == [event]
    assert list(past_call(tmp_path, "x@y")) == [event]
