"""What calls recorded: noted by the media worker when a recording begins, so that the call's record can name it.

A name is a path below the folder of recordings (``Settings.recordings``), or a whole path where it lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from redis.asyncio import Redis

from state import keys
from state.store import Store, _away

KEPT = 25 * 3600
"Seconds that a note is kept: longer than a call may last (agent/assembly.py)."
MOST = 100
"Recordings of a call that are noted; later ones are not."


async def note(client: Redis, call: str, name: str) -> None:
    """Note that a call records. Raises RedisError where Redis does not answer."""
    key = keys.record_recordings(call)
    async with client.pipeline(transaction=False) as pipe:
        pipe.rpush(key, name)
        pipe.ltrim(key, 0, MOST - 1)
        pipe.expire(key, KEPT)
        await pipe.execute()


def noted(store: Store, calls: Iterable[str]) -> list[tuple[str, ...]]:
    """For each call the names of what it recorded, in that order, each once. Raises StoreError."""
    pipe = store._redis.pipeline(transaction=False)
    for call in calls:
        pipe.lrange(keys.record_recordings(call), 0, -1)
    with _away():
        found = cast("list[list[str]]", cast(Any, pipe).execute())
    return [tuple(dict.fromkeys(names)) for names in found]
