"""A change is done when every live node has it."""

from __future__ import annotations

from console.output import CommandFailed
from state.store import Change, Confirmation, Store


def confirmed(store: Store, change: Change, timeout: float = 5.0) -> Confirmation:
    """Wait for all live nodes; raises :class:`CommandFailed` where one does not confirm."""
    confirmation = store.confirm(change.seq, timeout)
    if confirmation.missing:
        raise CommandFailed(
            f"stored as change {change.seq}, but not confirmed by {', '.join(confirmation.missing)}: "
            "calls there may still be decided without it (see `strowger status`)"
        )
    return confirmation
