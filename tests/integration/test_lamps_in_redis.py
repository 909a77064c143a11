"""The lamps of mailboxes in a real Redis: written, followed, gone, and who sends what nobody asked for."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import closing

import pytest
from harness.load import until
from harness.redis_server import RedisServer, redis_server

from agent.lamp_follower import Follower, Found
from model.settings import Settings
from state import keys, mwi
from state.mwi import Lamp
from state.store import Store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    with server.client() as client:
        client.flushall()
    with closing(Store(server.url)) as store:
        yield store


def test_a_lamp_is_read_and_followed(store: Store) -> None:
    assert mwi.read_all(store) == ("0-0", {})
    lamp = Lamp(box="1001", new=2, urgent_new=1, phones=("sip:1001@192.0.2.21",), seq=7)
    mwi.write(store, lamp)
    position, boxes = mwi.follow(store, "0-0", 1.0)
    assert boxes == ["1001"]
    found = mwi.read(store, boxes)["1001"]
    assert found is not None
    assert mwi.decode("1001", found) == lamp
    assert mwi.read_all(store) == (position, {"1001": found})
    mwi.remove(store, "1001")
    assert mwi.follow(store, position, 1.0)[1] == ["1001"]
    assert mwi.read(store, ["1001"]) == {"1001": None}


def test_a_mailbox_that_went_while_nobody_followed(server: RedisServer, store: Store) -> None:
    for box in ("1001", "1002", "1003"):
        mwi.write(store, Lamp(box=box))
    mwi.remove(store, "1001")
    mwi.remove(store, "1003")
    mwi.write(store, Lamp(box="1003"))
    found: queue.SimpleQueue[Found] = queue.SimpleQueue()
    follower = Follower(Settings.from_env({"STROWGER_REDIS_URL": server.url}), lambda: not found.empty(), found.put)
    follower.run()
    first = found.get()
    assert {box: text is not None for box, text in first.lamps.items()} == {"1001": False, "1002": True, "1003": True}
    assert first.whole
    # Redis was away, or it is time to read all again: what came meanwhile.
    mwi.remove(store, "1002")
    follower.run()
    assert {box for box, text in found.get().lamps.items() if text is None} == {"1002"}
    # An empty Redis is a lost one.
    with server.client() as client:
        client.flushall()
    follower.run()
    assert found.get().lamps == {}


def test_what_waits_too_long_comes_back_with_nothing(store: Store) -> None:
    assert mwi.follow(store, "5-0", 0.01) == ("5-0", [])


def test_the_stream_does_not_grow_for_ever(store: Store) -> None:
    many = "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'box', '1001') end"
    store._redis.eval(many, 1, keys.MWI_CHANGES, str(mwi.CHANGES_KEPT + 5000))
    mwi.write(store, Lamp(box="1001"))
    assert int(str(store._redis.xlen(keys.MWI_CHANGES))) < mwi.CHANGES_KEPT + 1000


def test_one_of_several_nodes_has_the_lease(store: Store) -> None:
    assert mwi.lease(store, "a", 0.2)
    assert not mwi.lease(store, "b", 0.2)
    assert mwi.lease(store, "a", 0.2)
    until(lambda: mwi.lease(store, "b", 60.0), "the lease does not end", 20)
    assert not mwi.lease(store, "a", 0.2)
