"""Peer: our own routing, that asks Redis for each call with redis-py and waits; loaded through kamailio.cfg.

The fair way: one connection for each worker, kept; one pipeline for each call with everything that the decision may
look up. The policy itself and the lengths in use are read once, as they would be configuration.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import redis

from kemi import policy, routing
from kemi.view import Get, View
from model.call import CallFacts
from model.entries import Kind, pair_value
from model.numbers import normalise
from state import keys, layout

_decide = policy.decide


@cache
def _connection(_pid: int) -> redis.Redis:
    # Workers are forks: each has its own.
    return redis.Redis.from_url(os.environ["BENCH_REDIS_URL"], socket_timeout=2.0, decode_responses=False)


@cache
def _configuration(_pid: int) -> dict[bytes, bytes]:
    with _snapshot_of_node.read() as get:
        named = {layout.NAMED + name: get(layout.NAMED + name) for name in (b"main", b"detour")}
        records = {key: get(key) for key in (layout.POLICY, layout.INDEX)}
    return {key: value for key, value in (records | named).items() if value is not None}


def _asked(facts: CallFacts, get: Get) -> tuple[list[str], list[str]]:
    """The entries and the prefixes that the call may meet."""
    view = View(get)
    trunk = view.trunk(facts.source)
    assert trunk is not None
    caller, callee = normalise(facts.caller, trunk.dialling), normalise(facts.callee, trunk.dialling)
    index = view._index
    entries = [f"{Kind.CALLER}:{caller}", f"{Kind.CALLEE}:{callee}", f"{Kind.PAIR}:{pair_value(caller, callee)}"]
    entries += [f"{Kind.CALLER_PREFIX}:{caller[:length]}" for length in index.callers if length <= len(caller)]
    entries += [f"{Kind.CALLEE_PREFIX}:{callee[:length]}" for length in index.callees if length <= len(callee)]
    if index.sources:
        entries.append(f"{Kind.SOURCE}:{facts.source.rpartition('.')[0]}.0/24")
    prefixes = [callee[:length] for length in index.routes if length <= len(callee)]
    return entries, prefixes


def decide(facts: CallFacts, view: View, live: policy.Live, now: float, *, ask: bool = False) -> policy.Decision:
    """The decision, over what Redis answers."""
    records = dict(_configuration(os.getpid()))
    entries, prefixes = _asked(facts, records.get)
    with _connection(os.getpid()).pipeline(transaction=False) as pipeline:
        pipeline.hmget(keys.ENTRIES, entries)
        pipeline.hmget(keys.PREFIXES, prefixes)
        found_entries, found_prefixes = pipeline.execute()
    for name, value in zip(entries, found_entries, strict=True):
        if value is not None:
            records[layout.ENTRY + name.encode()] = value
    for prefix, route in zip(prefixes, found_prefixes, strict=True):
        if route is not None:
            records[layout.route_key(prefix)] = layout.REFERENCE + route
    return _decide(facts, View(records.get), live, now, ask=ask)


class _NoSnapshot:
    """Stands for a transaction too."""

    opened = 0

    def begin(self) -> _NoSnapshot:
        return self

    def id(self) -> int:
        return 1

    def get(self, key: bytes) -> bytes | None:
        return _configuration(os.getpid()).get(key)

    def abort(self) -> None:
        pass


def mod_init() -> Any:
    """The object whose methods Kamailio calls."""
    return routing.Handler()


_snapshot_of_node = routing._snapshot
routing._snapshot = _NoSnapshot()  # type: ignore[assignment]
policy.decide = decide
