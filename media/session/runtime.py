"""Which switch a script means when it names none: that of the worker it runs on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

from media.esl.errors import ConnectionClosed
from media.esl.inbound import Inbound

_switch: ContextVar[Inbound] = ContextVar("switch")
_legs: ContextVar[list[Closing]] = ContextVar("legs")


class Closing(Protocol):
    """A leg, as far as the worker has to do with it."""

    async def close(self) -> None:
        """Hang up, unless that is not wanted, and end the connection."""


def use(switch: Inbound) -> None:
    """For what runs in this context from now on, and in tasks made by it."""
    _switch.set(switch)


def switch() -> Inbound:
    """The worker's connection to the switch.

    :raises ConnectionClosed: where no worker runs this.
    """
    try:
        return _switch.get()
    except LookupError:
        raise ConnectionClosed("no worker runs this script, so there is no switch to ask") from None


def own_legs() -> list[Closing]:
    """The legs that scripts make in this context from now on: who runs a script closes what it leaves behind."""
    legs: list[Closing] = []
    _legs.set(legs)
    return legs


def made(leg: Closing) -> None:
    """A script has made a leg."""
    if (legs := _legs.get(None)) is not None:
        legs.append(leg)
