"""What calls recorded: noted by the media worker when a recording begins, so that the call's record can name it.

A name is a path below the folder of recordings (``Settings.recordings``), or a whole path where it lies elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from state import keys
from state.store import Store, _away
from state.wire import packed

KEPT = 25 * 3600
"Seconds that a note is kept: longer than a call may last (agent/assembly.py)."
MOST = 100
"Recordings of a call that are noted; later ones are not."


def note(call: str, name: str) -> tuple[bytes, ...]:
    """The commands that note that a call records, for :class:`state.notes.Notes`."""
    key = keys.record_recordings(call)
    return packed("RPUSH", key, name), packed("LTRIM", key, 0, MOST - 1), packed("EXPIRE", key, KEPT)


def noted(store: Store, calls: Iterable[str]) -> list[tuple[str, ...]]:
    """For each call the names of what it recorded, in that order, each once. Raises StoreError."""
    pipe = store._redis.pipeline(transaction=False)
    for call in calls:
        pipe.lrange(keys.record_recordings(call), 0, -1)
    with _away():
        found = cast("list[list[str]]", cast(Any, pipe).execute())
    return [tuple(dict.fromkeys(names)) for names in found]
