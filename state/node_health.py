"""What each node's Kamailio knows of gateways, in Redis for whoever looks: its agent renews that all the time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import cast

from state import keys
from state.store import Store, _away

TTL = 5.0
"Seconds after which what nobody renewed is forgotten."


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """One node's view, as its shared memory has it."""

    at: float
    "Unix time at which it was read."
    health: Mapping[str, str] = field(default_factory=dict)
    "Gateway to the text of :class:`kemi.health.Health`."
    probed: Mapping[str, int] = field(default_factory=dict)
    "Destination to the Unix time since which it answers no probe; 0 or less: it answers."


def put(store: Store, node: str, found: NodeHealth) -> None:
    """Renew a node's view. Raises :class:`state.store.StoreError`."""
    with _away():
        store._redis.set(keys.node_health(node), json.dumps(asdict(found)), px=int(TTL * 1000))


def read(store: Store, nodes: list[str]) -> dict[str, NodeHealth]:
    """The views of these nodes, of those that have one. Raises :class:`state.store.StoreError`."""
    with _away():
        raw = cast("list[str | None]", store._redis.mget([keys.node_health(node) for node in nodes])) if nodes else []
    return {node: NodeHealth(**json.loads(text)) for node, text in zip(nodes, raw, strict=True) if text is not None}
