"""The address of a Redis that is found by its sentinels."""

from __future__ import annotations

import pytest

from state.clients import connect
from state.sentinels import Sentinels
from state.store import Store, StoreError
from state.wire import Target

TWO = (("one.example", 26379), ("2001:db8::2", 26380))


def test_all_of_an_address() -> None:
    url = "redis-sentinel://me:p%2Fw@one.example,[2001:db8::2]:26380/3?master=strowger&sentinel_auth=yes"
    found = Sentinels.parse(url)
    assert found == Sentinels(TWO, "strowger", 3, "me", "p/w", ask_as=True)
    assert found.login == {"username": "me", "password": "p/w"}
    assert "p/w" not in repr(found)
    assert str(found) == "redis-sentinel://one.example:26379,[2001:db8::2]:26380"


def test_the_least_of_an_address() -> None:
    found = Sentinels.parse("redis-sentinel://one.example")
    assert found == Sentinels((("one.example", 26379),), "mymaster", 0, "", "", ask_as=False)
    assert found.login == {}


@pytest.mark.parametrize("url", ["redis://one.example:6379/0", "rediss://one.example", "unix:///run/redis.sock"])
def test_a_redis_itself_has_none(url: str) -> None:
    assert Sentinels.parse(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "redis-sentinel://",
        "redis-sentinel://one.example,,two.example",
        "redis-sentinel://one.example:many",
        "redis-sentinel://one.example/strowger",
        "redis-sentinel://one.example/0?service=strowger",
        "redis-sentinel://one.example/0?sentinel_auth=maybe",
        "redis-sentinel://one.example/0#strowger",
        # Part of a password that is not encoded.
        "redis-sentinel://:secret/word@one.example/0",
    ],
)
def test_what_is_no_address_is_refused_and_not_repeated(url: str) -> None:
    for client in (Store, connect):
        with pytest.raises(StoreError, match="redis-sentinel://HOST:PORT") as refused:
            client(url)
        assert "secret" not in str(refused.value)


def test_workers_ask_sentinels_too() -> None:
    target = Target.parse("redis-sentinel://:word@one.example/2?master=strowger")
    assert (target.host, target.database, target.password) == ("", 2, "word")
    assert target.sentinels == Sentinels((("one.example", 26379),), "strowger", 2, "", "word")
