"""`strowger limits`: what the limits of the policy in force are, and what is in use of them."""

from __future__ import annotations

from typing import Any

from console.output import Json, out, print_json, print_table
from model.settings import Settings
from operations import limits
from state.store import Store


def command(json: Json = False) -> None:
    """Limits: what is in use over all nodes, and what they refused lately.

    Of those of subscribers and of single prefixes, the ones that have calls, or had some lately.
    """
    settings = Settings.from_env()
    store = Store(settings.redis_url)
    found = limits.report(store, settings)
    if json:
        print_json(found)
        return
    counts, rows = found["redis_counts"], found["limits"]
    if counts is False and rows:
        out.print("On this node Redis does not count at present: what `when_away` says holds.")
    print_table(
        ("limit", "calls", "by node", "a second", "when away", "refused in 10 min"),
        [_cells(row) for row in rows],
        empty="no limits",
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    nodes = ", ".join(f"{node} {calls}" for node, calls in row["nodes"].items())
    rate = f"{row['last_second']} of {row['per_second_limit']}" if row["per_second_limit"] else ""
    calls = f"{row['calls']} of {row['calls_limit']}" if row["calls_limit"] else str(row["calls"])
    return row["limit"], calls, nodes, rate, row["when_away"], str(row["refused"])
