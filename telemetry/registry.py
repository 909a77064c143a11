"""The metrics of this process, and what keeps their labels few.

No label is a number that somebody dialled, a call's id, or anything else that callers choose.
"""

from __future__ import annotations

import re
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

OTHER = "other"
"The label of all that came after the first few."
# What a caller could have dialled: nobody's name for a gateway, and no id of a refusal.
_NUMBER = re.compile(r"\+?[0-9*#]{5,}\Z")

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry()
"Its own, so that nothing is told which nobody here meant to tell."
ProcessCollector(registry=REGISTRY)


_totals: WeakKeyDictionary[Counter, float] = WeakKeyDictionary()


def raised(counter: Counter, total: float) -> None:
    """Let a counter follow a number that is kept elsewhere, and falls only where it begins anew."""
    before = _totals.get(counter, 0.0)
    counter.inc(total - before if total >= before else total)
    _totals[counter] = total


class Names:
    """The values of a label: the first ``limit`` that come; the rest, and what looks like a number, are ``other``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """What stands for a name."""
        if name not in self._known:
            if len(self._known) >= self._limit or _NUMBER.match(name) or not name:
                return OTHER
            self._known.add(name)
        return name
