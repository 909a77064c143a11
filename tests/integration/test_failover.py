"""A Redis that dies, and the replica that its sentinels put in its place: nobody has to be told, and no call fails."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from harness.limits import counts
from harness.load import until
from harness.node import TRUNK, Node, at
from harness.sentinels import Sentinels, sentinels
from redis.asyncio import Redis

from model.entries import Entry, Kind
from model.limits import Limits
from model.policy import Policy, Route
from state.clients import connect
from state.limit_use import usage
from state.notes import Notes
from state.store import Change, StoreError
from state.wire import packed

CALLEE = "02079460000"
PATIENCE = 60.0


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Sentinels]:
    """A master, a replica and three sentinels."""
    (tmp_path / "redis").mkdir()
    with sentinels(tmp_path / "redis") as found:
        yield found


@pytest.fixture
def node(servers: Sentinels, tmp_path: Path) -> Iterator[Node]:
    """A node that knows the sentinels alone."""
    (tmp_path / "node").mkdir()
    node = Node.create(tmp_path / "node", workers=2, STROWGER_REDIS_URL=servers.url)
    try:
        node.stack.start_agent()
        node.stack.start_kamailio()
        yield node
    finally:
        node.close()


def blocked(node: Node, caller: str) -> None:
    """Store an entry, whoever is the master meanwhile, and wait until it is in force."""
    stored: list[Change] = []

    def is_stored() -> bool:
        with suppress(StoreError):
            stored.append(node.store.put(Entry(Kind.CALLER, caller)))
        return bool(stored)

    def is_in_force() -> bool:
        # By the node's own word: a master that is new may not have heard of it yet.
        with suppress(StoreError):
            generation, _ = node.store.position()
            return any(report.has(generation, stored[0].seq) for report in node.store.nodes()[0])
        return False

    until(is_stored, "an entry is stored", PATIENCE)
    until(is_in_force, "the node has the entry", PATIENCE)
    node.refused(caller, CALLEE, 403, "blocked-caller", explained=False)


@pytest.mark.timeout(240)
def test_a_node_goes_over_to_the_new_master(node: Node, servers: Sentinels) -> None:
    gateway = node.answering()
    gateways = {"only": at("only", gateway, limits=Limits(calls=5, when_away="open"))}
    node.put_in_force(Policy((TRUNK,), gateways, TRUNK.dialling), [Route("r", ("",), ("only",))])
    blocked(node, "447700900001")
    until(lambda: counts(node), "the master counts for limits", PATIENCE)
    servers.replicated()

    # Not waited for: what the replica was not told of its record is told again.
    early = node.answered("1001", CALLEE, explained=False)
    servers.kill_sentinel()
    gone = servers.kill_master()
    # From the snapshot, whoever is the master now.
    call = node.answered("1001", CALLEE, explained=False)
    node.refused("447700900001", CALLEE, 403, "blocked-caller", explained=False)
    blocked(node, "447700900002")
    for one in (early, call):
        assert node.record(one.call_id).attempts[0].gateway == "only"
    until(lambda: counts(node), "the new master counts for limits", PATIENCE)
    second = node.answered("1001", CALLEE, explained=False)
    assert node.record(second.call_id).limits == ("gateway:only",)
    until(lambda: usage(node.store, ["gateway:only"])["gateway:only"].calls == 0, "its lease is given back", PATIENCE)

    # And back, with what was changed meanwhile.
    servers.start_again(gone)
    servers.replicated()
    servers.kill_master()
    assert servers.master() == gone
    blocked(node, "447700900003")
    for caller in ("447700900001", "447700900002"):
        node.refused(caller, CALLEE, 403, "blocked-caller", explained=False)
    until(lambda: counts(node), "the first master counts again", PATIENCE)


@pytest.mark.timeout(120)
def test_clients_of_an_event_loop_go_over_too(servers: Sentinels) -> None:
    async def told() -> list[bytes | str]:
        client = connect(servers.url)
        notes = Notes(client)
        await client.set("before", "1")
        notes.tell("a note", packed("APPEND", "notes", "a"))
        await _until(client, "notes", "a")
        await asyncio.to_thread(servers.replicated)
        await asyncio.to_thread(servers.kill_master)
        found = [await client.get("before")]
        await client.set("after", "2")
        notes.tell("another note", packed("APPEND", "notes", "b"))
        await _until(client, "notes", "ab")
        found.append(await client.get("after"))
        await notes.close()
        await client.aclose()
        return found

    assert asyncio.run(told()) == ["1", "2"]


async def _until(client: Redis, key: str, value: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while await client.get(key) != value:
            await asyncio.sleep(0.02)
