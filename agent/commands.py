"""What a node does when it is asked from elsewhere: commands out of Redis (state/commands.py), one after another.

A call stands in the Kamailio of one node, and whoever wants it ended may be at another machine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from agent.forgetting import forget
from kemi import records
from kemi.rpc import Kamcmd, RpcError
from kemi.spool import Spool
from model.settings import Settings
from state import commands
from state.commands import Command
from state.store import Store, StoreError
from telemetry.logs import about_call

log = logging.getLogger("strowger.agent")

RPC_TIMEOUT = 1.0
# Seconds before another try, when Redis is away.
RETRY_EVERY = 0.5
# States of Kamailio's dialogs (dlg_hash.h).
CONFIRMED_NA, CONFIRMED = 3, 4
BY_OPERATOR = "operator"
"Who ended a call that was hung up from outside, in its record."
HANGUP = "hangup"
"Table in Kamailio's shared memory: calls that are to end, and so to be tried nowhere else."


class NotDone(Exception):
    """A command is refused; the message says why."""


@dataclass(slots=True)
class Commands:
    """Obeys until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        store, recipient = Store(self.settings.redis_url), commands.node(self.settings.node)
        while not self.stopped():
            try:
                if (command := commands.take(store, recipient)) is not None:
                    commands.answer(store, recipient, command, self.obey(store, command))
            except StoreError as error:
                # The node agent says that Redis is away.
                log.debug("no command is taken: %s", error)
                time.sleep(RETRY_EVERY)
        store.close()

    def obey(self, store: Store, command: Command) -> dict[str, Any]:
        """Do what is asked; what is answered, with ``error`` where it is refused."""
        with about_call(*command.about()):
            return self._obey(store, command)

    def _obey(self, store: Store, command: Command) -> dict[str, Any]:
        known: dict[str, Callable[..., dict[str, Any]]] = {"hangup": self._hangup, "reset": partial(self._reset, store)}
        done = known.get(command.name)
        if done is None:
            return {"error": f"the node {self.settings.node} knows no command {command.name!r}"}
        try:
            answer = done(**command.arguments)
        except (NotDone, RpcError, OSError) as error:
            return {"error": str(error)}
        except Exception as error:
            # A command that cannot be is not the end of the others.
            log.exception("the command %s failed", command.name)
            return {"error": f"{type(error).__name__}"}
        log.info("did %s for %s", command.name, command.who or "nobody named")
        return answer

    def _reset(self, store: Store, *, gateway: str) -> dict[str, Any]:
        forget(self.settings, store, gateway)
        return {}

    def _hangup(self, *, call: str, call_id: str) -> dict[str, Any]:
        """End a call: one that stands with a BYE to both sides, one that is being set up with CANCEL and 487."""
        with Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=RPC_TIMEOUT) as kamailio:
            dialog = _dialog(kamailio, call, call_id)
            if dialog["state"] in (CONFIRMED_NA, CONFIRMED):
                kamailio.call("dlg.end_dlg", dialog["h_entry"], dialog["h_id"])
                # Kamailio's own BYE passes no route: what a worker writes of another's is written here.
                Spool(self.settings.spool).append(records.ended(call, call_id, BY_OPERATOR, time.time()))
                return {"how": "BYE"}
            # First: whatever the gateway makes of the CANCEL, no other is tried.
            kamailio.call("htable.sets", HANGUP, call, "1")
            kamailio.call("tm.cancel", call_id, dialog["caller"]["cseq"])
            return {"how": "CANCEL"}


def _dialog(kamailio: Kamcmd, call: str, call_id: str) -> dict[str, Any]:
    try:
        found = kamailio.call("dlg.dlg_list", call_id)
    except RpcError as error:
        raise NotDone(f"Kamailio has no such call: {error}") from None
    for dialog in found if isinstance(found, list) else [found]:
        known = {name: value for variable in dialog.get("variables", ()) for name, value in variable.items()}
        if known.get("call") == call:
            return dict(dialog)
    raise NotDone("Kamailio has no such call: it is over, or began before Kamailio was started")
