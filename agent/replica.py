"""Brings the changes in Redis into the snapshot, each batch in one transaction."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from agent import rates
from agent.adopting import Adopting
from agent.seen import Seen
from model.entries import Kind
from state import bulk, keys, layout, names
from state.layout import Index, Meta
from state.snapshot import SnapshotWriter
from state.store import Change, Store, StoreError

log = logging.getLogger("strowger.agent")

# Entries that are looked up as they are, so that no index counts them: nearly all of a large list.
UNCOUNTED = tuple(f"{kind}:" for kind in (Kind.CALLER, Kind.CALLEE, Kind.PAIR))
NOTHING = Meta(layout=layout.VERSION, generation="", seq=0, version=0)


class _GapError(Exception):
    """The stream does not continue where the snapshot ends, or not in a way that this version can follow."""


# Changes of an entry; all others have a branch of their own.
_OF_ENTRIES = ("put", "del")


class Replica:
    """The snapshot as a follower of Redis."""

    def __init__(
        self, store: Store, writer: SnapshotWriter, busy: Callable[[], None] = lambda: None,
        adopting: Adopting | None = None,
    ) -> None:  # fmt: skip
        """``busy`` is called again and again while many records are written."""
        self._adopting = adopting or Adopting(store, "", Seen())
        self._store = store
        self._busy = busy
        self._writer = writer
        raw, index = writer.get(layout.META), writer.get(layout.INDEX)
        self.meta = Meta.decode(raw) if raw else NOTHING
        "What the snapshot holds."
        self._index = Index.decode(index) if index else Index()
        self._warned = False

    @property
    def windows(self) -> list[float]:
        """Seconds: the windows of the routes that go by quality."""
        return self._index.windows

    def policy_record(self) -> bytes | None:
        """The policy as the snapshot has it."""
        return self._writer.get(layout.POLICY)

    def names_record(self) -> bytes | None:
        """The addresses of names as the snapshot has them."""
        return self._writer.get(names.NAMES)

    def synchronise(self) -> None:
        """Read everything if the snapshot is not an earlier state of this very Redis.

        A Redis without any policy is taken for one that lost it: the snapshot stays.
        """
        generation, seq = self._store.position()
        if not generation:
            self._warn_of_empty_redis()
            return
        self._warned = False
        if (generation, layout.VERSION) != (self.meta.generation, self.meta.layout) or not self._leads_to(seq):
            self._copy()

    def _warn_of_empty_redis(self) -> None:
        if self.meta.version and not self._warned:
            log.warning("Redis holds no policy; policy version %d stays in force here", self.meta.version)
            self._warned = True

    def _leads_to(self, seq: int) -> bool:
        """Whether the stream still has what lies between the snapshot and change ``seq``."""
        if seq <= self.meta.seq:
            return seq == self.meta.seq
        following = self._store.changes(self.meta.seq, 0)
        return bool(following) and following[0].seq == self.meta.seq + 1

    def advance(self, block: float) -> None:
        """Apply the next changes, waiting at most ``block`` seconds for the first."""
        batch = self._store.changes(self.meta.seq, block)
        # Asked afterwards: a Redis that was emptied and filled again since has other changes of the same numbers.
        if not batch or self._store.position()[0] != self.meta.generation:
            self.synchronise()
            self._weigh()
            return
        try:
            self._apply(batch)
        except _GapError:
            log.warning("changes after %d cannot be followed; reading everything anew", self.meta.seq)
            self._copy()

    def _weigh(self) -> None:
        """Go by other nodes' breakers, or not any more, as it follows from what this node saw meanwhile."""
        trips = self._adopting.texts(time.time())
        if trips != self._index.breakers and self.meta.version:
            index = Index.decode(self._index.encode())
            index.breakers = trips
            with self._writer.begin() as txn:
                txn.put(layout.INDEX, index.encode())
            self._index = index

    def _apply(self, changes: list[Change]) -> None:
        # Work on a copy of what is remembered, so that a failed transaction leaves it as the file is.
        meta, index = self.meta, Index.decode(self._index.encode())
        with self._writer.begin() as txn:
            for change in changes:
                if change.seq != meta.seq + 1:
                    raise _GapError
                version = self._change(txn, index, change)
                meta = Meta(layout.VERSION, meta.generation, change.seq, version or meta.version)
            index.breakers = self._adopting.texts(time.time())
            _write_meta(txn, meta, index)
        self.meta, self._index = meta, index

    def _change(self, txn: Any, index: Index, change: Change) -> int:
        """Apply one change; returns the policy's version if it changed, else 0."""
        if change.op == "policy":
            return self._write_policy(txn, index)
        if change.op == "import":
            return self._import(txn, index, change)
        if change.op == "subscriber":
            name, text = json.loads(change.value)
            _write_subscriber(txn, name, text)
            return 0
        if change.op == "drain":
            gateway, text = json.loads(change.value)
            index.drains.pop(gateway, None)
            if text:
                index.drains[gateway] = text
            return 0
        if change.op == "trip":
            name, text = json.loads(change.value)
            _write_trip(txn, index, name, text)
            return 0
        if change.op == "breaker":
            self._adopting.change(*json.loads(change.value))
            return 0
        if change.op == "unrate":
            if change.value in index.sheets:
                families = rates.Families()
                rates.remove(txn, index, index.sheets.pop(change.value).number, self._busy, families)
                self._settle(txn, index, families, change.seq)
            return 0
        if change.op not in _OF_ENTRIES:
            # Of a newer version; what it changed is in the tables, too.
            log.warning("change %d is %r, which this version does not know", change.seq, change.op)
            raise _GapError
        kind, value = _kind_and_value(change.field)
        key = layout.entry_key(kind, value)
        if change.op == "put":
            if txn.get(key) is None:
                index.add(kind, value)
            txn.put(key, change.value.encode())
        elif txn.delete(key):
            index.remove(kind, value)
        return 0

    def _import(self, txn: Any, index: Index, change: Change) -> int:
        plan, version, families = bulk.Plan.decode(change.value), 0, rates.Families()
        write: Callable[[Any, Index, Iterable[tuple[str, str]]], None] = _write_entries
        if plan.table == "prefixes":
            # The routes by name, which a snapshot of an earlier version of this program has not.
            write, version = _write_prefixes, self._write_policy(txn, index)
        if plan.table == "rates":
            sheet = rates.open_sheet(index, plan.gateway, plan.currency)
            write = partial(rates.write, sheet=sheet, changed=families)
        if plan.replace:
            if plan.table == "prefixes":
                _remove_prefixes(txn, index)
            elif plan.table == "rates":
                rates.remove(txn, index, index.sheets[plan.gateway].number, self._busy, families)
            else:
                self._remove(txn, index, plan.action)
        try:
            for chunk in bulk.chunks(self._store, change):
                write(txn, index, _mixed(chunk))
                self._busy()
        except LookupError:
            log.warning("import %s is not in Redis any more", change.field)
            raise _GapError from None
        if plan.table == "rates":
            self._settle(txn, index, families, change.seq)
        return version

    def _settle(self, txn: Any, index: Index, families: rates.Families, seq: int) -> None:
        rates.settle(txn, families, self._busy)
        index.rated = f"{self.meta.generation}:{seq}"

    def _remove(self, txn: Any, index: Index, action: str) -> None:
        beginning = f'["{action}"'.encode()
        cursor = txn.cursor()
        more, seen = cursor.set_range(layout.ENTRY), 0
        while more and cursor.key().startswith(layout.ENTRY):
            seen += 1
            if not seen % bulk.CHUNK:
                self._busy()
            if cursor.value().startswith(beginning):
                field = cursor.key()[len(layout.ENTRY) :].decode()
                if not field.startswith(UNCOUNTED):
                    index.remove(*_kind_and_value(field))
                # Leaves the cursor at the record that follows.
                more = cursor.delete()
            else:
                more = cursor.next()

    def _write_policy(self, txn: Any, index: Index) -> int:
        applied = self._store.policy()
        policy, routes = applied.decode()
        for key in [*_keys(txn, layout.ROUTE, imported=False), *_keys(txn, layout.NAMED, imported=False)]:
            txn.delete(key)
        for key, value in {**layout.route_records(routes), **layout.named_records(routes)}.items():
            if not txn.put(key, value, overwrite=False):
                # Imported before, and not any more: the change that says so comes later.
                index.count_imported(key[len(layout.ROUTE) :].decode(), -1)
                txn.put(key, value)
        index.set_routes(prefix for route in routes for prefix in route.prefixes)
        index.windows = sorted({route.quality.window for route in routes if route.quality is not None})
        txn.put(layout.POLICY, layout.policy_record(policy, applied.version))
        return applied.version

    def _copy(self) -> None:
        """Read everything. What changes meanwhile is in the stream too, and comes again with the next batch."""
        generation, seq = self._store.position()
        log.info("reading all of Redis, change %d", seq)
        index = Index()
        with self._writer.begin() as txn:
            resolved = txn.get(names.NAMES)
            self._writer.clear(txn)
            if resolved is not None:
                # Not of Redis: what the DNS told this node.
                txn.put(names.NAMES, resolved)
            version = self._write_policy(txn, index)
            # Redis may give an entry twice when its table grows meanwhile (SCAN's guarantees).
            _write_entries(txn, index, self._reported(self._store.records(keys.ENTRIES)))
            _write_prefixes(txn, index, self._reported(self._store.records(keys.PREFIXES)))
            for name, text in self._reported(self._store.records(keys.SUBSCRIBERS)):
                _write_subscriber(txn, name, text)
            for name, text in self._reported(self._store.records(keys.TRIPS)):
                _write_trip(txn, index, name, text)
            index.drains = dict(self._store.records(keys.DRAINS))
            self._adopting.load()
            index.breakers = self._adopting.texts(time.time())
            families = rates.Families()
            for gateway, info in self._store.sheets().items():
                rows, number = self._store.records(keys.rates(gateway)), rates.open_sheet(index, gateway, info.currency)
                rates.write(txn, index, self._reported(rows), sheet=number, changed=families)
            rates.settle(txn, families, self._busy)
            index.rated = f"{generation}:{seq}"
            if self._store.position()[0] != generation:
                raise StoreError("Redis was emptied while it was read")
            meta = Meta(layout.VERSION, generation, seq, version)
            _write_meta(txn, meta, index)
        self.meta, self._index = meta, index

    def _reported(self, records: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        for number, record in enumerate(records):
            if not number % bulk.CHUNK:
                self._busy()
            yield record


def _write_subscriber(txn: Any, name: str, text: str) -> None:
    key = layout.subscriber_key(name)
    if text:
        txn.put(key, text.encode())
    else:
        txn.delete(key)


def _write_trip(txn: Any, index: Index, name: str, text: str) -> None:
    key = layout.trip_key(name)
    known = txn.get(key) is not None
    if text:
        txn.put(key, text.encode())
    elif known:
        txn.delete(key)
    if known != bool(text):
        index.count_trip(name, 1 if text else -1)


def _write_entries(txn: Any, index: Index, records: Iterable[tuple[str, str]]) -> None:
    """Write entries as Redis has them, and count those in that are new."""
    for field, value in records:
        key, content = layout.ENTRY + field.encode(), value.encode()
        if not txn.put(key, content, overwrite=False):
            txn.put(key, content)
        elif not field.startswith(UNCOUNTED):
            index.add(*_kind_and_value(field))


def _mixed(chunk: list[str]) -> list[tuple[str, str]]:
    """The records of a chunk in no order: in rising order, each page of the file would stay half empty."""
    records = list(dict(zip(chunk[::2], chunk[1::2], strict=True)).items())
    random.shuffle(records)
    return records


def _write_prefixes(txn: Any, index: Index, records: Iterable[tuple[str, str]]) -> None:
    """Write imported prefixes; the policy's own stay as they are."""
    for prefix, name in records:
        key, value = layout.route_key(prefix), layout.reference(name)
        if txn.put(key, value, overwrite=False):
            index.count_imported(prefix)
        elif txn.get(key).startswith(layout.REFERENCE):
            txn.put(key, value)


def _remove_prefixes(txn: Any, index: Index) -> None:
    for key in _keys(txn, layout.ROUTE, imported=True):
        txn.delete(key)
    index.lengths.pop(layout.IMPORTED, None)


def _keys(txn: Any, beginning: bytes, *, imported: bool) -> list[bytes]:
    """The keys of the routes' records that are, or are not, of imported prefixes."""
    found, cursor = [], txn.cursor()
    more = cursor.set_range(beginning)
    while more and cursor.key().startswith(beginning):
        if cursor.value().startswith(layout.REFERENCE) is imported:
            found.append(cursor.key())
        more = cursor.next()
    return found


def _kind_and_value(field: str) -> tuple[Kind, str]:
    kind, _, value = field.partition(":")
    return Kind(kind), value


def _write_meta(txn: Any, meta: Meta, index: Index) -> None:
    txn.put(layout.INDEX, index.encode())
    txn.put(layout.META, meta.encode())
