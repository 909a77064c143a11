"""What Redis knows of mailboxes: which message is in which folder, in the order of hearing, and what lamps show.

The disk decides. Whoever changed something there has the index look: it reads the number of the box's last change,
looks at the disk, and writes what it saw only if nobody wrote meanwhile. So whichever of two comes last has seen the
disk last, whatever the order of their changes, and to say the same thing twice changes nothing.

A folder is a sorted set by time of receipt, which the id tells; urgent ones come before all others, by a score below
zero.

All methods raise ``redis.exceptions.RedisError`` where Redis does not answer.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from redis.asyncio import Redis

from media.voicemail import index_scripts as scripts
from media.voicemail.job import KINDS, Job
from media.voicemail.layout import FOLDERS, Folder
from state import keys

URGENT = -1e14
"Added to an urgent one's score, which is then below zero, and before all others."
LOOKS = 50
"How often the disk is looked at before we give up: each time somebody else was faster."
PAUSE = 0.005
"Seconds until another look, at most, after the first one; more after more."


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
        self._place = client.register_script(scripts.PLACE)
        self._replace = client.register_script(scripts.REPLACE)
        self._forget = client.register_script(scripts.FORGET)
        self._counts = client.register_script(scripts.COUNTS)
        self._page = client.register_script(scripts.PAGE)

    async def look(self, box: str, message: str, look: Callable[[], Awaitable[Seen]]) -> bool:
        """Have a message stand where it is on disk, as ``look`` tells.

        Whether the index changed.
        """
        for attempt in range(LOOKS):
            await _pause(attempt)
            expected = await self._number(box)
            seen = await look()
            jobs = [word for job in seen.jobs for word in (job.kind, job.record(), f"{job.due:.3f}")]
            summary = json.dumps(seen.summary or {})
            phones = json.dumps(seen.phones)
            words = [box, expected, phones, message, seen.folder, repr(seen.score), summary, *jobs]
            # For the record of the call.
            left_by = keys.record_message(str((seen.summary or {}).get("call", "")))
            answer = int(await self._place(keys=[*_keys(box), *_job_keys(), left_by], args=words))
            if answer >= 0:
                return answer == 1
        raise TimeoutError(f"a mailbox changed {LOOKS} times while it was looked at")

    async def replace(self, box: str, look: Callable[[], Awaitable[Contents | None]]) -> None:
        """Have a whole box stand as on disk; ``look`` gives None where it is no more."""
        for attempt in range(LOOKS):
            await _pause(attempt)
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


async def _pause(attempt: int) -> None:
    """Not all at once again, where many were at once."""
    if attempt:
        await asyncio.sleep(random.uniform(0, min(attempt, 10) * PAUSE))


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
