"""Whole lists as one change: what an import does, beside whatever else happens meanwhile."""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import lmdb
import pytest
from harness.cli import Cli, Runner, forking
from harness.redis_server import RedisServer, redis_server

import policyfile
from console import serve
from console.stack import Stack
from kemi.view import View
from model.entries import Action, Entry, Kind
from model.settings import Settings
from state import bulk, keys, layout
from state.bulk import Import, ImportBusyError
from state.store import ConflictError, NodeReport, Store, StoreError

SIZE = 20_000
NAME = "node-under-test"
POLICY = """\
strowger: 1
dialling_plans:
  gb: {country_code: "44"}
default_dialling: gb
trunks:
  lab: {sources: [127.0.0.0/8], dialling: gb}
gateways:
  a: {address: 192.0.2.1}
  b: {address: 192.0.2.2}
routes:
  - {name: home, prefixes: ["+44"], gateways: [a, b]}
  - {name: far, prefixes: ["+1", "+2"], gateways: [b]}
  - {name: rest, prefixes: [default], gateways: [a]}
"""


@dataclass(slots=True)
class Node:
    """Redis and an agent, without Kamailio."""

    server: RedisServer
    stack: Stack
    store: Store
    cli: Cli

    @property
    def environment(self) -> dict[str, str]:
        return self.stack.settings.to_env()

    def records(self) -> dict[bytes, bytes]:
        """The snapshot."""
        with lmdb.open(str(self.stack.settings.snapshot), readonly=True) as env, env.begin() as txn:
            return dict(txn.cursor())

    def entries(self, action: Action = Action.BLOCK) -> dict[str, str]:
        """Name to reason in Redis, which the snapshot must equal."""
        assert self.store.confirm(self.store.position()[1], timeout=60.0).nodes == (NAME,)
        truth = {f"{entry.kind}:{entry.value}": entry for entry in self.store.entries()}
        records = self.records()
        stored = {key[1:].decode(): value for key, value in records.items() if key.startswith(layout.ENTRY)}
        with self.server.client() as client:
            assert {name: value.encode() for name, value in client.hgetall(keys.ENTRIES).items()} == stored
            expiring = set(client.zrange(keys.EXPIRIES, 0, -1))
        assert expiring == {name for name, entry in truth.items() if entry.expires}
        counted = layout.Index()
        for entry in truth.values():
            counted.add(entry.kind, entry.value)
        index = layout.Index.decode(records[layout.INDEX])
        assert {name: index.lengths[name] for name in counted.lengths} == counted.lengths
        assert index.user_agents == counted.user_agents
        return {name: entry.reason for name, entry in truth.items() if entry.action is action}

    def staged(self) -> int:
        """How much of imports is left in Redis that are not done."""
        with self.server.client() as client:
            return int(client.exists(keys.IMPORT, keys.TOUCHED, keys.STAGED, keys.STAGED_EXTRA, keys.STAGED_CHUNKS))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with forking(tmp_path_factory.mktemp("cli")) as runner:
        yield runner


@pytest.fixture
def node(tmp_path: Path, runner: Runner) -> Iterator[Node]:
    """A Redis with a policy, and an agent that follows it."""
    with redis_server(tmp_path) as server, closing(Store(server.url)) as store:
        settings = Settings.from_env(
            {
                "STROWGER_NODE": NAME,
                "STROWGER_REDIS_URL": server.url,
                "STROWGER_SNAPSHOT": str(tmp_path / "snapshot"),
                "STROWGER_SPOOL": str(tmp_path / "spool"),
                "STROWGER_RUN": str(tmp_path / "run"),
            }
        )
        stack = Stack(settings, tmp_path)
        try:
            apply(store)
            stack.start_agent()
            yield Node(server, stack, store, Cli(runner, settings.to_env()))
        finally:
            for process in stack.processes.values():
                process.kill()


def apply(store: Store, text: str = POLICY) -> None:
    loaded = policyfile.load(text, name="policy")
    store.apply(
        text=text, policy=loaded.policy, routes=loaded.routes, expected=store.policy_version(), author="test"
    )  # fmt: skip


def numbers(path: Path, count: int = SIZE, first: int = 0) -> Path:
    """A file of so many callers."""
    path.write_text("".join(f"0770{number:07d}\n" for number in range(first, first + count)))
    return path


def name(number: int) -> str:
    return f"caller:+44770{number:07d}"


