"""The node agent against a real Redis: the snapshot equals it, whatever happens to either."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import lmdb
import pytest
from harness.redis_server import RedisServer, redis_server
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agent.replica import Replica
from console import serve
from console.ports import free_port
from console.process import Process
from console.stack import Stack
from model.entries import Action, Entry, Kind
from model.policy import Gateway, Policy, Route, Trunk
from model.settings import Settings
from state import codec, keys, layout
from state.bulk import Import
from state.snapshot import NoSnapshotError, SnapshotReader, SnapshotWriter
from state.store import Confirmation, ImportedPrefixError, Store, StoreError

VALUES: dict[Kind, tuple[str, ...]] = {
    Kind.CALLER: ("1001", "+442079460000"),
    Kind.CALLEE: ("1001", "alice"),
    Kind.PAIR: ("1001>alice", "+442079460000>1001"),
    Kind.CALLER_PREFIX: ("1", "10", "+44"),
    Kind.CALLEE_PREFIX: ("+44", "+33"),
    Kind.SOURCE: ("192.0.2.0/24", "192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32"),
    Kind.USER_AGENT: ("friendly-scanner", "sip:vicious", "“é”"),
}
SUBJECTS = [(kind, value) for kind, values in VALUES.items() for value in values]
PREFIXES = ("", "+44", "+4420", "+33", "10", "2")
CONTENTS = dict[bytes, bytes]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    """A Redis that holds nothing."""
    flush(server)
    with closing(Store(server.url)) as store:
        yield store


def flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def apply(store: Store, prefixes: tuple[str, ...] = ("",), gateway: str = "a") -> int:
    """Put a policy in force that routes ``prefixes``; the number of the change."""
    policy = Policy((Trunk("office", ("192.0.2.0/24",)),), {gateway: Gateway(gateway, "192.0.2.1")})
    routes = tuple(Route(f"{gateway} to {prefix}", (prefix,), (gateway,)) for prefix in prefixes)
    version = store.policy_version()
    return store.apply(text="", policy=policy, routes=routes, expected=version, author="test").seq


def truth(store: Store) -> CONTENTS:
    """What a snapshot of Redis holds."""
    applied = store.policy()
    imported = dict(store.records(keys.PREFIXES))
    return comparable(layout.build(*applied.decode(), store.entries(), applied.version, imported))


def contents(path: Path) -> CONTENTS:
    """What a snapshot holds that another process writes."""
    with lmdb.open(str(path), readonly=True) as env, env.begin() as txn:
        return comparable(dict(txn.cursor()))


def written(writer: SnapshotWriter) -> CONTENTS:
    """What a snapshot holds that this process writes."""
    with writer.begin() as txn:
        return comparable(dict(txn.cursor()))


def comparable(records: CONTENTS) -> CONTENTS:
    """Without what is not in Redis, and with the index in one order."""
    rest = {key: value for key, value in records.items() if key not in (layout.META, layout.INDEX)}
    index = layout.Index.decode(records[layout.INDEX])
    counts = [count for table in index.lengths.values() for count in table.values()]
    assert all(count > 0 for count in counts), counts
    ordered = layout.Index({name: index.lengths[name] for name in sorted(index.lengths)}, index.user_agents)
    tables = repr([(name, sorted(table.items())) for name, table in ordered.lengths.items()])
    return {**rest, layout.INDEX: f"{tables} {sorted(ordered.user_agents)}".encode()}


def until(holds: Callable[[], bool]) -> None:
    """Poll until it holds; the test's own timeout bounds it."""
    while not holds():
        time.sleep(0.005)


# The replica, step by step


@contextmanager
def replica_of(store: Store, path: Path) -> Iterator[tuple[Replica, SnapshotWriter]]:
    writer = SnapshotWriter(path)
    try:
        yield Replica(store, writer), writer
    finally:
        writer.close()


def settle(replica: Replica, store: Store) -> None:
    """Advance until the replica has what Redis has."""
    for _ in range(10):
        replica.advance(block=0)
        if (replica.meta.generation, replica.meta.seq) == store.position():
            return
    raise AssertionError(f"{replica.meta} does not reach {store.position()}")


entries = st.sampled_from(SUBJECTS).flatmap(
    lambda subject: st.builds(
        Entry,
        kind=st.just(subject[0]),
        value=st.just(subject[1]),
        action=st.sampled_from(Action),
        expires=st.sampled_from((0.0, 1.5, 4e9)),
        reason=st.sampled_from(("", "because")),
    )
)
some_prefixes = st.lists(st.sampled_from(PREFIXES), unique=True, min_size=1).map(tuple)


