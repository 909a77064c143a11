"""What of Redis goes into a backup, and comes back by a restore.

What follows from other tables is not in it: expiries of entries, how many prefixes lead to a route, indexes of
mailboxes. Nor is what is of one moment: live nodes, calls under limits, breakers, figures; nor call records, which have
an export of their own.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from state import keys
from state.store import Store, StoreError, _away

CHUNK = 1000
"Records that are read or written at once."
Row = list[Any]
"A field and its value; of a stream its id and its fields."


@dataclass(frozen=True, slots=True)
class Table:
    """One key of Redis."""

    name: str
    "In the backup."
    key: str
    stream: bool = False
    "What is there of it stays, behind what is restored."
    made_anew: bool = False
    "Whether it may be there, since the program itself makes it: the disk's mailboxes light lamps."
    derived: tuple[str, ...] = ()
    "Keys that are made of it."


PLAIN: dict[str, tuple[Table, ...]] = {
    "policy": (Table("policy", keys.POLICY), Table("history", keys.HISTORY)),
    "lists": (Table("entries", keys.ENTRIES, derived=(keys.EXPIRIES,)),),
    "prefixes": (Table("prefixes", keys.PREFIXES, derived=(keys.PREFIX_ROUTES,)),),
    "rates": (Table("sheets", keys.SHEETS),),
    "subscribers": (Table("subscribers", keys.SUBSCRIBERS),),
    "drains": (Table("drains", keys.DRAINS),),
    "trips": (Table("trips", keys.TRIPS),),
    "tokens": (Table("tokens", keys.TOKENS),),
    "audit": (Table("audit", keys.AUDIT, stream=True),),
    "lamps": (Table("lamps", keys.MWI, made_anew=True),),
}
"Tables by kind; rates have one more for each gateway."


def tables(store: Store, kind: str) -> list[Table]:
    """All tables of a kind that Redis has now. Raises :class:`StoreError`."""
    found = list(PLAIN[kind])
    if kind == "rates":
        found += [rates_of(gateway) for gateway in sorted(store.sheets())]
    return found


def rates_of(gateway: str) -> Table:
    """A gateway's rate sheet."""
    return Table(f"sheet:{gateway}", keys.rates(gateway))


def named(kind: str, name: str) -> Table:
    """The table of a name in a backup. Raises KeyError."""
    if kind == "rates" and name.startswith("sheet:"):
        return rates_of(name.removeprefix("sheet:"))
    return {table.name: table for table in PLAIN[kind]}[name]


def rows(store: Store, table: Table) -> Iterator[Row]:
    """What a table holds; of a hash a row may come twice. Raises :class:`StoreError`."""
    if not table.stream:
        yield from ([field, value] for field, value in store.records(table.key))
        return
    after = "-"
    while True:
        with _away():
            found = cast("list[tuple[str, dict[str, str]]]", store._redis.xrange(table.key, after, count=CHUNK))
        yield from ([id, item] for id, item in found)
        if len(found) < CHUNK:
            return
        after = f"({found[-1][0]}"


def moment(store: Store) -> tuple[object, ...]:
    """What is another once tables of before and after do not go together: a policy, an import, another Redis."""
    with _away():
        return (store.position()[0], store.policy_version(), store._redis.hget(keys.META, "swaps"))


def forget_index(store: Store) -> None:
    """Have the voicemail service make its index of mailboxes anew, and believe none that is being made."""
    with _away():
        store._redis.delete(keys.VM_REBUILT, keys.VM_REBUILDING)


LEASE = 60
"Seconds after which a restore that does nothing counts as dead."


