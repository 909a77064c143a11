"""Searching the entries in Redis, however many there are.

There is no second, sorted copy of a million entries to keep equal to the first. Redis walks its table in short steps
and answers each with the names that match; only a page of them is ever kept here. So a page costs one walk, a second
or so at a million entries, and neither Redis nor this process holds more than a page for it.
"""

from __future__ import annotations

import heapq
import ipaddress
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from model.entries import Action, Entry, Kind, pair_value
from state import codec, keys
from state.store import Store, StoreError, _away

# Entries that one step looks at, in a few milliseconds.
STEP = 2000

# ARGV: 2 cursor, 3 pattern of names, 4 how contents begin, 5 Unix time or nothing, 6 ... texts, one of which is in it
_STEP = """
local found = redis.call('HSCAN', KEYS[3], ARGV[2], 'MATCH', ARGV[3], 'COUNT', 2000)
local now, names = tonumber(ARGV[5]), {}
for i = 1, #found[2], 2 do
  local field, content = found[2][i], found[2][i + 1]
  local fits = string.sub(content, 1, #ARGV[4]) == ARGV[4]
  if fits and now then
    local expires = tonumber(string.match(content, '^%["%a+",([%d.e+]+)'))
    fits = not (expires and expires > 0 and expires <= now)
  end
  if fits and #ARGV > 6 then
    fits = false
    local text = string.lower(field .. ' ' .. content)
    for j = 6, #ARGV - 1 do
      if string.find(text, ARGV[j], 1, true) then fits = true end
    end
  end
  if fits then names[#names + 1] = field end
end
return {found[1], table.concat(names, '\\n')}
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
    total = 0

    def beyond() -> Iterator[str]:
        nonlocal total
        for names in _walk(store, action, kind, texts, live_at):
            total += len(names)
            yield from (name for name in names if name > after)

    wanted = offset + limit
    # One more, to know whether there is another page; a name may come twice.
    names = _smallest(beyond(), wanted + 1) if limit else sorted(set(beyond()))
    page = names[offset:wanted] if limit else names[offset:]
    entries = _read(store, page)
    return Page(tuple(entries), total, page[-1] if limit and len(names) > wanted else "")


def count(store: Store, *, action: Action, kind: Kind | None = None, texts: Iterable[str] = (),
          live_at: float | None = None) -> int:  # fmt: skip
    """How many entries match."""
    return sum(len(names) for names in _walk(store, action, kind, texts, live_at))


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
        patterns = (name for action in Action for names in _walk(store, action, Kind.USER_AGENT, (), None)
                    for name in names)  # fmt: skip
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


def _smallest(names: Iterator[str], size: int) -> list[str]:
    """The first ``size`` in order, without ever holding many more."""
    kept: list[str] = []
    bound = ""
    for name in names:
        if bound and name > bound:
            continue
        kept.append(name)
        if len(kept) >= 2 * size + STEP:
            kept = heapq.nsmallest(size, set(kept))
            bound = kept[-1] if len(kept) == size else ""
    return heapq.nsmallest(size, set(kept))


def _walk(
    store: Store, action: Action, kind: Kind | None, texts: Iterable[str], live_at: float | None
) -> Iterator[list[str]]:
    """Names that match, step by step."""
    # As they stand in JSON, and in names; Redis lowers the letters of ASCII only.
    needles = [json.dumps(text)[1:-1].lower() for text in texts]
    needles += [text.encode().lower().decode() for text in texts if not text.isascii()]
    arguments = (f"{kind}:*" if kind else "*", f'["{action}"', "" if live_at is None else live_at, *needles)
    with _away():
        swaps = store._redis.hget(keys.META, "swaps")
    cursor = "0"
    while True:
        cursor, names = store._script(_STEP, (keys.ENTRIES,), (cursor, *arguments))
        if names:
            yield names.split("\n")
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