def commit(work: Import, records: list[tuple[str, str]]) -> None:
    work.send(records)
    for _ in work.build():
        pass
    work.commit()


class ReplicaMachine(RuleBasedStateMachine):
    """Whatever is done to Redis, a replica that has followed equals it."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self.server = server
        flush(server)
        self.store = Store(server.url)
        self.home = TemporaryDirectory()
        self.open()

    def open(self) -> None:
        self.writer = SnapshotWriter(Path(self.home.name))
        self.replica = Replica(self.store, self.writer)

    @initialize()
    def first_policy(self) -> None:
        apply(self.store)

    @property
    def has_policy(self) -> bool:
        return bool(self.store.position()[0])

    @precondition(lambda self: self.has_policy)
    @rule(entries=st.lists(entries, max_size=6))
    def put(self, entries: list[Entry]) -> None:
        for entry in entries:
            self.store.put(entry)

    @rule(subject=st.sampled_from(SUBJECTS))
    def delete(self, subject: tuple[Kind, str]) -> None:
        self.store.delete(*subject)

    @rule(prefixes=some_prefixes, gateway=st.sampled_from("ab"))
    def policy(self, prefixes: tuple[str, ...], gateway: str) -> None:
        with suppress(ImportedPrefixError):
            apply(self.store, prefixes, gateway)

    @precondition(lambda self: self.has_policy)
    @rule(entries=st.lists(entries, max_size=6), replace=st.booleans(), action=st.sampled_from(Action))
    def import_entries(self, entries: list[Entry], replace: bool, action: Action) -> None:
        listed = [
            (codec.entry_field(entry.kind, entry.value), codec.encode_entry(dataclasses.replace(entry, action=action)))
            for entry in entries
        ]
        with Import(self.store, table="entries", replace=replace, created=1.5, action=action) as work:
            commit(work, listed)

    @precondition(lambda self: self.has_policy)
    @rule(prefixes=st.lists(st.sampled_from(("+4", "+49", "7", "70")), max_size=3), replace=st.booleans())
    def import_prefixes(self, prefixes: list[str], replace: bool) -> None:
        routes = self.store.policy().decode()[1]
        with Import(self.store, table="prefixes", replace=replace, created=1.5) as work:
            commit(work, [(prefix, routes[0].name) for prefix in prefixes])

    @rule()
    def sweep(self) -> None:
        self.store.sweep(2.0)

    @rule()
    def empty_redis(self) -> None:
        flush(self.server)

    @rule(keep=st.integers(0, 3))
    def trim(self, keep: int) -> None:
        with self.server.client() as client:
            client.xtrim(keys.CHANGES, maxlen=keep, approximate=False)

    @rule()
    def lose_the_stream(self) -> None:
        with self.server.client() as client:
            client.delete(keys.CHANGES)

    @rule()
    def restart(self) -> None:
        self.writer.close()
        self.open()

    @rule()
    def advance(self) -> None:
        self.replica.advance(block=0)

    @precondition(lambda self: self.has_policy)
    @rule()
    def settled(self) -> None:
        settle(self.replica, self.store)
        assert written(self.writer) == truth(self.store)
        again = Replica(self.store, self.writer)
        assert again.meta == self.replica.meta

    @precondition(lambda self: not self.has_policy and self.replica.meta.version)
    @rule()
    def an_empty_redis_changes_nothing(self) -> None:
        before = written(self.writer)
        self.replica.advance(block=0)
        assert written(self.writer) == before

    def teardown(self) -> None:
        if self.has_policy:
            self.settled()
        self.writer.close()
        self.store.close()
        self.home.cleanup()


def test_a_replica_equals_redis_after_any_sequence_of_changes(server: RedisServer) -> None:
    run_state_machine_as_test(
        lambda: ReplicaMachine(server),
        settings=settings(
            max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("keep", [0, 2])
def test_a_gap_in_the_stream_means_a_full_copy(server: RedisServer, store: Store, tmp_path: Path, keep: int) -> None:
    apply(store)
    with replica_of(store, tmp_path) as (replica, writer):
        settle(replica, store)
        for number in range(5):
            store.put(Entry(Kind.CALLER, str(number)))
        with server.client() as client:
            client.xtrim(keys.CHANGES, maxlen=keep, approximate=False)
        settle(replica, store)
        assert written(writer) == truth(store)


def test_a_snapshot_of_another_layout_is_made_anew(store: Store, tmp_path: Path) -> None:
    apply(store)
    writer = SnapshotWriter(tmp_path)
    Replica(store, writer).synchronise()
    with writer.begin() as txn:
        made = dict(txn.cursor())
        meta = dataclasses.replace(layout.Meta.decode(made[layout.META]), layout=layout.VERSION - 1)
        txn.put(layout.META, meta.encode())
        txn.put(b"$+44", b"rates as they were laid out before")
    Replica(store, writer).synchronise()
    with writer.begin() as txn:
        assert dict(txn.cursor()) == made
    writer.close()


def test_a_redis_emptied_and_filled_beyond_the_old_numbers_means_a_full_copy(
    server: RedisServer, store: Store, tmp_path: Path
) -> None:
    apply(store, gateway="a")
    with replica_of(store, tmp_path) as (replica, writer):
        store.put(Entry(Kind.CALLER, "old"))
        settle(replica, store)
        flush(server)
        apply(store, gateway="b")
        for number in range(5):
            store.put(Entry(Kind.CALLER, str(number)))
        replica.advance(block=0)
        assert written(writer) == truth(store)


def test_an_entry_that_redis_lists_twice_is_counted_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(store)
    entry = Entry(Kind.CALLER_PREFIX, "+44")
    store.put(entry)
    with replica_of(store, tmp_path) as (replica, writer):
        record = (codec.entry_field(entry.kind, entry.value), codec.encode_entry(entry))
        monkeypatch.setattr(store, "records", lambda table: iter((record, record) if table == keys.ENTRIES else ()))
        settle(replica, store)
        monkeypatch.undo()
        assert written(writer) == truth(store)


def test_a_redis_emptied_while_it_is_read_leaves_the_snapshot_as_it_is(
    server: RedisServer, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(store)
    store.put(Entry(Kind.CALLER, "1001"))
    with replica_of(store, tmp_path) as (replica, writer):
        settle(replica, store)
        before = written(writer)
        flush(server)
        apply(store, gateway="b")

        def emptied(_: str) -> Iterator[tuple[str, str]]:
            flush(server)
            yield from ()

        monkeypatch.setattr(store, "records", emptied)
        with pytest.raises(StoreError, match="emptied while it was read"):
            replica.advance(block=0)
        assert written(writer) == before


def test_a_change_that_comes_twice_is_counted_once(store: Store, tmp_path: Path) -> None:
    apply(store)
    with replica_of(store, tmp_path) as (replica, writer):
        settle(replica, store)
        for _ in range(3):
            store.put(Entry(Kind.CALLEE_PREFIX, "+44"))
        settle(replica, store)
        store.delete(Kind.CALLEE_PREFIX, "+44")
        settle(replica, store)
        assert written(writer) == truth(store)


# A writer that is killed, and readers

CRASH = """
import os, signal, sys
from pathlib import Path
from agent.replica import Replica
from state import layout
from state.snapshot import SnapshotWriter
from state.store import Store

