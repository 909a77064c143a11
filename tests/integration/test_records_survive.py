"""Call records under load: whatever is killed, and however long Redis is away, each call has exactly one."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.load import ALLOWED, SippLoad, until
from harness.node import ANSWER, Node

from console import serve
from console.process import Process
from console.sipp import render
from model.policy import Gateway, Route
from model.record import CallRecord, Outcome
from state import records

# Seconds.
OUTAGE = float(os.environ.get("STROWGER_TEST_OUTAGE", "10"))
TALK = 1.0
# Calls a second.
RATE = 100
BYE_ANSWERED = '<recv response="200" response_txn="bye"/>'
COMPLETED = '<recv response="200" response_txn="bye"><action><log message="completed [call_id]"/></action></recv>'


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node of its own, whose calls go to one gateway."""
    (tmp_path / "node").mkdir()
    node = Node.create(tmp_path / "node")
    try:
        node.stack.start()
        node.apply([Route("all", ("",), ("only",))], [Gateway("only", "127.0.0.1", node.answering().port)])
        yield node
    finally:
        node.close()


@pytest.fixture
def load(node: Node, tmp_path: Path) -> Iterator[SippLoad]:
    """Calls that last a while, so that some are being set up and some stand at every moment."""
    directory = tmp_path / "load"
    pause = f'<pause milliseconds="{TALK * 1000:.0f}"/>'
    words = {"<pause/>": pause, BYE_ANSWERED: COMPLETED}
    load = SippLoad(render(ANSWER, directory, **words), node.sip, directory, ALLOWED, RATE)
    load.start()
    until_completed(load, RATE)
    yield load
    load.kill()


def until_completed(load: SippLoad, calls: int) -> None:
    """Wait until so many calls more are over."""
    goal = len(load.completed) + calls
    patience = 60 + 2 * calls / RATE
    until(lambda: len(load.completed) >= goal or not load.running, f"{calls} more calls are over", patience)
    assert load.running, "the load ended by itself"


def assert_one_record_each(node: Node, load: SippLoad) -> list[CallRecord]:
    """Ends the load; every call that went well has exactly one record, and none has two."""
    result = load.stop()
    completed = load.completed
    print(f"\n{result}, {len(completed)} completed")
    assert len(completed) == len(set(completed)) == result.calls - result.failed
    until(lambda: set(completed) <= answered(node), "every completed call has a record", 60.0)
    found = list(records.oldest(node.store))
    twice = {call_id: count for call_id, count in Counter(record.call_id for record in found).items() if count > 1}
    assert not twice
    return found


def answered(node: Node) -> set[str]:
    """The Call-IDs of records of answered calls."""
    return {record.call_id for record in records.oldest(node.store) if record.outcome is Outcome.ANSWERED}


@pytest.mark.timeout(300)
def test_each_call_has_one_record_whatever_is_killed(node: Node, load: SippLoad) -> None:
    kills = []
    for name in ("redis", "agent", "kamailio") * 2:
        kills.append(time.time())
        node.stack.processes[name].kill()
        if name != "kamailio":
            until_completed(load, RATE)
        getattr(node.stack, f"start_{name}")()
        until_completed(load, 2 * RATE)
    found = assert_one_record_each(node, load)
    lost = [record for record in found if record.call_id not in load.completed]
    for moment in kills:
        # Calls that stood then: their ends found their way, through another Kamailio even.
        over = [record for record in found if record.answered and record.answered < moment < (record.ended or 0)]
        assert over
        assert all(record.duration >= TALK * 0.9 and record.ended_by == "caller" for record in over)
    print(f"{len(found)} records, {len(lost)} of calls that the caller did not see through")


@pytest.mark.timeout(180 + 2 * OUTAGE)
def test_every_record_arrives_after_redis_was_away(node: Node, load: SippLoad) -> None:
    node.stack.processes["redis"].kill()
    until_completed(load, int(RATE * OUTAGE))
    node.stack.start_redis()
    found = assert_one_record_each(node, load)
    assert {record.call_id for record in found} == set(load.completed)
    assert all(record.duration >= TALK * 0.9 and record.ended_by == "caller" for record in found)


def test_tail_follows_over_an_outage(node: Node, load: SippLoad, tmp_path: Path) -> None:
    shown = tmp_path / "shown"
    command = [sys.executable, "-P", "-m", "console.main", "cdr", "tail", "-n", "0", "--follow", "--json"]
    environment = {**os.environ, **node.stack.settings.to_env(), "PYTHONPATH": str(serve.ROOT)}
    process = Process("tail", command, environment, shown)
    process.start()
    try:
        until(lambda: shown.read_text().count("\n") > 10, "records are shown")
        node.stack.processes["redis"].kill()
        until(lambda: "waiting for it" in shown.read_text(), "the outage is told")
        node.stack.start_redis()
        until_completed(load, RATE)
        found = assert_one_record_each(node, load)
        last = found[-1].call_id
        until(lambda: last in shown.read_text(), "the last record is shown")
    finally:
        process.kill()
    told = [json.loads(line)["call_id"] for line in shown.read_text().splitlines() if line.startswith("{")]
    in_order = [record.call_id for record in found]
    assert told == in_order[in_order.index(told[0]) :]
