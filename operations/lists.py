"""The blocklist and the allow list."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import BinaryIO

from model import listfile
from model.entries import Action, Entry, EntryError, Kind, parse_entry_value, parse_pair
from model.listfile import Flaw
from model.numbers import Dialling, normalise, normalise_beginning
from operations import importing
from operations.changes import Row, in_force
from operations.errors import MissingError
from operations.routes import csv_line
from state import codec, keys
from state import search as searching
from state.bulk import Import
from state.store import Store


def row(entry: Entry) -> Row:
    """An entry as JSON shows it."""
    return {
        "action": entry.action,
        "kind": entry.kind,
        "value": entry.value,
        "expires": entry.expires or None,
        "reason": entry.reason,
        "created": entry.created,
    }


def put(
    store: Store, action: Action, kind: Kind, value: str, *, callee: str = "", ttl: float | None, reason: str
) -> Row:
    """Put an entry, in the place of one of its kind and value, and wait for the nodes. Raises EntryError, StoreError.

    ``callee`` is that of a pair; ``ttl`` is in seconds, None: for good.
    """
    kind, value = _named(_dialling(store), kind, value, callee)
    now = time.time()
    entry = Entry(kind, value, action, expires=now + ttl if ttl else 0.0, reason=reason, created=now)
    return {**row(entry), **in_force(store, store.put(entry))}


def remove(store: Store, action: Action, kind: Kind, value: str, *, callee: str = "") -> Row:
    """Remove an entry, and wait for the nodes. Raises EntryError, MissingError, StoreError."""
    kind, value = _named(_dialling(store), kind, value, callee)
    known = searching.one(store, kind, value)
    change = store.delete(kind, value) if known is not None and known.action is action else None
    if change is None:
        raise MissingError(f"the {action} list has no entry for {kind} {value}")
    return {"kind": kind, "value": value, **in_force(store, change)}


def page(
    store: Store, action: Action, *, kind: Kind | None, search: str, after: str, limit: int
) -> tuple[list[Row], int, str]:
    """Entries in force in the order of kind and value; how many match in all; and where the next page begins.

    That is empty where there is none.
    """
    found = searching.search(
        store, action=action, kind=kind, texts=spellings(store, search), live_at=time.time(), after=after, limit=limit
    )
    return [row(entry) for entry in found.entries], found.total, found.after


def size(store: Store) -> int:
    """How many entries both lists have together, expired ones included. Raises StoreError."""
    return store.count(keys.ENTRIES)


def met(store: Store, *, caller: str, callee: str, source: str, user_agent: str) -> list[Row]:
    """The entries of either list that a call would meet, those of the allow list first. Raises EntryError."""
    if not (caller or callee or source or user_agent):
        raise EntryError("name what a call has: its caller, callee, source or user agent")
    dialling, now = _dialling(store), time.time()
    found = searching.matching(
        store,
        caller=parse_entry_value(Kind.CALLER, caller, dialling) if caller else "",
        callee=parse_entry_value(Kind.CALLEE, callee, dialling) if callee else "",
        source=_address(source) if source else "",
        user_agent=user_agent,
    )
    return [row(entry) for entry in sorted(found, key=lambda entry: entry.action) if entry.live(now)]


def spellings(store: Store, text: str) -> tuple[str, ...]:
    """What to search for: the text, and how entries hold it if it is a number."""
    if not text:
        return ()
    dialling = _dialling(store)
    return tuple(dict.fromkeys((text, normalise(text, dialling), normalise_beginning(text, dialling))))


def _named(dialling: Dialling, kind: Kind, value: str, callee: str) -> tuple[Kind, str]:
    if kind is not Kind.PAIR:
        if callee:
            raise EntryError(f"callee belongs to a pair, not to {kind}")
        return kind, parse_entry_value(kind, value, dialling)
    # As the lists show a pair, or its two sides apart.
    caller, _, shown = value.partition(">")
    sides = parse_entry_value(Kind.CALLER, caller, dialling), parse_entry_value(Kind.CALLEE, callee or shown, dialling)
    return kind, parse_pair(*sides)


def _dialling(store: Store) -> Dialling:
    return store.policy().decode()[0].dialling


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise EntryError(f"source {text!r} is no IP address") from None


def imported(store: Store, action: Action, file: BinaryIO, *, replace: bool, skip_bad: bool) -> Row:
    """Import a list (CSV: kind,value,expires,reason) as one change, and wait for the nodes. Raises ListFileError."""
    now, dialling = time.time(), _dialling(store)
    work = Import(store, table="entries", replace=replace, created=now, action=action)
    return importing.imported(
        store, work, file, lambda lines: records(lines, action, dialling, now), replace=replace, skip_bad=skip_bad,
        what="entries",
    )  # fmt: skip


def records(
    lines: Iterable[str], action: Action, dialling: Dialling, now: float
) -> Iterator[tuple[str, str] | Flaw]:
    """Entries of a file as they are stored, or what is wrong with them."""
    for found in listfile.read_entries(lines, action=action, dialling=dialling, now=now):
        if isinstance(found, Flaw):
            yield found
        else:
            _, entry = found
            yield codec.entry_field(entry.kind, entry.value), _content(entry.action, entry.expires, entry.reason, now)


# Most entries of a list say the same.
@lru_cache(maxsize=4096)
def _content(action: Action, expires: float, reason: str, created: float) -> str:
    # Kind and value are not part of it.
    return codec.encode_entry(Entry(Kind.CALLER, "", action, expires=expires, reason=reason, created=created))


def exported(store: Store, action: Action) -> Iterator[str]:
    """The list in force as lines of a CSV file that :func:`imported` takes."""
    now, mark = time.time(), f'["{action}"'
    yield csv_line(listfile.COLUMNS)
    for name, content in store.records(keys.ENTRIES):
        if content.startswith(mark) and (entry := codec.decode_entry(name, content)).live(now):
            yield csv_line((entry.kind, entry.value, listfile.expires_text(entry.expires), entry.reason))
