"""What is in use of limits, for commands."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from state import keys
from state.limits import MINUTES
from state.store import Store, _away


@dataclass(frozen=True, slots=True)
class Use:
    """Of one limit, over all nodes."""

    nodes: Mapping[str, int]
    "Node to its calls."
    begun: int
    "Calls in the last second; counted only where calls a second are limited."
    refused: int
    "In the last ten minutes: calls refused, or a gateway skipped for one."

    @property
    def calls(self) -> int:
        """At this moment."""
        return sum(self.nodes.values())


def noted(store: Store, scopes: Iterable[str]) -> list[str]:
    """Names of the limits of these ``scopes`` under which there are calls, or lately were; sorted.

    Raises :class:`state.store.StoreError`.
    """
    beginnings = tuple(keys.limit_leases(f"{scope}:") for scope in scopes)
    with _away():
        found = {key for begin in beginnings for key in store._redis.scan_iter(f"{begin}*", count=1000)}
        minute = int(time.time() // 60)
        for ago in range(MINUTES):
            refused: Any = store._redis.hkeys(keys.limit_refusals(minute - ago))
            found.update(key for key in refused if key.startswith(beginnings))
    return sorted(key.removeprefix(keys.limit_leases("")) for key in found)


def usage(store: Store, names: Iterable[str]) -> dict[str, Use]:
    """Name of each limit to its use. Raises :class:`state.store.StoreError`."""
    names = list(names)
    with _away():
        now: Any = store._redis.time()
        pipe = store._redis.pipeline(transaction=False)
        for name in names:
            pipe.zrangebyscore(keys.limit_leases(name), f"({now[0] * 1000 + now[1] // 1000}", "+inf")
            pipe.lrange(keys.limit_starts(name), 0, -1)
        for minute in range(MINUTES):
            pipe.hgetall(keys.limit_refusals(now[0] // 60 - minute))
        found = pipe.execute()
    refusals: Counter[str] = Counter()
    for row in found[2 * len(names) :]:
        refusals.update({key: int(count) for key, count in row.items()})
    begin = now[0] * 1_000_000 + now[1] - 1_000_000
    return {
        name: Use(
            Counter(member.partition("/")[0] for member in found[2 * index]),
            sum(int(at) > begin for at in found[2 * index + 1]),
            refusals[keys.limit_leases(name)],
        )
        for index, name in enumerate(names)
    }
