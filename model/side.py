"""How one side of a call is reached: whether it is behind NAT, and what its sound needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Side:
    """What a trunk, a gateway or the subscribers are known to need."""

    nat: str = "no"
    "``no``; ``yes``; or ``auto``: where its messages show it."
    relay: str = "auto"
    "Whether its sound goes through the media relay: ``auto``: where a call needs that, ``always`` or ``never``."
    srtp: str = ""
    "What it speaks: ``require``: SRTP, ``no``: RTP; empty: whatever the other side does."


PLAIN = Side()
