"""An upgrade of two nodes, one after the other, on a Redis that an early version filled.

``states/before-history.json`` was written by a version that kept no history of policies: its keys, by type.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import redis
from harness.node import METRICS
from harness.redis_server import RedisServer, redis_server

from agent.replica import Replica
from console import serve
from console.process import Process
from model.entries import Action, Entry, Kind
from model.settings import Settings
from policyfile import load
from state import codec, keys, layout, schema
from state.layout import Meta
from state.schema import NotMigratedError
from state.snapshot import SnapshotReader, SnapshotWriter
from state.store import Store, StoreError

STATE = Path(__file__).parent / "states" / "before-history.json"
TIMEOUT = 30.0
# The version before: it knows one schema, and says nothing of itself.
OLDER = """
from state import keys
keys.SCHEMA = keys.OLDEST = 1
from state import schema
schema.announce = schema.withdraw = lambda *_: None
"""
MAIN = "from console.main import main; main()"
BLOCK = Entry(kind=Kind.CALLER, value="+442079460123", action=Action.BLOCK, created=time.time())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server, server.client() as client:
        fill(client, json.loads(STATE.read_text(encoding="utf-8")))
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    with closing(Store(server.url)) as store:
        yield store


def fill(client: redis.Redis, state: dict[str, dict[str, object]]) -> None:
    """Write what a state's file holds."""
    put: dict[str, Callable[[str, object], object]] = {
        "hash": lambda key, value: client.hset(key, mapping=value),  # type: ignore[arg-type]
        "zset": lambda key, value: client.zadd(key, dict(value)),  # type: ignore[call-overload]
        "stream": lambda key, value: [client.xadd(key, item, id=id) for id, item in value],  # type: ignore[attr-defined]
    }
    for key, record in state.items():
        put[str(record["type"])](key, record["value"])


def environment(url: str, home: Path) -> dict[str, str]:
    paths = {name: str(home / name.lower()) for name in ("SNAPSHOT", "SPOOL", "RUN")}
    settings = Settings.from_env(
        {
            "STROWGER_NODE": home.name, "STROWGER_REDIS_URL": url, **dict.fromkeys(METRICS, ""),
            **{f"STROWGER_{name}": path for name, path in paths.items()},
        }
    )  # fmt: skip
    return {**os.environ, **settings.to_env(), "PYTHONPATH": str(serve.ROOT)}


@contextmanager
def agent(url: str, home: Path, *, older: bool = False) -> Iterator[Process]:
    """A node's agent, of this version or the one before."""
    home.mkdir(exist_ok=True)
    code = (OLDER if older else "") + MAIN
    process = Process(
        "agent", [sys.executable, "-P", "-c", code, "serve", "agent"], environment(url, home), home / "agent.log"
    )
    process.start()
    try:
        yield process
    finally:
        # As systemd does, so that the node retires.
        process.stop()


def until(holds: Callable[[], bool], process: Process) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not holds():
        assert process.running, process.log.read_text()
        assert time.monotonic() < deadline, process.log.read_text()
        time.sleep(0.02)


def live(store: Store, name: str) -> bool:
    return name in {node.name for node in store.nodes()[0]}


def strowger(url: str, home: Path, *words: str, older: bool = False) -> subprocess.CompletedProcess[str]:
    code = (OLDER if older else "") + MAIN
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        env=environment(url, home), capture_output=True, text=True, check=False,
    )  # fmt: skip


def snapshot_of(home: Path) -> Meta:
    with SnapshotReader(home / "snapshot").read() as get:
        raw = get(layout.META)
    assert raw is not None
    return Meta.decode(raw)


