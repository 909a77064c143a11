"""Who changed what."""

from __future__ import annotations

import re
from dataclasses import asdict

from operations.changes import Row
from operations.errors import InvalidError
from state import audit
from state.store import Store

_ID = re.compile(r"\d{1,15}-\d{1,15}")


def page(store: Store, after: str, limit: int) -> tuple[list[Row], str]:
    """Changes, the last one first, older than that with the id ``after`` if one is given; where the next page begins.

    Raises InvalidError, StoreError.
    """
    if after and not _ID.fullmatch(after):
        raise InvalidError(f"after: {after!r} is no id of a change such as 1700000000000-0")
    found = audit.read(store, before=after, limit=limit + 1)
    return [asdict(entry) for entry in found[:limit]], found[limit - 1].id if len(found) > limit else ""
