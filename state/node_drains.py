"""Nodes that operators want to take no new calls, in Redis. Each node's agent follows, and tells its Kamailio."""

from __future__ import annotations

import json
from typing import Any, cast

from model.policy import NodeDrain
from state import keys
from state.store import Store, _away

# KEYS: drains of nodes, audit. ARGV: node, drain or empty, who, entries of the audit that are kept.
_PUT = """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
elseif redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'seq', '', 'who', ARGV[3], 'what', 'node drain',
           'subject', ARGV[1], 'before', before or '', 'after', ARGV[2])
return 1
"""


def put(store: Store, drain: NodeDrain) -> None:
    """Let a node take no new calls. Raises :class:`state.store.StoreError`."""
    known = {"reason": drain.reason, "until": drain.until, "author": drain.author, "since": drain.since}
    _put(store, drain.node, json.dumps(known))


def remove(store: Store, node: str) -> bool:
    """End a node's drain; whether there was one. Raises :class:`state.store.StoreError`."""
    return _put(store, node, "")


def read(store: Store, node: str) -> NodeDrain | None:
    """A node's drain, over or not. Raises :class:`state.store.StoreError`."""
    with _away():
        text = cast("str | None", store._redis.hget(keys.NODE_DRAINS, node))
    return _decoded(node, text) if text else None


def all_of(store: Store) -> dict[str, NodeDrain]:
    """The drains by node, over or not. Raises :class:`state.store.StoreError`."""
    return {node: _decoded(node, text) for node, text in store.records(keys.NODE_DRAINS)}


def _put(store: Store, node: str, text: str) -> bool:
    script: Any = store._redis.register_script(_PUT)
    with _away():
        return bool(script(keys=[keys.NODE_DRAINS, keys.AUDIT], args=[node, text, store.who, keys.AUDIT_KEPT]))


def _decoded(node: str, text: str) -> NodeDrain:
    return NodeDrain(node, **json.loads(text))
