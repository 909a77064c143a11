"""What a worker itself says in Kamailio's log, with the id of the call's record, as telemetry/logs.py writes it."""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec

STDERR = 2
WARNINGS = 0
"Kamailio's debug level from which on warnings are printed; errors always are."


class Log:
    """``ksr`` is Kamailio's module KSR; ``as_json``: Kamailio was told to log so."""

    def __init__(self, ksr: Any, node: str, *, as_json: bool, level: int) -> None:
        self._ksr, self._node, self._json, self._level = ksr, node, as_json, level

    def error(self, text: str, call: str = "", call_id: str = "") -> None:
        """Something failed; ``call`` and ``call_id`` are empty where that is not known."""
        self._say("error", self._ksr.err, text, call, call_id)

    def warning(self, text: str, call: str = "", call_id: str = "") -> None:
        """The same of what need not be a fault."""
        if self._level >= WARNINGS:
            self._say("warning", self._ksr.warn, text, call, call_id)

    def _say(self, level: str, say: Any, text: str, call: str, call_id: str) -> None:
        if not self._json:
            # The Call-ID is in Kamailio's prefix.
            say(f"{text} call={call}\n" if call else f"{text}\n")
            return
        found = {
            "at": round(time.time(), 6), "level": level, "node": self._node, "process": "kamailio",
            "logger": "strowger.routing", "message": text,
        }  # fmt: skip
        ids = {name: id for name, id in (("call", call), ("callid", call_id)) if id}
        # Not by KSR: its fields are those of the prefix, which was made before the call had an id.
        os.write(STDERR, msgspec.json.encode(found | ids) + b"\n")
