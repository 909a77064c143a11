"""What the console keeps in Redis: who is signed in, and the figures of all calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest
from harness.node import GB, TRUNK
from harness.redis_server import RedisServer, redis_server

from model.policy import Policy, Route
from model.settings import Settings
from operations import overview
from state import keys, records, sessions, tokens
from state.store import HISTORY_KEPT, Store
from state.tokens import Role, Token
from web.app import make_site
from web.page import COOKIE


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def store(redis: RedisServer) -> Iterator[Store]:
    with redis.client() as client:
        client.flushall()
    found = Store(redis.url)
    yield found
    found.close()


def _token(store: Store, expires: float = 0.0) -> Token:
    return tokens.make(store, "anna", Role.OPERATE, expires)[0]


def test_a_session_has_the_role_of_its_token_and_another_number_each_time(store: Store) -> None:
    token = _token(store)
    ids = [sessions.begin(store, token) for _ in range(2)]
    found = [sessions.find(store, id) for id in ids]
    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].may("operate"), found[0].may("admin")) == (True, False)
    assert found[0].csrf != found[1].csrf


def test_what_the_cookie_holds_does_not_stand_in_redis(store: Store, redis: RedisServer) -> None:
    id = sessions.begin(store, _token(store))
    with redis.client() as client:
        names = client.keys("*")
        (session,) = [name for name in names if ":web:session:" in name]
        assert 0 < client.ttl(session) <= sessions.KEPT
        assert not any(id in text for text in (*names, client.get(session)))


def test_a_session_ends_with_its_token(store: Store) -> None:
    token = _token(store)
    id, other = sessions.begin(store, token), sessions.begin(store, _token(store, time.time() - 1))
    assert sessions.find(store, other) is None
    tokens.revoke(store, token.id)
    assert sessions.find(store, id) is None


def test_who_signs_out_is_out(store: Store) -> None:
    id = sessions.begin(store, _token(store))
    found = sessions.find(store, id)
    assert found is not None
    sessions.note(store, found, "done")
    assert (sessions.noted(store, found), sessions.noted(store, found)) == ("done", "")
    sessions.end(store, found)
    assert sessions.find(store, id) is None
    assert sessions.find(store, "") is None


def test_wrong_tokens_bar_an_address_and_no_other(store: Store) -> None:
    for _ in range(sessions.ATTEMPTS):
        assert sessions.barred(store, "192.0.2.1") == 0
        sessions.failed(store, "192.0.2.1")
    assert 0 < sessions.barred(store, "192.0.2.1") <= sessions.WINDOW
    assert sessions.barred(store, "192.0.2.2") == 0


def test_the_oldest_version_of_the_policy_that_is_kept_is_shown(store: Store, redis: RedisServer) -> None:
    for _ in range(HISTORY_KEPT + 1):
        store.apply(
            text="# ours", policy=Policy((TRUNK,), {}, GB), routes=(Route("all", ("",), ()),),
            expected=store.policy_version(), author="test",
        )  # fmt: skip
    site = make_site(Settings.from_env({"STROWGER_REDIS_URL": redis.url}))

    async def shown() -> httpx.Response:
        cookies = {COOKIE: sessions.begin(store, _token(store))}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(site), base_url="http://site", cookies=cookies
        ) as client:
            return await client.get("/policy/version?version=2")

    answer = asyncio.run(shown())
    assert answer.status_code == 200
    assert "# ours" in answer.text


def test_figures_are_counted_once_though_a_batch_comes_twice(store: Store, redis: RedisServer) -> None:
    """Of two agents that ship the same, or one that did not hear that it had: the position tells."""
    now = time.time()
    slot = int(now // 10) - 1
    counted = {(10, slot): {"begun": 3, "over": 1}, (300, int(now // 300)): {"begun": 3, "over": 1}}
    old = {(10, slot - 10_000): {"begun": 9}}
    for expected in (True, False):
        done = records.ship(store, "node", "", "1", [], {"a": "[]", "b": "[]"}, 100, tallies={**counted, **old})
        assert done is expected
    with redis.client() as client:
        client.sadd(keys.NODES, "node")
        names = [name for name in client.keys("*") if ":overview:" in name]
        assert len(names) == 2
        assert all(client.ttl(name) > 3 * 3600 - 60 for name in names)
    found = overview.figures(store, 15, now)
    assert found["now"]["concurrent"] == 2
    assert found["now"]["calls"] == 3
    assert found["calls_per_second"][-1] == 0.3
    assert found["concurrent"][-2:] == [0, 2]
    assert overview.figures(store, 1440, now)["now"]["calls"] == 3
