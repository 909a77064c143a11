"""Placing a leg, and giving it up where nobody waits for it any more: the switch would ring on, and then park it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from media.esl.errors import CommandError, ConnectionClosed, EslError
from media.esl.inbound import Inbound
from media.session.core import Core, quoted

GIVEN_UP = "ORIGINATOR_CANCEL"
PAUSE = 0.5
"Seconds until a leg that was not there yet is given up again."
AWAY = 60.0
"Seconds that a switch may be away, for its legs to be given up when it is back."
_tasks = set[asyncio.Task[None]]()


async def placed(switch: Inbound, dial_string: str, end: str, other: Core | None) -> str:
    """The uuid of the leg that was answered, or has early media; ``end`` is the API command that ends what rings.

    :raises CommandError: there is none; its reply is the cause.
    """
    _ = switch.connection  # nothing is given up that was never asked for
    if other is not None and not other.ready():
        raise CommandError("originate", GIVEN_UP)
    job = asyncio.ensure_future(switch.bgapi("originate", f"{quoted(dial_string)} &park()"))
    try:
        await _until_done(job, other)
        if not job.done():
            await _give_up(switch, job, end)
            raise CommandError("originate", GIVEN_UP)
        return (await job).removeprefix("+OK").strip()
    except (asyncio.CancelledError, ConnectionClosed):
        _beside(_give_up(switch, job, end))
        raise


def end_of(uuid: str) -> str:
    """The API command that ends a leg."""
    return f"uuid_kill {uuid} {GIVEN_UP}"


def kill(switch: Inbound, uuid: str) -> None:
    """End a leg, without waiting for it."""
    _beside(_told(switch, end_of(uuid)))


async def _until_done(job: asyncio.Future[str], other: Core | None) -> None:
    """Until it is, or ``other`` has ended."""
    if other is None:
        await asyncio.wait((job,))
        return
    other._prepare()
    over = asyncio.ensure_future(other._until_end(asyncio.Event().wait()))
    try:
        await asyncio.wait((job, over), return_when=asyncio.FIRST_COMPLETED)
    finally:
        over.cancel()


async def _give_up(switch: Inbound, job: asyncio.Future[str], end: str) -> None:
    while not job.done():
        await _told(switch, end)
        await asyncio.wait((job,), timeout=PAUSE)
    try:
        await _told(switch, end_of((await job).removeprefix("+OK").strip()))
    except CommandError:
        return  # as it should
    except ConnectionClosed:
        with suppress(EslError, TimeoutError):
            await switch.connected(timeout=AWAY)
        await _told(switch, end)


async def _told(switch: Inbound, command: str) -> None:
    with suppress(EslError):
        await switch.api(command)


def _beside(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)
