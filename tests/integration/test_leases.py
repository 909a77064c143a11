"""Leases in a real Redis: what the script takes, and what the small client does when Redis is not well."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.redis_server import RedisServer, redis_server
from harness.shared_memory import Tables

from kemi.leasing import ANSWERED, ENDED, HELD, LEASES, OWED, REDIS
from kemi.plan import Attempt, Limit, Plan
from model.policy import RetryRule
from state import keys, limits, wire
from state.limit_use import usage
from state.limits import Answer, Full
from state.store import Store
from state.wire import LateError, Link, LinkError, ReplyError, Target, packed

TEN = Limit("trunk:ten", 10, 0, "closed")


@pytest.fixture(scope="module")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), password="s3cret") as server:
        yield server


@pytest.fixture
def redis(_redis: RedisServer) -> Iterator[RedisServer]:
    """A Redis that holds nothing."""
    with _redis.client() as client:
        client.flushall()
    yield _redis
    for _, _, shared in wire._shared.values():
        shared.close()
    wire._shared.clear()


@pytest.fixture
def link(redis: RedisServer) -> Iterator[Link]:
    """A connection to it."""
    link = Link(Target.parse(redis.url))
    yield link
    link.close()


def take(link: Link, call: str, base: list[Limit], *groups: list[Limit]) -> Answer:
    """Ask for leases as a worker does."""
    first, second = limits.request(base, groups or [[]], whole=True)
    request = (first, limits.refusals(int(time.time()) // 60), second, wire.bulk(f"n/{call}"))
    (reply,) = link.lines(b"".join(request), 1, 5)
    return limits.taken(reply, base, groups or [[]])


class TestScript:
    def test_takes_up_to_the_limit_and_no_more(self, link: Link) -> None:
        answers = [take(link, str(call), [TEN]) for call in range(12)]
        assert answers[:10] == [Answer(0, (), False)] * 10
        assert answers[10:] == [Answer(None, (Full("trunk:ten", "calls"),), True)] * 2

    def test_a_call_that_has_a_lease_needs_no_other(self, link: Link) -> None:
        one = Limit("trunk:one", 1, 0, "closed")
        assert [take(link, "1", [one]).chosen, take(link, "1", [one]).chosen] == [0, 0]
        assert link.lines(b"".join(limits.release("n/1", ["trunk:one"])), 1, 5) == [b":1"]
        assert take(link, "2", [one]).chosen == 0

    def test_groups_that_are_full_are_passed_over(self, link: Link) -> None:
        one, two = Limit("gateway:one", 1, 0, "closed"), Limit("gateway:two", 1, 0, "closed")
        assert take(link, "1", [TEN], [one], [two]).chosen == 0
        assert take(link, "2", [TEN], [one], [two]) == Answer(1, (Full("gateway:one", "calls"),), False)
        full = (Full("gateway:one", "calls"), Full("gateway:two", "calls"))
        assert take(link, "3", [TEN], [one], [two]) == Answer(None, full, False)
        assert take(link, "4", [TEN], [one], [two], []) == Answer(2, full, False)

    def test_what_is_refused_takes_nothing(self, redis: RedisServer, link: Link) -> None:
        one = Limit("route:one", 1, 0, "closed")
        take(link, "1", [one])
        take(link, "2", [TEN, one], [Limit("gateway:g", 5, 5, "closed")])
        found = usage(Store(redis.url), ["trunk:ten", "gateway:g", "route:one"])
        assert [use.calls for use in found.values()] == [0, 0, 1]
        assert [use.refused for use in found.values()] == [0, 0, 1]
        assert found["gateway:g"].begun == 0

    def test_calls_a_second_are_counted_over_any_second(self, redis: RedisServer, link: Link) -> None:
        three = Limit("trunk:rate", 0, 3, "closed")
        began, taken = time.monotonic(), []
        while time.monotonic() - began < 3.3:
            if take(link, str(len(taken)), [three]).chosen is not None:
                taken.append(time.monotonic() - began)
            time.sleep(0.01)
        # A little less than a window, as the two clocks are not read at once.
        assert all(later - earlier > 1.0 for earlier, later in zip(taken, taken[3:], strict=False))
        assert len(taken) >= 9
        assert usage(Store(redis.url), ["trunk:rate"])["trunk:rate"].nodes == {"n": len(taken)}

    def test_leases_end_by_themselves(self, redis: RedisServer, link: Link) -> None:
        one = Limit("trunk:one", 1, 0, "closed")
        with redis.client() as client:
            client.zadd(keys.limit_leases("trunk:one"), {"dead/1": (time.time() - 1) * 1000})
        assert take(link, "1", [one]).chosen == 0


class TestLink:
    def test_waits_no_longer_than_it_may(self, redis: RedisServer, link: Link) -> None:
        link.ask([packed("PING")], 5)
        with redis.hanging():
            began = time.monotonic()
            with pytest.raises(LateError):
                link.ask([packed("PING")], 0.05)
            assert time.monotonic() - began < 5
        # The late answer is not taken for this one's.
        assert link.ask([packed("ECHO", "x")], 5) == ["x"]

    def test_lines_are_waited_for_no_longer_and_not_mistaken(self, redis: RedisServer, link: Link) -> None:
        ping = packed("PING")
        assert link.lines(ping + ping, 2, 5) == [b"+PONG", b"+PONG"]
        with redis.hanging():
            began = time.monotonic()
            with pytest.raises(LateError):
                link.lines(packed("INCR", "late"), 1, 0.05)
            assert 0.04 < time.monotonic() - began < 5
        assert link.lines(ping, 1, 5) == [b"+PONG"]
        with redis.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert link.lines(ping, 1, 5) == [b"+PONG"]

    def test_a_connection_that_was_closed_is_made_anew(self, redis: RedisServer, link: Link) -> None:
        link.ask([packed("PING")], 5)
        with redis.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)
        assert link.ask([packed("PING")], 5) == ["PONG"]

    def test_another_run_is_another_redis(self, tmp_path: Path) -> None:
        with redis_server(tmp_path) as server:
            link = Link(Target.parse(server.url))
            link.ask([packed("PING")], 5)
            link.close()
            bound = Link(Target("127.0.0.1", server.port, run=link.run))
            bound.ask([packed("PING")], 5)
            server.stop()
            with pytest.raises(LinkError):
                bound.ask([packed("PING")], 5)
            server.start()
            with pytest.raises(LinkError, match="restarted"):
                bound.ask([packed("PING")], 5)

    def test_errors_are_replies(self, link: Link) -> None:
        (reply,) = link.ask([packed("NONSENSE")], 5)
        assert isinstance(reply, ReplyError)

    def test_a_wrong_password_is_told(self, redis: RedisServer) -> None:
        with pytest.raises(LinkError, match="WRONGPASS"):
            Link(Target("127.0.0.1", redis.port, password="wrong")).ask([packed("PING")], 5)


def plan(calls: int) -> Plan:
    """A plan under one limit."""
    attempt = Attempt("a", "sip:1@192.0.2.1", RetryRule(), 1.0, 1.0)
    own = (Limit("trunk:lab", calls, 0, "closed"),)
    return Plan("r", 1, (attempt,), RetryRule(), 0.0, 1.0, limits=own)


class TestLeasing:
    def test_a_redis_counts_once_it_has_settled(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        tables = Tables()
        leasing = tables.leasing(redis.url, "n")
        leasing.tick(time.time())
        assert tables.sht_get(REDIS, "redis") is None
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        leasing.tick(time.time())
        assert tables.sht_get(REDIS, "redis") is not None

    def test_a_redis_is_found_at_any_address_of_its_name(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where the name has an IPv6 address, too, at which it does not listen."""
        tables, found = Tables(), socket.getaddrinfo("127.0.0.1", redis.port, type=socket.SOCK_STREAM)
        elsewhere = socket.getaddrinfo("127.0.0.99", redis.port, type=socket.SOCK_STREAM)
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*elsewhere, *found])
        leasing = tables.leasing(redis.url, "n")
        for _ in range(2):
            leasing.tick(time.time())
            assert str(tables.sht_get(REDIS, "redis")).endswith(f" 127.0.0.1 {redis.port}")

    def test_leases_are_brought_to_a_redis_that_lost_them(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        monkeypatch.setattr(limits, "RENEW_EVERY", 0.0)
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 5.0)
        tables, store = Tables(), Store(redis.url)
        leasing = tables.leasing(redis.url, "n")
        leasing.tick(time.time())
        for call in "12":
            assert leasing.admit(call, plan(2), [0], time.time()).plan is not None
        refused = leasing.admit("3", plan(2), [0], time.time()).refusal
        assert refused is not None
        assert refused.id == "trunk-calls-limit"
        assert usage(store, ["trunk:lab"])["trunk:lab"].nodes == {"n": 2}
        with redis.client() as client:
            client.flushall()
        leasing.tick(time.time())
        assert usage(store, ["trunk:lab"])["trunk:lab"].nodes == {"n": 2}
        for call in "12":
            leasing.release(call)
        leasing.tick(time.time())
        assert usage(store, ["trunk:lab"])["trunk:lab"].nodes == {}
        assert (tables.rows[LEASES], tables.rows[HELD]) == ({}, {"trunk:lab": 0})

    def test_calls_that_are_noted_as_over_make_room_for_the_next(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 5.0)
        tables, store = Tables(), Store(redis.url)
        leasing = tables.leasing(redis.url, "n")
        leasing.tick(time.time())
        for call in "12":
            assert leasing.admit(call, plan(2), [0], time.time(), fresh=True).plan is not None
        tables.sht_seti(ENDED, "1", 1)
        assert leasing.admit("3", plan(2), [0], time.time(), fresh=True).plan is not None
        assert usage(store, ["trunk:lab"])["trunk:lab"].refused == 0
        assert leasing.admit("4", plan(2), [0], time.time(), fresh=True).plan is None
        assert usage(store, ["trunk:lab"])["trunk:lab"].refused == 1
        assert (set(tables.rows[LEASES]), tables.rows[ENDED], tables.rows[HELD]) == ({"2", "3"}, {}, {"trunk:lab": 2})
        # Where no call comes, it is the timer.
        for call in "23":
            tables.sht_seti(ENDED, call, 1)
        leasing.release_ended()
        assert usage(store, ["trunk:lab"])["trunk:lab"].nodes == {}
        assert (tables.rows[LEASES], tables.rows[ENDED], tables.rows[HELD]) == ({}, {}, {"trunk:lab": 0})

    def test_the_timer_tells_of_calls_that_are_over(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 5.0)
        tables, store = Tables(), Store(redis.url)
        leasing = tables.leasing(redis.url, "n")
        leasing.tick(time.time())
        for call in "123":
            leasing.admit(call, plan(3), [0], time.time(), fresh=True)
        for call in "12":
            tables.sht_seti(ANSWERED, call, 1)
        for call in "13":
            tables.sht_seti(ENDED, call, 1)
        leasing.tick(time.time())
        assert usage(store, ["trunk:lab"])["trunk:lab"].nodes == {"n": 1}
        assert (set(tables.rows[LEASES]), set(tables.rows[ANSWERED]), tables.rows[ENDED]) == ({"2"}, {"2"}, {})

    def test_a_refusal_counts_in_its_own_minute(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Also where the same was asked for a minute before."""
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 5.0)
        tables = Tables()
        leasing = tables.leasing(redis.url, "n")
        leasing.tick(time.time())
        now = time.time()
        for call, later in enumerate((0, 0, 60, 60, 60)):
            leasing.admit(str(call), plan(1), [0], now + later, fresh=True)
        with redis.client() as client:
            minutes = [client.hgetall(keys.limit_refusals(int(now + later) // 60)) for later in (0, 60)]
        assert [list(map(int, minute.values())) for minute in minutes] == [[1], [3]]

    def test_a_redis_that_is_slow_for_long_leaves_no_long_request(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        tables = Tables()
        leasing = tables.leasing(redis.url, "n", log=lambda _: None)
        leasing.tick(time.time())
        known = tables.sht_get(REDIS, "redis")
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 0.001)
        with redis.hanging():
            for call in range(3 * OWED):
                # As the timer says once a second, for which the answer came in time.
                tables.sht_sets(REDIS, "redis", known)
                assert leasing.admit(str(call), plan(2), [0], time.time(), fresh=True).plan is None
        assert len(leasing._owed) == OWED
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 5.0)
        tables.sht_sets(REDIS, "redis", known)
        assert leasing.admit("x", plan(2), [0], time.time(), fresh=True).plan is not None
        assert leasing._owed == []

    def test_a_lease_that_ends_while_it_is_renewed_is_taken_back(
        self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(limits, "SETTLING", 0.0)
        monkeypatch.setattr("kemi.leasing.TIMEOUT", 5.0)
        tables = Tables()
        leasing = tables.leasing(redis.url, "n")
        leasing.tick(time.time())
        leasing.admit("1", plan(2), [0], time.time())

        def rows(table: str) -> Iterator[tuple[str, str]]:
            found = list(tables.iterate(table))
            # Between the look and the renewal.
            leasing.release("1")
            return iter(found)

        monkeypatch.setattr(limits, "RENEW_EVERY", 0.0)
        monkeypatch.setattr(leasing, "_rows", rows)
        leasing.tick(time.time())
        assert usage(Store(redis.url), ["trunk:lab"])["trunk:lab"].nodes == {}
