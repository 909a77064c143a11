"""Events for one who has to wait between them."""

from __future__ import annotations

import asyncio
from collections import deque

from media.esl.errors import ConnectionClosed
from media.esl.message import Event


class EventQueue:
    """Holds ``limit`` events; where more come than are taken the oldest is dropped and counted.

    The newest say how things stand, and a switch is never held up: it kills a listener that lets 500 events be lost
    (event_handler() of mod_event_socket.c). ``connection.listen(queue.put)`` fills it.
    """

    __slots__ = ("_closed", "_events", "_waiting", "dropped")

    def __init__(self, limit: int = 10_000) -> None:
        self._events: deque[Event] = deque(maxlen=limit)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self.dropped = 0
        "Events dropped so far."

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """The newest event."""
        if len(self._events) == self._events.maxlen:
            self.dropped += 1
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """No more will come; what is there can still be taken."""
        self._closed = True
        while self._waiting:
            self._wake()

    async def get(self, timeout: float | None = None) -> Event:
        """The oldest event.

        :raises TimeoutError: when none came within ``timeout`` seconds.
        :raises ConnectionClosed: when the queue was closed, and is empty.
        """
        async with asyncio.timeout(timeout):
            while not self._events:
                if self._closed:
                    raise ConnectionClosed("no more events")
                await self._wait()
        return self._events.popleft()

    def clear(self) -> None:
        """Forget the events that are there."""
        self._events.clear()

    async def _wait(self) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        except asyncio.CancelledError:
            # Woken and cancelled at once: the event is another's now.
            if future.done() and not future.cancelled():
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
