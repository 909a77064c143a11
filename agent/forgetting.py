"""Has a node forget what failures told of a gateway: its breaker closes, its Retry-After is over."""

from __future__ import annotations

import time

from kemi.health import Health
from kemi.node_state import kamcmd
from model.policy import owner
from model.settings import Settings
from state import breakers
from state.store import Store


def forget(settings: Settings, store: Store, gateway: str) -> None:
    """Forget it on this node, of the gateway and each of its addresses. Raises RpcError, StoreError."""
    with kamcmd(settings) as rpc:
        # Removing what is not there is an error in some versions of Kamailio.
        tripped = breakers.by_node(store, time.time())
        known = rpc.htable_dump("health")
        for one in {gateway, *(each for each in (*known, *tripped) if owner(each) == gateway)}:
            if one in known:
                rpc.call("htable.delete", "health", one)
            told = tripped.get(one, {}).get(settings.node)
            if told is not None and told.node != settings.node:
                # What another node said of it is not to be gone by, either.
                rpc.call("htable.sets", "health", one, Health(until=told.until, told=told.at).dumps())
            breakers.closed(store, settings.node, one)
