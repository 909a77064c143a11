"""What guards against toll fraud have counted, in Redis: over all nodes, and in the same script as the call records.

What is counted of somebody has a name (:meth:`model.fraud.Guard.field`). Under it are a hash, ``calls:STRETCH`` and so
on for the stretches of the guard's window, and a sorted set of the numbers that were called. A guard that has tripped
is in one hash, in the stream of changes, and so in every node's snapshot.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from model.fraud import STEPS, Guard, Trip, longest_run, parted
from state import keys
from state.store import CHANGES_KEPT, Change, Store, _away

NUMBERS_KEPT = 100_000
"Different numbers that are remembered of one count, the last ones called."
PAST_KEPT = 10_000
"Warnings, blocks and releases that are kept, or a few more."
IDS = 10
"Calls that a trip names, the last ones."
EVENTS_KEPT = 100_000
"As :data:`state.keys.EVENTS_KEPT`."

KEYS = (keys.META, keys.CHANGES, keys.EVENTS, keys.TRIPS, keys.TRIPS_PAST, keys.GUARDED)
"The first keys of a script that has :data:`LUA`."

# A number as Lua writes it would be 1.7953e+12.
LUA = f"""
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function tell(kind, now, data)
  local at, text = string.format('%.3f', now / 1000), cjson.encode(data)
  redis.call('XADD', FRAUD[3], 'MAXLEN', '~', {EVENTS_KEPT}, '*', 'kind', 'fraud.' .. kind, 'at', at, 'data', text)
  redis.call('XADD', FRAUD[5], 'MAXLEN', '~', {PAST_KEPT}, '*', 'kind', kind, 'at', at, 'data', text)
end
local function change(id, text)
  local seq = redis.call('HINCRBY', FRAUD[1], 'seq', 1)
  redis.call('XADD', FRAUD[2], 'MAXLEN', '~', {CHANGES_KEPT}, seq .. '-0', 'op', 'trip', 'field', '',
             'value', cjson.encode({{id, text}}))
  return seq
end
local function release(id, trip, now, counts, numbers, author, reason)
  redis.call('HDEL', FRAUD[4], id)
  redis.call('DEL', counts, numbers)
  redis.call('ZREM', FRAUD[6], id)
  trip['author'], trip['reason'] = author, reason
  tell('release', now, trip)
  return change(id, '')
end
local function over(trip, now)
  return trip['until'] > 0 and trip['until'] * 1000 <= now
