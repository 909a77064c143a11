"""What Redis knows of mailboxes: which message is in which folder, in the order of hearing, and what lamps show.

The disk decides. Whoever changed something there has the index look: it reads the number of the box's last change,
looks at the disk, and writes what it saw only if nobody wrote meanwhile. So whichever of two comes last has seen the
disk last, whatever the order of their changes, and to say the same thing twice changes nothing.

A folder is a sorted set by time of receipt, which the id tells; urgent ones come before all others, by a score below
zero.

All methods raise ``redis.exceptions.RedisError`` where Redis does not answer.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from media.voicemail.jobs import KINDS, Job
from media.voicemail.layout import FOLDERS, Folder
from state import keys
from state.events import KEPT as EVENTS_KEPT

URGENT = -1e14
"Added to an urgent one's score, which is then below zero, and before all others."
MWI_KEPT = 10_000
"Changes of lamps that the stream keeps, or a few more; who missed more reads the hash."
LOOKS = 50
"How often the disk is looked at before we give up: each time somebody else was faster."

_COMMON = """
local box, expected, phones = ARGV[1], ARGV[2], ARGV[3]
local now = redis.call('TIME')
now = now[1] * 1000000 + now[2]
if (redis.call('HGET', KEYS[1], box) or '0') ~= expected then return -1 end
local seq = string.format('%.0f', math.max(tonumber(expected) + 1, now))
local function event(kind, data)
  redis.call('XADD', KEYS[7], 'MAXLEN', '~', EVENTS_KEPT, '*', 'kind', kind,
             'at', string.format('%.3f', now / 1000000), 'data', data)