def test_a_list_is_one_change_and_in_force_when_the_command_returns(node: Node, tmp_path: Path) -> None:
    node.store.put(Entry(Kind.CALLER, "+447700000001", Action.ALLOW))
    node.store.put(Entry(Kind.CALLER, "stays", reason="before"))
    before = node.store.position()[1]
    data = node.cli("block", "import", str(numbers(tmp_path / "list.csv")), "--json").data
    assert data == {"imported": SIZE, "skipped": [], "replaced": False, "nodes": [NAME]}
    assert layout.entry_key(Kind.CALLER, "+447700000000") in node.records()
    assert node.store.position()[1] == before + 1
    assert set(node.entries()) == {name(number) for number in range(SIZE)} | {"caller:stays"}
    assert node.entries(Action.ALLOW) == {}
    assert node.staged() == 0


def test_every_kind_is_imported_exported_and_imported_again(node: Node, tmp_path: Path) -> None:
    lines = (
        "kind,value,ttl,reason",
        'caller,020 7946 0000,,"a, “quoted” reason"',
        "callee,alice,90m,",
        "pair,1001>02079460000,,",
        "caller-prefix,070,,twice",
        "caller-prefix,+4470,7d,the later counts",
        "source,192.0.2.77/24,,",
        "user-agent,Friendly,,",
        "caller,+442079460001,1h,then for good",
        "caller,+442079460001,,for good",
    )
    file, copy = tmp_path / "list.csv", tmp_path / "copy.csv"
    file.write_text("\r\n".join(lines) + "\r\n")
    node.cli("block", "import", str(file))
    found = node.entries()
    assert found == {
        "caller:+442079460000": "a, “quoted” reason", "callee:alice": "", "pair:1001>+442079460000": "",
        "caller-prefix:+4470": "the later counts", "source:192.0.2.0/24": "", "user-agent:friendly": "",
        "caller:+442079460001": "for good",
    }  # fmt: skip
    expiries = {entry.value: entry.expires for entry in node.store.entries()}
    node.cli("block", "export", str(copy))
    node.cli("block", "import", str(copy), "--replace")
    assert node.entries() == found
    assert {entry.value: entry.expires for entry in node.store.entries()} == pytest.approx(expiries)
    printed = node.cli("block", "export").out
    assert {row["value"] for row in csv.DictReader(io.StringIO(printed))} == set(expiries)
    assert node.cli("allow", "export").out == "kind,value,expires,reason\n"


def test_a_list_is_replaced_and_the_other_list_stays(node: Node, tmp_path: Path) -> None:
    node.store.put(Entry(Kind.CALLER, "friend", Action.ALLOW, expires=4e9))
    node.store.put(Entry(Kind.CALLER_PREFIX, "+4470", expires=4e9))
    node.cli("block", "import", str(numbers(tmp_path / "one.csv")))
    node.cli("block", "import", str(numbers(tmp_path / "two.csv", first=SIZE - 10)), "--replace")
    assert set(node.entries()) == {name(number) for number in range(SIZE - 10, 2 * SIZE - 10)}
    assert set(node.entries(Action.ALLOW)) == {"caller:friend"}
    (tmp_path / "none.csv").write_text("kind,value\n")
    node.cli("block", "import", str(tmp_path / "none.csv"), "--replace")
    assert node.entries() == {}
    assert set(node.entries(Action.ALLOW)) == {"caller:friend"}


