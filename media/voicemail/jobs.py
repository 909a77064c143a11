"""What is to be done with messages: to be transcribed, mailed, told to a webhook; in Redis, done by any service.

A job is known by its kind and its message. It is open from when it is wanted until it is over, and meanwhile in one of
two places: in its kind's stream, where it may be claimed, or in the set of those that wait for a time. Each kind has a
stream of its own, so that a slow kind delays no other.

Who claimed a job keeps the claim alive while at work. A service that dies, does not: another claims the job after
``IDLE`` seconds. Scripts that end a job look first whether it is still claimed by whom they think.

A job that is given up becomes a dead letter, which people see and may send again. The disk holds the same: all of this
can be made anew from there.

All methods raise ``redis.exceptions.RedisError`` where Redis does not answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from media.voicemail import job_scripts as scripts
from media.voicemail.job import KINDS, Claim, DeadLetter, Job, Standing
from state import keys

IDLE = 15.0
"Seconds after which a claim that nobody renewed is another's to take."
BLOCK = 1.0
"Seconds that Redis holds a request for a job while there is none."
FORGOTTEN = 3600.0
"Seconds after which a service that is gone is forgotten."
MOVED = 100
"Jobs that become due in one step."
SERVICE_TTL = 5.0
"A service that has not reported for this long is not live."


class Jobs:
    """The jobs in Redis, as the service named ``consumer`` sees them."""

    def __init__(self, client: Redis, consumer: str) -> None:
        self._client, self._consumer = client, consumer
        self._scripts = {
            name: client.register_script(text)
            for name, text in {
                "renew": scripts.RENEW, "done": scripts.DONE, "dead": scripts.DEAD, "again": scripts.AGAIN,
                "begin": scripts.BEGIN, "add": scripts.ADD, "move": scripts.MOVE, "lease": scripts.LEASE,
                "leave": scripts.LEAVE, "repair": scripts.REPAIR, "take_over": scripts.TAKE_OVER,
            }.items()
        }  # fmt: skip

    async def add(self, job: Job, *, force: bool = False) -> bool:
        """Want a job; False where it is open or dead already. ``force``: want it at once, also then."""
        names = [keys.VM_OPEN, keys.VM_DUE, keys.VM_DEAD, keys.vm_jobs(job.kind)]
        words = [job.message, job.kind, job.record(), f"{job.due:.3f}", "force" if force else ""]
        return bool(await self._scripts["add"](keys=names, args=words))

    async def take(self, kind: str) -> Claim | None:
        """The next job of a kind, within a second, or None. One whose service died comes before new ones."""
        try:
            entry, message = await self._next(kind)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._make_group(kind)
            return None
        if not entry:
            return None
        words = [entry, self._consumer, message, kind]
        record = await self._scripts["begin"](keys=[keys.vm_jobs(kind), keys.VM_OPEN], args=words)
        return Claim(job=Job.parse(kind, message, record), entry=entry) if record else None

    async def _next(self, kind: str) -> tuple[str, str]:
        stream = keys.vm_jobs(kind)
        if left := await self._scripts["take_over"](keys=[stream], args=[self._consumer, int(IDLE * 1000)]):
            return str(left[0]), str(left[1])
        found = cast(Any, await self._client.xreadgroup(
            keys.VM_GROUP, self._consumer, {stream: ">"}, count=1, block=int(BLOCK * 1000)
        ))  # fmt: skip
        if not found:
            return "", ""
        entry, fields = found[0][1][0]
        return entry, fields["id"]

    async def _make_group(self, kind: str) -> None:
        try:
            await self._client.xgroup_create(keys.vm_jobs(kind), keys.VM_GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def renew(self, claim: Claim) -> bool:
        """Keep a job; False where another has it, or nobody knows of it any more."""
        return bool(await self._scripts["renew"](keys=self._keys(claim), args=self._words(claim)))

    async def done(self, claim: Claim, promote: Iterable[str] = ()) -> None:
        """It is over; jobs of the kinds ``promote`` of the same message need not wait any longer."""
        await self._end("done", claim, "", 0.0, promote)

    async def dead(self, claim: Claim, reason: str, promote: Iterable[str] = ()) -> None:
        """It is given up."""
        job = claim.job
        letter = DeadLetter(
            kind=job.kind, message=job.message, box=job.box, reason=reason, tries=job.tries, at=time.time()
        )
        await self._end("dead", claim, letter.record(), 0.0, promote)

    async def again(self, claim: Claim, seconds: float, *, counts: bool = True) -> None:
        """It is to be tried again after a while; ``counts``: whether this try was one."""
        job = claim.job if counts else replace(claim.job, tries=claim.job.tries - 1)
        await self._end("again", claim, job.record(), time.time() + seconds if seconds else 0.0, ())

    async def _end(self, how: str, claim: Claim, record: str, due: float, promote: Iterable[str]) -> None:
        kinds = list(promote)
        names = [*self._keys(claim), *map(keys.vm_jobs, kinds)]
        await self._scripts[how](keys=names, args=[*self._words(claim), record, f"{due:.3f}", "", *kinds])

    def _keys(self, claim: Claim) -> list[str]:
        return [keys.vm_jobs(claim.job.kind), keys.VM_OPEN, keys.VM_DUE, keys.VM_DEAD]

    def _words(self, claim: Claim) -> list[str]:
        return [claim.entry, self._consumer, claim.job.message, claim.job.kind]

    async def move(self) -> int:
        """Let those begin whose time has come; how many."""
        names = [keys.VM_DUE, keys.VM_OPEN, *map(keys.vm_jobs, KINDS)]
        return int(await self._scripts["move"](keys=names, args=[MOVED, *KINDS]))

    async def lease(self, name: str, seconds: float) -> bool:
        """Get or keep a lease; False where another service has it."""
        return bool(
            await self._scripts["lease"](keys=[keys.vm_lease(name)], args=[self._consumer, int(seconds * 1000)])
        )

    async def report(self) -> None:
        """This service is live."""
        await self._client.zadd(keys.VM_SERVICES, {self._consumer: time.time()})
        await self._client.zremrangebyscore(keys.VM_SERVICES, "-inf", time.time() - FORGOTTEN)

    async def leave(self) -> None:
        """This service ends. What it could not hand back is taken over as if it had died."""
        await self._client.zrem(keys.VM_SERVICES, self._consumer)
        for kind in KINDS:
            await self._leave(kind, self._consumer)

    async def _leave(self, kind: str, consumer: str) -> None:
        try:
            await self._scripts["leave"](keys=[keys.vm_jobs(kind)], args=[consumer])
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise

    async def repair(self) -> int:
        """Have jobs be done that are open and stand nowhere; how many."""
        names = [keys.VM_OPEN, keys.VM_DUE, *map(keys.vm_jobs, KINDS)]
        return int(await self._scripts["repair"](keys=names, args=KINDS))

    async def forget_the_gone(self) -> None:
        """Take consumers out of the groups that are idle for an hour and have no job."""
        for kind in KINDS:
            for consumer in await self._consumers(kind):
                if consumer["idle"] > FORGOTTEN * 1000:
                    await self._leave(kind, consumer["name"])

    async def _consumers(self, kind: str) -> list[Any]:
        try:
            return list(await self._client.xinfo_consumers(keys.vm_jobs(kind), keys.VM_GROUP))
        except ResponseError as error:
            # After a flush there is none until somebody looks for a job.
            if "NOGROUP" in str(error) or "no such key" in str(error):
                return []
            raise

    async def letters(self) -> list[DeadLetter]:
        """What was given up, the oldest first."""
        found = await cast(Any, self._client.hgetall(keys.VM_DEAD))
        return sorted((DeadLetter.parse(job, record) for job, record in found.items()), key=lambda letter: letter.at)

    async def bury(self, letter: DeadLetter) -> None:
        """Note a job as given up, of which the disk says so."""
        await cast(Any, self._client.hsetnx(keys.VM_DEAD, f"{letter.kind}:{letter.message}", letter.record()))

    async def dig_out(self, letters: Iterable[DeadLetter]) -> None:
        """Forget dead letters: their messages are gone."""
        for letter in letters:
            await cast(Any, self._client.hdel(keys.VM_DEAD, f"{letter.kind}:{letter.message}"))

    async def standing(self) -> Standing:
        """How all stands."""
        live = await self._client.zrangebyscore(keys.VM_SERVICES, time.time() - SERVICE_TTL, "+inf")
        found = await cast(Any, self._client.hgetall(keys.VM_OPEN))
        kinds = [job.partition(":")[0] for job in found]
        since = [json.loads(record)["since"] for record in found.values()]
        oldest: dict[str, float] = {}
        for kind, begun in zip(kinds, since, strict=True):
            oldest[kind] = min(begun, oldest.get(kind, begun))
        return Standing(
            services=tuple(live),
            open={kind: kinds.count(kind) for kind in KINDS},
            waiting=int(await self._client.zcard(keys.VM_DUE)),
            dead=int(await cast(Any, self._client.hlen(keys.VM_DEAD))),
            oldest=max(0.0, time.time() - min(since)) if since else 0.0,
            ages={kind: max(0.0, time.time() - begun) for kind, begun in oldest.items()},
            sound=await self.is_sound(),
        )

    async def is_sound(self) -> bool:
        """Whether this Redis was made to agree with the disk, and neither restarted nor flushed since."""
        return bool(await self._client.get(keys.VM_REBUILT) == await self.run_id())

    async def run_id(self) -> str:
        """Of this Redis: another one after each start."""
        return str((await self._client.info("server"))["run_id"])

    async def boxes(self) -> int:
        """How many boxes the index knows."""
        return int(await cast(Any, self._client.hlen(keys.VM_BOXES)))

    async def waiting(self) -> list[Job]:
        """Jobs that wait for a time."""
        names = [name.partition(":") for name in await self._client.zrange(keys.VM_DUE, 0, -1)]
        records = [await cast(Any, self._client.hget(keys.VM_OPEN, f"{kind}:{id}")) for kind, _, id in names]
        return [Job.parse(kind, id, record) for (kind, _, id), record in zip(names, records, strict=True) if record]
