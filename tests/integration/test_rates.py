"""Rate sheets from a file into the snapshot, with real Redis and a node agent."""

from __future__ import annotations

import csv
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
from console.stack import Stack
from kemi.least_cost import every
from kemi.view import View
from model.rates import amount_text
from model.settings import Settings
from state import keys, layout, rates
from state.bulk import Import
from state.rates import SheetInfo
from state.store import Store, StoreError

NAME = "node-under-test"
SIZE = 20_000
POLICY = """\
strowger: 1
dialling_plans:
  gb: {country_code: "44"}
default_dialling: gb
currency: USD
exchange: {EUR: "1.1"}
trunks:
  lab: {sources: [127.0.0.0/8], dialling: gb}
gateways:
  carrier-a: {address: 192.0.2.1}
  carrier-b: {address: 192.0.2.2}
media:
  fs-1: {address: 192.0.2.3}
routes:
  - {name: any, prefixes: [default], gateways: [carrier-a, carrier-b], strategy: least_cost}
"""
Found = dict[tuple[str, str, int], tuple[int, ...]]


@dataclass(slots=True)
class Node:
    """Redis and an agent, without Kamailio."""

    server: RedisServer
    stack: Stack
    store: Store
    cli: Cli

    def records(self) -> dict[bytes, bytes]:
        """The snapshot, once the node has everything."""
        assert self.store.confirm(self.store.position()[1], timeout=60.0).nodes == (NAME,)
        with lmdb.open(str(self.stack.settings.snapshot), readonly=True) as env, env.begin() as txn:
            return dict(txn.cursor())

    def rates(self) -> Found:
        """Gateway, prefix and beginning to the rest of each row in the snapshot, which must be what Redis has."""
        records = self.records()
        index = layout.Index.decode(records[layout.INDEX])
        names = {sheet.number: gateway for gateway, sheet in index.sheets.items()}
        held = {key: value for key, value in records.items() if key.startswith(rates.RATES)}
        assert index.lengths.get(layout.RATED, Counter()) == Counter(len(key) - 1 for key in held)
        long = sorted(item for item in held.items() if rates.inherits(item[0]))
        assert list(rates.settled(long)) == [record for _, record in long]
        found = {
            (names[sheet], key[1:].decode(), starts): tuple(rest)
            for key, record in held.items()
            for sheet, _, starts, *rest in rates.unpacked(rates.own(key, record))
        }
        assert found == self.truth()
        assert {gateway: sheet.currency for gateway, sheet in index.sheets.items()} == {
            gateway: info.currency for gateway, info in self.store.sheets().items()
        }
        return found

    def truth(self) -> Found:
        """The same in Redis."""
        rows = {
            gateway: [rates.decode_row(*record) for record in self.store.records(keys.rates(gateway))]
            for gateway in self.store.sheets()
        }
        return {
            (gateway, prefix, row.starts): (row.ends, *row.rate)
            for gateway, found in rows.items()
            for prefix, row in found
        }

    def prices(self, number: str, at: float) -> dict[str, str]:
        """What each gateway takes for a number, as a call would find it."""
        view = View(self.records().get)
        return {one.gateway: amount_text(one.rate.price) for one in every(number, view, at)}


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
            loaded = policyfile.load(POLICY, name="policy")
            store.apply(text=POLICY, policy=loaded.policy, routes=loaded.routes, expected=0, author="test")
            stack.start_agent()
            yield Node(server, stack, store, Cli(runner, settings.to_env()))
        finally:
            for process in stack.processes.values():
                process.kill()


def sheet(path: Path, *lines: str, header: str = "prefix,price") -> str:
    path.write_text("\n".join((header, *lines)) + "\n")
    return str(path)


def large(path: Path, price: str = "0.01", first: int = 0) -> str:
    return sheet(path, *(f"+4{number:06},{price}" for number in range(first, first + SIZE)))


def test_a_sheet_is_one_change_and_in_force_when_the_command_returns(node: Node, tmp_path: Path) -> None:
    before = node.store.position()[1]
    file = large(tmp_path / "a.csv")
    data = node.cli("rates", "import", "carrier-a", file, "--currency", "USD", "--json").data
    assert data == {"imported": SIZE, "skipped": [], "replaced": False, "nodes": [NAME]}
    assert node.store.position()[1] == before + 1
    assert len(node.rates()) == SIZE
    node.cli("rates", "import", "carrier-b", sheet(tmp_path / "b.csv", "+4,0.02"), "--currency", "EUR")
    assert node.prices("+40000015", 0) == {"carrier-a": "0.01", "carrier-b": "0.02"}
    shown = node.cli("rates", "list", "--json").data
    assert [(row["gateway"], row["currency"], row["rates"]) for row in shown] == [
        ("carrier-a", "USD", SIZE), ("carrier-b", "EUR", 1),
    ]  # fmt: skip
    with node.server.client() as client:
        assert not client.exists(keys.IMPORT, keys.TOUCHED, keys.STAGED, keys.STAGED_EXTRA, keys.STAGED_CHUNKS)


