"""Nodes that take no new calls."""

from __future__ import annotations

import time

from model.policy import NodeDrain
from operations.changes import Row
from operations.errors import ImpossibleError, InvalidError, MissingError
from state import node_drains
from state.store import NodeReport, Store

PATIENCE = 5.0
"Seconds that a live node has to say that it goes by a drain, or its end."
_POLL = 0.1


def drain(store: Store, node: str, reason: str, until: float = 0.0) -> Row:
    """Let a node take no new calls, to the Unix time ``until`` (0: until it is resumed). Returns once it does so.

    Raises InvalidError, MissingError, StoreError.
    """
    now = time.time()
    if not reason.strip():
        raise InvalidError("reason: say why, for those who read it later")
    if until and until <= now:
        raise InvalidError("until: that time is over already")
    _require(store, node)
    drained = NodeDrain(node, reason=reason, until=until, author=store.who, since=now)
    node_drains.put(store, drained)
    return {"name": node, **shown(drained), "in_force": _until(store, node, draining=True)}


def resume(store: Store, node: str) -> Row:
    """Let it take calls again. Raises MissingError, ImpossibleError, StoreError."""
    if not node_drains.remove(store, node):
        _require(store, node)
        raise ImpossibleError(f"node {node} is not drained")
    return {"name": node, "in_force": _until(store, node, draining=False)}


def shown(drain: NodeDrain) -> Row:
    """A drain as it is shown; ``until`` is None where nothing but a person ends it."""
    return {"reason": drain.reason, "author": drain.author, "since": drain.since, "until": drain.until or None}


def standing(node: NodeReport, drains: dict[str, NodeDrain], now: float) -> Row:
    """What a node's row says of calls and drains: ``calls`` is None where its Kamailio does not answer."""
    wanted = drains.get(node.name)
    drained = shown(wanted) if wanted is not None and wanted.live(now) else None
    return {"draining": node.draining, "drain": drained, "calls": node.calls, "troubles": list(node.troubles)}


def _require(store: Store, node: str) -> None:
    live, gone = store.nodes()
    known = [*(one.name for one in live), *gone]
    if node not in known:
        raise MissingError(f"there is no node {node!r}: there are {', '.join(known) or 'none'}")


def _until(store: Store, node: str, *, draining: bool) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        live = {one.name: one for one in store.nodes()[0]}
        if node not in live:
            # It will when it starts.
            return False
        if live[node].draining == draining:
            return True
        time.sleep(_POLL)
    return False