end
local function lamp()
  redis.call('HSET', KEYS[1], box, seq)
  local body = string.format('"new":%d,"saved":%d,"urgent_new":%d,"urgent_saved":%d,"phones":%s',
    redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]),
    redis.call('ZCOUNT', KEYS[2], '-inf', '(0'), redis.call('ZCOUNT', KEYS[3], '-inf', '(0'), phones)
  local old = redis.call('HGET', KEYS[5], box)
  if old and string.sub(old, 2, #body + 1) == body then return end
  local value = '{' .. body .. ',"seq":' .. seq .. '}'
  redis.call('HSET', KEYS[5], box, value)
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', MWI_KEPT, '*', 'box', box)
  event('mwi', '{"box":' .. cjson.encode(box) .. ',' .. body .. '}')
end
""".replace("EVENTS_KEPT", str(EVENTS_KEPT)).replace("MWI_KEPT", str(MWI_KEPT))
# KEYS from 8: open jobs, due jobs, the stream of each kind, in the order of KINDS, and dead letters. ARGV from 4:
# message, its folder (empty: it is gone), score, data of the event that it is new, then kind, record and due time of
# each job.
_PLACE = (
    _COMMON
    + """
local id, folder, old = ARGV[4], ARGV[5], ''
for place, name in ipairs({'new', 'saved', 'deleted'}) do
  if name ~= folder then
    if redis.call('ZREM', KEYS[place + 1], id) == 1 then old = name end
  elseif redis.call('ZADD', KEYS[place + 1], ARGV[6], id) == 0 then old = name end
end
local streams = {transcribe = KEYS[10], mail = KEYS[11], webhook = KEYS[12]}
if folder == '' then
  for kind in pairs(streams) do
    redis.call('HDEL', KEYS[8], kind .. ':' .. id)
    redis.call('ZREM', KEYS[9], kind .. ':' .. id)
    redis.call('HDEL', KEYS[13], kind .. ':' .. id)
  end
end
for at = 8, #ARGV, 3 do
  local job = ARGV[at] .. ':' .. id
  if redis.call('HSETNX', KEYS[8], job, ARGV[at + 1]) == 1 then
    if tonumber(ARGV[at + 2]) * 1000000 > now then redis.call('ZADD', KEYS[9], ARGV[at + 2], job)
    else redis.call('XADD', streams[ARGV[at]], '*', 'id', id) end
  end
end
if old ~= folder then
  if old == '' then event('message.left', ARGV[7])
  else
    local data = cjson.encode({box = box, id = id, from = old, to = folder})
    event(folder == '' and 'message.deleted' or 'message.moved', data)
  end
end
lamp()
return old ~= folder and 1 or 0
"""
)
# ARGV from 4: how many messages each folder has, then each one's score and id.
_REPLACE = (
    _COMMON
    + """
local at = 7
for folder = 1, 3 do
  redis.call('DEL', KEYS[folder + 1])
  local stop = at + 2 * ARGV[3 + folder]
  while at < stop do
    local upto = math.min(at + 1000, stop)
    redis.call('ZADD', KEYS[folder + 1], unpack(ARGV, at, upto - 1))
    at = upto
  end
end
lamp()
return 1
"""
)
_FORGET = (
    _COMMON
    + """
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
redis.call('HDEL', KEYS[1], box)
if redis.call('HDEL', KEYS[5], box) == 1 then
  redis.call('XADD', KEYS[6], 'MAXLEN', '~', MWI_KEPT, '*', 'box', box)
end
return 1
""".replace("MWI_KEPT", str(MWI_KEPT))
)
# A Redis that was restarted may have lost its last second: until the disk was read anew it is not asked.
_SOUND = """
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if redis.call('GET', KEYS[1]) ~= run then return false end
"""
_COUNTS = (
    _SOUND
    + """
return {redis.call('ZCARD', KEYS[2]), redis.call('ZCARD', KEYS[3]), redis.call('ZCOUNT', KEYS[2], '-inf', '(0'),
        redis.call('ZCOUNT', KEYS[3], '-inf', '(0'), redis.call('ZCARD', KEYS[4])}
"""
)
_PAGE = _SOUND + "return redis.call('ZRANGE', KEYS[2], ARGV[1], ARGV[2])"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the disk said of a message."""

    folder: str = ""
    "Empty: it is gone."
    score: float = 0.0
    summary: Mapping[str, Any] | None = None
    "What is told of it when it is new: data of ``message.left``."
    jobs: Sequence[Job] = ()
    "What is still to be done with it."
    phones: tuple[str, ...] = ()
    "Of its box: SIP URIs."


Contents = tuple[Sequence[str], Mapping[Folder, list[tuple[float, str]]]]
"A box's phones, and each folder's scores and ids."


def score(message: str, *, urgent: bool) -> float:
    """Where a message stands in its folder, by its id: 20260131180000 for one that is not urgent."""
    at = float(message[:8] + message[9:15])
    return at + URGENT if urgent else at


class Index:
    """The index in Redis."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._place = client.register_script(_PLACE)
        self._replace = client.register_script(_REPLACE)
        self._forget = client.register_script(_FORGET)
        self._counts = client.register_script(_COUNTS)
        self._page = client.register_script(_PAGE)

    async def look(self, box: str, message: str, look: Callable[[], Awaitable[Seen]]) -> bool:
        """Have a message stand where it is on disk, as ``look`` tells.

        Whether the index changed.
        """
        for _ in range(LOOKS):
            expected = await self._number(box)
            seen = await look()
            jobs = [word for job in seen.jobs for word in (job.kind, job.record(), f"{job.due:.3f}")]
            summary = json.dumps(seen.summary or {})
            phones = json.dumps(seen.phones)
            words = [box, expected, phones, message, seen.folder, repr(seen.score), summary, *jobs]
            answer = int(await self._place(keys=[*_keys(box), *_job_keys()], args=words))
            if answer >= 0:
                return answer == 1
        raise TimeoutError(f"a mailbox changed {LOOKS} times while it was looked at")

    async def replace(self, box: str, look: Callable[[], Awaitable[Contents | None]]) -> None:
        """Have a whole box stand as on disk; ``look`` gives None where it is no more."""
        for _ in range(LOOKS):
            expected = await self._number(box)
            contents = await look()
            if contents is None:
                answer = await self._forget(keys=_keys(box), args=[box, expected, "[]"])
            else:
                answer = await self._replace(keys=_keys(box), args=_words(box, expected, *contents))
            if int(answer) >= 0:
                return
        raise TimeoutError(f"a mailbox changed {LOOKS} times while it was looked at")

    async def boxes(self) -> list[str]:
        """The boxes that the index knows."""
        return sorted(await cast(Any, self._client.hkeys(keys.VM_BOXES)))

    async def counts(self, box: str) -> tuple[int, int, int, int, int] | None:
        """New, saved, urgent new, urgent saved, deleted; None where the index does not agree with the disk yet."""
        found = await self._counts(keys=[keys.VM_REBUILT, *_folders(box)], args=[])
        return cast(tuple[int, int, int, int, int], tuple(map(int, found))) if found is not None else None

    async def page(self, box: str, folder: str, offset: int, count: int) -> list[str] | None:
        """Messages of a folder in the order of hearing; None where the index does not agree with the disk yet."""
        args = [offset, offset + count - 1]
        found = await self._page(keys=[keys.VM_REBUILT, keys.vm_folder(box, folder)], args=args)
        return list(found) if found is not None else None

    async def _number(self, box: str) -> str:
        return str(await cast(Any, self._client.hget(keys.VM_BOXES, box)) or "0")


def _words(
    box: str, expected: str, phones: Sequence[str], folders: Mapping[Folder, list[tuple[float, str]]]
) -> list[Any]:
    words: list[Any] = [box, expected, json.dumps(phones), *(len(folders[name]) for name in FOLDERS)]
    for name in FOLDERS:
        words += [word for at, message in folders[name] for word in (repr(at), message)]
    return words


def _folders(box: str) -> list[str]:
    return [keys.vm_folder(box, folder) for folder in FOLDERS]


def _keys(box: str) -> list[str]:
    return [keys.VM_BOXES, *_folders(box), keys.MWI, keys.MWI_CHANGES, keys.EVENTS]


def _job_keys() -> Iterable[str]:
    return [keys.VM_OPEN, keys.VM_DUE, *map(keys.vm_jobs, KINDS), keys.VM_DEAD]
