"""How far call records were told to the webhook: one place for all services that may tell it, of which one does.

The records of a batch are pinned before its first try. So whoever tries it again sends the same, under the same id,
until it was taken, or until Redis keeps the records no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from state import keys
from state.store import Store, _away

BATCH = 100
"Records that are told at a time."


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the records so far."""

    position: str = "0-0"
    "Id in the stream of the last one that was told."
    number: int = 0
    "Its number, counted over all records; 0: none was told."
    until: str = ""
    "Id of the last one of the batch that is being told; empty: none is."
    delivered: int = 0
    lost: int = 0
    "Records that Redis kept no more before they were told."
    tries: int = 0
    "Of that batch, so far in vain."
    error: str = ""
    "What the last one of them met."
    at: float = 0.0
    "Unix time of the last delivery; 0: there was none."


@dataclass(frozen=True, slots=True)
class Batch:
    """Records that are told at once."""

    rows: tuple[tuple[str, int, str], ...]
    "Id in the stream, number (0: one of an earlier version of this program), and the record as JSON."
    lost: int
    "How many before them were never told."

    @property
    def id(self) -> str:
        """The same for the same records."""
        return f"{self.rows[0][0]}_{self.rows[-1][0]}"


# Only who holds the lease changes anything.
_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_CHANGE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local kind = ARGV[2]
if kind == 'pin' then redis.call('HSET', KEYS[2], 'until', ARGV[3])
elseif kind == 'unpin' then redis.call('HDEL', KEYS[2], 'until')
elseif kind == 'fail' then
  redis.call('HINCRBY', KEYS[2], 'tries', 1)
  redis.call('HSET', KEYS[2], 'error', ARGV[3])
else
  redis.call('HSET', KEYS[2], 'position', ARGV[3], 'number', ARGV[4], 'at', ARGV[7])
  redis.call('HINCRBY', KEYS[2], 'delivered', ARGV[5])
  redis.call('HINCRBY', KEYS[2], 'lost', ARGV[6])
  redis.call('HDEL', KEYS[2], 'until', 'tries', 'error')
  if tonumber(ARGV[6]) > 0 then
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', 100000, '*', 'kind', 'records.lost', 'at', ARGV[7],
               'data', cjson.encode({count = tonumber(ARGV[6])}))
  end
end
return 1
"""


def lease(store: Store, token: str, seconds: float) -> bool:
    """Be the one who tells, for so long; whether one is."""
    script: Any = store._redis.register_script(_LEASE)
    with _away():
        return bool(script(keys=[keys.RECORDS_TELLER], args=(token, int(seconds * 1000))))


def release(store: Store, token: str) -> None:
    """Let somebody else tell at once."""
    lease(store, token, 0.001)


def progress(store: Store) -> Progress:
    """How far it has come."""
    with _away():
        found = cast("dict[str, str]", store._redis.hgetall(keys.RECORDS_TOLD))
    kinds = {"number": int, "delivered": int, "lost": int, "tries": int, "at": float}
    return Progress(**{name: kinds.get(name, str)(value) for name, value in found.items()})


def waiting(store: Store, known: Progress) -> int | None:
    """How many records are not told yet, with those that never will be; None where that is not known."""
    with _away():
        last = int(cast("str | None", store._redis.get(keys.RECORDS_COUNT)) or 0)
    return max(0, last - known.number) if known.number or known.position == "0-0" else None


def next_batch(store: Store, token: str, known: Progress) -> Batch | None:
    """The records that follow: those that were pinned before, or else new ones, pinned now; None where there are none.

    None as well where somebody else holds the lease.
    """
    rows = _rows(store, known.position, known.until or "+")
    if not rows and known.until:
        # Redis keeps none of them any more.
        _change(store, token, "unpin")
        rows = _rows(store, known.position, "+")
    if not rows or (not known.until and not _change(store, token, "pin", rows[-1][0])):
        return None
    first = rows[0][1]
    return Batch(tuple(rows), max(0, first - known.number - 1) if first and known.number else 0)


def _rows(store: Store, after: str, until: str) -> list[tuple[str, int, str]]:
    with _away():
        page: Any = store._redis.xrange(keys.RECORDS, min=f"({after}", max=until, count=BATCH)
    return [(row_id, int(row.get("n", 0)), row["record"]) for row_id, row in page]


def told(store: Store, token: str, batch: Batch, now: float) -> bool:
    """A batch was taken at Unix time ``now``; False where somebody else has the lease by now, who tells it again."""
    last_id, number, _ = batch.rows[-1]
    return _change(store, token, "told", last_id, number, len(batch.rows), batch.lost, now)


def failed(store: Store, token: str, error: str) -> bool:
    """A batch was not taken, for this reason."""
    return _change(store, token, "fail", error)


def _change(store: Store, token: str, *words: object) -> bool:
    script: Any = store._redis.register_script(_CHANGE)
    names = [keys.RECORDS_TELLER, keys.RECORDS_TOLD, keys.EVENTS]
    with _away():
        return bool(script(keys=names, args=(token, *words)))
