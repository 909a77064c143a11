"""What an import of rates would change, counted without changing it."""

from __future__ import annotations

from state import keys
from state.store import Store


class Comparison:
    """Takes the place of an import, and compares what is sent with what is in force."""

    def __init__(self, store: Store, gateway: str) -> None:
        self._store = store
        self._table = keys.rates(gateway)
        self._dearer = self._cheaper = self._otherwise = self._same = self._new = 0

    def send(self, records: list[tuple[str, str]]) -> None:
        """Compare a chunk."""
        before = self._store.values(self._table, [field for field, _ in records])
        for (_, value), old in zip(records, before, strict=True):
            self._count(value, old)

    def _count(self, value: str, old: str | None) -> None:
        if old is None:
            self._new += 1
        elif old == value:
            self._same += 1
        elif (now := _price(value)) != (then := _price(old)):
            self._dearer += now > then
            self._cheaper += now < then
        else:
            self._otherwise += 1

    def result(self, *, replace: bool) -> dict[str, int]:
        """How many rates would come, go and change; a rate is told by its prefix and its beginning."""
        changed = self._dearer + self._cheaper + self._otherwise
        found = {
            "new": self._new, "dearer": self._dearer, "cheaper": self._cheaper, "otherwise_changed": self._otherwise,
            "unchanged": self._same,
        }  # fmt: skip
        gone = self._store.count(self._table) - changed - self._same
        return {**found, "removed": max(0, gone)} if replace else found


def _price(value: str) -> int:
    return int(value.partition(" ")[0])
