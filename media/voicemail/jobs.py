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
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from state import keys

TRANSCRIBE, MAIL, WEBHOOK = "transcribe", "mail", "webhook"
KINDS = (TRANSCRIBE, MAIL, WEBHOOK)
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

# KEYS: stream, open, due, dead. ARGV: entry, consumer, message, kind.
_MINE = f"""
local held = redis.call('XPENDING', KEYS[1], '{keys.VM_GROUP}', ARGV[1], ARGV[1], 1)[1]
if not held or held[2] ~= ARGV[2] then return 0 end
"""
# The message's other jobs need not wait any longer: due they are now. KEYS from 5: streams; ARGV from 8: their kinds.
_OVER = f"""
redis.call('XACK', KEYS[1], '{keys.VM_GROUP}', ARGV[1])
redis.call('XDEL', KEYS[1], ARGV[1])
local job = ARGV[4] .. ':' .. ARGV[3]
"""
_PROMOTE = """
for at = 8, #ARGV do
  local other = ARGV[at] .. ':' .. ARGV[3]
  if redis.call('ZREM', KEYS[3], other) == 1 then redis.call('XADD', KEYS[at - 3], '*', 'id', ARGV[3]) end
end
return 1
"""
_RENEW = _MINE + f"redis.call('XCLAIM', KEYS[1], '{keys.VM_GROUP}', ARGV[2], 0, ARGV[1], 'JUSTID')\nreturn 1"
_DONE = _MINE + _OVER + "redis.call('HDEL', KEYS[2], job)" + _PROMOTE
_DEAD = (
    _MINE
    + _OVER
    + "redis.call('HDEL', KEYS[2], job)\nif ARGV[5] ~= '' then redis.call('HSET', KEYS[4], job, ARGV[5]) end"
    + _PROMOTE
)
_AGAIN = (
    _MINE
    + _OVER
    + """
redis.call('HSET', KEYS[2], job, ARGV[5])
redis.call('ZADD', KEYS[3], ARGV[6], job)
return 1
"""
)
# A try counts when it begins: a job that kills its service is given up as well. KEYS: stream, open.
_BEGIN = f"""
local job = ARGV[4] .. ':' .. ARGV[3]
local record = redis.call('HGET', KEYS[2], job)
if not record then
  redis.call('XACK', KEYS[1], '{keys.VM_GROUP}', ARGV[1])
  redis.call('XDEL', KEYS[1], ARGV[1])
  return false
end
local fields = cjson.decode(record)
fields['tries'] = fields['tries'] + 1
record = cjson.encode(fields)
redis.call('HSET', KEYS[2], job, record)
return record
"""
# KEYS: open, due, dead, streams. ARGV: message, then kind, record and due time; "force" makes it anew.
_ADD = """
local job = ARGV[2] .. ':' .. ARGV[1]
if ARGV[5] == '' and redis.call('HEXISTS', KEYS[3], job) == 1 then return 0 end
if redis.call('HSETNX', KEYS[1], job, ARGV[3]) == 0 then
  if ARGV[5] == '' then return 0 end
  redis.call('HSET', KEYS[1], job, ARGV[3])
  if redis.call('ZREM', KEYS[2], job) == 0 then return 0 end
end
redis.call('HDEL', KEYS[3], job)
if tonumber(ARGV[4]) > tonumber(redis.call('TIME')[1]) then redis.call('ZADD', KEYS[2], ARGV[4], job)
else redis.call('XADD', KEYS[4], '*', 'id', ARGV[1]) end
return 1
"""
# KEYS: due, open, streams; ARGV: how many, then the kinds of the streams.
_MOVE = """
local streams = {}
for at = 2, #ARGV do streams[ARGV[at]] = KEYS[at + 1] end
local now = redis.call('TIME')
now = now[1] + now[2] / 1000000
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.6f', now), 'LIMIT', 0, ARGV[1])
for _, job in ipairs(due) do
  redis.call('ZREM', KEYS[1], job)
  local kind, id = string.match(job, '^(%w+):(.+)$')
  if redis.call('HEXISTS', KEYS[2], job) == 1 then redis.call('XADD', streams[kind], '*', 'id', id) end
end
return #due
"""
# A consumer that is deleted takes what it was given with it: it must have nothing. KEYS: stream; ARGV: consumer.
_LEAVE = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if #redis.call('XPENDING', KEYS[1], '{keys.VM_GROUP}', '-', '+', 1, ARGV[1]) > 0 then return 0 end
return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], '{keys.VM_GROUP}', ARGV[1])
"""
# Jobs that are open and in neither place, whoever took them out. KEYS: open, due, streams; ARGV: the streams' kinds.
_REPAIR = """
local there, added = {}, 0
for at, kind in ipairs(ARGV) do
  for _, entry in ipairs(redis.call('XRANGE', KEYS[at + 2], '-', '+')) do there[kind .. ':' .. entry[2][2]] = true end
