"""What state a channel is in, and what it is asked to do (switch_types.h)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class State(IntEnum):
    """Channel states, numbered as in switch_types.h."""

    CS_NEW = 0
    CS_INIT = 1
    CS_ROUTING = 2
    CS_SOFT_EXECUTE = 3
    CS_EXECUTE = 4
    CS_EXCHANGE_MEDIA = 5
    CS_PARK = 6
    CS_CONSUME_MEDIA = 7
    CS_HIBERNATE = 8
    CS_RESET = 9
    CS_HANGUP = 10
    CS_REPORTING = 11
    CS_DESTROY = 12
    CS_NONE = 13


@dataclass(slots=True)
class Command:
    """What sendmsg asked a channel to do."""

    headers: Mapping[str, str]
    body: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def get(self, name: str) -> str:
        """A header's value, whatever the case of its name; "" where there is none."""
        return next((value for key, value in self.headers.items() if key.lower() == name), "")
