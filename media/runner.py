"""Runs a script to its end, and says in the log how that went, without a word of who called."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from media import places
from media.registry import Loaded
from media.session.errors import ScriptExit

log = logging.getLogger(__name__)

@dataclass(slots=True)
class Taken:
    """Whether somebody takes a call from its script, to give it to another."""

    scope: asyncio.Timeout | None = None
    "Of the script that runs."
    next: tuple[Loaded, str] | None = None
    "The script that is to have the call, and its args."
    done: asyncio.Future[None] | None = None
    "Once it has it."

    def give(self, found: Loaded, args: str) -> asyncio.Future[None]:
        """End the script that runs; the future is done when the next one has the call."""
        self.next, self.done = (found, args), asyncio.get_running_loop().create_future()
        if self.scope is not None and not self.scope.expired():
            self.scope.reschedule(0)
        return self.done

    def take(self) -> tuple[Loaded, str] | None:
        """The next script, whose the call is from now on."""
        found, self.next = self.next, None
        if found is not None and self.done is not None and not self.done.done():
            self.done.set_result(None)
        return found


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


async def run_until(
    found: Loaded, folder: Path, ended: asyncio.Future[None], grace: float, taken: Taken, **given: Any
) -> None:
    """The same, for at most ``grace`` seconds after ``ended``, and until the call is taken from it.

    In the task of the call: one more would cost as much as a short script does.
    """
    scope = taken.scope = asyncio.timeout(None)

    def end_soon(_: object) -> None:
        if taken.scope is scope:  # else the script is done
            scope.reschedule(asyncio.get_running_loop().time() + grace)

    ended.add_done_callback(end_soon)
    try:
        async with scope:
            await run(found, folder, **given)
    except TimeoutError as error:
        if taken.next is not None:
            return
        place = places.of_error(error.__cause__ or error.__context__ or error, folder)
        log.warning("script %s is cancelled, %g s after its call ended: at %s", found.script.name, grace, place)
    finally:
        taken.scope = None
        ended.remove_done_callback(end_soon)
