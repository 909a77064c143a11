"""Searching the entries in Redis, however many there are.

There is no second, sorted copy of a million entries to keep equal to the first. Redis walks its table in short steps
and answers each with the names that match; only a page of them is ever kept here. So a page costs one walk, a second
or so at a million entries, and neither Redis nor this process holds more than a page for it.
"""

from __future__ import annotations

import heapq
import ipaddress
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from model.entries import Action, Entry, Kind, pair_value
from state import codec, keys
from state.store import Store, StoreError, _away

# Entries that one step looks at, in a few milliseconds.
STEP = 2000

# ARGV: 2 cursor, 3 pattern of names, 4 how contents begin, 5 Unix time or nothing, 6 and 7 names between which are told
# (the latter empty: up to the last), 8 ... texts, one of which is in it; the last one says who asks
_STEP = """
local found = redis.call('HSCAN', KEYS[3], ARGV[2], 'MATCH', ARGV[3], 'COUNT', 2000)
local now, above, below, names, count = tonumber(ARGV[5]), ARGV[6], ARGV[7], {}, 0
local sub, find, lower, begin = string.sub, string.find, string.lower, ARGV[4]
local forever = begin .. ',0.0'
for i = 1, #found[2], 2 do
  local field, content = found[2][i], found[2][i + 1]
  local fits = sub(content, 1, #forever) == forever
  if not fits and sub(content, 1, #begin) == begin then
    local expires = now and tonumber(string.match(content, '^%["%a+",([%d.e+]+)'))
    fits = not (expires and expires > 0 and expires <= now)
  end
  if fits and #ARGV > 8 then
    fits = false
    field, content = lower(found[2][i]), lower(content)
    for j = 8, #ARGV - 1 do
      if find(field, ARGV[j], 1, true) or find(content, ARGV[j], 1, true) then fits = true end
    end
    field = found[2][i]
  end
  if fits then
    count = count + 1
    if field > above and (below == '' or field < below) then names[#names + 1] = field end
  end
end
return {found[1], count, table.concat(names, '\\n')}
"""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the entries that were asked for, in the order of kind and value."""

    entries: tuple[Entry, ...]
    total: int
    "Of all that match, on every page."
    after: str
    "Name of the last one, after which the next page begins; empty where this page is the last."


def search(
    store: Store,
    *,
    action: Action,
    kind: Kind | None = None,
    texts: Iterable[str] = (),
    live_at: float | None = None,
    after: str = "",
    offset: int = 0,
    limit: int = 0,
) -> Page:
    """A page of at most ``limit`` entries (0: all) that hold one of ``texts``, ASCII letters in either case.

    ``live_at`` leaves out what has expired by then.
    """
    total, wanted = 0, offset + limit
    # One more, to know whether there is another page; a name may come twice.
    kept = _Smallest(wanted + 1 if limit else 0)
    for found, names in _walk(store, action, kind, texts, live_at, lambda: (after, kept.bound)):
        total += found
        kept.add(names)
    names = kept.names()
    page = names[offset:wanted] if limit else names[offset:]
    entries = _read(store, page)
    return Page(tuple(entries), total, page[-1] if limit and len(names) > wanted else "")


def count(store: Store, *, action: Action, kind: Kind | None = None, texts: Iterable[str] = (),
          live_at: float | None = None) -> int:  # fmt: skip
    """How many entries match."""
    return sum(found for found, _ in _walk(store, action, kind, texts, live_at, lambda: ("", "!")))


def one(store: Store, kind: Kind, value: str) -> Entry | None:
    """The entry of this kind and normalised value, of either list; None where there is none."""
    return next(iter(_read(store, [codec.entry_field(kind, value)])), None)


def matching(
    store: Store, *, caller: str = "", callee: str = "", source: str = "", user_agent: str = ""
) -> list[Entry]:
    """The entries of either list that a call of these normalised numbers meets; empty: not asked for."""
    names = [codec.entry_field(kind, value) for kind, value in _candidates(caller, callee, source)]
    if user_agent:
        lowered = user_agent.lower()
        patterns = (
            name
            for action in Action
            for _, names in _walk(store, action, Kind.USER_AGENT, (), None, lambda: ("", ""))
            for name in names
        )
        names += sorted(name for name in set(patterns) if name.partition(":")[2] in lowered)
    return _read(store, names)


def _candidates(caller: str, callee: str, source: str) -> Iterator[tuple[Kind, str]]:
    for exact, prefix, number in (
        (Kind.CALLER, Kind.CALLER_PREFIX, caller),
        (Kind.CALLEE, Kind.CALLEE_PREFIX, callee),
    ):
        if number:
            yield exact, number
            yield from ((prefix, number[:length]) for length in range(len(number), 0, -1))
    if caller and callee:
        yield Kind.PAIR, pair_value(caller, callee)
    if source:
        address = ipaddress.ip_address(source)
        for length in range(address.max_prefixlen, -1, -1):
            yield Kind.SOURCE, str(ipaddress.ip_network((address, length), strict=False))


class _Smallest:
    """The first names in order, without ever holding many more; ``size`` 0: all."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: set[str] = set()
        self.bound = ""
        "Names from here on are none of them; empty: nobody knows yet."

    def add(self, names: list[str]) -> None:
        """Some more, in any order."""
        self._kept.update(names)
        if self._size and len(self._kept) >= self._size:
            self._kept = set(heapq.nsmallest(self._size, self._kept))
            self.bound = max(self._kept)

    def names(self) -> list[str]:
        """In order."""
        return sorted(self._kept)


def _walk(
    store: Store, action: Action, kind: Kind | None, texts: Iterable[str], live_at: float | None,
    between: Callable[[], tuple[str, str]],
) -> Iterator[tuple[int, list[str]]]:  # fmt: skip
    """Step by step, how many match, and the names of those that stand between two others."""
    # As they stand in JSON, and in names; Redis lowers the letters of ASCII only.
    needles = [json.dumps(text)[1:-1].lower() for text in texts]
    needles += [text.encode().lower().decode() for text in texts if not text.isascii()]
    first = (f"{kind}:*" if kind else "*", f'["{action}"', "" if live_at is None else live_at)
    with _away():
        swaps = store._redis.hget(keys.META, "swaps")
    cursor = "0"
    while True:
        cursor, found, names = store._script(_STEP, (keys.ENTRIES,), (cursor, *first, *between(), *needles))
        yield int(found), names.split("\n") if names else []
        if cursor == "0":
            break
    with _away():
        if store._redis.hget(keys.META, "swaps") != swaps:
            raise StoreError("an import took effect while the list was searched: try again")


def _read(store: Store, names: list[str]) -> list[Entry]:
    """These entries, those that are there."""
    found: list[Entry] = []
    for first in range(0, len(names), STEP):
        part = names[first : first + STEP]
        with _away():
            contents = cast("list[str | None]", store._redis.hmget(keys.ENTRIES, part))
        found += [codec.decode_entry(name, text) for name, text in zip(part, contents, strict=True) if text is not None]
    return found
