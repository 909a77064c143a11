"""The agent's way from the spool into Redis: nothing twice and nothing lost, whoever dies or forgets."""

from __future__ import annotations

import calendar
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness.load import until
from harness.redis_server import RedisServer, redis_server

from agent import spool_reader
from agent.shipper import Shipper
from agent.spool_reader import AT_REST, Position
from kemi.spool import Spool
from model.settings import Settings
from state import records
from state.store import Store

NODE = "edge-1"


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    """A Redis that holds nothing."""
    with _server.client() as client:
        client.flushall()
    return _server


@dataclass
class Bench:
    """A spool and who ships it."""

    directory: Path
    server: RedisServer

    def __post_init__(self) -> None:
        self.store, self.spool = Store(self.server.url), Spool(self.directory)

    @contextmanager
    def shipping(self, node: str = NODE, keep: int = 100000) -> Iterator[None]:
        """A shipper while the block runs."""
        stop = threading.Event()
        environment = {
            "STROWGER_NODE": node, "STROWGER_REDIS_URL": self.server.url, "STROWGER_SPOOL": str(self.directory),
            "STROWGER_CDR_KEEP": str(keep), "STROWGER_SPOOL_HOURS": "2",
        }  # fmt: skip
        thread = threading.Thread(target=Shipper(Settings.from_env(environment), stop.is_set).run)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def call(self, name: str, *, over: bool = True) -> None:
        """A call in the spool."""
        for event in events(name)[: 3 if over else 2]:
            self.spool.append(event)

    def end(self, name: str) -> None:
        """The end of a call in the spool."""
        self.spool.append(events(name)[2])

    def shipped(self) -> list[str]:
        """The Call-IDs in Redis, in order."""
        return [record.call_id for record in records.oldest(self.store)]

    def until_shipped(self, *names: str) -> None:
        """Wait for records, which must be these and no others."""
        until(lambda: len(self.shipped()) >= len(names), f"{names} are shipped")
        assert self.shipped() == list(names)


@pytest.fixture
def bench(tmp_path: Path, server: RedisServer) -> Iterator[Bench]:
    """An empty spool and an empty Redis."""
    bench = Bench(tmp_path / "spool", server)
    yield bench
    bench.store.close()


def events(name: str) -> list[dict[str, Any]]:
    """Of an answered call."""
    now = time.time()
    return [
        {"event": "decided", "call": name, "call_id": name, "from_tag": "t", "at": now, "facts": {"callee": "1"},
         "steps": [], "emergency": False, "version": 1, "route": "r", "gateways": ["g"]},
        {"event": "answered", "call": name, "at": now, "attempt": 1, "status": 200, "rang": None},
        {"event": "ended", "call": name, "call_id": name, "at": now, "by": "caller"},
    ]  # fmt: skip


def test_calls_are_shipped_once_by_one_shipper_after_another(bench: Bench) -> None:
    bench.call("a")
    bench.call("b", over=False)
    with bench.shipping():
        bench.until_shipped("a")
    bench.end("b")
    bench.call("c")
    with bench.shipping():
        bench.until_shipped("a", "b", "c")


def test_two_shippers_of_one_node_ship_nothing_twice(bench: Bench) -> None:
    with bench.shipping(), bench.shipping():
        for number in range(200):
            bench.call(f"c{number}")
        bench.until_shipped(*(f"c{number}" for number in range(200)))
        bench.call("last")
        until(lambda: "last" in bench.shipped(), "the last is shipped")
    assert len(bench.shipped()) == 201


def test_a_redis_that_lost_everything_gets_all_that_the_spool_has(bench: Bench) -> None:
    with bench.shipping():
        bench.call("a")
        bench.call("b", over=False)
        bench.until_shipped("a")
        with bench.server.client() as client:
            client.flushall()
        bench.end("b")
        bench.until_shipped("a", "b")


def test_what_goes_wrong_again_is_said_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ship, tries = records.ship, list[bool]()

    def odd(*arguments: Any) -> bool:
        # Twice in a row, which is said once.
        tries.append(len(tries) % 3 == 2)
        if not tries[-1]:
            raise RuntimeError("odd")
        return ship(*arguments)

    monkeypatch.setattr(records, "ship", odd)
    monkeypatch.setattr("agent.shipper.RETRY_EVERY", 0.01)
    with bench.shipping():
        for name in "ab":
            bench.call(name)
            until(lambda wanted=name: wanted in bench.shipped(), f"{name} is shipped")
    said = [record.message for record in caplog.records if record.levelname == "ERROR"]
    # A call may be shipped in parts.
    assert len(tries) >= 6
    assert said == ["no record is shipped"] * len(tries[::3])


def test_a_batch_is_taken_whole_or_not_at_all(bench: Bench) -> None:
    record = shipped_record(bench)
    before, calls = records.shipped(bench.store, NODE)
    assert before
    assert not calls
    assert not records.ship(bench.store, NODE, "elsewhere", "after", [record], {"x": "[]"}, 10)
    assert records.shipped(bench.store, NODE) == (before, {})
    assert records.count(bench.store) == 1
    assert records.ship(bench.store, NODE, before, "after", [record], {"x": "[]", "y": "[]"}, 10)
    assert records.shipped(bench.store, NODE) == ("after", {"x": "[]", "y": "[]"})
    assert not records.ship(bench.store, NODE, before, "after", [record], {}, 10), "the same again"
    assert records.ship(bench.store, NODE, "after", "later", [], {"x": ""}, 10)
    assert records.shipped(bench.store, NODE) == ("later", {"y": "[]"})
    assert records.count(bench.store) == 2


