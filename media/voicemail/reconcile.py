"""Redis made to agree with the disk: at start, after Redis was restarted or flushed, and when somebody asks for it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from media.voicemail.job import DeadLetter, Job
from media.voicemail.jobs import Jobs
from media.voicemail.mailboxes import Mailboxes
from media.voicemail.store import FOLDERS, DamagedMessageError, NoSuchBoxError, NoSuchMessageError, Stored
from media.voicemail.wanted import letters
from state import keys

LEASE = "rebuild"
LEASE_TTL = 10.0
"Seconds."

_FINISH = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was found on the disk."""

    boxes: int
    messages: int
    jobs: int
    "That were missing in Redis."


class Reconciler:
    """Makes the index anew, and has what is still to be done be done. Methods raise RedisError."""

    def __init__(self, mailboxes: Mailboxes, client: Redis, jobs: Jobs) -> None:
        self._mailboxes, self._client, self._jobs = mailboxes, client, jobs
        self._finish = client.register_script(_FINISH)

    async def rebuild_if_needed(self) -> Rebuilt | None:
        """Make it agree, unless it does, or another service is at it."""
        if await self._jobs.is_sound() or not await self._jobs.lease(LEASE, LEASE_TTL):
            return None
        keeping = asyncio.create_task(self._keep())
        try:
            return await self.rebuild()
        finally:
            keeping.cancel()

    async def rebuild(self) -> Rebuilt:
        """Make it agree."""
        token, run = secrets.token_hex(8), await self._jobs.run_id()
        await self._client.set(keys.VM_REBUILDING, token)
        numbers = await self._mailboxes.boxes()
        messages = jobs = 0
        for number in numbers:
            await self._mailboxes.rebuild(number)
            found, added = await self._work_of(number)
            messages, jobs = messages + found, jobs + added
        await self._forget_the_gone(set(numbers))
        jobs += await self._jobs.repair()
        # Flushed meanwhile, or a rebuild that began later has overtaken us: then it is not us who can say so.
        await self._finish(keys=[keys.VM_REBUILT, keys.VM_REBUILDING], args=[token, run])
        return Rebuilt(len(numbers), messages, jobs)

    async def _work_of(self, box: str) -> tuple[int, int]:
        count, open_jobs, dead = await asyncio.to_thread(_left, self._mailboxes, box)
        added = 0
        for job in open_jobs:
            added += await self._jobs.add(job)
        for letter in dead:
            await self._jobs.bury(letter)
        return count, added

    async def _forget_the_gone(self, there: set[str]) -> None:
        known = set(await cast(Any, self._client.hkeys(keys.VM_BOXES)))
        known |= set(await cast(Any, self._client.hkeys(keys.MWI)))
        for number in known - there:
            # It looks again: the box may have been made meanwhile.
            await self._mailboxes.rebuild(number)
        gone = [letter for letter in await self._jobs.letters() if not await self._exists(letter)]
        await self._jobs.dig_out(gone)

    async def _exists(self, letter: DeadLetter) -> bool:
        return await asyncio.to_thread(self._mailboxes.store.where, letter.box, letter.message) is not None

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LEASE_TTL / 3)
            await self._jobs.lease(LEASE, LEASE_TTL)


def _left(mailboxes: Mailboxes, box: str) -> tuple[int, list[Job], list[DeadLetter]]:
    """How many messages a box has, what is to be done with them, and what was given up. Blocks."""
    count, jobs, dead = 0, list[Job](), list[DeadLetter]()
    for stored in _messages(mailboxes, box):
        count += 1
        jobs += mailboxes.wanted(stored)
        dead += letters(stored)
    return count, jobs, dead


def _messages(mailboxes: Mailboxes, box: str) -> list[Stored]:
    store, found = mailboxes.store, []
    try:
        for message in [message for folder in FOLDERS for message in store.ids(box, folder)]:
            try:
                found.append(store.message(box, message))
            except (NoSuchMessageError, DamagedMessageError, OSError):
                # Removed meanwhile; or for a person to look at. It must not keep the others from what is to be done.
                continue
    except NoSuchBoxError:
        pass
    return found
