"""The node agent: one process beside each Kamailio, which keeps the node's snapshot equal to the state in Redis,
ships call records there (:mod:`agent.shipper`), and tells phones of messages (:mod:`agent.lamp_service`).

Redis away: the snapshot stays as it is, and calls are decided from it. Redis empty: the same, since an empty Redis is
a lost one, not an order to forget every policy.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.adopting import Adopting
from agent.commands import Commands
from agent.health_service import HealthService
from agent.lamp_service import LampService
from agent.metering import Metering
from agent.probing import Probing
from agent.quality import QualityWriter
from agent.registration_service import RegistrationService
from agent.replica import Replica
from agent.resolving import Resolving
from agent.seen import Seen
from agent.shipper import Shipper
from agent.standing import Standing
from model.settings import Settings
from state import schema
from state.snapshot import SnapshotWriter
from state.store import NodeReport, Store, StoreError
from telemetry.listener import Listener, Told

log = logging.getLogger("strowger.agent")

# Seconds between two reports; a third of the time after which a node counts as gone.
REPORT_EVERY = 1.0
# Seconds between two looks at whether this node goes by breakers of others that are open.
WEIGH_EVERY = 0.1
# Seconds between two sweeps of expired entries. They are out of force at once; this only frees their room.
SWEEP_EVERY = 30.0
# Seconds for which one of this process's threads may keep the others waiting: the shipper has work for minutes after
# an outage, and no change is to wait for it. Python's own 5 ms would stand in the time of every confirmation.
TURN = 0.0005
# Seconds before Redis is tried again.
RETRY_EVERY = 0.5


@dataclass(slots=True)
class NodeAgent:
    """Follows Redis until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]
    _reported_busy: float = 0.0
    _standing: Standing | None = None
    _metering: Metering | None = None
    _in_step: float = field(default_factory=time.monotonic)
    "When the snapshot was last compared with Redis."

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        writer = SnapshotWriter(self.settings.snapshot)
        store = Store(self.settings.redis_url)
        started, away, failed = time.time(), False, 0.0
        seen = Seen()
        adopting = Adopting(store, self.settings.node, seen)
        replica = Replica(store, writer, lambda: self._report_busy(store, replica, started), adopting)
        quality = QualityWriter(self.settings, self.stopped, writer, lambda: replica.windows, seen)
        # Beside this loop and on a connection of its own, so that no change waits for records.
        sys.setswitchinterval(TURN)
        shipper = Shipper(self.settings, self.stopped, replica.policy_record, seen)
        standing = Standing(self.settings, self.stopped)
        registering = RegistrationService(self.settings, self.stopped, writer)
        beside = [
            threading.Thread(target=shipper.run, name="shipper"),
            threading.Thread(target=quality.run, name="quality"),
            threading.Thread(target=registering.run, name="registrations"),
            threading.Thread(target=LampService(self.settings, self.stopped, registering.put).run, name="lamps"),
            threading.Thread(target=Commands(self.settings, self.stopped).run, name="commands"),
            threading.Thread(target=Resolving(self.settings, writer, self.stopped).run, name="names"),
            threading.Thread(target=HealthService(self.settings, self.stopped).run, name="health"),
            threading.Thread(target=standing.run, name="standing"),
        ]
        metering = Metering(self.settings, standing, writer.get, lambda: self._in_step, shipper.behind, beside)
        self._standing, self._metering = standing, metering
        for thread in beside:
            thread.start()
        told = Told(sample=metering.sample, live=metering.live, ready=metering.ready)
        Listener(self.settings.agent_metrics, told).start()
        try:
            while not self.stopped():
                try:
                    self._follow(store, replica, adopting, started)
                except StoreError as error:
                    if not away:
                        log.warning("%s; calls are decided from policy version %d", error, replica.meta.version)
                    away = True
                    time.sleep(RETRY_EVERY)
                except Exception:
                    # A full disk, for one. Whoever ended here would leave threads behind that never do.
                    if failed < self._in_step:
                        log.exception("no change comes into force here")
                    failed = time.monotonic()
                    time.sleep(RETRY_EVERY)
                else:
                    away = False
        finally:
            for thread in beside:
                thread.join()
            self._retire(store)
            store.close()
            writer.close()

    def _follow(self, store: Store, replica: Replica, adopting: Adopting, started: float) -> None:
        replica.synchronise()
        schema.announce(store, self.settings.node)
        log.info("following Redis from change %d, policy version %d", replica.meta.seq, replica.meta.version)
        probing, reported, swept = Probing(self.settings), 0.0, 0.0
        confirmed = -1
        while not self.stopped():
            now = time.monotonic()
            if replica.meta.seq != confirmed or now - reported >= REPORT_EVERY:
                store.report(self._report(replica, started))
                reported, confirmed = now, replica.meta.seq
            if now - swept >= SWEEP_EVERY:
                store.sweep(time.time())
                swept = now
            probing.follow(replica.meta.version, replica.policy_record, replica.names_record())
            replica.advance(block=WEIGH_EVERY if adopting.pending else REPORT_EVERY / 2)
            adopting.announce()
            self._in_step = time.monotonic()

    def _report_busy(self, store: Store, replica: Replica, started: float) -> None:
        # Often enough not to count as gone; a command that waits for a change is told that it will take a while.
        now = time.monotonic()
        if now - self._reported_busy >= REPORT_EVERY / 2:
            store.report(replace(self._report(replica, started), busy=True))
            self._reported_busy = now

    def _report(self, replica: Replica, started: float) -> NodeReport:
        return NodeReport(
            name=self.settings.node,
            generation=replica.meta.generation,
            seq=replica.meta.seq,
            version=replica.meta.version,
            pid=os.getpid(),
            started=started,
            draining=self._standing is not None and self._standing.drained,
            calls=self._standing.calls if self._standing is not None else None,
            troubles=self._metering.troubles() if self._metering is not None else (),
        )

    def _retire(self, store: Store) -> None:
        try:
            store.retire(self.settings.node)
            schema.withdraw(store, self.settings.node)
        except StoreError:
            log.debug("Redis is away; the report expires by itself")