store, left = Store(sys.argv[1]), int(sys.argv[3])
replica = Replica(store, SnapshotWriter(Path(sys.argv[2])))
add = layout.Index.add
def add_until_killed(*arguments):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    add(*arguments)
layout.Index.add = add_until_killed
replica.advance(0)
print("not killed")
"""


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(serve.ROOT)}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("after", [1, 400, 1000])
@pytest.mark.parametrize("copying", [False, True], ids=["batch", "full-copy"])
def test_a_writer_killed_in_the_middle_leaves_a_whole_snapshot(
    server: RedisServer, store: Store, tmp_path: Path, after: int, copying: bool
) -> None:
    apply(store)
    store.put(Entry(Kind.CALLER, "before"))
    with replica_of(store, tmp_path) as (replica, writer):
        settle(replica, store)
        before = written(writer)
    if copying:
        flush(server)
        apply(store, gateway="b")
    for number in range(1000):
        store.put(Entry(Kind.CALLER_PREFIX, str(number)))
    with python(CRASH, server.url, tmp_path, after) as crashing:
        assert crashing.wait() == -signal.SIGKILL
    assert contents(tmp_path) == before
    with replica_of(store, tmp_path) as (replica, writer):
        assert written(writer) == before
        settle(replica, store)
        assert written(writer) == truth(store)


HOLD = """
import sys
from pathlib import Path
from state.snapshot import SnapshotReader

with SnapshotReader(Path(sys.argv[1])).read() as get:
    print("reading", flush=True)
    sys.stdin.read()
