"""Which switch a script means when it names none: that of the worker it runs on."""

from __future__ import annotations

from contextvars import ContextVar

from media.esl.errors import ConnectionClosed
from media.esl.inbound import Inbound

_switch: ContextVar[Inbound] = ContextVar("switch")


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
