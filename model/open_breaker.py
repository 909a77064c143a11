"""What nodes tell one another of breakers that open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from json import dumps, loads
from typing import Any

AFTER = 60.0
"Seconds after the end of an open breaker in which it is still told: other nodes begin with a trial call then."


@dataclass(frozen=True, slots=True)
class OpenBreaker:
    """A breaker of one node, opened by failures that this node saw."""

    node: str
    gateway: str
    at: float
    "Unix time at which it opened; with the node's name it says which opening it is."
    until: float
    "Unix time until which it is open."
    since: float
    "Unix time of the first of the failures that opened it."
    failures: Mapping[str, int] = field(default_factory=dict)
    "Kind of failure to how many there were."

    def live(self, now: float) -> bool:
        """Whether the breaker is still open at Unix time ``now``."""
        return self.until > now

    def over(self, now: float) -> bool:
        """Whether nobody is to go by it any more at Unix time ``now``, not even with a trial call."""
        return self.until + AFTER <= now

    def encode(self) -> str:
        """As JSON."""
        return dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def decode(cls, text: str) -> OpenBreaker:
        """From what :meth:`encode` made, or a later version of it. Raises ValueError, TypeError."""
        data: dict[str, Any] = loads(text)
        known = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})
