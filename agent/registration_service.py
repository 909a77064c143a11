"""Outbound registration beside Kamailio: who registers, where, and what became of it, into the state machine."""

from __future__ import annotations

import ipaddress
import json
import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.registrations import Registrations, Wanted
from kemi.rpc import Kamcmd
from model.policy import Policy, Registration, Trunk
from model.secrets import read_secret
from model.settings import Settings
from state import layout, names, registrations
from state.snapshot import SnapshotWriter
from state.store import Store, StoreError

log = logging.getLogger("strowger.agent")

RPC_TIMEOUT = 1.0
# Seconds between two looks at what is due.
TICK = 0.25
# Seconds: how long this node is the one that registers, and how often it says so again.
LEASE, RENEW_EVERY = 6.0, 2.0


@dataclass(slots=True)
class RegistrationService:
    """Registers until told to stop. A stop takes nothing back: whoever starts again goes on."""

    settings: Settings
    stopped: Callable[[], bool]
    writer: SnapshotWriter
    _inbox: queue.SimpleQueue[dict[str, Any]] = field(default_factory=queue.SimpleQueue)
    _seen: tuple[bytes | None, bytes | None] = (None, None)
    _wanted: list[Wanted] = field(default_factory=list)
    _ours: bool = False
    "Whether it is this node that registers."
    _renewed: float = 0.0
    _told: str = ""

    def put(self, message: dict[str, Any]) -> None:
        """A reply to a REGISTER, as a worker tells of it; from any thread."""
        self._inbox.put(message)

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        store = Store(self.settings.redis_url)
        with Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=RPC_TIMEOUT) as kamailio:
            known = Registrations(kamailio.call, lambda name: read_secret(self.settings.secrets, name))
            while not self.stopped():
                try:
                    self._step(known, store)
                except Exception:
                    # One registration that cannot be is not the end of the others.
                    log.exception("registration: something went wrong")
                    time.sleep(TICK)
        store.close()

    def _step(self, known: Registrations, store: Store) -> None:
        now = time.time()
        self._look(now)
        if not self._wanted and not known.statuses(now) and not self._told:
            self._hear(known)
            return
        self._claim(store)
        if self._ours:
            known.follow(self._wanted, now)
            known.advance(now)
            self._tell(store, known.statuses(now))
        else:
            known.abandon()
            self._told = ""
        self._hear(known)

    def _look(self, now: float) -> None:
        seen = self.writer.get(layout.POLICY), self.writer.get(names.NAMES)
        if seen != self._seen and seen[0] is not None:
            self._seen = seen
            policy = layout.decode_policy_record(seen[0])[1]
            self._wanted = wanted(policy, names.decode(seen[1]), self.settings)

    def _claim(self, store: Store) -> None:
        now = time.monotonic()
        if now - self._renewed < RENEW_EVERY:
            return
        self._renewed = now
        try:
            self._ours = registrations.lease(store, self.settings.node, LEASE)
        except StoreError as error:
            # Whoever has it, has it until Redis says something else.
            log.debug("who registers is not known: %s", error)

    def _tell(self, store: Store, statuses: dict[str, dict[str, Any]]) -> None:
        text = json.dumps(statuses, sort_keys=True)
        if text == self._told:
            return
        try:
            registrations.tell(store, self.settings.node, statuses)
            self._told = text
        except StoreError as error:
            log.debug("how registrations stand is not told: %s", error)

    def _hear(self, known: Registrations) -> None:
        try:
            message = self._inbox.get(timeout=TICK)
        except queue.Empty:
            return
        known.answered(message, time.time())


def wanted(policy: Policy, answers: names.Answers, settings: Settings) -> list[Wanted]:
    """The registrations of a policy, as far as their registrars' addresses are known."""
    return [
        _wanted(trunk, trunk.registration, answers, settings)
        for trunk in policy.trunks
        if trunk.registration is not None
    ]


def _wanted(trunk: Trunk, told: Registration, answers: names.Answers, settings: Settings) -> Wanted:
    found, trouble = names.servers(told.registrar, told.transport, answers)
    own: dict[int, str] = {ipaddress.ip_address(address).version: address for address in settings.sip_addresses}
    usable = [one for one in found if _family(one.address) in own]
    if not usable:
        return Wanted(trunk.name, told, "", (), trouble or f"{told.registrar.host}: no address of a family of ours")
    family = _family(usable[0].address)
    host = f"[{own[family]}]" if family == 6 else own[family]
    targets = tuple((one.address, one.port) for one in usable if _family(one.address) == family)
    return Wanted(trunk.name, told, f"{host}:{settings.sip_port}", targets)


def _family(address: str) -> int:
    return ipaddress.ip_address(address.strip("[]")).version
