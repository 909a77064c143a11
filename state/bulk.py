"""Imports: many entries, route prefixes or rates as one change.

A file is sent in chunks, which change nothing. Then Redis makes the new table beside the one in force, again in
bounded steps, and one short script puts it in its place (RENAME) and appends a single change to the stream. Nodes read
the chunks from Redis and bring them into their snapshots in one transaction.

An import takes effect when it is committed: over entries of the same name that were put while it was made, and beside
all others. While it is under way every changed entry is remembered, so that none is lost when the tables are exchanged.
One that dies leaves only what the next removes, or what expires.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, cast

from model.entries import Action
from state import keys
from state.rates import SheetInfo
from state.store import _APPEND, Change, ConflictError, Store, StoreError, _away

# Records in a chunk: what one script of Redis handles, in a few milliseconds.
CHUNK = 1000
# An import that adds no more chunks than this to the entries is written into the table in force, by one script.
FEW_CHUNKS = 5
# Milliseconds after which an import that does nothing counts as dead.
LEASE_MS = 30_000
# Seconds for which nodes can read an import; one that was away longer reads everything anew.
KEPT = 600
# Chunks that are read at once.
READ_AT_ONCE = 8


class ImportBusyError(StoreError):
    """Another import is under way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an import does, as it stands in the stream."""

    table: str
    "``entries``, ``prefixes`` or ``rates``."
    replace: bool = False
    "Whether what is not in the file goes."
    action: str = ""
    "Of entries: those of this action are replaced."
    chunks: int = 0
    gateway: str = ""
    "Of rates: whose they are."
    currency: str = ""
    "Of rates."

    @classmethod
    def decode(cls, text: str) -> Plan:
        """From the value of a change."""
        return cls(**json.loads(text))


_HELD = """
if redis.call('GET', KEYS[#KEYS - 1]) ~= ARGV[2] then return -1 end
redis.call('PEXPIRE', KEYS[#KEYS - 1], ARGV[3])
"""
# KEYS: 3 staged, 4 staged extra, 5 chunks
_BEGIN = """
if redis.call('HEXISTS', KEYS[1], 'generation') == 0 then return -1 end
if not redis.call('SET', KEYS[#KEYS - 1], ARGV[2], 'NX', 'PX', ARGV[3]) then return 0 end
redis.call('UNLINK', KEYS[#KEYS], KEYS[3], KEYS[4], KEYS[5])
return 1
"""
_ABORT = """
if redis.call('GET', KEYS[#KEYS - 1]) ~= ARGV[2] then return 0 end
return redis.call('UNLINK', KEYS[#KEYS - 1], KEYS[#KEYS], KEYS[3], KEYS[4], KEYS[5])
"""
_SEND = (
    _HELD
    + """
local count = redis.call('RPUSH', KEYS[5], ARGV[4])
redis.call('EXPIRE', KEYS[5], ARGV[5])
return count
"""
)
# All tables in one: the extra table holds expiries of entries, or how often each route is used; rates have none.
_STORE = """
local function store(to, extra, field, value)
  if ARGV[4] == 'rates' then
    redis.call('HSET', to, field, value)
    return
  end
  if ARGV[4] == 'prefixes' then
    local old = redis.call('HGET', to, field)
    if old and redis.call('HINCRBY', extra, old, -1) == 0 then redis.call('HDEL', extra, old) end
    redis.call('HINCRBY', extra, value, 1)
    redis.call('HSET', to, field, value)
    return
  end
  if redis.call('HSET', to, field, value) == 0 then redis.call('ZREM', extra, field) end
  local expires = string.match(value, '^%["%a+",([%d.e+]+)')
  if tonumber(expires) > 0 then redis.call('ZADD', extra, expires, field) end
end
local function store_chunk(to, extra, chunk)
  for field, value in string.gmatch(chunk, '([^\\n]+)\\n([^\\n]+)') do store(to, extra, field, value) end
end
local function ours(value) return string.sub(value, 1, #ARGV[5]) == ARGV[5] end
"""
# ARGV: 4 table, 5 how the values begin that are replaced, 6 replace, 7 number of the chunk
_BUILD = (
    _HELD
    + _STORE
    + """
store_chunk(KEYS[3], KEYS[4], redis.call('LINDEX', KEYS[5], ARGV[7]))
redis.call('EXPIRE', KEYS[3], ARGV[8])
redis.call('EXPIRE', KEYS[4], ARGV[8])
return 0
"""
)
# ARGV: 7 cursor. KEYS: 6 table in force
_KEEP = (
    _HELD
    + _STORE
    + """
local found = redis.call('HSCAN', KEYS[6], ARGV[7], 'COUNT', 1000)
for i = 1, #found[2], 2 do
  local field, value = found[2][i], found[2][i + 1]
  if not (ARGV[6] == '1' and ours(value)) and redis.call('HEXISTS', KEYS[3], field) == 0 then
    store(KEYS[3], KEYS[4], field, value)
  end
end
redis.call('EXPIRE', KEYS[3], ARGV[8])
redis.call('EXPIRE', KEYS[4], ARGV[8])
return found[1]
"""
)
# ARGV: 7 version of the policy or nothing, 8 JSON of the plan, 9 seconds kept, 10 how the import's own values end,
# 11 whether to write into the table in force, 12 gateway of the rates or nothing, 13 what is known of its sheet.
# KEYS: 6 table in force, 7 its extra table, 8 policy, 9 chunks for nodes, 10 and 11 what is thrown away, 12 rate sheets
_COMMIT = (
    _HELD
    + _APPEND
    + _STORE
    + """
if ARGV[7] ~= '' and redis.call('HGET', KEYS[8], 'version') ~= ARGV[7] then return -2 end
local function exchange(staged, live, old)
  if redis.call('EXISTS', live) == 1 then redis.call('RENAME', live, old) end
  if redis.call('EXISTS', staged) == 1 then
    redis.call('PERSIST', staged)
    redis.call('RENAME', staged, live)
  end
  redis.call('UNLINK', old)
end
if ARGV[11] == '1' then
  for _, chunk in ipairs(redis.call('LRANGE', KEYS[5], 0, -1)) do store_chunk(KEYS[6], KEYS[7], chunk) end
else
  if ARGV[4] == 'entries' then
    for _, field in ipairs(redis.call('SMEMBERS', KEYS[#KEYS])) do
      local live, staged = redis.call('HGET', KEYS[6], field), redis.call('HGET', KEYS[3], field)
      if not (staged and string.sub(staged, -#ARGV[10]) == ARGV[10]) then
        if live and not (ARGV[6] == '1' and ours(live)) then
          store(KEYS[3], KEYS[4], field, live)
        else
          redis.call('HDEL', KEYS[3], field)
          redis.call('ZREM', KEYS[4], field)
        end
      end
    end
  end
  exchange(KEYS[3], KEYS[6], KEYS[10])
  exchange(KEYS[4], KEYS[7], KEYS[11])
  redis.call('HINCRBY', KEYS[1], 'swaps', 1)
end
if ARGV[12] ~= '' then redis.call('HSET', KEYS[12], ARGV[12], ARGV[13]) end
if redis.call('EXISTS', KEYS[5]) == 1 then
  redis.call('RENAME', KEYS[5], KEYS[9])
  redis.call('EXPIRE', KEYS[9], ARGV[9])
end
redis.call('DEL', KEYS[#KEYS - 1])
redis.call('UNLINK', KEYS[#KEYS])
return append('import', ARGV[2], ARGV[8], ARGV[12] ~= '' and ARGV[12] or ARGV[4], '', ARGV[8])
"""
)
_STAGING = (keys.STAGED, keys.STAGED_EXTRA, keys.STAGED_CHUNKS)
_TABLES = {"entries": (keys.ENTRIES, keys.EXPIRIES), "prefixes": (keys.PREFIXES, keys.PREFIX_ROUTES)}


class Import:
    """One import; a context manager that leaves nothing behind unless it was committed."""

    def __init__(
        self,
        store: Store,
        *,
        table: str,
        replace: bool,
        created: float,
        action: Action | None = None,
        gateway: str = "",
        sheet: SheetInfo | None = None,
    ) -> None:
        """``created`` stands in every entry of the import, and in no other. ``gateway``, ``sheet``: of rates."""
        self._store = store
        self._sheet = sheet
        self._plan = Plan(
            table, replace, action.value if action else "", gateway=gateway, currency=sheet.currency if sheet else ""
        )
        self._ending = f",{json.dumps(created)}]"
        self._id = secrets.token_hex(8)
        self._sent = 0

    def __enter__(self) -> Import:
        """Raises :class:`ImportBusyError`."""
        begun = self._script(_BEGIN)
        if begun < 0:
            self._store.policy()  # says that there is none
        if begun != 1:
            raise ImportBusyError("another import is under way; nothing was imported (one that died blocks for 30 s)")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, StoreError):
            self._script(_ABORT)

    def send(self, records: list[tuple[str, str]]) -> None:
        """Send a chunk; of two records of one name the later counts. Neither part may hold a line feed."""
        if records:
            self._sent = self._held(_SEND, "\n".join(part for record in records for part in record), KEPT)

    def build(self) -> Iterator[tuple[int, int]]:
        """Make the new table, step by step; yields steps done and steps in all."""
        if self._direct:
            return
        size = 0 if self._replaces_all else self._store.count(self._tables[0])
        total = self._sent + size // CHUNK + 1
        for number in range(self._sent):
            self._held(_BUILD, *self._what, number, KEPT)
            yield number + 1, total
        cursor, done = "0", self._sent
        while not self._replaces_all:
            cursor = str(self._held(_KEEP, *self._what, cursor, KEPT, names=self._tables))
            done += 1
            yield min(done, total), total
            if cursor == "0":
                return

    def commit(self, policy_version: int | None = None) -> Change:
        """Put the import in force, after :meth:`build`; if the policy still has this version, where one is given.

        Raises :class:`ConflictError`.
        """
        plan = replace(self._plan, chunks=self._sent)
        value = json.dumps(asdict(plan))
        trash = (f"{keys.STAGED}:old", f"{keys.STAGED_EXTRA}:old")
        names = (*self._tables, keys.POLICY, keys.chunks(self._id), *trash, keys.SHEETS)
        version = "" if policy_version is None else policy_version
        seq = self._held(
            _COMMIT, *self._what, version, value, KEPT, self._ending, int(self._direct), plan.gateway,
            self._sheet.encode() if self._sheet else "", names=names
        )  # fmt: skip
        if seq == -2:
            self._script(_ABORT)
            raise ConflictError("somebody applied a policy meanwhile; nothing was imported: try again")
        return Change(seq=seq, op="import", field=self._id, value=value)

    @property
    def _direct(self) -> bool:
        return self._plan.table == "entries" and not self._plan.replace and self._sent <= FEW_CHUNKS

    @property
    def _replaces_all(self) -> bool:
        return self._plan.table in ("prefixes", "rates") and self._plan.replace

    @property
    def _tables(self) -> tuple[str, str]:
        """The table in force, and its extra table."""
        if self._plan.table == "rates":
            # Rates need no other, but an exchange has two.
            return keys.rates(self._plan.gateway), f"{keys.rates(self._plan.gateway)}:extra"
        return _TABLES[self._plan.table]

    @property
    def _what(self) -> tuple[str, str, int]:
        return self._plan.table, f'["{self._plan.action}"' if self._plan.action else "", int(self._plan.replace)

    def _script(self, source: str, *arguments: Any, names: tuple[str, ...] = ()) -> Any:
        return self._store._script(source, (*_STAGING, *names), (self._id, LEASE_MS, *arguments))

    def _held(self, source: str, *arguments: Any, names: tuple[str, ...] = ()) -> Any:
        done = self._script(source, *arguments, names=names)
        if done == -1:
            raise ImportBusyError("the import took too long between two steps, and lost its turn; nothing was imported")
        return done


def chunks(store: Store, change: Change) -> Iterator[list[str]]:
    """The chunks of an import: name, content, name, content ... Raises LookupError where they are gone."""
    count = Plan.decode(change.value).chunks
    for first in range(0, count, READ_AT_ONCE):
        last = min(first + READ_AT_ONCE, count) - 1
        with _away():
            found = cast("list[str]", store._redis.lrange(keys.chunks(change.field), first, last))
        if len(found) != last - first + 1:
            raise LookupError(change.field)
        for chunk in found:
            yield chunk.split("\n")
