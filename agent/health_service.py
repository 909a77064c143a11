"""Tells Redis what this node's Kamailio knows of gateways, for the console: probes, breakers, Retry-After."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from kemi.node_state import kamcmd
from kemi.rpc import RpcError
from model.settings import Settings
from state import node_health
from state.node_health import NodeHealth
from state.store import Store, StoreError

log = logging.getLogger("strowger.agent")

EVERY = 0.5
"Seconds between two looks."
RENEW = node_health.TTL / 3
"Seconds after which what has not changed is told again."


class HealthService:
    """Looks and tells, until told to stop."""

    def __init__(self, settings: Settings, stopped: Callable[[], bool]) -> None:
        self._settings, self._stopped = settings, stopped
        self._told, self._at = NodeHealth(0.0), 0.0

    def run(self) -> None:
        """Returns once ``stopped`` says so."""
        store = Store(self._settings.redis_url)
        while not self._stopped():
            try:
                self.tell(store)
            except (RpcError, StoreError) as error:
                # What was told last expires, and then nobody takes it for what is.
                log.debug("health of gateways is not told: %s", error)
            except Exception:
                # Nothing else would tell that the console shows less than there is.
                log.exception("health of gateways is not told")
            time.sleep(EVERY)
        store.close()

    def tell(self, store: Store) -> None:
        """Look once, and tell what changed. Raises RpcError, :class:`state.store.StoreError`."""
        with kamcmd(self._settings) as rpc:
            health = {name: str(text) for name, text in rpc.htable_dump("health").items()}
            probed = {uri: int(since) for uri, since in rpc.htable_dump("probed").items()}
        found, now = NodeHealth(time.time(), health, probed), time.monotonic()
        same = (found.health, found.probed) == (self._told.health, self._told.probed)
        if not same or now - self._at >= RENEW:
            node_health.put(store, self._settings.node, found)
            self._told, self._at = found, now