end
"""
_COUNT = f"""
-- A run is looked for in the last nine digits, which a double holds.
local function run(numbers, number, most)
  local tail = string.match(number, '%d+$')
  if not tail then return 1 end
  tail = string.sub(tail, -9)
  local head, pattern = string.sub(number, 1, #number - #tail), '%0' .. #tail .. 'd'
  local found = 1
  for _, step in ipairs({{-1, 1}}) do
    local at = tonumber(tail) + step
    while at >= 0 and at < 10 ^ #tail and found < most
      and redis.call('ZSCORE', numbers, head .. string.format(pattern, at)) do
      found, at = found + 1, at + step
    end
  end
  return found
end
local function most(limit) return limit and math.max(limit[1], limit[2]) or 0 end
local function totals(item, counts, numbers, now)
  local oldest = math.floor(now / item.width) - {STEPS}
  -- A guard whose window is another one by now begins anew.
  local width = redis.call('HGET', counts, 'width')
  if width and tonumber(width) ~= item.width then redis.call('DEL', counts) end
  redis.call('HSET', counts, 'width', item.width)
  for _, row in ipairs(item.add) do
    if row[1] >= oldest then
      for place, name in ipairs({{'calls', 'minutes', 'cost'}}) do
        if row[place + 1] ~= 0 then redis.call('HINCRBY', counts, name .. ':' .. row[1], row[place + 1]) end
      end
    end
  end
  local total = {{calls = 0, minutes = 0, cost = 0, destinations = 0, sequential = 0}}
  local all = redis.call('HGETALL', counts)
  for place = 1, #all, 2 do
    local name, stretch = string.match(all[place], '^(%a+):(%d+)$')
    if stretch and tonumber(stretch) < oldest then redis.call('HDEL', counts, all[place])
    elseif stretch then total[name] = total[name] + tonumber(all[place + 1]) end
  end
  if item.limits.destinations or item.limits.sequential then
    for _, row in ipairs(item.numbers) do redis.call('ZADD', numbers, string.format('%.0f', row[2]), row[1]) end
    redis.call('ZREMRANGEBYSCORE', numbers, '-inf', string.format('(%.0f', now - item.within))
    redis.call('ZREMRANGEBYRANK', numbers, 0, -{NUMBERS_KEPT + 1})
    total.destinations = redis.call('ZCARD', numbers)
    local longest = most(item.limits.sequential)
    for _, row in ipairs(item.numbers) do
      if longest > 0 then total.sequential = math.max(total.sequential, run(numbers, row[1], longest)) end
    end
  end
  return total
end
local function last(counts, ids)
  local known = {{}}
  for id in string.gmatch((redis.call('HGET', counts, 'ids') or ''), '%S+') do known[#known + 1] = id end
  for _, id in ipairs(ids) do known[#known + 1] = id end
  while #known > {IDS} do table.remove(known, 1) end
  if #ids > 0 then redis.call('HSET', counts, 'ids', table.concat(known, ' ')) end
  return known
end
local function judge(item, counts, numbers, now, total, ids)
  for _, measure in ipairs({{'calls', 'minutes', 'destinations', 'sequential', 'cost'}}) do
    local limit, count = item.limits[measure], total[measure]
    local found = {{guard = item.guard, prefix = item.prefix, who = item.who, measure = measure, count = count,
                   at = now / 1000, calls = ids}}
    if limit and limit[2] > 0 and count >= limit[2] then
      found.limit, found['until'] = limit[2], item.block_for > 0 and (now + item.block_for) / 1000 or 0
      local text = cjson.encode(found)
      redis.call('HSET', FRAUD[4], item.id, text)
      change(item.id, text)
      tell('block', now, found)
      return
    end
    local warned = tonumber(redis.call('HGET', counts, 'warned ' .. measure) or '0')
    if limit and limit[1] > 0 and count >= limit[1] and now - warned >= item.within then
      redis.call('HSET', counts, 'warned ' .. measure, string.format('%.0f', now))
      found.limit, found['until'] = limit[1], 0
      tell('warn', now, found)
    end
  end
end
local function count(items, first)
  if redis.call('HEXISTS', FRAUD[1], 'generation') == 0 then return end
  local now = milliseconds()
  for place, item in ipairs(items) do
    local counts, numbers = KEYS[first + place * 2 - 2], KEYS[first + place * 2 - 1]
    local open = redis.call('HGET', FRAUD[4], item.id)
    local trip = open and cjson.decode(open)
    if trip and over(trip, now) then
      release(item.id, trip, now, counts, numbers, '', '')
      trip = nil
    end
    local total, ids = totals(item, counts, numbers, now), last(counts, item.ids)
    if not trip then judge(item, counts, numbers, now, total, ids) end
    local gone = now + item.within + 2 * item.width
    redis.call('PEXPIREAT', counts, string.format('%.0f', gone))
    redis.call('PEXPIREAT', numbers, string.format('%.0f', gone))
    redis.call('ZADD', FRAUD[6], string.format('%.0f', gone), item.id)
  end
end
"""
COUNT = LUA + _COUNT
"Lua functions; a script sets ``FRAUD``, the :data:`KEYS`, and calls ``count`` with items and the place of their keys."


@dataclass(slots=True)
class Item:
    """What is to be counted of somebody, by a guard."""

    guard: Guard
    prefix: str
    who: str
    add: dict[int, list[int]] = field(default_factory=dict)
    "Stretch of the window to calls, milliseconds and cost; they may be less than nothing, to mend what was too much."
    numbers: dict[str, int] = field(default_factory=dict)
    "Number that was called to the Unix time in milliseconds."
    ids: list[str] = field(default_factory=list)
    "Of calls."

    @property
    def id(self) -> str:
        """Its name."""
        return self.guard.field(self.prefix, self.who)

    def stretch(self, at: float) -> list[int]:
        """What is counted at Unix time ``at``, to be added to: calls, milliseconds, cost."""
        return self.add.setdefault(int(at * 1000) // _width(self.guard), [0, 0, 0])

    def as_dict(self) -> dict[str, Any]:
        """As the script reads it."""
        return {
            "id": self.id,
            "guard": self.guard.name,
            "prefix": self.prefix,
            "who": self.who,
            "within": self.guard.within * 1000,
            "width": _width(self.guard),
            "block_for": self.guard.block_for * 1000,
            "limits": self.guard.measures,
            "add": [[stretch, *amounts] for stretch, amounts in self.add.items()],
            "numbers": [[number, at] for number, at in self.numbers.items()],
            "ids": self.ids,
        }


def _width(guard: Guard) -> int:
    return guard.within * 1000 // STEPS


@dataclass(frozen=True, slots=True)
class Counted:
    """What is to be counted with a batch of records, and up to when running calls are counted by it."""

    items: tuple[Item, ...]
    until: float
    "Unix time."

    def encode(self) -> str:
        """As the script reads it."""
        return json.dumps([item.as_dict() for item in self.items])

    def keys(self) -> list[str]:
        """Of the script, behind :data:`KEYS`."""
        return [key for item in self.items for key in (keys.fraud_counts(item.id), keys.fraud_numbers(item.id))]


def counted_until(store: Store, node: str) -> float:
    """Unix time up to which a node's running calls are counted; 0 where none ever was."""
    with _away():
        return float(cast("str | None", store._redis.get(keys.fraud_until(node))) or 0)


def trips(store: Store) -> list[Trip]:
    """The guards that refuse somebody's calls, those that time has released not included; the last one first."""
    now = time.time()
    found = [Trip.decode(text) for _, text in store.records(keys.TRIPS)]
    return sorted((trip for trip in found if trip.live(now)), key=lambda trip: -trip.at)


def past(store: Store, limit: int) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """Warnings, blocks and releases, the last one first: kind, Unix time, and the trip."""
    with _away():
        rows: Any = store._redis.xrevrange(keys.TRIPS_PAST, count=limit)
    for _, row in rows:
        data = json.loads(row["data"])
        yield row["kind"], float(row["at"]), {**data, "calls": list(data["calls"] or ())}


# KEYS: KEYS, counts, numbers, audit
_RELEASE = f"""
local FRAUD = KEYS
{LUA}
local now, open = milliseconds(), redis.call('HGET', KEYS[4], ARGV[1])
if not open then return 0 end
local seq = release(ARGV[1], cjson.decode(open), now, KEYS[{len(KEYS) + 1}], KEYS[{len(KEYS) + 2}], ARGV[2], ARGV[3])
redis.call('XADD', KEYS[{len(KEYS) + 3}], 'MAXLEN', '~', {keys.AUDIT_KEPT}, '*', 'seq', seq, 'who', ARGV[4],
           'what', 'trip', 'subject', ARGV[1], 'before', open, 'after', '')
return seq
"""
_RELEASE_OVER = f"""
local FRAUD = KEYS
{LUA}
local now, done = milliseconds(), 0
for place, id in ipairs(ARGV) do
  local open = redis.call('HGET', KEYS[4], id)
  local trip = open and cjson.decode(open)
  if trip and over(trip, now) then
    release(id, trip, now, KEYS[{len(KEYS) - 1} + place * 2], KEYS[{len(KEYS)} + place * 2], '', '')
    done = done + 1
  end
end
return done
"""


def release(store: Store, trip: Trip, author: str, reason: str) -> Change | None:
    """Let calls pass again, and count from nothing; None where they are not refused any more."""
    names = (*KEYS, keys.fraud_counts(trip.field), keys.fraud_numbers(trip.field), keys.AUDIT)
    script: Any = store._redis.register_script(_RELEASE)
    with _away():
        seq = int(script(keys=names, args=(trip.field, author, reason, store.who)))
    return Change(seq=seq, op="trip") if seq else None


def release_over(store: Store, now: float) -> int:
    """Release whatever time has, at Unix time ``now``; returns how many."""
    with _away():
        found = cast("dict[str, str]", store._redis.hgetall(keys.TRIPS))
        done = [name for name, text in found.items() if not Trip.decode(text).live(now)]
        if not done:
            return 0
        names = [key for name in done for key in (keys.fraud_counts(name), keys.fraud_numbers(name))]
        script: Any = store._redis.register_script(_RELEASE_OVER)
        return int(script(keys=[*KEYS, *names], args=done))


@dataclass(frozen=True, slots=True)
class Use:
    """What a guard has counted of somebody within its window."""

    guard: Guard
    prefix: str
    who: str
    totals: Mapping[str, int]
    "By measure, in the units of :class:`model.fraud.Threshold`."

    @property
    def nearest(self) -> float:
        """The largest part of a threshold that is reached: of the one that blocks, or else of the one that warns."""
        return max(
            self.totals[measure] / (limit.block or limit.warn) for measure, limit in self.guard.measures.items()
        )  # fmt: skip


def usage(store: Store, guards: Iterable[Guard], names: Iterable[str] | None = None) -> list[Use]:
    """What guards have counted, of everybody or under these names; whoever is nearest to being refused comes first."""
    by_name, now = {guard.name: guard for guard in guards}, time.time()
    if names is None:
        with _away():
            names = cast("list[str]", store._redis.zrangebyscore(keys.GUARDED, now * 1000, "+inf"))
    found = [(by_name[guard], prefix, who) for guard, prefix, who in map(parted, names) if guard in by_name]
    with _away():
        pipe = store._redis.pipeline(transaction=False)
        for guard, prefix, who in found:
            name = guard.field(prefix, who)
            pipe.hgetall(keys.fraud_counts(name))
            pipe.zrangebyscore(keys.fraud_numbers(name), (now - guard.within) * 1000, "+inf")
        answers = pipe.execute()
    uses = [
        Use(*key, _totals(key[0], counts, numbers, now))
        for key, counts, numbers in zip(found, answers[::2], answers[1::2], strict=True)
    ]
    return sorted(uses, key=lambda use: -use.nearest)


def _totals(guard: Guard, counts: Mapping[str, str], numbers: list[str], now: float) -> dict[str, int]:
    oldest, totals = int(now * 1000) // _width(guard) - STEPS, Counter[str]()
    for name, count in counts.items():
        measure, _, stretch = name.partition(":")
        if stretch and int(stretch) >= oldest:
            totals[measure] += int(count)
    totals["destinations"], totals["sequential"] = len(numbers), longest_run(numbers)
    return {measure: totals[measure] for measure in guard.measures}
