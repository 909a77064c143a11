"""Kamailio's htable module in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kemi import asking, leasing

# The tables whose missing values are 0; see kamailio.cfg.
COUNTERS = (leasing.HELD, leasing.STARTS, asking.COUNTS)


class Tables:
    """What :mod:`kemi.leasing` and :mod:`kemi.asking` use of it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str | int]] = {}
        self.locked = 0

    def sht_get(self, table: str, key: str) -> str | int | None:
        """The value; of a counter 0 where there is none."""
        return self._table(table).get(key, 0 if table in COUNTERS else None)

    def sht_sets(self, table: str, key: str, value: str) -> int:
        """Set a text."""
        self._table(table)[key] = value
        return 1

    def sht_setxs(self, table: str, key: str, value: str, _expire: int) -> int:
        """Set a text that expires, which here it does not."""
        return self.sht_sets(table, key, value)

    def sht_seti(self, table: str, key: str, value: int) -> int:
        """Set a number."""
        self._table(table)[key] = value
        return 1

    def sht_rm(self, table: str, key: str) -> int:
        """Remove a row."""
        return 1 if self._table(table).pop(key, None) is not None else -1

    def sht_inc(self, table: str, key: str) -> int:
        """Count up; the new value."""
        return self._add(table, key, 1)

    def sht_dec(self, table: str, key: str) -> int:
        """Count down; the new value."""
        return self._add(table, key, -1)

    def sht_lock(self, table: str, key: str) -> int:
        """Only one at a time."""
        assert not self.locked
        self.locked += 1
        return 1

    def sht_unlock(self, table: str, key: str) -> int:
        """Let others go on."""
        self.locked -= 1
        return 1

    def leasing(self, url: str, node: str = "node", log: Callable[[str], object] = print) -> leasing.Leasing:
        """The leases of a node over these tables."""
        return leasing.Leasing(self, self.iterate, lambda: len(self._table(leasing.ENDED)), node, url, log)

    def iterate(self, table: str) -> Iterator[tuple[str, str]]:
        """All rows."""
        yield from [(key, str(value)) for key, value in self._table(table).items()]

    def _add(self, table: str, key: str, by: int) -> int:
        assert table in COUNTERS, f"{table} has no initval"
        rows = self._table(table)
        rows[key] = value = int(rows.get(key, 0)) + by
        return value

    def _table(self, table: str) -> dict[str, str | int]:
        return self.rows.setdefault(table, {})
