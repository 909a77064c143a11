"""Follows the stream of events once for a whole process, and gives each event to those who want it.

Nobody waits for anybody: the reader puts events into bounded queues (:mod:`operations.event_queue`), and each client
takes out of its own. Who wants calls by number, gateway, trunk or id is found by that (:class:`Wanted.anchors`), so an
event costs as much as there are clients that may want it, not as there are clients.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from operations.event_filters import Anchor, Wanted, anchors_of
from operations.event_queue import SIZE, Lost, Waiting
from operations.events import Row, ordered, row
from state import keys
from state.clients import connect

BLOCK = 1.0
"Seconds that one look at the stream lasts."
BATCH = 500
"Events read at a time."
PAGE = 500
"Events read at a time for a client that resumes."
RETRY_EVERY = 0.5
"Seconds before another try, when Redis is away."
START = "0-0"

log = logging.getLogger("strowger.events")


class Follower:
    """One client: what it wants, and what waits for it."""

    def __init__(self, wanted: Iterable[Wanted], size: int = SIZE) -> None:
        self.wanted = tuple(wanted)
        self.after = START
        "Up to this id it has what it wants, and gets nothing again."
        self.entered = False
        "Whether events are given to it; not while it reads what it missed."
        self._waiting = Waiting(size)
        self._news = asyncio.Event()

    def offer(self, event: Row, text: str) -> bool:
        """Put an event into the queue, if it is wanted and not known yet; whether another is lost by that."""
        if ordered(event["id"]) > ordered(self.after) and wants(self.wanted, event):
            self._news.set()
            return self._waiting.put(event["id"], text)
        return False

    async def next(self) -> Lost | str:
        """What is to be sent next: an event as JSON, or how many were lost."""
        while (found := self._waiting.take()) is None:
            self._news.clear()
            await self._news.wait()
        return found

    @property
    def waiting(self) -> int:
        """How many events wait."""
        return len(self._waiting)


def wants(wanted: tuple[Wanted, ...], event: Row) -> bool:
    """Whether any of the filters lets an event pass; without one, everything does."""
    return not wanted or any(one.passes(event) for one in wanted)


class Hub:
    """Made once for each process, in its event loop; :meth:`run` is its task."""

    def __init__(self, url: str, *, size: int = SIZE) -> None:
        """``url`` as :class:`state.store.Store` takes it. Raises :class:`state.store.StoreError`."""
        self._client: Redis = connect(url)
        self._size = size
        self._places: defaultdict[Anchor, set[Follower]] = defaultdict(set)
        self._last = ""
        "Id of the last event that was given out; empty: nothing was read yet."
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0
        "Events that clients did not get, since they were too slow."
        self.read = 0
        "Events read since the start."

    async def close(self) -> None:
        """End the reading, and release the connections."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._client.aclose()

    @property
    def followers(self) -> int:
        """How many clients follow."""
        return len({follower for found in self._places.values() for follower in found})

    async def bounds(self) -> tuple[str, str]:
        """Ids of the first and the last event that the stream holds; ``0-0`` where it holds none. Raises RedisError."""
        first: Any = await self._client.xrange(keys.EVENTS, count=1)
        return (first[0][0] if first else START), await self._newest()

    async def _newest(self) -> str:
        last: Any = await self._client.xrevrange(keys.EVENTS, count=1)
        return last[0][0] if last else START

    @asynccontextmanager
    async def following(self, wanted: Iterable[Wanted], since: str = "") -> AsyncIterator[tuple[Follower, Past]]:
        """A client while the block runs. What it missed behind ``since`` is to be sent from :class:`Past` first.

        Raises RedisError.
        """
        if not self._last:
            newest = await self._newest()
            self._last = self._last or newest
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="events")
        follower = Follower(wanted, self._size)
        follower.after = since or self._last
        if not since:
            self.enter(follower)
        try:
            yield follower, Past(self, follower, replay=bool(since))
        finally:
            self.leave(follower)

    def enter(self, follower: Follower) -> None:
        """Give it events from now on."""
        for anchor in _anchors(follower.wanted):
            self._places[anchor].add(follower)
        follower.entered = True

    def leave(self, follower: Follower) -> None:
        """Give it none any more."""
        for anchor in _anchors(follower.wanted):
            self._places[anchor].discard(follower)
            if not self._places[anchor]:
                del self._places[anchor]
        follower.entered = False

    def change(self, follower: Follower, wanted: Iterable[Wanted]) -> None:
        """From the next event on it wants something else."""
        entered = follower.entered
        self.leave(follower)
        follower.wanted = tuple(wanted)
        if entered:
            self.enter(follower)

    async def _run(self) -> None:
        said = False
        while True:
            try:
                found: Any = await self._client.xread({keys.EVENTS: self._last}, count=BATCH, block=int(BLOCK * 1000))
                said = False
            except RedisError as error:
                if not said:
                    log.warning("events are not read: %s", error)
                said = True
                await asyncio.sleep(RETRY_EVERY)
                await self._look_back()
                continue
            for id, entry in found[0][1] if found else ():
                self._last = id
                self._give(row(id, entry))

    async def _look_back(self) -> None:
        """A Redis that lost its last events gives their ids to others."""
        with suppress(RedisError):
            newest = await self._newest()
            if ordered(newest) < ordered(self._last):
                self._last = newest
                for follower in {one for found in self._places.values() for one in found}:
                    follower.after = newest

    def _give(self, event: Row) -> None:
        self.read += 1
        text = ""
        seen: set[Follower] = set()
        for anchor in anchors_of(event):
            for follower in self._places.get(anchor, ()):
                if follower not in seen:
                    seen.add(follower)
                    text = text or encoded(event)
                    self.dropped += follower.offer(event, text)

    async def _page(self, after: str) -> list[Row]:
        found: Any = await self._client.xrange(keys.EVENTS, min=f"({after}", count=PAGE)
        return [row(id, entry) for id, entry in found]

    @property
    def last(self) -> str:
        """Id of the last event that was given out."""
        return self._last


class Past:
    """What a client missed, read page by page: however much it is, it waits for the client, and not in memory."""

    def __init__(self, hub: Hub, follower: Follower, *, replay: bool) -> None:
        self._hub, self._follower, self._replay = hub, follower, replay

    async def messages(self) -> AsyncIterator[str]:
        """Events behind its id, as JSON; with their end it is given what comes. Raises RedisError."""
        hub, follower = self._hub, self._follower
        while self._replay:
            given = hub.last
            page = await hub._page(follower.after)
            for event in page:
                follower.after = event["id"]
                if wants(follower.wanted, event):
                    yield encoded(event)
            # Whatever was given out before a page was asked for is in it, or before it. Nothing is awaited between
            # this look and the entering: so nothing is missed, and nothing comes twice.
            covered = max(ordered(follower.after), ordered(given) if len(page) < PAGE else (0, 0))
            if covered >= ordered(hub.last):
                self._replay = False
                hub.enter(follower)


def encoded(event: Row) -> str:
    """An event as a message."""
    return json.dumps({"type": "event", **event}, separators=(",", ":"), ensure_ascii=False)


def _anchors(wanted: tuple[Wanted, ...]) -> Iterable[Anchor]:
    return {anchor for one in wanted or (Wanted(),) for anchor in one.anchors()}
