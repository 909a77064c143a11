"""How outbound registrations stand, in Redis: which node registers, and what became of it."""

from __future__ import annotations

import json
from typing import Any, cast

from state import keys
from state.store import Store, _away

_LEASE = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


def lease(store: Store, node: str, seconds: float) -> bool:
    """Whether ``node`` is the one that registers; if so, for ``seconds`` from now. Raises StoreError."""
    script: Any = store._redis.register_script(_LEASE)
    with _away():
        return bool(script(keys=[keys.REGISTERING], args=[node, int(seconds * 1000)]))


def tell(store: Store, node: str, statuses: dict[str, dict[str, Any]]) -> None:
    """Tell how all registrations stand, by trunk. Raises StoreError."""
    told = {trunk: json.dumps({**status, "node": node}) for trunk, status in statuses.items()}
    with _away():
        pipe = store._redis.pipeline()
        pipe.delete(keys.REGISTRATIONS)
        if told:
            pipe.hset(keys.REGISTRATIONS, mapping=cast("Any", told))
        pipe.execute()


def read(store: Store) -> dict[str, dict[str, Any]]:
    """How they stand, by trunk, and on which node. Raises StoreError."""
    with _away():
        found = store._redis.hgetall(keys.REGISTRATIONS)
    return {trunk: json.loads(text) for trunk, text in cast("dict[str, str]", found).items()}
