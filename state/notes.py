"""What a process tells Redis, and nobody waits for: commands go out as they come, answers are read when they are there.

redis-py opens the connection, with all that an address may ask for; from then on its transport is ours. A command of
its own runs a hundred functions, which a call finds out of the processor's caches.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from state.clients import TIMEOUT

KEPT = 1000
"Notes that wait for their answer at most; what comes then is lost."
_KINDS = b"+-:$"
"How answers begin that are a line, or a line and a text behind it (RESP2); notes are commands with no other answers."

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Note:
    what: str
    commands: tuple[bytes, ...]
    answers: int
    "That are to come."
    level: int
    at: float
    "When it was told, by the loop's clock."
    again: bool = False
    "Whether it was sent on a connection that is gone."


class Notes(asyncio.Protocol):
    """Tells Redis, in order. What a connection took with it is told once more; it may have been done already."""

    def __init__(self, client: Redis) -> None:
        """``client`` says which Redis, and is used for nothing else here."""
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._writer: Any = None
        self._transport: asyncio.WriteTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._notes: deque[_Note] = deque()
        self._rest = b""

    def tell(self, what: str, *commands: bytes, level: int = logging.WARNING) -> None:
        """Send commands, as :func:`state.wire.packed` makes them. What is lost is logged as ``what``, at ``level``."""
        now = self._loop.time()
        if self._transport is None:
            self._connecting = self._connecting or self._loop.create_task(self._connect())
        elif self._notes and now - self._notes[0].at > TIMEOUT:
            self._transport.abort()
        if len(self._notes) >= KEPT:
            log.log(level, "%s is lost: Redis does not answer", what)
            return
        self._notes.append(_Note(what, commands, len(commands), level, now))
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(commands))

    async def close(self) -> None:
        """End, once what was told is on its way, if Redis takes it."""
        if self._connecting is not None:
            await self._connecting
        await asyncio.sleep(0)
        if self._transport is not None:
            self._notes.clear()
            (self._transport.abort if self._transport.get_write_buffer_size() else self._transport.close)()
        while self._transport is not None:
            await asyncio.sleep(0)

    async def _connect(self) -> None:
        try:
            connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
            await connection.connect()
        except (RedisError, OSError) as error:
            self._lose(self._notes, type(error).__name__)
            return
        finally:
            self._connecting = None
        # A writer that nobody holds closes what it writes to, and so does a connection.
        self._writer, connection._reader, connection._writer = connection._writer, None, None
        self._transport, self._rest = self._writer.transport, b""
        self._transport.set_protocol(self)
        now = self._loop.time()
        for note in self._notes:
            note.at, note.answers = now, len(note.commands)
            self._transport.write(b"".join(note.commands))

    def data_received(self, data: bytes) -> None:
        """See :class:`asyncio.Protocol`."""
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line and line[0] in _KINDS and self._notes:
                note = self._notes[0]
                note.answers -= 1
                if line[0] == 45:
                    # The first word says which error it is, and nothing of what was told.
                    log.log(note.level, "%s is lost: %s", note.what, line[1:].split()[0].decode("ascii", "replace"))
                if not note.answers:
                    self._notes.popleft()

    def connection_lost(self, error: Exception | None) -> None:
        """See :class:`asyncio.Protocol`."""
        self._writer = self._transport = None
        self._lose([note for note in self._notes if note.again], "the connection to Redis ended")
        self._notes = deque(note for note in self._notes if not note.again)
        for note in self._notes:
            note.again = True
        if self._notes:
            self._connecting = self._loop.create_task(self._connect())

    def _lose(self, notes: deque[_Note] | list[_Note], why: str) -> None:
        for note in notes:
            log.log(note.level, "%s is lost: %s", note.what, why)
        if notes is self._notes:
            self._notes.clear()
