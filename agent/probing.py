"""Tells Kamailio's dispatcher which gateways to probe by OPTIONS; event routes in kamailio.cfg note what it finds."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection

from kemi.rpc import Kamcmd, RpcError
from model.policy import Policy
from model.settings import Settings
from state import layout, names

log = logging.getLogger("strowger.agent")

# Seconds; Kamailio refuses to read its list again within five (reload_delta).
RETRY_EVERY = 5.5
RPC_TIMEOUT = 0.5
# Flags in dispatcher's list: probe it, and take it for down from the start.
PROBED, DOWN = 8, 1


class Probing:
    """Follows the policy of this node's snapshot."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._version = -1
        self._names: bytes | None = None
        self._uris: tuple[str, ...] = ()
        self._pending = False
        self._tried = 0.0

    def follow(self, version: int, policy: Callable[[], bytes | None], resolved: bytes | None = None) -> None:
        """Have the gateways probed that version ``version`` of the policy wants to be; cheap where it is the last.

        ``resolved`` is the snapshot's record of names.
        """
        if (version, resolved) != (self._version, self._names):
            raw, self._names = policy(), resolved
            uris = _uris(layout.decode_policy_record(raw)[1], resolved) if raw else ()
            first, self._version = self._version == -1, version
            # At the start nobody knows what Kamailio has read.
            self._pending = self._pending or uris != self._uris or (first and self._settings.dispatcher_list.exists())
            self._uris = uris
        if self._pending and time.monotonic() - self._tried >= RETRY_EVERY:
            self._tried = time.monotonic()
            self._pending = not self._load()

    def _load(self) -> bool:
        with Kamcmd(f"unix:{self._settings.rpc_socket}", timeout=RPC_TIMEOUT) as rpc:
            try:
                down = {uri for uri, since in rpc.htable_dump("probed").items() if int(since) > 0}
            except RpcError:
                # Kamailio is away, and will read the file when it starts; or it is just starting, so again later.
                self._write(())
                return not self._uris
            # Dispatcher forgets all states when it reads its list: one that is down would count as up.
            self._write(down)
            try:
                rpc.call("dispatcher.reload")
                for uri, since in rpc.htable_dump("probed").items():
                    if uri not in self._uris or (int(since) > 0 and uri not in down):
                        rpc.call("htable.delete", "probed", uri)
            except RpcError as error:
                log.debug("the list of gateways to probe is not read yet: %s", error)
                return False
        log.info("probing %s", ", ".join(self._uris) or "no gateway")
        return True

    def _write(self, down: Collection[str]) -> None:
        lines = [f"1 {uri} {PROBED | (DOWN if uri in down else 0)} 0\n" for uri in self._uris]
        path = self._settings.dispatcher_list
        new = path.with_suffix(".new")
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text("".join(lines))
        os.replace(new, path)


def _uris(policy: Policy, resolved: bytes | None) -> tuple[str, ...]:
    known = names.expanded(policy, names.decode(resolved))
    probed = (name for name, gateway in policy.gateways.items() if gateway.probe and gateway.enabled)
    return tuple(sorted({member.uri for name in probed for member in known.members(name)}))
