"""The scripts in force, kept equal to a folder that people edit while calls run.

A call gets the scripts as the folder has them when it begins; those of calls under way stay as they began. The folder
is read as a whole, and a reading counts only if nothing changed while its code was run, so that no script is made of
half an edit. What a module has in memory ends with its reading. :mod:`media.registry` says what is refused.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from media.folder import Folder
from media.registry import Registry, succeed

LOAD_LIMIT = 5.0
"Seconds that calls wait for scripts that are being loaded; then they get those in force."
ROUNDS = 5
"How often a folder that does not come to rest is read again."

log = logging.getLogger(__name__)


class Scripts:
    """The scripts of ``folder``. Its coroutines belong to one event loop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry()
        self.trouble = ""
        "Why the folder is not read, if so."
        self.on_loaded: Callable[[], None] | None = None
        "Called when the folder was loaded beside calls, with or without a change."
        self._watch = Folder(folder)
        self._loading: asyncio.Future[None] | None = None
        self._began = 0.0

    async def current(self) -> Registry:
        """The scripts as the folder has them now."""
        for _ in range(ROUNDS):
            if self._loading is None and not self._changed():
                break
            if not await self._load_beside():
                break
        return self.registry

    async def reload(self) -> Registry:
        """Load the folder anew, changed or not."""
        await self._load_beside()
        return self.registry

    def load(self) -> None:
        """Bring in what the folder has; blocks while the code of its modules runs."""
        old, new = self.registry, self.registry
        try:
            for _ in range(ROUNDS):
                new = succeed(old, self.folder, self._watch.read())
                if not self._watch.changed():
                    break
        except OSError as error:
            self._stay(str(error))
            return
        self.trouble, self.registry = "", new
        _tell(old, new)
        del old, new
        # Modules are cycles: left to its own pace, the collector keeps many former ones.
        gc.collect()

    def _changed(self) -> bool:
        try:
            return self._watch.changed()
        except OSError as error:
            self._stay(str(error))
            return False

    def _stay(self, why: str) -> None:
        if why != self.trouble:
            log.error("the scripts in force stay: %s", why)
        self.trouble = why

    async def _load_beside(self) -> bool:
        """Load in a thread of its own, so that calls go on meanwhile; whether that was done within the limit."""
        if self._loading is None:
            self._loading, self._began = _in_thread(self.load), time.monotonic()
            self._loading.add_done_callback(self._loaded)
        left = self._began + LOAD_LIMIT - time.monotonic()
        done, _ = await asyncio.wait([self._loading], timeout=max(left, 0.0))
        if not done:
            self._stay(f"loading {self.folder} takes longer than {LOAD_LIMIT:g} s")
        return bool(done)

    def _loaded(self, _future: asyncio.Future[None]) -> None:
        self._loading = None
        if self.on_loaded:
            self.on_loaded()


def _in_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Not in the loop's pool: a process waits for that when it ends, and a script may never end loading."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def run() -> None:
        try:
            work()
        finally:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set_result, None)

    threading.Thread(target=run, name="loading scripts", daemon=True).start()
    return done


def _tell(old: Registry, new: Registry) -> None:
    for file, why in new.refused.items():
        if old.refused.get(file) != why:
            kept = ", ".join(found.script.name for found in new.files.get(file, ()))
            log.error("refused %s: %s; %s", file, why, f"in force stays {kept}" if kept else "it brings no script")
    log.info("scripts in force: %s", ", ".join(found.script.name for found in new.scripts()) or "none")
