"""Which switch a script means when it names none: that of the worker it runs on."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Protocol

from media.esl.errors import ConnectionClosed
from media.esl.inbound import Inbound


class Leg(Protocol):
    """A call that a script placed."""

    async def close(self) -> None:
        """Hang up, and end its connection."""


_switch: ContextVar[Inbound] = ContextVar("switch")
_legs: ContextVar[list[Leg]] = ContextVar("legs")


def use(switch: Inbound) -> None:
    """For the script that runs in this context from now on, and in tasks made by it."""
    _switch.set(switch)
    _legs.set([])


def switch() -> Inbound:
    """The worker's connection to the switch.

    :raises ConnectionClosed: where no worker runs this.
    """
    try:
        return _switch.get()
    except LookupError:
        raise ConnectionClosed("no worker runs this script, so there is no switch to ask") from None


def keep(leg: Leg) -> None:
    """``leg`` ends with the script, where a worker runs it."""
    _legs.get([]).append(leg)


def forget(leg: Leg) -> None:
    """``leg`` has ended."""
    legs = _legs.get([])
    if leg in legs:
        legs.remove(leg)


async def end_legs() -> None:
    """The script is over, and so are the calls it placed."""
    legs = _legs.get([])
    if not legs:
        return
    ending = [leg.close() for leg in legs]
    legs.clear()
    for error in await asyncio.gather(*ending, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error
