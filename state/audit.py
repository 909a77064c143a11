"""Who changed what: a stream that the scripts of all changes write, so that no change is without its entry."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from state import keys
from state.codec import decode_drain, decode_entry
from state.store import Store, _away

_NAMES = {
    "put": "entry put", "del": "entry removed", "import": "imported", "policy": "policy applied", "drain": "drain",
    "unrate": "rates removed", "subscriber": "subscriber", "token": "token", "trip": "guard released",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change."""

    id: str
    "Of the stream: the milliseconds since 1970, a hyphen, a number."
    at: float
    "Unix time in seconds."
    who: str
    "``cli:USER``, ``token:NAME`` or the name of a process."
    what: str
    "``entry put``, ``entry removed``, ``imported``, ``policy applied``, ``drain``, ``rates removed``, …"
    subject: str
    "What was changed."
    before: Any
    "JSON, or text where it is none; None: it was not there."
    after: Any
    "The same; None: it is gone."


def read(store: Store, *, before: str = "", limit: int = 100) -> list[AuditEntry]:
    """Entries, the newest first, those older than the id ``before`` where one is given. Raises StoreError."""
    with _away():
        found: Any = store._redis.xrevrange(keys.AUDIT, max=f"({before}" if before else "+", count=limit)
    return [_decoded(id, item) for id, item in found]


def write(store: Store, what: str, subject: str, before: object = None, after: object = None) -> None:
    """Enter what was done that no change of the shared state is: a call hung up, a message deleted. Raises StoreError.

    ``before`` and ``after`` are what JSON knows; None: nothing was, or is, there.
    """
    sides = ["" if side is None else json.dumps(side, ensure_ascii=False) for side in (before, after)]
    fields = {"seq": "", "who": store.who, "what": what, "subject": subject, "before": sides[0], "after": sides[1]}
    with _away():
        store._redis.xadd(keys.AUDIT, fields, maxlen=keys.AUDIT_KEPT, approximate=True)  # type: ignore[arg-type]


def _decoded(id: str, item: dict[str, str]) -> AuditEntry:
    at = int(id.partition("-")[0]) / 1000
    op, subject = item["what"], item["subject"]
    before, after = (_value(op, subject, item[side]) for side in ("before", "after"))
    return AuditEntry(id, at, item["who"], _NAMES.get(op, op), subject, before, after)


def _value(op: str, subject: str, text: str) -> Any:
    if not text:
        return None
    if op in ("put", "del"):
        entry = asdict(decode_entry(subject, text))
        return {name: entry[name] for name in ("action", "expires", "reason", "created")}
    if op == "drain":
        return asdict(decode_drain(subject, text))
    try:
        return json.loads(text)
    except ValueError:
        return text
