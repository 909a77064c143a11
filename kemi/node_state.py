"""What this node's Kamailio knows and no policy holds, asked over RPC."""

from __future__ import annotations

from kemi.explain import Snapshot
from kemi.health import Health
from kemi.rpc import Kamcmd
from model.settings import Settings


def kamcmd(settings: Settings, timeout: float = 2.0) -> Kamcmd:
    """A client of this node's Kamailio."""
    return Kamcmd(f"unix:{settings.rpc_socket}", timeout=timeout)


def live_state(settings: Settings) -> Snapshot:
    """Health of gateways and turns taken, as of now. Raises RpcError."""
    with kamcmd(settings) as rpc:
        known = {name: Health.loads(text) for name, text in rpc.htable_dump("health").items()}
        probed = {uri: int(since) for uri, since in rpc.htable_dump("probed").items()}
        turns = {name: int(count) for name, count in rpc.htable_dump("turns").items()}
        return Snapshot(
            known={name: health for name, health in known.items() if health is not None}, probed=probed, turns=turns
        )
