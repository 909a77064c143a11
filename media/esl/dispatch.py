"""Which event is whose; pure.

An event that somebody waits for carries an identifier we chose, so no other call's event can be taken for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from media.esl.message import Event

log = logging.getLogger(__name__)

Handler = Callable[[Event], None]

JOB, EXECUTED = "BACKGROUND_JOB", "CHANNEL_EXECUTE_COMPLETE"
_OURS = {JOB: "Job-UUID", EXECUTED: "Application-UUID"}


class Waiter(Protocol):
    """What a future is to us."""

    def done(self) -> bool:
        """Whether it has its event, or is given up."""

    def set_result(self, result: Event, /) -> None:
        """The event."""

    def set_exception(self, exception: BaseException, /) -> None:
        """There will be none."""


class Dispatch:
    """Those who wait for one event, and those who listen to all others."""

    __slots__ = ("_handlers", "_waiters")

    def __init__(self) -> None:
        self._waiters: dict[str, Waiter] = {}
        self._handlers: tuple[Handler, ...] = ()

    def expect(self, ours: str, waiter: Waiter) -> None:
        """``waiter`` gets the end of the job or application that we named ``ours``."""
        self._waiters[ours] = waiter

    def forget(self, ours: str) -> None:
        """Nobody waits for that any more; its event goes to those who listen."""
        self._waiters.pop(ours, None)

    def listen(self, handler: Handler) -> Callable[[], None]:
        """Call ``handler`` for each event nobody waits for; returns how to stop that."""
        self._handlers = (*self._handlers, handler)

        def stop() -> None:
            self._handlers = tuple(one for one in self._handlers if one is not handler)

        return stop

    def event(self, event: Event) -> None:
        """The next event; what a handler raises is logged, and is no matter of the others."""
        if self._waiters and (waiter := self._waiter(event)):
            waiter.set_result(event)
            return
        for handler in self._handlers:
            try:
                handler(event)
            except Exception:
                log.exception("a handler of %s failed", event.name)

    def fail(self, error: Callable[[], BaseException]) -> None:
        """There will be no more events."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(error())

    def _waiter(self, event: Event) -> Waiter | None:
        header = _OURS.get(event.name)
        waiter = self._waiters.pop(event.get(header) or "", None) if header else None
        return None if waiter is None or waiter.done() else waiter
