"""The voicemail service: does the jobs, and sees to it that disk and Redis agree. Any number of them may run.

SIGTERM ends it: it takes no more jobs, gives those under way a few seconds, and hands back what did not end.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from redis.exceptions import RedisError

from media.transcription.transcriber import Transcriber
from media.voicemail.job import KINDS, MAIL, TRANSCRIBE, WEBHOOK
from media.voicemail.jobs import BLOCK, Jobs
from media.voicemail.lane import Lane, described
from media.voicemail.mail import SENDERS, Mailer
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.reconcile import Reconciler
from media.voicemail.store import Pending, Store
from media.voicemail.work import Work
from model.settings import Settings
from state.clients import connect
from state.events import Events
from telemetry import redis
from telemetry import voicemail as metrics
from telemetry.health import Check
from telemetry.listener import Listener, of_loop
from telemetry.logs import about_call

SLOTS = {TRANSCRIBE: 1, MAIL: SENDERS, WEBHOOK: 8}
"Jobs of a kind that one service does at once. An engine takes a core: for more, run more services."
STEP = 1.0
"Seconds between two looks at what is due, marked or in want of being made anew."
REAP = 2.0
"Seconds between two looks for recordings whose recorder died."
PATIENCE = 2.0
"Seconds that Redis has to say how jobs stand, for metrics."
EXPIRE = 60.0
"Seconds between two removals of what is too old."
RECONCILE = 3600.0
"Seconds after which Redis is compared with the disk although nothing seems to be wrong."
RIPE = 5.0
"Seconds that a mark stays at least: whoever made it may be about to make his change."
KEEPER = "keeper"
KEEPER_TTL = 10.0
"Lease of the one service that reaps, expires and compares, and its seconds."

log = logging.getLogger(__name__)


class Service:
    """One service process. Made and run within an event loop."""

    def __init__(self, settings: Settings) -> None:
        """Raises OSError where the directory of mailboxes cannot be used, and StoreError for Redis's address."""
        self.name = f"{settings.node}-{os.getpid()}-{secrets.token_hex(3)}"
        self._client = connect(settings.redis_url, timeout=BLOCK + 3)
        self._jobs = Jobs(self._client, self.name)
        self._mailboxes = Mailboxes(
            Store(settings.voicemail), settings.redis_url, transcript_wait=settings.transcript_wait
        )
        self._reconciler = Reconciler(self._mailboxes, self._client, self._jobs)
        self._transcriber = Transcriber.of(settings)
        self._mailer = Mailer(settings)
        self._events = Events(settings.redis_url)
        work = Work(self._mailboxes, self._transcriber, self._mailer, self._events)
        self._lanes = [Lane(kind, SLOTS[kind], self._jobs, work, settings.voicemail) for kind in KINDS]
        self._voicemail_metrics = settings.voicemail_metrics
        self._told = asyncio.Event()
        self._away = False
        self._complained: set[str] = set()
        "Ids whose trouble stands in the log."
        self._compared = time.monotonic()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        chores: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (STEP, self._report), (STEP, self._sweep), (STEP, self._rebuild),
            (REAP, self._reap), (EXPIRE, self._expire),
        ]  # fmt: skip
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._close)
            tasks = [asyncio.create_task(self._again_and_again(*chore)) for chore in chores]
            tasks += [asyncio.create_task(lane.run()) for lane in self._lanes]
            Listener(self._voicemail_metrics, of_loop(self._check, self._sample)).start()
            log.info("voicemail service %s is at work", self.name)
            await self._told.wait()
            log.info("takes no more jobs")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """What SIGTERM does."""
        self._told.set()

    async def _check(self) -> list[Check]:
        began, trouble, sound = time.monotonic(), "", False
        try:
            async with asyncio.timeout(PATIENCE):
                await self._client.ping()
                sound = await self._jobs.is_sound()
        except (RedisError, OSError) as error:
            trouble = f"Redis does not answer: {type(error).__name__}"
        draining = self._told.is_set()
        return [
            redis.told(began, trouble),
            Check("index", sound, "agrees with the disk" if sound else "is made anew, or nobody knows"),
            Check("draining", not draining, "takes no more jobs" if draining else "no"),
        ]

    async def _sample(self) -> None:
        await self._check()
        try:
            async with asyncio.timeout(PATIENCE):
                standing = await self._jobs.standing()
        except (RedisError, OSError):
            return
        for kind in KINDS:
            metrics.JOBS.labels(kind).set(standing.open[kind])
            metrics.AGE.labels(kind).set(standing.ages.get(kind, 0.0))
        metrics.WAITING.set(standing.waiting)
        metrics.DEAD.set(standing.dead)
        metrics.SERVICES.set(len(standing.services))
        metrics.SOUND.set(standing.sound)

    async def _close(self) -> None:
        await self._transcriber.aclose()
        self._mailer.close()
        try:
            await self._jobs.leave()
        except (RedisError, OSError):
            log.debug("Redis is away: others find out that this service ended")
        await self._events.close()
        await self._mailboxes.close()
        await self._client.aclose()

    # Chores: each by itself, so that none waits for another.

    async def _again_and_again(self, seconds: float, chore: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await chore()
            except RedisError as error:
                self._note(away=True, why=type(error).__name__)
            except Exception as error:
                log.error("%s failed: %s", chore.__name__.strip("_"), described(error))
                log.debug("", exc_info=True)
            await asyncio.sleep(seconds)

    def _note(self, *, away: bool, why: str = "") -> None:
        if away != self._away:
            self._away = away
            log.warning("Redis is away (%s): jobs wait" if away else "Redis is back%s", why)

    async def _report(self) -> None:
        await self._jobs.report()
        self._note(away=False)
        while await self._jobs.move():
            pass

    async def _sweep(self) -> None:
        """Tell Redis what others could not, or did not: commands leave it to us."""
        for pending in await asyncio.to_thread(self._pending):
            try:
                await self._mailboxes.settle(pending)
            except OSError as error:
                # What the disk refuses stays marked, and must not hold up the others.
                self._complain(pending, error)

    def _complain(self, pending: Pending, error: OSError) -> None:
        if pending.id not in self._complained:
            self._complained.add(pending.id)
            log.error("message %s: Redis cannot be told of it yet: %s", pending.id or "(a box)", described(error))

    def _pending(self) -> list[Pending]:
        """What to look at, with the marks that are ripe: the others stay, for their change may yet come."""
        folder = self._mailboxes.store.folder / "pending"
        return [
            pending._replace(marks=tuple(mark for mark in pending.marks if _age(folder / mark) > RIPE))
            for pending in self._mailboxes.store.pending()
        ]

    async def _rebuild(self) -> None:
        rebuilt = await self._reconciler.rebuild_if_needed()
        if rebuilt:
            log.info(
                "made anew from the disk: %d boxes, %d messages, %d jobs", rebuilt.boxes, rebuilt.messages, rebuilt.jobs
            )
            self._compared = time.monotonic()
            await self._jobs.forget_the_gone()

    async def _is_keeper(self) -> bool:
        """Whether it is us. Without Redis it is everybody: nothing is done to a message twice on the disk."""
        try:
            return await self._jobs.lease(KEEPER, KEEPER_TTL)
        except RedisError:
            return True

    async def _reap(self) -> None:
        if not await self._is_keeper():
            return
        store = self._mailboxes.store
        for orphan in await asyncio.to_thread(store.orphans):
            found = await asyncio.to_thread(store.reap, orphan)
            if found.message:
                with about_call(found.message.call):
                    log.info("message %s: adopted, its recorder died", found.message.id)
                    await self._mailboxes.accepted(found.message)
            elif found.what == "aside":
                log.error("recording %s is put aside: %s", orphan.id, found.reason)

    async def _expire(self) -> None:
        if not await self._is_keeper():
            return
        store = self._mailboxes.store
        gone = await asyncio.to_thread(store.expire)
        for box, message in gone:
            await self._mailboxes.refresh(box, message)
        if gone:
            log.info("%d messages were removed: their time was over", len(gone))
        await asyncio.to_thread(store.clean)
        if time.monotonic() - self._compared > RECONCILE:
            self._compared = time.monotonic()
            await self._reconciler.rebuild()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        # Settled meanwhile, by who made it.
        return 0.0


async def work(settings: Settings) -> None:
    """Be a voicemail service until SIGTERM or SIGINT."""
    await Service(settings).run()
