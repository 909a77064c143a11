"""Whether a process lives, and is ready; pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that has to be well."""

    name: str
    "``redis``, ``kamailio``, ``draining``, …"
    ok: bool
    text: str
    "For people; no password in it, and nothing of a call."


Checks = Callable[[], Iterable[Check]]


def nothing() -> list[Check]:
    """No checks: who answers at all is well."""
    return []


def body(word: str, checks: Iterable[Check]) -> tuple[bool, bytes]:
    """Whether all is well, and the same as JSON: ``{"ready": false, "checks": [{"name", "ok", "text"}]}``."""
    found = list(checks)
    well = all(check.ok for check in found)
    return well, json.dumps({word: well, "checks": [asdict(check) for check in found]}).encode() + b"\n"