def test_a_sheet_is_extended_replaced_and_removed_and_the_others_stay(node: Node, tmp_path: Path) -> None:
    for name in ("carrier-a", "carrier-b"):
        node.cli("rates", "import", name, large(tmp_path / "x.csv"), "--currency", "USD")
    node.cli("rates", "import", "carrier-a", sheet(tmp_path / "y.csv", "+4000001,5", "+49,6"))
    assert len(node.rates()) == 2 * SIZE + 1
    assert node.prices("+4000001", 0) == {"carrier-a": "5", "carrier-b": "0.01"}
    node.cli("rates", "import", "carrier-a", large(tmp_path / "x.csv", "0.5", first=SIZE - 10), "--replace")
    assert len(node.rates()) == 2 * SIZE
    assert node.prices("+4000001", 0) == {"carrier-b": "0.01"}
    assert node.prices(f"+4{SIZE - 5:06}", 0) == {"carrier-a": "0.5", "carrier-b": "0.01"}
    node.cli("rates", "remove", "carrier-b")
    assert {gateway for gateway, _, _ in node.rates()} == {"carrier-a"}
    node.cli("rates", "import", "carrier-a", sheet(tmp_path / "none.csv"), "--replace", "--currency", "GBP")
    assert node.rates() == {}
    node.cli("rates", "remove", "carrier-a")
    assert node.store.sheets() == {}
    assert "no rate sheet of a gateway 'carrier-a'" in node.cli("rates", "remove", "carrier-a", status=1).said


def test_what_is_exported_is_imported_again(node: Node, tmp_path: Path) -> None:
    lines = (
        "020,0.0041,,1/1,,",
        "+336,0.012,0.05,30/6,2026-12-01,2027-01-01",
        "+336,0.011,,,,",
        "default,1,,,,",
        "1001,0,,,,",
    )
    file = sheet(tmp_path / "a.csv", *lines, header="prefix,price,fee,billing,from,until")
    node.cli("rates", "import", "carrier-a", file, "--currency", "USD")
    found = node.rates()
    assert set(found) == {
        ("carrier-a", "+4420", 0), ("carrier-a", "+336", 1_796_083_200), ("carrier-a", "+336", 0),
        ("carrier-a", "", 0), ("carrier-a", "1001", 0),
    }  # fmt: skip
    copy = tmp_path / "copy.csv"
    node.cli("rates", "export", "carrier-a", str(copy))
    with copy.open() as rows:
        assert {row["prefix"] for row in csv.DictReader(rows)} == {"+4420", "+336", "default", "1001"}
    node.cli("rates", "import", "carrier-a", str(copy), "--replace")
    assert node.rates() == found
    listed = node.cli("rates", "list", "carrier-a", "--prefix", "+33", "--json").data
    assert [(row["prefix"], row["price"], row["from"]) for row in listed] == [
        ("+336", "0.011", ""), ("+336", "0.012", "2026-12-01T00:00:00Z"),
    ]  # fmt: skip
    page = node.cli("rates", "list", "carrier-a", "--limit", "2", "--offset", "1")
    assert "2 of 5; the next: --offset 3" in page.said


def test_a_rate_effective_in_the_future_counts_at_its_time_without_a_change(node: Node, tmp_path: Path) -> None:
    node.cli("rates", "import", "carrier-a", sheet(tmp_path / "a.csv", "+44,0.02"), "--currency", "USD")
    node.cli("rates", "import", "carrier-a", sheet(tmp_path / "b.csv", "+44,0.01"), "--from", "2030-01-01T06:00:00Z")
    begins = 1_893_477_600
    assert node.prices("+4420", begins - 0.001) == {"carrier-a": "0.02"}
    assert node.prices("+4420", begins) == {"carrier-a": "0.01"}
    (now,) = node.cli("rates", "show", "020 7946 0000", "--json").data
    assert now == {
        "gateway": "carrier-a", "price": "0.02", "currency": "USD", "fee": "0", "billing": "60/60", "prefix": "+44",
    }  # fmt: skip
    (then,) = node.cli("rates", "show", "+442079460000", "--at", "2030-01-01T06:00:00Z", "--json").data
    assert then["price"] == "0.01"
    assert "no gateway has a rate" in node.cli("rates", "show", "+33123456789").out


