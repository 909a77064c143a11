"""What is owed to calls: a file for each call whose script has a hangup hook that has not run yet.

A worker that dies within a call cannot run its hook, and nobody else may: whether it had begun is not known. So the
next worker finds the file, and says that this call was interrupted.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from telemetry.logs import CALL, CALL_ID

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A call that is owed its hook. Says nothing of who calls whom."""

    uuid: str
    script: str
    place: str
    "File and line of the script."
    since: float
    "Unix time, in seconds."
    call: str = ""
    "Id of the call's record, and its Call-ID; empty: not known."
    call_id: str = ""


class Intents:
    """The files of one worker in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.interrupted: tuple[Intent, ...] = ()
        "What the worker before left behind."

    def recover(self) -> tuple[Intent, ...]:
        """Take what is left of the worker before, and keep it as :attr:`interrupted`. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        left = sorted(self._folder.glob("*.json"))
        torn = list(self._folder.glob("*.new"))
        found = [intent for path in left if (intent := _read(path)) is not None]
        self.interrupted = tuple(sorted(found, key=lambda intent: intent.since))
        for path in (*left, *torn):
            path.unlink()
        return self.interrupted

    def owe(self, uuid: str, script: str, place: str) -> None:
        """Write down that a call has a hook. Where that fails, the log says so, and the call goes on."""
        path = self._path(uuid)
        fresh = path.with_suffix(".new")
        about = {"call": CALL.get(), "call_id": CALL_ID.get()}
        intent = Intent(uuid=uuid, script=script, place=place, since=time.time(), **about)
        try:
            fresh.write_text(json.dumps(asdict(intent)))
            # Whole or not at all.
            os.replace(fresh, path)
        except OSError as error:
            log.error("that call %s has a hangup hook is not written down: %s", uuid, error)

    def settle(self, uuid: str) -> None:
        """The hook has run, or is not wanted any more."""
        try:
            self._path(uuid).unlink(missing_ok=True)
        except OSError as error:
            log.error("that the hangup hook of call %s has run is not written down: %s", uuid, error)

    def _path(self, uuid: str) -> Path:
        # The switch names the call; its name becomes no path.
        return self._folder / f"{uuid.replace('/', '_')}.json"


def _read(path: Path) -> Intent | None:
    try:
        return Intent(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        return None
