"""Tells the switch which scripts are sent ahead: its dialplan gives their calls a socket without ``async``.

The switch has it as a global variable, since a dialplan reads nothing that costs a call less. What it has may be older
than the folder of scripts: a call whose script is no more sent ahead is taken again (media/calls.py).
"""

from __future__ import annotations

import logging
import re

from media.esl import protocol
from media.esl.connection import Connection
from media.esl.errors import EslError
from media.esl.inbound import Inbound
from media.loader import Scripts
from media.registry import Registry
from model.handover import encoded

VARIABLE = "strowger_ahead"

log = logging.getLogger(__name__)


class Ahead:
    """Keeps what the switch knows equal to the scripts in force."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._told = ""

    def connected(self, connection: Connection) -> None:
        """The switch is there, or there again: it may know nothing."""
        self._tell(connection, names(self._scripts.registry))

    def loaded(self, switch: Inbound) -> None:
        """The folder was read anew."""
        if (found := names(self._scripts.registry)) != self._told:
            try:
                self._tell(switch.connection, found)
            except EslError as error:  # told when it is back
                log.debug("the switch is not told what is sent ahead: %s", error)

    def _tell(self, connection: Connection, found: str) -> None:
        connection.write(protocol.command("api", "global_setvar", f"{VARIABLE}={found}"))
        self._told = found


def names(registry: Registry) -> str:
    """Alternatives of a regular expression: names of scripts, as they stand in the header of a hand-over."""
    found = (one.script.name for one in registry.scripts() if one.script.ahead)
    return "|".join(re.escape(encoded(name)) for name in found)