def test_all_that_is_wrong_is_said_and_nothing_is_imported(node: Node, tmp_path: Path) -> None:
    before = node.store.position()
    file = sheet(tmp_path / "a.csv", *(f"+44{n},0.01" for n in range(3000)), "+1,free", ",2", "+3")
    done = node.cli("rates", "import", "carrier-a", file, "--currency", "USD", status=2)
    for line, text in ((3002, "price: 'free' is no amount"), (3003, "prefix: empty"), (3004, "1 fields, where")):
        assert f"{file}:{line}: {text}" in done.said
    assert "3 lines are wrong; nothing was imported" in done.said
    assert node.store.position() == before
    data = node.cli("rates", "import", "carrier-a", file, "--currency", "USD", "--skip-bad", "--json").data
    assert (data["imported"], [flaw["line"] for flaw in data["skipped"]]) == (3000, [3002, 3003, 3004])
    assert len(node.rates()) == 3000
    for arguments, says in (
        (("carier-a", file, "--currency", "USD"), "no gateway 'carier-a' (did you mean 'carrier-a'?)"),
        (("fs-1", file, "--currency", "USD"), "no gateway 'fs-1'"),
        (("carrier-b", file), "a currency is needed"),
        (("carrier-b", file, "--currency", "usd"), "three capital letters"),
        (("carrier-a", file, "--currency", "EUR"), "is in USD"),
        (("carrier-a", file, "--from", "soon"), "is not a time"),
        (("carrier-a", file, "--billing", "60"), "INITIAL/INCREMENT"),
    ):
        assert says in node.cli("rates", "import", *arguments, status=2).said.replace("│ ", "")


def test_a_dry_run_counts_and_changes_nothing(node: Node, tmp_path: Path) -> None:
    first = sheet(tmp_path / "a.csv", "+1,0.1", "+2,0.2", "+3,0.3", "+4,0.4")
    node.cli("rates", "import", "carrier-a", first, "--currency", "USD")
    before, found = node.store.position(), node.rates()
    second = sheet(
        tmp_path / "b.csv", "+1,0.11,", "+2,0.1,", "+3,0.3,", "+4,0.4,1/1", "+5,1,", header="prefix,price,billing"
    )
    counted = node.cli("rates", "import", "carrier-a", second, "--dry-run", "--json").data
    assert counted == {
        "new": 1, "dearer": 1, "cheaper": 1, "otherwise_changed": 1, "unchanged": 1, "skipped": 0,
    }  # fmt: skip
    third = sheet(tmp_path / "c.csv", "+1,0.1")
    said = node.cli("rates", "import", "carrier-a", third, "--dry-run", "--replace").out
    assert "1 unchanged, 3 removed; nothing was imported" in said
    assert (node.store.position(), node.rates()) == (before, found)


def test_an_agent_that_was_away_or_lost_the_stream_has_every_sheet(node: Node, tmp_path: Path) -> None:
    for name, currency in (("carrier-a", "USD"), ("carrier-b", "EUR")):
        node.cli("rates", "import", name, large(tmp_path / "x.csv"), "--currency", currency)
    found = node.rates()
    node.stack.processes["agent"].kill()
    file = sheet(tmp_path / "y.csv", "+5,1")
    assert "not confirmed" in node.cli("rates", "import", "carrier-a", file, status=1).said
    node.stack.start_agent()
    assert len(node.rates()) == len(found) + 1
    node.stack.processes["agent"].kill()
    node.store.remove_sheet("carrier-a")
    with node.server.client() as client:
        client.delete(keys.CHANGES)
    node.stack.start_agent()
    assert {gateway for gateway, _, _ in node.rates()} == {"carrier-b"}
    node.cli("rates", "import", "carrier-a", sheet(tmp_path / "y.csv", "+5,1"), "--currency", "USD")
    assert len(node.rates()) == SIZE + 1


def test_a_sheet_is_not_removed_while_an_import_may_have_copied_it(node: Node, tmp_path: Path) -> None:
    node.cli("rates", "import", "carrier-a", sheet(tmp_path / "a.csv", "+1,0.1"), "--currency", "USD")
    info = SheetInfo("USD", time.time())
    work = Import(node.store, table="rates", replace=False, created=0.0, gateway="carrier-a", sheet=info)
    with work:
        work.send([("+2 0", "1 0 60 60 0")])
        for _ in work.build():
            pass
        with pytest.raises(StoreError, match="an import is under way"):
            node.store.remove_sheet("carrier-a")
        work.commit()
    assert {prefix for _, prefix, _ in node.rates()} == {"+1", "+2"}