class Staging:
    """Tables beside those in force, until all are whole; then one script exchanges them.

    A context manager, which leaves nothing beside. Raises :class:`StoreError` where another restore is at it.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._client = store, cast(Any, store._redis)
        self._token = secrets.token_hex(8)
        self._uses: Counter[str] = Counter()
        self.staged: list[str] = []
        "Keys in force that get a new table."

    def __enter__(self) -> Staging:
        with _away():
            if not self._client.set(keys.RESTORED, self._token, nx=True, ex=LEASE):
                raise StoreError(f"another restore is under way (one that died blocks for {LEASE} s)")
            for left in list(self._client.scan_iter(match=f"{keys.RESTORED}:*", count=CHUNK)):
                self._client.unlink(left)
        return self

    def __exit__(self, *_: object) -> None:
        with _away():
            for key in self.staged:
                self._client.unlink(self._beside(key))
            self._client.delete(keys.RESTORED)

    def renew(self) -> None:
        """It is still at work."""
        self._command(lambda pipe: None)

    def put(self, table: Table, found: Iterable[Row]) -> int:
        """Write a table beside the one in force; returns how many rows. Raises :class:`StoreError`."""
        count, chunk = 0, list[Row]()
        self.staged += [table.key, *table.derived]
        for row in self._with_newer(table, found) if table.stream else found:
            chunk.append(row)
            count += 1
            if len(chunk) == CHUNK:
                self._write(table, chunk)
                chunk = []
        self._write(table, chunk)
        if table.key == keys.PREFIXES and self._uses:
            self._command(lambda pipe: pipe.hset(self._beside(keys.PREFIX_ROUTES), mapping=dict(self._uses)))
        return count

    def _with_newer(self, table: Table, found: Iterable[Row]) -> Iterator[Row]:
        last = (0, 0)
        for row in found:
            last = _number(row)
            yield row
        yield from (row for row in rows(self._store, table) if _number(row) > last)

    def _write(self, table: Table, chunk: list[Row]) -> None:
        if not chunk:
            return
        beside = self._beside(table.key)
        if table.stream:
            self._command(lambda pipe: [pipe.xadd(beside, item, id=id) for id, item in chunk])
            return
        if table.key == keys.PREFIXES:
            # A prefix that was read twice counts once.
            new = self._command(lambda pipe: [pipe.hsetnx(beside, *row) for row in chunk])
            self._uses.update(row[1] for row, is_new in zip(chunk, new, strict=True) if is_new)
            return
        self._command(lambda pipe: pipe.hset(beside, mapping=dict(chunk)))
        if table.key == keys.ENTRIES:
            ending = {field: json.loads(value)[1] for field, value in chunk}
            if ends := {field: at for field, at in ending.items() if at > 0}:
                self._command(lambda pipe: pipe.zadd(self._beside(keys.EXPIRIES), ends))

    def _command(self, add: Callable[[Any], object]) -> list[Any]:
        with _away():
            pipe = self._client.pipeline(transaction=False)
            add(pipe)
            pipe.expire(keys.RESTORED, LEASE)
            *answers, held = cast("list[Any]", pipe.execute())
        if not held:
            raise StoreError("the restore took too long between two steps, and lost its turn; nothing was restored")
        return answers

    def _beside(self, key: str) -> str:
        return f"{keys.RESTORED}:{self._token}:{key}"

    def commit(self, *, schema: int, generation: str, also_gone: Iterable[str], force: bool) -> None:
        """Put all in force at once; every node then reads everything anew. Raises :class:`StoreError`.

        ``also_gone``: keys that end with what is replaced. ``force``: whatever stands there.
        """
        live = list(dict.fromkeys([*self.staged, *also_gone]))
        pairs = [key for name in live for key in (self._beside(name), name)]
        kept = json.dumps([] if force else [key for key in live if key not in _MAY_BE_THERE])
        answer = self._store._script(_COMMIT, (keys.VM_REBUILT, *pairs), (generation, schema, kept))
        if answer == "IMPORT":
            raise StoreError("an import is under way; nothing was restored: try again when it is done")
        if answer != "OK":
            raise StoreError(f"{answer} was filled meanwhile; nothing was restored")


# KEYS: 3 who made the index of mailboxes, then staged and in force by turns. ARGV: 2 generation, 3 schema,
# 4 keys that are not to be replaced (JSON)
_COMMIT = """
if redis.call('EXISTS', KEYS[#KEYS - 1]) == 1 then return 'IMPORT' end
if redis.call('HEXISTS', KEYS[1], 'migrating') == 1 then return redis.error_reply('MIGRATING') end
for _, live in ipairs(cjson.decode(ARGV[4])) do
  if redis.call('EXISTS', live) == 1 then return live end
end
for place = 4, #KEYS - 4, 2 do
  local staged, live = KEYS[place], KEYS[place + 1]
  if redis.call('EXISTS', staged) == 1 then redis.call('RENAME', staged, live) else redis.call('UNLINK', live) end
end
redis.call('HSET', KEYS[1], 'generation', ARGV[2], 'schema', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'swaps', 1)
redis.call('DEL', KEYS[3])
redis.call('XADD', KEYS[#KEYS - 2], 'MAXLEN', '~', ARGV[1], '*', 'seq', 0, 'who', ARGV[#ARGV], 'what', 'restore',
           'subject', 'backup', 'before', '', 'after', '')
return 'OK'
"""


def _number(row: Row) -> tuple[int, int]:
    """The id of a stream's row, to be compared."""
    first, _, second = str(row[0]).partition("-")
    return int(first), int(second)


_MAY_BE_THERE = {
    table.key for found in PLAIN.values() for table in found if table.stream or table.made_anew
}  # fmt: skip
