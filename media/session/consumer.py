"""Events of the whole switch, for scripts that wait for them (M12)."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from media.esl.errors import CommandError, ConnectionClosed
from media.esl.inbound import Inbound
from media.esl.message import Event as SwitchEvent
from media.esl.queue import EventQueue
from media.session import runtime
from media.session.events import Event, event_name

LIMIT = 5000
"Events held for one consumer (DEFAULT_MAX_QUEUE of switch_cpp.h is as long)."


class EventConsumer:
    """Holds the events it is bound to until they are popped.

    At most ``limit``; when more come, the oldest is dropped and counted in :attr:`dropped` (Lua drops the newest and
    writes it to the log). ``async with EventConsumer("CUSTOM", "my::event") as consumer`` binds and cleans up; so does
    ``await EventConsumer.open(...)`` with :meth:`cleanup`. ``async for event in consumer`` pops for ever.
    """

    def __init__(
        self, name: str = "", subclass: str = "", *, limit: int = LIMIT, switch: Inbound | None = None
    ) -> None:
        """Bound to nothing yet: see :meth:`open`."""
        self._first = (name, subclass)
        self._switch = switch or runtime.switch()
        self._wanted: set[tuple[str, str]] = set()
        self._queue = EventQueue(limit)
        self._stop: Callable[[], None] | None = None

    @classmethod
    async def open(cls, name: str = "", subclass: str = "", *, limit: int = LIMIT) -> Self:
        """Bound, as the constructor of Lua's is: what comes after this is not missed."""
        return await cls(name, subclass, limit=limit).__aenter__()

    async def __aenter__(self) -> Self:
        self._stop = self._stop or self._switch.listen(self._put)
        if self._first[0]:
            await self.bind(*self._first)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cleanup()

    @property
    def dropped(self) -> int:
        """Events lost because nobody popped."""
        return self._queue.dropped

    async def bind(self, name: str, subclass: str = "") -> bool:
        """Events of this name too; "all" for every one.

        :raises ArgumentError: for a name the switch does not know.
        """
        kind = event_name(name)
        self._stop = self._stop or self._switch.listen(self._put)
        if (kind, subclass) not in self._wanted:
            self._wanted.add((kind, subclass))
            try:
                await self._switch.events(_asked(kind, subclass))
            except CommandError:
                self._wanted.discard((kind, subclass))
                raise
        return True

    async def pop(self, block: bool | int = False, timeout: int = 0) -> Event | None:
        """The oldest event, or None.

        Without ``block`` None comes at once; with it after ``timeout`` milliseconds (0: never), or when the consumer
        was cleaned up.
        """
        if not block and not len(self._queue):
            return None
        try:
            return Event.of(await self._queue.get(timeout / 1000 if timeout > 0 else None))
        except (TimeoutError, ConnectionClosed):
            return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self.pop(1)
        if event is None:
            raise StopAsyncIteration
        return event

    def cleanup(self) -> None:
        """Take no more events; who waits for one gets None."""
        if self._stop:
            self._stop()
            self._stop = None
            # Or the switch sends them to this worker for ever.
            self._switch.release(*(_asked(*one) for one in self._wanted))
            self._wanted.clear()
        self._queue.close()

    def _put(self, event: SwitchEvent) -> None:
        name = event.name
        wanted = self._wanted
        if (name, "") in wanted or ("ALL", "") in wanted or (name == "CUSTOM" and (name, event.subclass) in wanted):
            self._queue.put(event)


def _asked(kind: str, subclass: str) -> str:
    return f"{kind} {subclass}" if subclass else kind