"""


def test_readers_that_were_killed_do_not_make_the_file_grow(store: Store, tmp_path: Path) -> None:
    prefixes = tuple(str(number) for number in range(500))
    with replica_of(store, tmp_path) as (replica, _):

        def rewrite(times: int) -> int:
            for _ in range(times):
                apply(store, prefixes)
                settle(replica, store)
            return (tmp_path / "data.mdb").stat().st_size

        size = rewrite(8)
        for _ in range(3):
            kill_a_reader(tmp_path)
        assert rewrite(24) <= 2 * size


def kill_a_reader(path: Path) -> None:
    with python(HOLD, path) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "reading\n"
        reader.kill()


def test_a_reader_without_a_snapshot_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoSnapshotError), SnapshotReader(tmp_path).read():
        pass


def test_a_snapshot_that_is_none_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"\0" * 20_000)
    with pytest.raises(NoSnapshotError), SnapshotReader(tmp_path).read():
        pass


# The agent's process


@dataclass(slots=True)
class Agent:
    """The agent of one node as systemd starts it."""

    stack: Stack
    store: Store

    @property
    def process(self) -> Process:
        return self.stack.processes["agent"]

    @property
    def snapshot(self) -> Path:
        return self.stack.settings.snapshot

    def start(self) -> None:
        """With Redis up, wait until it has what Redis has."""
        self.stack.start_agent()

    def terminate(self) -> int:
        """Ask it to end, and wait; its exit status."""
        assert self.process.popen is not None
        self.process.popen.terminate()
        return self.process.popen.wait()

    def confirmed(self, seq: int) -> None:
        """Wait until it has a change."""
        assert self.store.confirm(seq, timeout=60.0) == Confirmation(seq, (self.stack.settings.node,), ())

    def caught_up(self) -> None:
        """Wait until it has what Redis has, and compare."""
        # A Redis that was emptied knows of no node until the next report.
        until(lambda: bool(self.store.nodes()[0]))
        self.confirmed(self.store.position()[1])
        assert contents(self.snapshot) == truth(self.store)

    def log(self) -> str:
        return self.stack.log("agent")

    def logged(self, text: str) -> None:
        """Wait until it has said something."""
        until(lambda: text in self.log())


@contextmanager
def agent_of(url: str, directory: Path, name: str = "node-under-test") -> Iterator[Agent]:
    home = directory / name
    home.mkdir()
    settings = Settings.from_env(
        {
            "STROWGER_NODE": name,
            "STROWGER_REDIS_URL": url,
            "STROWGER_SNAPSHOT": str(home / "snapshot"),
            "STROWGER_SPOOL": str(home / "spool"),
            "STROWGER_RUN": str(home / "run"),
        }
    )
    stack = Stack(settings, home)
    try:
        with closing(Store(url)) as store:
            yield Agent(stack, store)
    finally:
        for process in stack.processes.values():
            process.kill()


@pytest.fixture
def agent(server: RedisServer, store: Store, tmp_path: Path) -> Iterator[Agent]:
    """An agent that is not started, and a Redis that holds nothing."""
    with agent_of(server.url, tmp_path) as agent:
        yield agent


def test_an_agent_brings_redis_into_the_snapshot_and_follows_it(agent: Agent) -> None:
    apply(agent.store, PREFIXES)
    for kind, value in SUBJECTS:
        agent.store.put(Entry(kind, value))
    agent.start()
    agent.caught_up()
    for kind, value in SUBJECTS[::2]:
        agent.store.delete(kind, value)
    agent.caught_up()
    apply(agent.store, ("+44",), gateway="b")
    agent.caught_up()


def test_an_agent_confirms_a_change_when_the_snapshot_has_it(agent: Agent) -> None:
    apply(agent.store)
    agent.start()
    reader = SnapshotReader(agent.snapshot)
    for number in range(100):
        agent.confirmed(agent.store.put(Entry(Kind.CALLER, str(number))).seq)
        with reader.read() as get:
            assert get(layout.entry_key(Kind.CALLER, str(number))) is not None


def test_an_agent_that_is_killed_and_started_again_and_again_misses_nothing(agent: Agent) -> None:
    chance = random.Random(20)
    apply(agent.store)
    for _ in range(4):
        agent.start()
        for _ in range(chance.randrange(50, 300)):
            kind, value = chance.choice(SUBJECTS)
            if chance.random() < 0.3:
                agent.store.delete(kind, value)
            elif chance.random() < 0.1:
                apply(agent.store, tuple(chance.sample(PREFIXES, 3)), chance.choice("ab"))
            else:
                agent.store.put(Entry(kind, value, chance.choice(tuple(Action)), expires=chance.choice((0.0, 4e9))))
        agent.process.kill()
        assert layout.POLICY in contents(agent.snapshot)
    agent.start()
    agent.caught_up()


def test_an_agent_goes_on_once_a_full_disk_has_room_again(agent: Agent) -> None:
    apply(agent.store)
    agent.start()
    assert agent.process.popen is not None
    pid, size = agent.process.popen.pid, (agent.snapshot / "data.mdb").stat().st_size
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))
    for number in range(1000):
        agent.store.put(Entry(Kind.CALLER, str(number)))
    agent.logged("no change comes into force here")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    agent.caught_up()


def test_a_snapshot_that_is_made_anew_is_found_by_who_has_the_former_open(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where somebody removed it and started the agent again."""
    monkeypatch.setattr("state.snapshot.LOOK_EVERY", 0.0)
    reader = SnapshotReader(agent.snapshot)

    def policy() -> bytes:
        with reader.read() as get:
            return get(layout.POLICY) or b""

    apply(agent.store, gateway="former")
    agent.start()
    assert b'"former"' in policy()
    agent.terminate()
    shutil.rmtree(agent.snapshot)
    assert b'"former"' in policy()
    # One that is not written yet.
    agent.snapshot.mkdir()
    SnapshotWriter(agent.snapshot).close()
    assert b'"former"' in policy()
    agent.start()
    agent.confirmed(apply(agent.store, gateway="other"))
    assert b'"other"' in policy()
    assert reader.opened == 2


