"""Leases of limits in Redis: their scripts, as a SIP worker sends them, and what they answer; pure.

A lease says that a call counts under a limit. It is a member of the limit's sorted set, by the time at which it ends
unless it is renewed. All times are those of Redis. Beside it stands a list of when the last calls began.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

from state import keys
from state.wire import bulk, packed

LEASE = 15.0
"Seconds after which a lease ends that nobody renews."
RENEW_EVERY = 4.0
"Seconds between two renewals."
SETTLING = 3.0
"Seconds from when a Redis is first seen until it counts: all nodes have brought it their leases by then."
NODE_TTL = 6.0
"Seconds after which a node that does not report counts as gone."
WINDOW = 1.05
"Seconds in which calls are counted: a second, and what a call may take less than another on its way from here."
MINUTES = 10
"For so long refusals are counted."


class Wanted(Protocol):
    """A limit under which a call is to count."""

    @property
    def name(self) -> str:
        """``trunk:office``."""

    @property
    def calls(self) -> int:
        """At once; 0: no limit of this kind. So is that of the other."""

    @property
    def per_second(self) -> int:
        """Begun within a second."""


class Full(NamedTuple):
    """A limit that has no room."""

    name: str
    kind: str
    "``calls`` or ``rate``."


class Answer(NamedTuple):
    """What came of asking for leases."""

    chosen: int | None
    "Index of the group that was taken, with all of the base; None: nothing was."
    full: tuple[Full, ...]
    "The one of the base that has no room, or one for each group that was passed over."
    refused: bool
    "Whether it was the base."


# ARGV: milliseconds of a lease, microseconds of the window, number of groups; for each limit its group (0: the base),
# calls and calls a second; member. KEYS: a hash of refusals, and leases and beginnings of each limit.
# Answers the group that was taken, 0 where the base is full, -1 where all groups are; then pairs of limit and kind.
# All in one line, which costs the worker that waits for it the least.
TAKE = """
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local now = string.format('%.0f', us / 1000)
local count, member = (#KEYS - 1) / 2, ARGV[#ARGV]
local function full(i)
  local calls, rate = tonumber(ARGV[3 * i + 2]), tonumber(ARGV[3 * i + 3])
  local leases = KEYS[2 * i]
  if calls > 0 and redis.call('ZCARD', leases) >= calls and not redis.call('ZSCORE', leases, member) then
    redis.call('ZREMRANGEBYSCORE', leases, '-inf', now)
    if redis.call('ZCARD', leases) >= calls then return 1 end
  end
  if rate > 0 then
    local last = redis.call('LINDEX', KEYS[2 * i + 1], rate - 1)
    if last and us - last < tonumber(ARGV[2]) then return 2 end
  end
end
local function take(i)
  local leases, rate = KEYS[2 * i], tonumber(ARGV[3 * i + 3])
  redis.call('ZADD', leases, string.format('%.0f', us / 1000 + ARGV[1]), member)
  redis.call('PEXPIRE', leases, ARGV[1])
  if rate > 0 then
    redis.call('LPUSH', KEYS[2 * i + 1], string.format('%.0f', us))
    redis.call('LTRIM', KEYS[2 * i + 1], 0, rate - 1)
    redis.call('PEXPIRE', KEYS[2 * i + 1], 2000)
  end
end
local answer, i, base = {-1}, 1, 0
for group = 0, tonumber(ARGV[3]) do
  local from, found = i, nil
  while i <= count and tonumber(ARGV[3 * i + 1]) == group do
    found = found or full(i)
    if found and found > 0 then
      answer[#answer + 1], answer[#answer + 2] = i, found
      redis.call('HINCRBY', KEYS[1], KEYS[2 * i], 1)
      redis.call('EXPIRE', KEYS[1], 660)
      found = 0
    end
    i = i + 1
  end
  if group == 0 then
    base = i - 1
    if found then answer[1] = 0 break end
  elseif not found then
    for k = 1, base do take(k) end
    for k = from, i - 1 do take(k) end
    answer[1] = group
    break
  end
end
return {ok = table.concat(answer, ' ')}
"""
TAKE_SHA = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()

# ARGV: node, run_id, milliseconds after which a silent node is gone, milliseconds of a lease, then leases of the node:
# member and key's index. KEYS: what is known of the Redis, nodes, leases of each limit that the node has calls under.
# Answers for how many milliseconds this Redis is known, and how many nodes there are.
REPORT = """
local t = redis.call('TIME')
local now = math.floor(t[1] * 1000 + t[2] / 1000)
local function ms(number) return string.format('%.0f', number) end
for i = 5, #ARGV, 2 do
  local leases = KEYS[2 + ARGV[i + 1]]
  redis.call('ZADD', leases, ms(now + ARGV[4]), ARGV[i])
end
for i = 3, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[4]) end
if redis.call('HGET', KEYS[1], 'run') ~= ARGV[2] then
  redis.call('HSET', KEYS[1], 'run', ARGV[2], 'since', ms(now))
end
redis.call('ZADD', KEYS[2], ms(now + ARGV[3]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ms(now))
return {now - redis.call('HGET', KEYS[1], 'since'), redis.call('ZCARD', KEYS[2])}
"""

_KINDS = {1: "calls", 2: "rate"}


def request(
    base: Sequence[Wanted], groups: Sequence[Sequence[Wanted]], *, whole: bool = False
) -> tuple[bytes, bytes]:  # fmt: skip
    """The request for leases of all of ``base`` and of the first of ``groups`` that has room, or of nothing.

    Between its parts the minute is to be written (:func:`refusals`), and behind them the member that is to have them
    (:func:`state.wire.bulk`). ``whole``: with the script's text, for a Redis that does not know it.
    """
    limits = [(0, limit) for limit in base]
    limits += [(number, limit) for number, group in enumerate(groups, 1) for limit in group]
    names = [name for _, limit in limits for name in (keys.limit_leases(limit.name), keys.limit_starts(limit.name))]
    words = [word for group, limit in limits for word in (group, limit.calls, limit.per_second)]
    script = ("EVAL", TAKE) if whole else ("EVALSHA", TAKE_SHA)
    first = (*script, len(names) + 1)
    second = (*names, int(LEASE * 1000), int(WINDOW * 1_000_000), len(groups), *words)
    # And the two that are written later.
    count = len(first) + len(second) + 2
    before, between = (b"".join([bulk(str(word)) for word in part]) for part in (first, second))
    return b"*%d\r\n%b" % (count, before), between


def refusals(minute: int) -> bytes:
    """What :func:`request` says of a minute: where it counts refusals. Unix time in minutes."""
    return bulk(keys.limit_refusals(minute))


def taken(reply: bytes, base: Sequence[Wanted], groups: Sequence[Sequence[Wanted]]) -> Answer:
    """What the line says that answers :func:`request`. Raises ValueError where it is none."""
    if not reply.startswith(b"+"):
        raise ValueError(reply.decode("utf-8", "replace"))
    group, *found = map(int, reply[1:].split())
    limits = [*base, *(limit for group in groups for limit in group)]
    pairs = zip(found[::2], found[1::2], strict=True)
    full = tuple([Full(limits[number - 1].name, _KINDS[kind]) for number, kind in pairs])
    return Answer(group - 1 if group > 0 else None, full, group == 0)


def forgiven(full: Iterable[Full], minute: int) -> list[bytes]:
    """Commands that take refusals back which were counted in a ``minute``; each is answered by one line."""
    key = keys.limit_refusals(minute)
    return [packed("HINCRBY", key, keys.limit_leases(limit.name), -1) for limit in full]


def release(member: str, names: Iterable[str]) -> list[bytes]:
    """Commands that end the leases of a call; each is answered by one line."""
    last = bulk(member)
    return [_ending(name) + last for name in names]


@lru_cache(maxsize=1024)
def _ending(name: str) -> bytes:
    return packed("ZREM", keys.limit_leases(name), "").removesuffix(bulk(""))


def report(node: str, run: str, leases: Sequence[tuple[str, str]]) -> bytes:
    """The request that a node is live and has ``leases``: pairs of member and limit."""
    names = {name: number for number, name in enumerate(dict.fromkeys(name for _, name in leases), 1)}
    words = [word for member, name in leases for word in (member, names[name])]
    own = [keys.limit_leases(name) for name in names]
    return packed(
        "EVAL", REPORT, len(own) + 2, keys.LIMITS, keys.LIMIT_NODES, *own,
        node, run, int(NODE_TTL * 1000), int(LEASE * 1000), *words,
    )  # fmt: skip