def test_all_that_is_wrong_is_said_and_nothing_is_imported(node: Node, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    good = "".join(f"caller,{number},,\n" for number in range(3000))
    bad = b"color,1,,\ncaller,1 > 2,,\ncaller,5,soon,\n1,2\n\xff,1,,\n"
    file.write_bytes(b"kind,value,ttl,reason\n" + good.encode() + bad)
    before = node.store.position()
    done = node.cli("block", "import", str(file), status=2)
    for line, text in ((3002, "kind: 'color' is none of"), (3003, "value: '1 > 2' is neither"), (3004, "ttl: 'soon'"),
                       (3005, "2 fields, where"), (3006, "not UTF-8")):  # fmt: skip
        assert f"{file}:{line}: {text}" in done.said
    assert "5 lines are wrong; nothing was imported" in done.said
    assert node.store.position() == before
    assert (node.entries(), node.staged()) == ({}, 0)
    data = node.cli("block", "import", str(file), "--skip-bad", "--json").data
    assert (data["imported"], [flaw["line"] for flaw in data["skipped"]]) == (3000, [3002, 3003, 3004, 3005, 3006])
    assert len(node.entries()) == 3000
    file.write_text("value\n" + "1 > 2\n" * 500)
    assert "100 lines are wrong, and reading stopped here" in node.cli("block", "import", str(file), status=2).said
    assert node.cli("block", "import", "-", status=2).said.startswith("-:1: the file is empty")


def test_single_changes_while_imports_run_are_not_lost(node: Node, tmp_path: Path) -> None:
    """Each ends as if it had come wholly before or wholly after every import."""
    chance, stop = random.Random(7), threading.Event()
    last: dict[str, bool] = {}

    def change() -> None:
        with closing(Store(node.server.url)) as store:
            while not stop.is_set():
                value = f"single-{chance.randrange(200)}"
                if chance.random() < 0.5:
                    store.put(Entry(Kind.CALLER, value, Action.ALLOW, expires=chance.choice((0.0, 4e9))))
                    last[value] = True
                else:
                    store.delete(Kind.CALLER, value)
                    last[value] = False

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for round_ in range(3):
            file = numbers(tmp_path / "list.csv", first=round_ * 100)
            node.cli("block", "import", str(file), *(["--replace"] if round_ else []))
    finally:
        stop.set()
        thread.join()
    assert set(node.entries()) == {name(number) for number in range(200, SIZE + 200)}
    assert set(node.entries(Action.ALLOW)) == {f"caller:{value}" for value, there in last.items() if there}


def started(node: Node, *, replace: bool = False, created: float = 1.5) -> Import:
    return Import(node.store, table="entries", replace=replace, created=created, action=Action.BLOCK)


def content(action: str, created: float = 1.5, expires: float = 0.0) -> str:
    return f'["{action}",{expires},"",{created}]'


@pytest.mark.parametrize("replace", [False, True])
def test_an_entry_changed_while_an_import_is_made_is_as_if_changed_before(node: Node, replace: bool) -> None:
    for value in ("gone", "listed-gone", "old"):
        node.store.put(Entry(Kind.CALLER, value, expires=4e9))
    with started(node, replace=replace) as work:
        work.send([("caller:listed", content("block")), ("caller:listed-gone", content("block"))])
        for number in range(bulk.FEW_CHUNKS):
            work.send([(f"callee:{number}", content("block"))])
        for _ in work.build():
            pass
        node.store.put(Entry(Kind.CALLER, "listed", Action.ALLOW, expires=4e9))
        node.store.put(Entry(Kind.CALLER, "new", Action.BLOCK, expires=4e9))
        node.store.put(Entry(Kind.CALLER, "friend", Action.ALLOW, expires=4e9))
        node.store.delete(Kind.CALLER, "gone")
        node.store.delete(Kind.CALLER, "listed-gone")
        work.commit()
    kept = set() if replace else {"caller:new", "caller:old"}
    callees = {f"callee:{number}" for number in range(bulk.FEW_CHUNKS)}
    assert set(node.entries()) == {"caller:listed", "caller:listed-gone"} | kept | callees
    assert set(node.entries(Action.ALLOW)) == {"caller:friend"}


KILLED = """
import os, signal, sys
from console import cli
from state import bulk
left = int(sys.argv[1])
def counted(script):
    def run(self, source, *arguments, **options):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return script(self, source, *arguments, **options)
    return run
bulk.Import._script = counted(bulk.Import._script)
cli.main(sys.argv[2:])
"""


@pytest.mark.parametrize("steps", [2, 15, 30])
def test_an_import_killed_half_way_applies_nothing_and_the_next_cleans_up(
    node: Node, tmp_path: Path, steps: int
) -> None:
    node.store.put(Entry(Kind.CALLER, "stays"))
    before = node.store.position()
    file = numbers(tmp_path / "list.csv")
    environment = {**os.environ, **node.environment, "PYTHONPATH": str(serve.ROOT)}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(steps), "block", "import", str(file)], env=environment, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert node.store.position() == before
    assert set(node.entries()) == {"caller:stays"}
    assert "another import is under way" in node.cli("block", "import", str(file), status=1).said
    with node.server.client() as client:
        assert 0 < client.pttl(keys.IMPORT) <= bulk.LEASE_MS
        client.delete(keys.IMPORT)  # as when it has expired
    few = numbers(tmp_path / "few.csv", 10)
    node.cli("block", "import", str(few))
    assert set(node.entries()) == {"caller:stays", *map(name, range(10))}
    assert node.staged() == 0


