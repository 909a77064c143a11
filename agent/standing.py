"""How this node stands: whether its Kamailio answers, how many calls it has, and whether it is to take new ones.

Redis says which nodes are drained. This follows, tells Kamailio, and keeps it in a file with which Kamailio begins: so
neither a restart nor Redis's absence ends a drain.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from kemi.rpc import Kamcmd, RpcError
from model.policy import NodeDrain
from model.settings import Settings
from state import node_drains
from state.store import Store, StoreError

log = logging.getLogger("strowger.agent")

# Seconds between two looks; a drain is in force about that late.
EVERY = 0.5
RPC_TIMEOUT = 2.0
# Of a drain without an end: the last second that Kamailio can name.
FOR_EVER = 2**31 - 1
DRAINED = "drained"
"Shared variable of Kamailio: the Unix time until which it takes no new calls."


@dataclass(slots=True)
class Standing:
    """Follows until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]
    calls: int | None = None
    "Dialogs that Kamailio has; None: it does not answer."
    trouble: str = "not asked yet"
    "Why Kamailio does not answer; empty: it does."
    drain: NodeDrain | None = None
    "As Redis said last."
    _told: int | None = None
    "Until when Kamailio believes that it is drained; None: nobody knows."
    _uptime: int = 0
    _kept: bool = False
    "Whether the file says what Redis does."

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        store = Store(self.settings.redis_url)
        with Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=RPC_TIMEOUT) as rpc:
            while not self.stopped():
                try:
                    self.look(store, rpc)
                except Exception:
                    # Nothing else would tell that drains are not followed.
                    log.exception("the state of this node is not followed")
                time.sleep(EVERY)
        store.close()

    def draining(self, now: float) -> bool:
        """Whether no new calls are to be taken at Unix time ``now``."""
        return self.drain is not None and self.drain.live(now)

    @property
    def drained(self) -> bool:
        """Whether Kamailio takes no new calls: it was told, or is away and will be when it starts."""
        return self.draining(time.time()) and self._kept and (self._told is not None or self.calls is None)

    def look(self, store: Store, rpc: Kamcmd) -> None:
        """Once."""
        with suppress(StoreError):
            # What was said last holds while Redis is away.
            drain = node_drains.read(store, self.settings.node)
            self._kept = self._kept and drain == self.drain
            self.drain = drain
            self._keep()
        try:
            uptime, dialogs = rpc.uptime(), rpc.statistics("dialog")
            if uptime < self._uptime:
                self._told = None
            self._uptime = uptime
            if self._kept and self._told != (until := self._until()):
                rpc.call("pv.shvSet", DRAINED, "int", until)
                log.info("takes no new calls" if until else "takes calls")
                self._told = until
        except RpcError as error:
            self.calls, self.trouble, self._told = None, str(error), None
        else:
            # The early ones are set up, the active ones are answered.
            self.calls, self.trouble = dialogs.get("active_dialogs", 0) + dialogs.get("early_dialogs", 0), ""

    def _until(self) -> int:
        if self.drain is None or not self.drain.live(time.time()):
            return 0
        return min(int(self.drain.until) or FOR_EVER, FOR_EVER)

    def _keep(self) -> None:
        if self._kept:
            return
        path = self.settings.drain_file
        if not (until := self._until()):
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            fresh.write_text(f"{until}\n")
            fresh.rename(path)
        self._kept = True