def shipped_record(bench: Bench) -> Any:
    """The record of a call that was shipped."""
    with bench.shipping():
        bench.call("a")
        bench.until_shipped("a")
    return next(records.newest(bench.store))[1]


def test_redis_keeps_about_as_many_records_as_it_is_told(bench: Bench) -> None:
    for number in range(1500):
        bench.call(f"c{number}")
    with bench.shipping(keep=100):
        until(lambda: "c1499" in bench.shipped(), "the last is shipped")
    # A node of the stream goes as a whole: stream-node-max-entries is 100.
    assert 100 <= records.count(bench.store) <= 300
    found = [record.call_id for _, record in records.newest(bench.store)]
    assert found[:100] == [f"c{number}" for number in range(1499, 1399, -1)]
    assert [record.call for _, record in records.newest(bench.store, "c1499")] == ["c1499"]


# The spool's files


def write(directory: Path, hour: int, *lines: bytes, age: float = 0.0) -> Path:
    """A file of the spool, last written ``age`` seconds ago."""
    directory.mkdir(exist_ok=True)
    path = directory / f"calls-20260131T{hour:02}.jsonl"
    path.write_bytes(b"".join(lines))
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_files_are_read_in_order_and_whole_lines_only(tmp_path: Path) -> None:
    write(tmp_path, 10, b"3\n", b"4")
    write(tmp_path, 9, b"1\n", b"2\n")
    batch = spool_reader.read(tmp_path, Position())
    assert (batch.lines, batch.whole) == ([b"1", b"2", b"3"], True)
    write(tmp_path, 10, b"3\n", b"45\n", b"6")
    batch = spool_reader.read(tmp_path, Position.decode(batch.position.encode()))
    assert batch.lines == [b"45"]
    assert not spool_reader.read(tmp_path, batch.position).lines


@pytest.mark.parametrize("limit", [1, 5, 100])
def test_batches_are_bounded_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(spool_reader, "BATCH", max(limit, 5))
    for hour in range(3):
        write(tmp_path, hour, *(b"%d-%d\n" % (hour, number) for number in range(9)))
    position, lines = Position(), []
    while True:
        batch = spool_reader.read(tmp_path, position, limit)
        assert sum(map(len, batch.lines)) <= limit + max(limit, 5)
        position, lines = batch.position, [*lines, *batch.lines]
        if batch.whole:
            break
    assert lines == [b"%d-%d" % (hour, number) for hour in range(3) for number in range(9)]


def test_a_line_without_end_does_not_stop_the_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_reader, "BATCH", 10)
    write(tmp_path, 9, b"x" * 25, b"\n", b"1\n")
    position, lines = Position(), []
    for _ in range(5):
        batch = spool_reader.read(tmp_path, position)
        position, lines = batch.position, [*lines, *batch.lines]
    assert lines == [b"xxxxx", b"1"]


def test_a_file_that_is_at_rest_leaves_the_position(tmp_path: Path) -> None:
    old = write(tmp_path, 9, b"1\n", b"torn", age=AT_REST + 10)
    new = write(tmp_path, 10, b"2\n")
    position = spool_reader.read(tmp_path, Position()).position
    assert position == Position(old.name, {new.name: 2})
    assert not spool_reader.read(tmp_path, position).lines


def test_what_is_written_after_the_clock_was_set_back_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine starts with a clock that is hours ahead, until it is set right."""
    position, found, right = Position(), [], calendar.timegm((2026, 1, 31, 12, 5, 0))
    for number, ahead in enumerate((0, 7200, 0, 3600, 7200, 10800)):
        monkeypatch.setattr(time, "time", lambda now=right + ahead: now)
        # By a worker that has written nothing yet.
        Spool(tmp_path).append({"n": number})
        newest = max(tmp_path.glob("*"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (right + ahead,) * 2)
        batch = spool_reader.read(tmp_path, position)
        position, found = batch.position, [*found, *batch.lines]
    assert found == [b'{"n":%d}' % number for number in range(6)]
    # Each hour still has a file of its own.
    assert len(list(tmp_path.glob("*"))) == 6


@pytest.fixture
def two_files(bench: Bench) -> list[Path]:
    """Two files of former hours."""
    ages = {9: 3 * 3600.0, 10: 1.5 * 3600}
    lines = {hour: [json.dumps(e, separators=(",", ":")).encode() + b"\n" for e in events(f"h{hour}")] for hour in ages}
    return [write(bench.directory, hour, *lines[hour], age=age) for hour, age in ages.items()]


def exists(paths: list[Path]) -> list[bool]:
    """Which files are there."""
    return [path.exists() for path in paths]


def test_old_files_go_once_they_are_shipped(bench: Bench, two_files: list[Path]) -> None:
    with bench.shipping():
        bench.until_shipped("h9", "h10")
        until(lambda: exists(two_files) == [False, True], "the older file is gone")
    assert exists(two_files) == [False, True]


def test_old_files_stay_while_redis_is_away(tmp_path: Path, bench: Bench, two_files: list[Path]) -> None:
    bench.server.stop()
    try:
        with bench.shipping():
            time.sleep(1.0)
            assert exists(two_files) == [True, True]
            bench.server.start()
            bench.until_shipped("h9", "h10")
    finally:
        if bench.server.process is None:
            bench.server.start()
