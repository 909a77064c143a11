"""What all nodes counted of their calls, in Redis: a hash for each slot of time, which expires.

Nodes add to the same counts, in the script that also moves their position in the spool (:mod:`state.records`): so each
call is counted once, whoever is killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from model.overview import SIZES, BySlot
from state import keys
from state.store import Store, _away


def increments(counted: BySlot, *, first: int, now: float) -> tuple[list[str], list[int], list[Any]]:
    """What a script has to add: keys, when each expires, and for each count number of the key, field and amount.

    Keys are numbered from ``first`` on. What nobody looks at any more at Unix time ``now`` is left out.
    """
    counted = {
        (size, slot): counts for (size, slot), counts in counted.items() if size * slot >= now - SIZES[size]
    }  # fmt: skip
    names = [keys.overview(size, slot) for size, slot in counted]
    return names, [SIZES[size] for size, _ in counted], [
        part
        for index, counts in enumerate(counted.values(), first)
        for what, amount in counts.items()
        if amount
        for part in (index, what, amount)
    ]


def read(store: Store, size: int, slots: Sequence[int]) -> tuple[list[dict[str, int]], int]:
    """What was counted in slots of this size, and how many calls are not over, at one moment. Raises StoreError."""
    with _away():
        nodes = sorted(cast("set[str]", store._redis.smembers(keys.NODES)))
        pipe = store._redis.pipeline(transaction=True)
        for slot in slots:
            pipe.hgetall(keys.overview(size, slot))
        for node in nodes:
            pipe.hlen(keys.spool(node))
            pipe.hexists(keys.spool(node), "position")
        answers = pipe.execute()
    counted = [{what: int(amount) for what, amount in answer.items()} for answer in answers[: len(slots)]]
    lengths = answers[len(slots) :]
    return counted, sum(lengths[0::2]) - sum(map(int, lengths[1::2]))
