"""Mailboxes as conversations, services and commands use them: the disk and Redis in one face, for an event loop.

The disk is asked in threads, and decides. Redis is told after it, and is asked where that is faster; while it is away
everything goes on from the disk, and what it missed it is told later, by the marks that the store keeps.

What methods raise besides OSError is in :mod:`media.voicemail.errors`. Redis never makes one fail.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from media.voicemail.attempts import Attempt, OwnAttempts, SharedAttempts
from media.voicemail.index import Contents, Index, Seen, score
from media.voicemail.job import Job
from media.voicemail.layout import FOLDERS
from media.voicemail.store import (
    BadBoxError,
    Box,
    Counts,
    DamagedMessageError,
    Folder,
    GreetingKind,
    GreetingRecording,
    Message,
    NoSuchBoxError,
    NoSuchMessageError,
    Pending,
    Recording,
    Store,
    Stored,
    Takes,
)
from media.voicemail.wanted import wanted
from state.clients import connect

REDIS_TIMEOUT = 1.0
"Seconds that Redis has to answer: a caller waits meanwhile."
AWAY = 2.0
"Seconds for which Redis is not asked after it did not answer."
TRANSCRIPT_WAIT = 600.0
"Seconds that a mail waits for its transcript."

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PinResult:
    """What became of trying a PIN."""

    state: Literal["ok", "wrong", "locked"]
    seconds: int = 0
    "For which no PIN is tried any more; 0: the next may be tried at once."


class Mailboxes:
    """All mailboxes of a store, and what Redis knows of them; ``redis_url`` None: there is none."""

    def __init__(self, store: Store, redis_url: str | None, *, transcript_wait: float = TRANSCRIPT_WAIT) -> None:
        """Connects to nothing. Raises :class:`state.store.StoreError` for an address of Redis that is none."""
        self.store = store
        self._wait = transcript_wait
        self._client: Redis | None = connect(redis_url, timeout=REDIS_TIMEOUT) if redis_url else None
        self._index = Index(self._client) if self._client else None
        self._shared = SharedAttempts(self._client) if self._client else None
        self._own = OwnAttempts()
        self._away_until = 0.0

    async def close(self) -> None:
        """Release the connections to Redis."""
        if self._client:
            await self._client.aclose()

    # Boxes

    async def boxes(self) -> list[str]:
        """Numbers of all boxes, sorted."""
        return await asyncio.to_thread(self.store.boxes)

    async def box(self, number: str) -> Box:
        """Settings of a box. Raises NoSuchBoxError, BadBoxError."""
        return await asyncio.to_thread(self.store.box, number)

    async def find_box(self, number: str) -> str:
        """The box that a number leads to. Raises NoSuchBoxError."""
        return await asyncio.to_thread(self.store.find_box, number)

    async def put_box(self, box: Box, *, new: bool = False) -> None:
        """Make a box, or replace all its settings. Raises BadBoxError; with ``new`` BoxExistsError."""
        await asyncio.to_thread(self.store.put_box, box, new=new)
        await self.refresh(box.number)

    async def update_box(self, number: str, **changes: Any) -> Box:
        """Change some settings; the box as it is then. Raises NoSuchBoxError, BadBoxError."""
        box = await asyncio.to_thread(self.store.update_box, number, **changes)
        await self.refresh(number)
        return box

    async def remove_box(self, number: str) -> None:
        """Remove a box with all that is in it. Raises NoSuchBoxError."""
        await asyncio.to_thread(self.store.remove_box, number)
        await self.refresh(number)

    async def set_pin(self, number: str, pin: str) -> None:
        """Raises NoSuchBoxError, BadPinError."""
        await asyncio.to_thread(self.store.set_pin, number, pin)
        await self.refresh(number)

    async def try_pin(self, number: str, pin: str) -> PinResult:
        """Try a PIN: the attempt counts before it is looked at. Raises NoSuchBoxError."""
        attempt = await self._attempt(number)
        if not attempt.allowed:
            return PinResult("locked", attempt.seconds)
        if await asyncio.to_thread(self.store.check_pin, number, pin):
            self._own.clear(number)
            if self._shared:
                await self._ask(self._shared.clear, number)
            return PinResult("ok")
        return PinResult("locked", attempt.seconds) if attempt.seconds else PinResult("wrong")

    async def _attempt(self, number: str) -> Attempt:
        """Of the shared limit; without Redis, of this process's."""
        shared = await self._ask(self._shared.take, number) if self._shared else None
        return shared or self._own.take(number)

    # Greetings

    async def greeting(self, box: str, kind: GreetingKind) -> Path | None:
        """The file, or None where none was recorded."""
        return await asyncio.to_thread(self.store.greeting, box, kind)

    async def begin_greeting(self, box: str, kind: GreetingKind) -> GreetingRecording:
        """Begin to record one. Raises NoSuchBoxError."""
        return await asyncio.to_thread(self.store.begin_greeting, box, kind)

    async def remove_greeting(self, box: str, kind: GreetingKind) -> bool:
        """Whether there was one."""
        return await asyncio.to_thread(self.store.remove_greeting, box, kind)

    # Messages

    async def begin(
        self,
        box: str,
        *,
        caller: str = "",
        caller_name: str = "",
        callee: str = "",
        reason: str = "",
        call: str = "",
    ) -> Recording:
        """Begin a message. Raises NoSuchBoxError, BadBoxError, QuotaError."""
        return await asyncio.to_thread(
            self.store.begin, box, caller=caller, caller_name=caller_name, callee=callee, reason=reason, call=call
        )

    async def begin_comment(self, box: str) -> Takes:
        """Begin what is said before a message that is forwarded. Raises NoSuchBoxError."""
        return await asyncio.to_thread(self.store.begin_comment, box)

    async def accept(self, recording: Recording, *, urgent: bool = False) -> Message:
        """Make a message of a recording; it is on the disk when this returns. Raises as Recording.accept."""
        message = await asyncio.to_thread(recording.accept, urgent=urgent)
        await self.accepted(message)
        return message

    async def accepted(self, message: Message) -> None:
        """Tell Redis of a message that is on the disk already."""
        await self.refresh(message.box, message.id)

    async def counts(self, box: str) -> Counts:
        """How many messages a box has. Raises NoSuchBoxError."""
        found = await self._ask(self._index.counts, box) if self._index else None
        if found is None or not any(found):
            # Few, or Redis does not know: the disk is asked, which also knows whether there is such a box.
            return await asyncio.to_thread(self.store.counts, box)
        new, saved, urgent_new, urgent_saved, deleted = found
        return Counts(new=new, saved=saved, urgent_new=urgent_new, urgent_saved=urgent_saved, deleted=deleted)

    async def page(self, box: str, folder: Folder, offset: int = 0, count: int = 50) -> list[str]:
        """Ids of messages in a folder, urgent ones first and then the oldest. Raises NoSuchBoxError."""
        found = await self._ask(self._index.page, box, folder, offset, count) if self._index else None
        if not found:
            found = await asyncio.to_thread(self._listed, box, folder)
            found = found[offset : offset + count]
        return found

    def _listed(self, box: str, folder: Folder) -> list[str]:
        urgent = self.store.urgent_ids(box)
        return sorted(self.store.ids(box, folder), key=lambda message: (message not in urgent, message))

    async def message(self, box: str, message: str) -> Stored:
        """A message as it is on the disk now. Raises NoSuchMessageError."""
        return await asyncio.to_thread(self.store.message, box, message)

    async def move(self, box: str, message: str, folder: Folder, *, source: Folder | None = None) -> bool:
        """Move to a folder, from ``source`` only if given; whether it moved. Raises NoSuchMessageError."""
        moved = await asyncio.to_thread(self.store.move, box, message, folder, source=source)
        await self.refresh(box, message)
        return moved

    async def purge(self, box: str, message: str) -> None:
        """Remove audio, text and all. Raises NoSuchMessageError."""
        await asyncio.to_thread(self.store.purge, box, message)
        await self.refresh(box, message)

    async def forward(self, box: str, message: str, to_box: str, comment: Path | None = None) -> Message:
        """Give another box a copy; the copy. Raises as Store.forward."""
        copy = await asyncio.to_thread(self.store.forward, box, message, to_box, comment)
        await self.accepted(copy)
        return copy

    # Redis

    async def refresh(self, box: str, message: str = "") -> None:
        """Tell Redis how a message, or a box itself, is on the disk now. Where Redis is away, that is done later."""
        await self._ask(self.settle, await asyncio.to_thread(self.store.pending_of, box, message))

    async def settle(self, pending: Pending) -> bool:
        """The same for a mark of the store, which is then removed. Raises RedisError."""
        if self._index is None:
            return False
        if pending.id:
            await self._index.look(pending.box, pending.id, lambda: asyncio.to_thread(self._seen, pending))
        else:
            await self.rebuild(pending.box)
        await asyncio.to_thread(self.store.settled, pending)
        return True

    async def rebuild(self, box: str) -> None:
        """Have the index of a box be as the disk is. Raises RedisError."""
        if self._index:
            await self._index.replace(box, lambda: asyncio.to_thread(self._contents, box))

    def wanted(self, stored: Stored) -> list[Job]:
        """What is still to be done with a message."""
        return wanted(stored, time.time(), self._wait)

    def _seen(self, pending: Pending) -> Seen:
        """Where a message is, and what is to be done with it. Blocks."""
        box = self._settings(pending.box)
        try:
            stored = self.store.message(pending.box, pending.id)
        except (NoSuchMessageError, NoSuchBoxError):
            return Seen(phones=box.phones)
        except DamagedMessageError:
            # It stands where it is, for a person to look at; nothing can be done with it.
            folder = self.store.where(pending.box, pending.id) or ""
            return Seen(folder=folder, score=score(pending.id, urgent=False), phones=box.phones)
        message = stored.message
        return Seen(
            folder=stored.folder,
            score=score(message.id, urgent=message.urgent),
            summary={
                "box": message.box, "id": message.id, "folder": stored.folder,
                "seconds": message.seconds, "urgent": message.urgent, "reason": message.reason,
                "call": message.call,
            },
            jobs=self.wanted(stored),
            phones=box.phones,
        )  # fmt: skip

    def _contents(self, number: str) -> Contents | None:
        """What is in a box, or None where it is no more. Blocks; opens no message."""
        try:
            urgent = self.store.urgent_ids(number)
            ids = {folder: self.store.ids(number, folder) for folder in FOLDERS}
        except NoSuchBoxError:
            return None
        scores = {
            folder: [(score(message, urgent=message in urgent), message) for message in found]
            for folder, found in ids.items()
        }
        return self._settings(number).phones, scores

    def _settings(self, number: str) -> Box:
        try:
            return self.store.box(number)
        except (NoSuchBoxError, BadBoxError, OSError):
            # Its messages are there, whatever its settings are.
            return Box(number=number, transcribe=False)

    async def _ask(self, question: Callable[..., Awaitable[T]], *args: Any) -> T | None:
        """What Redis answers; None where it is away, or was a moment ago."""
        if time.monotonic() < self._away_until:
            return None
        try:
            answer = await question(*args)
        except (RedisError, OSError, TimeoutError) as error:
            if not self._away_until:
                log.warning("Redis is away (%s): the disk alone is asked", type(error).__name__)
            self._away_until = time.monotonic() + AWAY
            return None
        if self._away_until:
            log.warning("Redis is back")
            self._away_until = 0.0
        return answer


_current: Mailboxes | None = None


def use(mailboxes: Mailboxes | None) -> None:
    """What call scripts of this process get; None: nothing any more."""
    global _current
    _current = mailboxes


def current() -> Mailboxes:
    """The mailboxes of this media worker. Raises LookupError where none were set."""
    if _current is None:
        raise LookupError("this process has no mailboxes")
    return _current
