"""What is to be found in the console, in the order of its menu."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """An item of the menu."""

    path: str
    label: str
    role: str = "read"
    "Who has less is not shown it."

    def holds(self, here: str) -> bool:
        """Whether the page with the path ``here`` belongs to it."""
        return here == self.path or (self.path != "/" and here.startswith(f"{self.path}/"))


NAV: tuple[Place, ...] = (
    Place("/", "Overview"),
    Place("/calls", "Calls"),
    Place("/explain", "Explain"),
    Place("/policy", "Policy"),
    Place("/gateways", "Gateways"),
    Place("/lists/block", "Lists"),
    Place("/subscribers", "Subscribers"),
    Place("/voicemail", "Voicemail"),
    Place("/fraud", "Fraud"),
    Place("/nodes", "Nodes"),
    Place("/audit", "Audit", "admin"),
    Place("/tokens", "Tokens", "admin"),
)