def test_two_nodes_both_confirm(agent: Agent, server: RedisServer, tmp_path: Path) -> None:
    apply(agent.store)
    agent.start()
    with agent_of(server.url, tmp_path, "second-node") as second:
        second.start()
        confirmation = agent.store.confirm(agent.store.put(Entry(Kind.CALLER, "1001")).seq, timeout=60.0)
        assert confirmation.nodes == ("node-under-test", "second-node")
        assert contents(agent.snapshot) == contents(second.snapshot) == truth(agent.store)


def test_an_agent_that_hung_is_reported_and_catches_up(agent: Agent, server: RedisServer) -> None:
    apply(agent.store)
    agent.start()
    agent.process.signal(signal.SIGSTOP)
    changes = [agent.store.put(Entry(Kind.CALLER, str(number))) for number in range(20)]
    assert agent.store.confirm(changes[-1].seq, timeout=0.05).missing == ("node-under-test",)
    with server.client() as client:
        client.xtrim(keys.CHANGES, maxlen=0, approximate=False)
    agent.process.signal(signal.SIGCONT)
    agent.caught_up()


def test_an_emptied_redis_leaves_the_last_policy_in_force_and_a_new_one_replaces_it(
    agent: Agent, server: RedisServer
) -> None:
    apply(agent.store, gateway="a")
    agent.store.put(Entry(Kind.CALLER, "1001"))
    agent.start()
    agent.caught_up()
    before = contents(agent.snapshot)
    flush(server)
    agent.logged("holds no policy")
    until(lambda: bool(agent.store.nodes()[0]))
    assert contents(agent.snapshot) == before
    apply(agent.store, gateway="b")
    agent.store.put(Entry(Kind.CALLER, "1002"))
    agent.caught_up()
    assert agent.log().count("holds no policy") == 1


def test_a_redis_emptied_and_filled_at_once_is_copied(agent: Agent, server: RedisServer) -> None:
    apply(agent.store, gateway="a")
    agent.start()
    for gateway in ("b", "a", "b"):
        flush(server)
        apply(agent.store, gateway=gateway)
        for number in range(10):
            agent.store.put(Entry(Kind.CALLER, f"{gateway}-{number}"))
        agent.caught_up()


