"""Names the script that holds the event loop up, and with it every other call of this worker."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from pathlib import Path

from media import places

BLOCKED = 0.5
"Seconds after which a loop that has not turned counts as blocked."
PERIOD = 0.25
"Seconds between two looks."

log = logging.getLogger(__name__)


class Watchdog:
    """A thread that looks at the running loop from outside. One line in the log for each time it is blocked."""

    def __init__(self, folder: Path) -> None:
        self.blocks = 0
        "How often the loop was blocked."
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD):
            turned, asked = threading.Event(), time.monotonic()
            try:
                self._loop.call_soon_threadsafe(turned.set)
            except RuntimeError:
                return  # the loop is closed
            if not turned.wait(BLOCKED):
                self._tell()
                while not turned.wait(PERIOD) and not self._stop.is_set():
                    pass
                log.warning("the event loop goes on after %.1f s", time.monotonic() - asked)

    def _tell(self) -> None:
        self.blocks += 1
        place = places.of_frame(sys._current_frames().get(self._thread), self._folder)
        # Outside of any script it may be the machine that is slow.
        who = "a script" if places.inside(place, self._folder) else "no script"
        log.error("%s blocks every call of this worker, for more than %.1f s now: at %s", who, BLOCKED, place)
