"""How often a PIN may be tried: a few times, then not for a while, which doubles each time it comes to that.

An attempt is taken before the PIN is looked at, in one step for all workers: so however many try at once, no more than
``TRIES`` of them are told. Without Redis each worker counts for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from state import keys

TRIES = 5
"Wrong ones in a row until the box is locked."
LOCK = 60
"Seconds, the first time."
LONGEST = 3600
"Seconds, however often."
FORGET = 86400
"Seconds after the last attempt in which nothing is known of it any more."

# The last attempt that is allowed locks at once, whatever comes of it: another may be taken before it is known.
_TAKE = f"""
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1000000
local state = redis.call('HMGET', KEYS[1], 'tries', 'locks', 'until')
local tries, locks, till = tonumber(state[1] or 0), tonumber(state[2] or 0), tonumber(state[3] or 0)
if till > now then return {{0, math.ceil(till - now)}} end
tries = tries + 1
local wait = 0
if tries >= {TRIES} then
  wait = math.min({LOCK} * 2 ^ locks, {LONGEST})
  tries, locks, till = 0, locks + 1, now + wait
end
redis.call('HSET', KEYS[1], 'tries', tries, 'locks', locks, 'until', string.format('%.3f', till))
redis.call('EXPIRE', KEYS[1], {FORGET})
return {{1, wait}}
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of asking for an attempt."""

    allowed: bool
    seconds: int
    "For which the box is locked: now, or, where this attempt is allowed and wrong, after it."


class SharedAttempts:
    """Counted for all workers, in Redis; methods raise ``redis.exceptions.RedisError``."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._take = client.register_script(_TAKE)

    async def take(self, box: str) -> Attempt:
        """Take an attempt."""
        allowed, seconds = await self._take(keys=[keys.vm_pin(box)], args=[])
        return Attempt(bool(allowed), int(seconds))

    async def clear(self, box: str) -> None:
        """The PIN was right."""
        await self._client.delete(keys.vm_pin(box))


@dataclass(slots=True)
class _Tried:
    tries: int = 0
    locks: int = 0
    until: float = 0.0


class OwnAttempts:
    """The same, counted in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._boxes: dict[str, _Tried] = {}

    def take(self, box: str) -> Attempt:
        """Take an attempt."""
        now, state = self._clock(), self._boxes.setdefault(box, _Tried())
        if state.until > now:
            return Attempt(False, int(state.until - now) + 1)
        state.tries += 1
        if state.tries < TRIES:
            return Attempt(True, 0)
        wait = min(LOCK * 2**state.locks, LONGEST)
        state.tries, state.locks, state.until = 0, state.locks + 1, now + wait
        return Attempt(True, wait)

    def clear(self, box: str) -> None:
        """The PIN was right."""
        self._boxes.pop(box, None)
