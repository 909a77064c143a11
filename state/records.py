"""Call records in Redis: a stream of those of all nodes, and how far each node's spool has come into it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from model.overview import BySlot as Tallies
from model.quality import BySlot
from model.record import CallRecord
from state import fraud, keys, overview, quality, recordings
from state.store import Store, _away

# Records read at a time.
PAGE = 500

# KEYS: 1 records, 2 spool of the node, 3 time up to which running calls are counted, then those of the guards, the
# number of the last record, the events, two of each item that guards count, and of figures from ARGV[8] on.
# The position must be what the agent takes it for: so a batch whose answer was lost is not shipped twice, nor by two
# agents of one node.
_SHIP = f"""
local FRAUD = {{unpack(KEYS, 4, {3 + len(fraud.KEYS)})}}
{fraud.COUNT}
if (redis.call('HGET', KEYS[2], 'position') or '') ~= ARGV[1] then return 0 end
local at, records, figures, first = 10, tonumber(ARGV[4]), tonumber(ARGV[7]), tonumber(ARGV[8])
for _ = 1, records do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'record', ARGV[at],
             'n', redis.call('INCR', KEYS[{len(fraud.KEYS) + 4}]))
  at = at + 1
end
for _ = 1, tonumber(ARGV[9]) do
  redis.call('XADD', KEYS[{len(fraud.KEYS) + 5}], 'MAXLEN', '~', {keys.EVENTS_KEPT}, '*', 'kind', ARGV[at],
             'at', ARGV[at + 1], 'data', ARGV[at + 2])
  at = at + 3
end
for _ = 1, figures do
  redis.call('HINCRBY', KEYS[tonumber(ARGV[at])], ARGV[at + 1], ARGV[at + 2])
  at = at + 3
end
for index = first, #KEYS do
  redis.call('EXPIRE', KEYS[index], ARGV[at])
  at = at + 1
end
while ARGV[at] do
  if ARGV[at + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[at])
  else redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1]) end
  at = at + 2
end
redis.call('HSET', KEYS[2], 'position', ARGV[2])
if ARGV[5] ~= '' then
  count(cjson.decode(ARGV[5]), {6 + len(fraud.KEYS)})
  redis.call('SET', KEYS[3], ARGV[6])
end
return 1
"""


def ship(
    store: Store, node: str, before: str, after: str, records: list[CallRecord], calls: Mapping[str, str], keep: int,
    guarded: fraud.Counted | None = None, figures: BySlot | None = None, told: Sequence[tuple[str, float, str]] = (),
    tallies: Tallies | None = None,
) -> bool:  # fmt: skip
    """Move a node's position in its spool from ``before`` to ``after``, and add what lies between, all or nothing.

    ``calls`` are those that changed: id to events, empty for one that is over. The stream keeps about ``keep`` records.
    ``guarded`` is what guards against fraud count of that; ``figures`` of gateways and ``tallies`` of all calls are
    added to what all nodes counted. ``told`` goes into the stream of events, as it is: kind, Unix time, data as JSON.
    False, and nothing happens, where the position is not ``before``. Raises :class:`StoreError`.
    """
    pairs = [word for pair in calls.items() for word in pair]
    names = [keys.RECORDS, keys.spool(node), keys.fraud_until(node), *fraud.KEYS, keys.RECORDS_COUNT, keys.EVENTS]
    names += guarded.keys() if guarded is not None else []
    first = len(names) + 1
    now = time.time()
    slots, added = quality.increments(figures or {}, first=first, now=now)
    more, expiries, tallied = overview.increments(tallies or {}, first=first + len(slots), now=now)
    expiries, added = [quality.KEPT] * len(slots) + expiries, added + tallied
    count = (guarded.encode(), guarded.until) if guarded is not None else ("", 0)
    arguments = [
        before, after, keep, len(records), *count, len(added) // 3, first, len(told),
        *(record.encode() for record in records), *(word for event in told for word in event), *added, *expiries,
        *pairs,
    ]  # fmt: skip
    script: Any = store._redis.register_script(_SHIP)
    with _away():
        return bool(script(keys=[*names, *slots, *more], args=arguments))


def shipped(store: Store, node: str) -> tuple[str, dict[str, str]]:
    """A node's position in its spool, empty where there is none, and its calls that are not over: id to events."""
    with _away():
        calls = cast("dict[str, str]", store._redis.hgetall(keys.spool(node)))
    return calls.pop("position", ""), calls


def newest(store: Store, containing: str = "", before: str = "") -> Iterator[tuple[str, CallRecord]]:
    """Records and their ids in the stream, the one that was shipped last first; those with a text somewhere in them.

    With ``before``, those that were shipped before the record with this id.
    """
    wanted = json.dumps(containing)[1:-1]
    end = f"({before}" if before else "+"
    while True:
        with _away():
            page: Any = store._redis.xrevrange(keys.RECORDS, max=end, count=PAGE)
        yield from _decoded(page, wanted)
        if len(page) < PAGE:
            return
        end = f"({page[-1][0]}"


def oldest(store: Store, since: float = 0.0) -> Iterator[CallRecord]:
    """The records shipped at or after Unix time ``since`` by the clock of Redis, in that order."""
    begin = f"{max(0, int(since * 1000))}-0"
    while True:
        with _away():
            page: Any = store._redis.xrange(keys.RECORDS, min=begin, count=PAGE)
        yield from (record for _, record in _decoded(page))
        if len(page) < PAGE:
            return
        begin = f"({page[-1][0]}"


# Whole nodes of the stream are not enough: what is to be gone by a time is.
_FORGET = """
local time = redis.call('TIME')
local before = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) - ARGV[1])
return redis.call('XTRIM', KEYS[1], 'MINID', '=', before)
"""


def with_media(store: Store, records: list[CallRecord]) -> list[CallRecord]:
    """The records, with what their calls left in voicemail and recorded as far as that is known."""
    wanted = [record.call for record in records if record.app]
    if not wanted:
        return records
    with _away():
        messages = cast("list[str | None]", store._redis.mget(map(keys.record_message, wanted)))
    left = dict(zip(wanted, zip(messages, recordings.noted(store, wanted), strict=True), strict=True))

    def whole(record: CallRecord) -> CallRecord:
        message, names = left.get(record.call, (None, ()))
        return replace(record, message=message or "", recordings=names) if message or names else record

    return [whole(record) for record in records]


def forget(store: Store, days: int) -> int:
    """Remove the records that were shipped more than so many days ago; returns how many."""
    script: Any = store._redis.register_script(_FORGET)
    with _away():
        return int(script(keys=[keys.RECORDS], args=(days * 86_400_000,)))


def count(store: Store) -> int:
    """How many records there are."""
    with _away():
        return int(cast("int", store._redis.xlen(keys.RECORDS)))


def following(store: Store, after: str, block: float) -> list[tuple[str, CallRecord]]:
    """The records behind an id of the stream, with theirs, waiting at most ``block`` seconds for the first."""
    with _away():
        answer: Any = store._redis.xread({keys.RECORDS: after}, count=PAGE, block=max(1, int(block * 1000)))
    return list(_decoded(answer[0][1] if answer else []))


def _decoded(page: list[tuple[str, dict[str, str]]], wanted: str = "") -> Iterator[tuple[str, CallRecord]]:
    # A text is looked for before a record is decoded, which costs much more.
    found = ((stream_id, item["record"]) for stream_id, item in page)
    return ((stream_id, CallRecord.decode(text)) for stream_id, text in found if wanted in text)