def test_of_two_imports_at_once_one_is_refused(node: Node, tmp_path: Path) -> None:
    with started(node) as work:
        work.send([("caller:first", content("block"))])
        refused = node.cli("block", "import", str(numbers(tmp_path / "list.csv", 10)), status=1)
        assert "another import is under way; nothing was imported" in refused.said
        work.commit()
    assert set(node.entries()) == {"caller:first"}


def test_an_import_that_lost_its_turn_changes_nothing(node: Node) -> None:
    with pytest.raises(ImportBusyError, match="lost its turn"), started(node) as work:  # noqa: PT012
        work.send([("caller:late", content("block"))])
        with node.server.client() as client:
            client.delete(keys.IMPORT)
        with started(node, created=2.5) as other:
            other.send([("caller:other", content("block", 2.5))])
            other.commit()
        work.commit()
    assert set(node.entries()) == {"caller:other"}


def test_an_agent_started_again_in_the_middle_has_the_import(node: Node) -> None:
    work = started(node)
    with work:
        for number in range(20):
            work.send([(f"caller:{number}-{i}", content("block")) for i in range(1000)])
        for _ in work.build():
            pass
        node.stack.processes["agent"].kill()
        work.commit()
    node.store.put(Entry(Kind.CALLER, "after"))
    node.stack.start_agent()
    assert len(node.entries()) == 20_001
    node.stack.processes["agent"].kill()
    with started(node, replace=True, created=2.5) as work:
        work.send([("caller:only", content("block", 2.5))])
        for _ in work.build():
            pass
        work.commit()
    with node.server.client() as client:  # as when it was away for long
        client.delete(*client.keys("{strowger}:import:done:*"))
    node.stack.start_agent()
    assert set(node.entries()) == {"caller:only"}


def test_a_redis_that_goes_away_in_the_middle_leaves_the_snapshot_as_it_is(node: Node, tmp_path: Path) -> None:
    node.cli("block", "import", str(numbers(tmp_path / "one.csv", 2000)))
    before = node.records()
    with pytest.raises(StoreError, match="does not answer"), started(node, replace=True) as work:  # noqa: PT012
        work.send([("caller:late", content("block"))])
        node.server.stop()
        work.send([("caller:later", content("block"))])
    assert node.records() == before


def test_a_list_read_while_an_import_takes_effect_is_not_taken_for_whole(node: Node) -> None:
    for number in range(2000):
        node.store.put(Entry(Kind.CALLER, str(number)))
    reading = node.store.entries()
    next(reading)
    with started(node, replace=True) as work:
        for _ in work.build():
            pass
        work.commit()
    with pytest.raises(StoreError, match="try again"):
        list(reading)
    assert node.entries() == {}


