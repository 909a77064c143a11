"""Runs a script to its end, and says in the log how that went, without a word of who called."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from media import places
from media.registry import Loaded
from media.session.errors import ScriptExit

log = logging.getLogger(__name__)


class ScriptFailed(Exception):
    """A script raised; the message says what and where, and nothing that the script had in hand."""


async def run(found: Loaded, folder: Path, **given: Any) -> None:
    """Run a script with what it wants of ``given``. Raises :class:`ScriptFailed`, logged already."""
    await guarded(found, folder, found.script.run(**given))


async def guarded(found: Loaded, folder: Path, work: Awaitable[object]) -> None:
    """The same for any code of a script, such as its hangup hook."""
    name = found.script.name
    try:
        await work
    except ScriptExit as error:
        log.info("script %s left early%s", name, f": {error}" if str(error) else "")
    except asyncio.CancelledError:
        raise
    # What a script does is no reason to end the process: sys.exit() would.
    except BaseException as error:
        failed = f"script {name} failed: {type(error).__name__} at {places.of_error(error, folder)}"
        log.error("%s", failed)
        # The message may hold what the caller pressed or said.
        log.debug("script %s failed", name, exc_info=error)
        raise ScriptFailed(failed) from None


async def run_until(found: Loaded, folder: Path, ended: asyncio.Future[None], grace: float, **given: Any) -> None:
    """The same, for at most ``grace`` seconds after ``ended``."""
    task = asyncio.ensure_future(run(found, folder, **given))
    try:
        await asyncio.wait({task, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=grace)
        if task.done():
            return task.result()
        place = _at(task.get_coro(), folder)
        log.warning("script %s is cancelled, %g s after its call ended: at %s", found.script.name, grace, place)
    finally:
        task.cancel()
        await asyncio.wait({task}, timeout=grace)


def _at(coroutine: Any, folder: Path) -> str:
    """The innermost place within ``folder`` where a coroutine waits."""
    place = "an unknown place"
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        at = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        place = at if places.inside(at, folder) else place
        coroutine = coroutine.cr_await
    return place