def test_two_nodes_are_upgraded_one_after_the_other(server: RedisServer, store: Store, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    before = store.policy()
    with agent(server.url, one) as first:
        until(lambda: live(store, "one"), first)
        with agent(server.url, two, older=True) as second:
            until(lambda: live(store, "two"), second)
            # Both follow the same changes, while Redis is as the older one knows it.
            assert schema.schema(store) == 1
            assert sorted(store.confirm(store.put(BLOCK).seq, TIMEOUT).nodes) == ["one", "two"]
            refused = strowger(server.url, one, "migrate")
            assert refused.returncode == 1
            assert "two: a version that does not know schema 2" in refused.stderr
            assert schema.schema(store) == 1
        with agent(server.url, two) as second:
            until(lambda: live(store, "two"), second)
            migrated = strowger(server.url, one, "migrate")
            assert migrated.returncode == 0, migrated.stderr
            assert "schema 1 to 2" in migrated.stdout
            # What nodes go by is what it was.
            after = store.policy()
            assert after.decode() == before.decode()
            assert (after.version, after.text, after.applied) == (before.version, before.text, before.applied)
            assert sorted(store.confirm(store.delete(BLOCK.kind, BLOCK.value).seq, TIMEOUT).nodes) == ["one", "two"]
            assert strowger(server.url, one, "migrate").stdout == "Redis holds schema 2\n"
        known = snapshot_of(two).seq
        with agent(server.url, two, older=True) as second:
            # One that comes back goes on from its snapshot, and changes nothing.
            until(lambda: "schema 2, which this version does not know" in second.log.read_text(), second)
            assert "calls are decided from policy version 1" in second.log.read_text()
            denied = strowger(server.url, two, "block", "add", "--caller", "07700900123", older=True)
            assert denied.returncode == 1
            assert "schema 2" in denied.stderr
            assert not live(store, "two")
            assert store.confirm(store.put(BLOCK).seq, TIMEOUT).nodes == ("one",)
            assert snapshot_of(two).seq == known


def test_every_policy_is_in_the_history_afterwards(server: RedisServer, store: Store) -> None:
    written = load(store.policy().text, name="policy")
    assert list(schema.migrate(store)) == [(1, 2)]
    with server.client() as client:
        kept = client.hgetall(keys.HISTORY)
        assert client.hgetall(keys.META)["schema"] == "2"
    assert {field.partition(":")[0] for field in kept} == {"text", "document", "applied", "author", "message"}
    assert kept["document:1"] == store.policy().document == codec.encode_document(written.policy, written.routes)
    assert list(schema.migrate(store)) == []


def test_a_migration_that_was_killed_is_finished_by_the_next(server: RedisServer, store: Store) -> None:
    work = schema.migrate(store)
    next(work)
    with server.client() as client:
        # As it is left where the step dies.
        client.hset(keys.META, "migrating", "2")
        with pytest.raises(StoreError, match="being migrated"):
            store.put(BLOCK)
        assert list(schema.migrate(store)) == [(1, 2)]
    store.put(BLOCK)


@pytest.mark.parametrize("held", [0, keys.SCHEMA + 1])
def test_what_is_no_older_version_is_not_migrated(server: RedisServer, store: Store, held: int) -> None:
    with server.client() as client:
        if held:
            client.hset(keys.META, "schema", held)
        else:
            client.flushall()
    with pytest.raises(NotMigratedError, match="schema 3, which this" if held else "no policy was applied"):
        list(schema.migrate(store))
    for ask in (store.policy, lambda: list(store.entries())) if held else ():
        with pytest.raises(StoreError, match="schema 3"):
            ask()


def test_a_change_that_a_newer_version_made_is_read_from_the_tables(
    server: RedisServer, store: Store, tmp_path: Path
) -> None:
    writer = SnapshotWriter(tmp_path / "snapshot")
    with closing(writer), server.client() as client:
        replica = Replica(store, writer)
        replica.synchronise()
        # What is unknown, and an entry that only the tables have.
        field = codec.entry_field(BLOCK.kind, BLOCK.value)
        client.hset(keys.ENTRIES, field, codec.encode_entry(BLOCK))
        seq = client.hincrby(keys.META, "seq", 1)
        client.xadd(keys.CHANGES, {"op": "of-tomorrow", "field": "", "value": "?"}, id=f"{seq}-0")
        replica.advance(0)
        assert replica.meta.seq == seq
        assert writer.get(layout.entry_key(BLOCK.kind, BLOCK.value)) is not None
