"""What all nodes counted of gateways, in Redis: a hash for each slot of time, which expires.

Nodes add to the same counts, in the script that also moves their position in the spool (:mod:`state.records`): so each
attempt is counted once, whoever is killed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from model.quality import NOTHING, SLOT, WINDOW_MAX, BySlot, Figures, slot_of
from state import keys
from state.store import Store, _away

KEPT = WINDOW_MAX + 6 * SLOT
"Seconds for which a slot is kept after it was last added to."


def increments(counted: BySlot, *, first: int, now: float) -> tuple[list[str], list[Any]]:
    """What a script has to add: keys, and for each count number of the key from ``first`` on, field and amount.

    Slots that no window reaches any more at Unix time ``now`` are left out.
    """
    counted = {slot: found for slot, found in counted.items() if slot >= slot_of(now - WINDOW_MAX)}
    names = [keys.quality(slot) for slot in counted]
    return names, [
        part
        for index, by_gateway in enumerate(counted.values(), first)
        for gateway, figures in by_gateway.items()
        for name, amount in zip(Figures._fields, figures, strict=True)
        if amount
        for part in (index, f"{gateway}:{name}", amount)
    ]


def counted(store: Store, slots: Iterable[int]) -> dict[int, dict[str, Figures]]:
    """What was counted in these slots, in one round trip. Raises :class:`state.store.StoreError`."""
    slots = list(slots)
    with _away():
        pipe = store._redis.pipeline(transaction=False)
        for slot in slots:
            pipe.hgetall(keys.quality(slot))
        return {slot: _decoded(fields) for slot, fields in zip(slots, pipe.execute(), strict=True)}


def _decoded(fields: dict[str, str]) -> dict[str, Figures]:
    found: dict[str, Figures] = {}
    for field, amount in fields.items():
        gateway, _, name = field.rpartition(":")
        if name in Figures._fields:
            found[gateway] = found.get(gateway, NOTHING)._replace(**{name: int(amount)})
    return found
