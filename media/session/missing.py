"""Prompts that are not there: the script goes on without, and the log says so, once for each."""

from __future__ import annotations

import logging
import re

MOST = 1000
"Different ones that are told; a script may make up names without end."
_LONG = re.compile(r"\d{3,}")

log = logging.getLogger(__name__)
_told: set[str] = set()


def tell(path: str) -> None:
    """A file was to be played that the switch does not find."""
    # A path may hold a caller's number.
    shown = _LONG.sub("#", path)
    if shown not in _told and len(_told) < MOST:
        _told.add(shown)
        log.warning("there is no %s, it is left out", shown)
