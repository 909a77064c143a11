"""The nodes, as far as they tell of themselves in Redis."""

from __future__ import annotations

import time
from typing import Any

from operations import draining
from state import keys, node_drains, node_health
from state.store import NodeReport, Store, _away

Row = dict[str, Any]


def rows(store: Store) -> list[Row]:
    """The nodes that are live, and those that were and did not stop in order. Raises StoreError.

    ``calls`` are those that a node's Kamailio has; None where it does not answer. ``behind`` is how many changes a
    node's snapshot lacks; None where it copies another Redis than this one.
    """
    generation, seq = store.position()
    live, gone = store.nodes()
    health = node_health.read(store, [node.name for node in live])
    registering, drains, now = _registering(store), node_drains.all_of(store), time.time()
    made = [
        {
            **_row(node, generation, seq),
            **draining.standing(node, drains, now),
            "kamailio": node.name in health,
            "registers": node.name == registering,
        }
        for node in live
    ]
    return sorted(made + [{"name": name, "live": False} for name in gone], key=lambda row: str(row["name"]))


def _row(node: NodeReport, generation: str, seq: int) -> Row:
    return {
        "name": node.name,
        "live": True,
        "version": node.version,
        "seq": node.seq,
        "behind": max(0, seq - node.seq) if node.generation == generation else None,
        "pid": node.pid,
        "started": node.started,
        "busy": node.busy,
    }


def _registering(store: Store) -> str:
    with _away():
        return str(store._redis.get(keys.REGISTERING) or "")


def position(store: Store) -> Row:
    """What nodes are to have: the policy's version, and the number of the last change. Raises StoreError."""
    return {"version": store.policy_version(), "seq": store.position()[1]}