def test_another_redis_at_the_same_address_is_copied(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, agent_of(server.url, tmp_path) as agent:
        apply(agent.store, gateway="a")
        agent.start()
        for number in range(3):
            agent.store.put(Entry(Kind.CALLER, str(number)))
        agent.caught_up()
        before = contents(agent.snapshot)
        server.stop()
        agent.logged("does not answer")
        assert contents(agent.snapshot) == before
        server.start()
        agent.logged("holds no policy")
        assert contents(agent.snapshot) == before
        apply(agent.store, gateway="b")
        for number in range(5):
            agent.store.put(Entry(Kind.CALLEE, str(number)))
        agent.caught_up()


def test_an_agent_starts_without_redis_and_follows_once_it_is_there(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, agent_of(server.url, tmp_path) as agent:
        server.stop()
        agent.start()
        agent.logged("does not answer")
        assert contents_or_nothing(agent.snapshot) == {}
        server.start()
        apply(agent.store)
        agent.caught_up()
        assert agent.log().count("does not answer") == 1


def contents_or_nothing(path: Path) -> CONTENTS:
    with lmdb.open(str(path), readonly=True) as env, env.begin() as txn:
        return dict(txn.cursor())


def test_an_agent_started_without_redis_keeps_the_snapshot_of_before(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, agent_of(server.url, tmp_path) as agent:
        apply(agent.store)
        agent.store.put(Entry(Kind.CALLER, "1001"))
        agent.start()
        agent.caught_up()
        before = contents(agent.snapshot)
        assert agent.terminate() == 0
        server.stop()
        agent.start()
        until(lambda: agent.log().count("calls are decided from policy version 1") == 1)
        assert contents(agent.snapshot) == before
        assert agent.process.running


def test_a_redis_that_hangs_is_waited_out(agent: Agent, server: RedisServer) -> None:
    apply(agent.store)
    agent.start()
    with server.hanging():
        agent.logged("does not answer")
    agent.store.put(Entry(Kind.CALLER, "1001"))
    agent.caught_up()


def test_an_agent_removes_what_has_expired(agent: Agent) -> None:
    apply(agent.store)
    agent.store.put(Entry(Kind.CALLER, "gone", expires=1.0))
    agent.store.put(Entry(Kind.CALLER, "stays", expires=4e9))
    agent.start()
    until(lambda: [entry.value for entry in agent.store.entries()] == ["stays"])
    agent.caught_up()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_agent_that_is_told_to_end_retires_its_node(agent: Agent, number: signal.Signals) -> None:
    apply(agent.store)
    agent.start()
    assert agent.process.popen is not None
    agent.process.popen.send_signal(number)
    assert agent.process.popen.wait() == 0
    live, gone = agent.store.nodes()
    assert (live, gone) == ([], [])
    assert "Traceback" not in agent.log()


@pytest.mark.timeout(30)
def test_an_agent_ends_while_redis_hangs_or_is_away(tmp_path: Path) -> None:
    with redis_server(tmp_path) as server, agent_of(server.url, tmp_path) as agent:
        apply(agent.store)
        agent.start()
        with server.hanging():
            assert agent.terminate() == 0
        said = agent.log().count("does not answer")
        server.stop()
        agent.start()
        until(lambda: agent.log().count("does not answer") > said)
        assert agent.terminate() == 0
        assert "Traceback" not in agent.log()


def test_readers_see_one_state_while_the_agent_commits(agent: Agent) -> None:
    apply(agent.store, gateway="v1")
    agent.start()
    reader, seen = SnapshotReader(agent.snapshot), set()
    for version in itertools.count(2):
        apply(agent.store, PREFIXES, gateway=f"v{version}")
        for _ in range(5):
            with reader.read() as get:
                seen.add(one_version(get))
        if version >= 60 and len(seen) > 5:
            break
    agent.caught_up()


def one_version(get: Callable[[bytes], bytes | None]) -> int:
    """The version that all records of a snapshot are of."""
    raw, policy, index = get(layout.META), get(layout.POLICY), get(layout.INDEX)
    assert raw is not None
    assert policy is not None
    assert index is not None
    meta, (version, decoded) = layout.Meta.decode(raw), layout.decode_policy_record(policy)
    routed = get(layout.route_key("+44"))
    assert meta.version == version
    assert list(decoded.gateways) == [f"v{version}"]
    assert routed is None if version == 1 else f'"v{version}"'.encode() in (routed or b"")
    assert (3 in layout.Index.decode(index).lengths[layout.ROUTES]) == (version > 1)
    return version


def test_an_address_that_cannot_be_ends_the_agent_with_one_message(tmp_path: Path) -> None:
    secret = "s3cret-word"
    environment = {
        **os.environ,
        "STROWGER_REDIS_URL": f"redis://:{secret}/x@127.0.0.1:{free_port()}/0",
        "STROWGER_SNAPSHOT": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "console.cli", "serve", "agent"],
        cwd=serve.ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "address of Redis" in done.stderr
    assert secret not in done.stderr
    assert "Traceback" not in done.stderr
