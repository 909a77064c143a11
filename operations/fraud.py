"""Guards against fraud: what they have counted, whom they refuse, and releasing them."""

from __future__ import annotations

from typing import Any

from model.fraud import PER, Guard, Trip, shown
from operations.changes import in_force
from operations.errors import InvalidError, MissingError
from state import fraud
from state.fraud import Use
from state.store import Change, Store

Row = dict[str, Any]


def status(store: Store, *, per: str = "", guard: str = "", limit: int = 20) -> list[Row]:
    """Who is nearest to being refused, over all nodes, and who is. Raises InvalidError, StoreError."""
    refused = {trip.field: trip for trip in fraud.trips(store)}
    uses = fraud.usage(store, guards(store, per, guard))[:limit]
    return [use_row(use, refused.get(use.guard.field(use.prefix, use.who))) for use in uses]


def guards(store: Store, per: str = "", name: str = "") -> list[Guard]:
    """Those of the policy, or of these. Raises InvalidError, StoreError."""
    if per and per not in PER:
        raise InvalidError(f"per: {per!r} is none of {', '.join(PER)}")
    known = store.policy().decode()[0].fraud
    return [guard for guard in known if (not per or guard.per == per) and (not name or guard.name == name)]


def use_row(use: Use, trip: Trip | None) -> Row:
    """What a guard has counted of somebody, and the trip for which it refuses them, if it does."""
    return {
        "guard": use.guard.name,
        "per": use.guard.per,
        "who": use.who,
        "prefix": use.prefix,
        "measures": {
            measure: {
                "count": shown(measure, use.totals[measure]),
                "warn": shown(measure, limit.warn) if limit.warn else None,
                "block": shown(measure, limit.block) if limit.block else None,
            }
            for measure, limit in use.guard.measures.items()
        },
        "reached": round(use.nearest, 3),
        "blocked_until": (trip.until or None) if trip else None,
        "blocked": trip is not None,
    }


def trips(store: Store) -> list[Row]:
    """Whose calls are refused, the last one first. Raises StoreError."""
    return [{"kind": "block", **trip_row(trip)} for trip in fraud.trips(store)]


def trip_row(trip: Trip) -> Row:
    """A trip as JSON shows it."""
    return {**trip.as_dict(), "calls": list(trip.calls)}


def past(store: Store, limit: int) -> list[Row]:
    """Warnings, blocks and releases, the last one first. Raises StoreError."""
    return [{**data, "kind": kind, "at": at} for kind, at, data in fraud.past(store, limit)]


def release(
    store: Store, who: str, *, reason: str, author: str = "", guard: str = "", prefix: str | None = None
) -> Row:  # fmt: skip
    """Let calls pass again, counted from nothing, and wait for the nodes. Raises MissingError, StoreError."""
    released, changes = released_by(store, who, reason=reason, author=author, guard=guard, prefix=prefix)
    return {"released": released, **in_force(store, changes[-1])}


def released_by(
    store: Store, who: str, *, reason: str, author: str = "", guard: str = "", prefix: str | None = None
) -> tuple[list[str], list[Change]]:  # fmt: skip
    """The same without waiting: the names of what was released, and the changes. Raises MissingError, StoreError."""
    meant = [
        trip
        for trip in fraud.trips(store)
        if trip.who == who and guard in ("", trip.guard) and prefix in (None, trip.prefix)
    ]
    author = author or store.who.partition(":")[2]
    done = [(trip.field, change) for trip in meant if (change := fraud.release(store, trip, author, reason))]
    if not done:
        raise MissingError(f"no guard{f' {guard}' if guard else ''} refuses calls of {who}")
    return [name for name, _ in done], [change for _, change in done]