end
for at, kind in ipairs(ARGV) do
  for _, job in ipairs(redis.call('HKEYS', KEYS[1])) do
    local its, id = string.match(job, '^(%w+):(.+)$')
    if its == kind and not there[job] and not redis.call('ZSCORE', KEYS[2], job) then
      redis.call('XADD', KEYS[at + 2], '*', 'id', id)
      added = added + 1
    end
  end
end
return added
"""
_LEASE = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to be done with a message."""

    kind: str
    message: str
    box: str
    due: float = 0.0
    "Unix time before which it waits."
    tries: int = 0
    "That began."
    since: float = 0.0
    "Unix time since when it is wanted."
    force: bool = False
    "Whether it is done although the disk says that it failed: somebody asked for it again."

    def record(self) -> str:
        """As stored."""
        record = {"box": self.box, "tries": self.tries, "since": self.since or time.time(), "force": self.force}
        return json.dumps(record)

    @classmethod
    def parse(cls, kind: str, message: str, record: str) -> Job:
        """From what was stored."""
        fields = json.loads(record)
        return cls(
            kind=kind, message=message, box=fields["box"], tries=int(fields["tries"]), since=fields["since"],
            force=fields["force"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that this service has."""

    job: Job
    entry: str
    "Id in the stream."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A job that was given up."""

    kind: str
    message: str
    box: str
    reason: str
    tries: int
    at: float
    "Unix time."

    def record(self) -> str:
        """As stored."""
        return json.dumps({"box": self.box, "reason": self.reason, "tries": self.tries, "at": self.at})

    @classmethod
    def parse(cls, job: str, record: str) -> DeadLetter:
        """From what was stored under ``kind:message``."""
        kind, _, message = job.partition(":")
        return cls(kind=kind, message=message, **json.loads(record))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the services and their jobs stand."""

    services: tuple[str, ...]
    "Those live."
    open: dict[str, int]
    "Jobs that are not over, by kind."
    waiting: int
    "Of these, such that wait for a time."
    dead: int
    oldest: float
    "Seconds that the oldest open job is wanted; 0 without any."
    sound: bool
    "Whether Redis agrees with the disk; not from when it was restarted or flushed until a service has seen to it."


class Jobs:
    """The jobs in Redis, as the service named ``consumer`` sees them."""

    def __init__(self, client: Redis, consumer: str) -> None:
        self._client, self._consumer = client, consumer
        self._scripts = {
            name: client.register_script(text)
            for name, text in {
                "renew": _RENEW, "done": _DONE, "dead": _DEAD, "again": _AGAIN, "begin": _BEGIN, "add": _ADD,
                "move": _MOVE, "lease": _LEASE, "leave": _LEAVE, "repair": _REPAIR,
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
            if not str(error).startswith("NOGROUP"):
                raise
            await self._make_group(kind)
            return None
        if not entry:
            return None
        words = [entry, self._consumer, message, kind]
        record = await self._scripts["begin"](keys=[keys.vm_jobs(kind), keys.VM_OPEN], args=words)
        return Claim(job=Job.parse(kind, message, record), entry=entry) if record else None

    async def _next(self, kind: str) -> tuple[str, str]:
        stream, idle = keys.vm_jobs(kind), int(IDLE * 1000)
        left = await self._client.xautoclaim(stream, keys.VM_GROUP, self._consumer, idle, count=1)
        if left[1]:
            entry, fields = left[1][0]
            return entry, fields["id"]
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
            for consumer in await self._client.xinfo_consumers(keys.vm_jobs(kind), keys.VM_GROUP):
                if consumer["idle"] > FORGOTTEN * 1000:
                    await self._leave(kind, consumer["name"])

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
        return Standing(
            services=tuple(live),
            open={kind: kinds.count(kind) for kind in KINDS},
            waiting=int(await self._client.zcard(keys.VM_DUE)),
            dead=int(await cast(Any, self._client.hlen(keys.VM_DEAD))),
            oldest=max(0.0, time.time() - min(since)) if since else 0.0,
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
