"""Breakers that opened on nodes, in Redis: for the other nodes, and for whoever watches events."""

from __future__ import annotations

import json
import time

from model.open_breaker import AFTER, OpenBreaker
from model.policy import owner
from state import keys
from state.store import _APPEND, Store, _away

# KEYS: 3 trips, 4 events. ARGV: 2 field, 3 trip or empty, 4 now, 5 event or empty, 6 its data, 7 seconds after its end
# for which a trip is kept. One that was told before its node's agent was killed changes nothing.
_TRIP = (
    _APPEND
    + """
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 then return -1 end
local before = redis.call('HGET', KEYS[3], ARGV[2]) or ''
if ARGV[3] ~= '' and ARGV[3] == before then return 0 end
if ARGV[5] ~= '' then
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', 100000, '*', 'kind', ARGV[5], 'at', ARGV[4], 'data', ARGV[6])
end
for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
  local read, trip = pcall(cjson.decode, redis.call('HGET', KEYS[3], field))
  if not read or trip['until'] + ARGV[7] < tonumber(ARGV[4]) then redis.call('HDEL', KEYS[3], field) end
end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
elseif redis.call('HDEL', KEYS[3], ARGV[2]) == 0 then return 0 end
return append('breaker', '', cjson.encode({ARGV[2], ARGV[3]}))
"""
)


def field_of(node: str, gateway: str) -> str:
    """Under which a node's trip stands."""
    return f"{node}/{gateway}"


def opened(store: Store, trip: OpenBreaker, *, shared: bool) -> None:
    """A breaker opened on a node; ``shared``: tell the others. Raises :class:`state.store.StoreError`."""
    data = {"node": trip.node, "gateway": trip.gateway, "until": trip.until, "failures": dict(trip.failures)}
    _tell(store, trip.node, trip.gateway, trip.encode() if shared else "", "breaker.opened", data)


def closed(store: Store, node: str, gateway: str) -> None:
    """A breaker closed on a node. Raises :class:`state.store.StoreError`."""
    _tell(store, node, gateway, "", "breaker.closed", {"node": node, "gateway": gateway})


def _tell(store: Store, node: str, gateway: str, text: str, kind: str, data: dict[str, object]) -> None:
    arguments = (field_of(node, gateway), text, f"{time.time():.3f}", kind, json.dumps(data), AFTER)
    store._script(_TRIP, (keys.BREAKERS, keys.EVENTS), arguments)


def told(store: Store) -> dict[str, OpenBreaker]:
    """All trips, those that are over included, by :func:`field_of`. Raises :class:`state.store.StoreError`."""
    found = {}
    for field, text in store.records(keys.BREAKERS):
        found[field] = OpenBreaker.decode(text)
    return found


def adopted(store: Store, node: str, trip: OpenBreaker) -> None:
    """A node goes by another's breaker. Raises :class:`state.store.StoreError`."""
    with _away():
        store._redis.hset(keys.ADOPTED, field_of(node, trip.gateway), trip.encode())
    _event(store, "breaker.adopted", node, trip)


def dropped(store: Store, node: str, trip: OpenBreaker) -> None:
    """It does so no more. Raises :class:`state.store.StoreError`."""
    with _away():
        store._redis.hdel(keys.ADOPTED, field_of(node, trip.gateway))
    _event(store, "breaker.dropped", node, trip)


def _event(store: Store, kind: str, node: str, trip: OpenBreaker) -> None:
    data = {"node": node, "gateway": trip.gateway, "by": trip.node, "until": trip.until}
    with _away():
        fields = {"kind": kind, "at": f"{time.time():.3f}", "data": json.dumps(data)}
        store._redis.xadd(keys.EVENTS, fields, maxlen=100_000, approximate=True)  # type: ignore[arg-type]


def by_node(store: Store, now: float) -> dict[str, dict[str, OpenBreaker]]:
    """Gateway to node to the trip that holds there at Unix time ``now``: its own, or another's that it goes by.

    Of the addresses of a gateway, that of the one which is open longest.
    """
    found: dict[str, dict[str, OpenBreaker]] = {}
    for table in (keys.ADOPTED, keys.BREAKERS):
        for field, text in store.records(table):
            trip = OpenBreaker.decode(text)
            if trip.over(now):
                continue
            nodes, node = found.setdefault(owner(trip.gateway), {}), field.removesuffix(f"/{trip.gateway}")
            if node not in nodes or nodes[node].until <= trip.until:
                nodes[node] = trip
    return found
