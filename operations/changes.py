"""A change, and where it is in force."""

from __future__ import annotations

from typing import Any

from state.store import Change, Store

Row = dict[str, Any]
"What JSON knows, as it will be shown."


def in_force(store: Store, change: Change, timeout: float = 5.0) -> Row:
    """Wait for all live nodes: which have a change, and which did not say so in time."""
    confirmation = store.confirm(change.seq, timeout)
    return {"nodes": list(confirmation.nodes), "missing": list(confirmation.missing)}