def test_a_command_waits_for_a_node_that_is_busy(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("state.store.BUSY_TIMEOUT", 1.0)
    generation, _ = node.store.position()
    node.store.report(NodeReport("busy", generation, 0, version=1, pid=1, started=0.0, busy=True))
    begun = time.monotonic()
    assert node.store.confirm(1, timeout=0.1).missing == ("busy",)
    assert time.monotonic() - begun >= 0.9


# Searching


def listed(node: Node, *options: str) -> list[str]:
    return [entry["value"] for entry in node.cli("block", "list", *options, "--json").data]


def test_a_long_list_is_read_page_by_page(node: Node, tmp_path: Path) -> None:
    node.cli("block", "import", str(numbers(tmp_path / "list.csv")))
    node.store.put(Entry(Kind.SOURCE, "192.0.2.0/24"))
    node.store.put(Entry(Kind.CALLER, "friend", Action.ALLOW))
    node.store.put(Entry(Kind.CALLEE, "gone", expires=1.0))
    expected = [f"+44770{number:07d}" for number in range(SIZE)] + ["192.0.2.0/24"]
    assert len(listed(node)) == 100
    assert listed(node, "--limit", "0") == expected
    pages, after = [], ""
    while True:
        done = node.cli("block", "list", "--limit", "7000", "--after", after, "--json")
        pages.append([entry["value"] for entry in done.data])
        if "the next: --after " not in done.err:
            break
        assert f"of {SIZE + 1:,}" in done.err
        after = done.err.split("--after ")[1].strip()
    assert [value for page in pages for value in page] == expected
    assert listed(node, "--offset", "19998", "--limit", "2") == expected[19998:20000]
    assert listed(node, "--kind", "source") == ["192.0.2.0/24"]
    assert node.cli("block", "list", "--count").out == f"{SIZE + 1:,}\n"
    assert node.cli("block", "list", "--count", "--kind", "caller", "--json").data == {"count": SIZE}
    assert node.cli("block", "list", "--after", "z").out == "no entries\n"


def test_a_list_is_searched_for_numbers_as_they_are_dialled_and_for_reasons(node: Node) -> None:
    reason = "“Ärger” 100% [x"
    for value, why in (("+442079460000", reason), ("+442079460001", "other"), ("Alice", ""), ("+33199", "é")):
        node.store.put(Entry(Kind.CALLER, value, reason=why))
    for text, found in (
        ("020 7946 0000", ["+442079460000"]), ("0207", ["+442079460000", "+442079460001"]), ("alice", ["Alice"]),
        ("OTHER", ["+442079460001"]), ("“Ärger”", ["+442079460000"]), ("0% [X", ["+442079460000"]),
        ("é", ["+33199"]), (".*", []), ("9946", []),
    ):  # fmt: skip
        assert listed(node, "--search", text) == found, text


def test_what_a_call_meets_is_told(node: Node) -> None:
    for entry in (
        Entry(Kind.CALLER, "+442079460000"),
        Entry(Kind.CALLER_PREFIX, "+4420", Action.ALLOW),
        Entry(Kind.CALLER_PREFIX, "+33"),
        Entry(Kind.CALLEE, "1001", expires=1.0),
        Entry(Kind.PAIR, "+442079460000>1001"),
        Entry(Kind.SOURCE, "192.0.2.0/24"),
        Entry(Kind.SOURCE, "2001:db8::/32"),
        Entry(Kind.USER_AGENT, "scanner"),
    ):
        node.store.put(entry)

    def met(*options: str) -> list[tuple[str, str]]:
        return [(entry["kind"], entry["value"]) for entry in node.cli("block", "check", *options, "--json").data]

    number = ("--caller", "02079460000")
    assert met(*number) == [("caller-prefix", "+4420"), ("caller", "+442079460000")]
    assert met(*number, "--callee", "1001")[1:] == [("caller", "+442079460000"), ("pair", "+442079460000>1001")]
    assert met("--source", "192.0.2.9") == [("source", "192.0.2.0/24")]
    assert met("--source", "2001:db8::1") == [("source", "2001:db8::/32")]
    assert met("--user-agent", "A Scanner 2") == [("user-agent", "scanner")]
    assert met("--callee", "1002") == []
    assert "name what a call has" in node.cli("block", "check", status=2).said
    assert "is no IP address" in node.cli("block", "check", "--source", "x", status=2).said


# Prefixes


def routes_of(node: Node) -> dict[str, str]:
    """Prefix to name of the route, as a call would find it in the snapshot, of the imported ones."""
    assert node.store.confirm(node.store.position()[1], timeout=60.0).nodes == (NAME,)
    records = node.records()
    found = {
        key[1:].decode(): value[1:].decode() for key, value in records.items()
        if key.startswith(layout.ROUTE) and value.startswith(layout.REFERENCE)
    }  # fmt: skip
    with node.server.client() as client:
        assert client.hgetall(keys.PREFIXES) == found
        uses = {name: int(count) for name, count in client.hgetall(keys.PREFIX_ROUTES).items()}
    assert uses == Counter(found.values())
    lengths = layout.Index.decode(records[layout.INDEX]).lengths
    assert lengths.get(layout.IMPORTED, Counter()) == Counter(map(len, found))
    return found


def prefixes(path: Path, routes: dict[str, str]) -> Path:
    path.write_text("prefix,route\n" + "".join(f"{prefix},{name}\n" for prefix, name in routes.items()))
    return path


def test_imported_prefixes_stand_beside_those_of_the_policy(node: Node, tmp_path: Path) -> None:
    many = {f"+44{number}": "far" if number % 2 else "home" for number in range(100_000, 105_000)}
    file = prefixes(tmp_path / "routes.csv", {**many, "+12": "home"})
    before = node.store.position()[1]
    assert node.cli("route", "import", str(file), "--json").data["imported"] == 5001
    assert node.store.position()[1] == before + 1
    assert routes_of(node) == {**many, "+12": "home"}
    sizes = [len(value) for key, value in node.records().items() if key.startswith(b"r+44100")]
    assert max(sizes) == len("@home")
    view = View(node.records().get)
    found = [(prefix, route.name) for prefix, route in view.routes("+4410000100")]
    assert found == [("+44100001", "far"), ("+44", "home"), ("", "rest")]
    again = prefixes(tmp_path / "again.csv", {"020": "far", "+12": "far"})
    node.cli("route", "import", str(again))
    assert routes_of(node) == {**many, "+12": "far", "+4420": "far"}
    node.cli("route", "export", str(tmp_path / "copy.csv"))
    node.cli("route", "import", str(again), "--replace")
    assert routes_of(node) == {"+4420": "far", "+12": "far"}
    node.cli("route", "import", str(tmp_path / "copy.csv"))
    assert routes_of(node) == {**many, "+12": "far", "+4420": "far"}
    apply(node.store, POLICY.replace("gateways: [b]", "gateways: [a]"))
    assert len(routes_of(node)) == 5002
    node.stack.processes["agent"].kill()
    with node.server.client() as client:
        client.delete(keys.CHANGES)
    apply(node.store)
    node.stack.start_agent()
    assert len(routes_of(node)) == 5002


def test_prefixes_are_listed(node: Node, tmp_path: Path) -> None:
    node.cli("route", "import", str(prefixes(tmp_path / "routes.csv", {"+4420": "far", "+12": "home"})))
    rows = [(row["prefix"], row["route"], row["from"]) for row in node.cli("route", "list", "--json").data]
    assert rows == [
        ("", "rest", "policy"), ("+1", "far", "policy"), ("+12", "home", "import"), ("+2", "far", "policy"),
        ("+44", "home", "policy"), ("+4420", "far", "import"),
    ]  # fmt: skip

    def listed_prefixes(*options: str) -> list[str]:
        return [row["prefix"] for row in node.cli("route", "list", *options, "--json").data]

    assert listed_prefixes("--prefix", "02") == ["+4420"] == listed_prefixes("--search", "442")
    assert listed_prefixes("--search", "FAR") == ["+1", "+2", "+4420"]
    assert listed_prefixes("--limit", "2", "--offset", "1") == ["+1", "+12"]
    assert "2 of 6; the next: --offset 2" in node.cli("route", "list", "--limit", "2").err
    assert "any number" in node.cli("route", "list").out


def test_prefixes_that_do_not_go_with_the_policy_are_refused(node: Node, tmp_path: Path) -> None:
    file = prefixes(tmp_path / "routes.csv", {"+4420": "nowhere", "+44": "far", "+45": "far", "": "far"})
    before = node.store.position()
    said = node.cli("route", "import", str(file), status=2).said
    assert f"{file}:2: route: the policy in force has no route 'nowhere'" in said
    assert f"{file}:3: prefix: +44 stands in the policy file, at route 'home'" in said
    assert f"{file}:5: prefix: empty: the default prefix belongs in the policy file" in said
    assert (node.store.position(), routes_of(node)) == (before, {})
    assert "the first line is: prefix,route" in node.cli("route", "import", "-", text="+44,home\n", status=2).said
    assert "no prefixes" in node.cli("route", "import", "-", text="prefix,route\n", status=2).said


def test_a_policy_that_does_not_go_with_imported_prefixes_is_refused(node: Node, tmp_path: Path) -> None:
    node.cli("route", "import", str(prefixes(tmp_path / "routes.csv", {"+45": "far"})))
    before = node.store.position()
    policy = tmp_path / "policy.yaml"
    for old, new, said in (
        ("name: far", "name: away", "imported prefixes lead to routes that this policy has not: far"),
        ('"+2"', '"+45"', "prefixes of this policy are imported, too: +45"),
    ):
        policy.write_text(POLICY.replace(old, new))
        assert said in node.cli("policy", "apply", str(policy), status=1).said
    assert node.store.position() == before
    node.cli("route", "import", "-", "--replace", text="prefix,route\n")
    node.cli("policy", "apply", str(policy))
    assert routes_of(node) == {}


def test_prefixes_are_not_imported_for_a_policy_that_is_not_in_force_any_more(node: Node) -> None:
    with pytest.raises(ConflictError, match="applied a policy meanwhile"):  # noqa: PT012, SIM117
        with Import(node.store, table="prefixes", replace=False, created=0.0) as work:
            work.send([("+45", "far")])
            for _ in work.build():
                pass
            apply(node.store)
            work.commit(1)
    assert (routes_of(node), node.staged()) == ({}, 0)
