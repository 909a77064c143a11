"""What this node's Kamailio knows and no policy holds, asked over RPC."""

from __future__ import annotations

from kemi.explain import Snapshot
from kemi.rpc import Kamcmd
from model.settings import Settings


def kamcmd(settings: Settings, timeout: float = 2.0) -> Kamcmd:
    """A client of this node's Kamailio."""
    return Kamcmd(f"unix:{settings.rpc_socket}", timeout=timeout)


def live_state(settings: Settings) -> Snapshot:
    """Gateways held and turns taken, as of now. Raises RpcError."""
    with kamcmd(settings) as rpc:
        held = {name: float(until) for name, until in rpc.htable_dump("held").items()}
        turns = {name: int(count) for name, count in rpc.htable_dump("turns").items()}
    return Snapshot(held=held, turns=turns)
