"""Jobs of one kind, a few at a time: taken, kept while they are done, ended."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import suppress
from pathlib import Path

from redis.exceptions import RedisError

from media.voicemail.exclusive import alone
from media.voicemail.job import Claim
from media.voicemail.jobs import IDLE, Jobs
from media.voicemail.work import TRIES, Result, Work
from telemetry import voicemail as metrics
from telemetry.logs import CALL

PAUSE = 1.0
"Seconds until Redis is asked again after it did not answer."
OCCUPIED = 5.0
"Seconds until a job is looked at again that another process is still at."
BROKEN = 30.0
"Seconds until a job is tried again that ended in a way that nobody expected."
GRACE = 5.0
"Seconds that jobs have to end when the service is stopped."

log = logging.getLogger(__name__)


def described(error: BaseException) -> str:
    """What an error is and where it was raised, without its text, in which a path has the number of a box."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + (f" ({error.strerror})" if isinstance(error, OSError) else "") + place


class Lane:
    """Takes jobs of a kind, ``slots`` at a time; ``folder`` is the store's."""

    def __init__(self, kind: str, slots: int, jobs: Jobs, work: Work, folder: Path) -> None:
        self._kind, self._jobs, self._work, self._folder = kind, jobs, work, folder
        self._free = asyncio.Semaphore(slots)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take and do jobs until cancelled; those under way then have a little time, and others go on with them."""
        try:
            while True:
                await self._free.acquire()
                if (claim := await self._take()) is None:
                    self._free.release()
                    continue
                task = asyncio.create_task(self._do(claim))
                self._tasks.add(task)
                task.add_done_callback(self._over)
        finally:
            await self._end()

    async def _take(self) -> Claim | None:
        try:
            return await self._jobs.take(self._kind)
        except Exception as error:
            if not isinstance(error, RedisError | OSError):
                log.error("no %s can be taken: %s", self._kind, described(error))
            await asyncio.sleep(PAUSE)
            return None

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free.release()

    async def _end(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GRACE)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _do(self, claim: Claim) -> None:
        CALL.set(await self._work.call_of(claim.job))
        keeping = asyncio.create_task(self._keep(claim))
        try:
            await self._report(claim, await self._result(claim))
        except asyncio.CancelledError:
            # We are ending: the next service begins it at once.
            await self._report(claim, Result("again", counts=False))
            raise
        finally:
            keeping.cancel()

    async def _result(self, claim: Claim) -> Result | None:
        """None where another process is at it."""
        job = claim.job
        try:
            with alone(self._folder, job.kind, job.message) as got:
                if not got:
                    return None
                if job.tries > TRIES[job.kind]:
                    return await self._work.give_up(job)
                return await self._work.do(job)
        except Exception as error:
            log.error("message %s: %s failed: %s", job.message, job.kind, described(error))
            log.debug("message %s", job.message, exc_info=True)
            # A disk that is full, or away, is no fault of the job: it is not given up for that.
            return Result("again", seconds=BROKEN, counts=not isinstance(error, OSError))

    async def _report(self, claim: Claim, result: Result | None) -> None:
        if result is not None:
            metrics.TRIES.labels(self._kind, result.state).inc()
        # Where Redis is away the claim is taken over later, and the disk says then that it is done.
        with suppress(RedisError, OSError):
            match result:
                case None:
                    await self._jobs.again(claim, OCCUPIED, counts=False)
                case Result(state="done"):
                    await self._jobs.done(claim, result.promote)
                case Result(state="dead"):
                    await self._jobs.dead(claim, result.reason, result.promote)
                case _:
                    await self._jobs.again(claim, result.seconds, counts=result.counts)

    async def _keep(self, claim: Claim) -> None:
        while True:
            await asyncio.sleep(IDLE / 3)
            # One that is not ours any more is still ours on the disk: what comes of it counts, and is found there.
            with suppress(RedisError, OSError):
                await self._jobs.renew(claim)
