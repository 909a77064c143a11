"""Ships call records from this node's spool into Redis, each call once.

What was read and what came of it go to Redis in one script, so whoever is killed, at whatever moment, the two agree.
Whatever fails, the shipper begins anew with what Redis holds. Redis away: the lines wait in the spool.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from agent import call_events, spool_reader
from agent.assembly import Assembly, Event, parse
from agent.fraud import Counter
from agent.metering import Backlog, Counted
from agent.overview import by_slot
from agent.seen import Seen, counted
from agent.spool_reader import Batch, Position
from kemi import spool
from model.open_breaker import OpenBreaker
from model.policy import Policy
from model.settings import Settings
from state import breakers, fraud, layout, records
from state.store import Store, StoreError
from telemetry.agent import SHIPPED

log = logging.getLogger("strowger.agent")

# Seconds between two looks at the spool, when all of it is shipped.
POLL = 0.1
# Seconds between two batches, in which the agent's other thread gets its turn.
PAUSE = 0.001
# Seconds before another try, when Redis is away.
RETRY_EVERY = 0.5
# Seconds between two looks for old files.
DISCARD_EVERY = 30.0
# Seconds between two looks for guards that time has released; calls pass from that moment in any case.
RELEASE_EVERY = 1.0


@lru_cache(maxsize=2)
def _decoded(record: bytes | None) -> Policy:
    return layout.decode_policy_record(record)[1] if record is not None else Policy()


class _MovedError(Exception):
    """Redis has another position of this node's spool than this process."""


@dataclass(slots=True)
class Shipper:
    """Ships until told to stop."""

    settings: Settings
    stopped: Callable[[], bool]
    policy_record: Callable[[], bytes | None] = lambda: None
    "The policy as the snapshot has it, for its guards against fraud."
    seen: Seen = field(default_factory=Seen)
    backlog: Backlog = field(default_factory=Backlog)
    _reading: tuple[Assembly, Position] | None = None
    "Where the spool was read up to, shipped or not."
    _shipped: Position = field(default_factory=Position)
    "What lies before it is in Redis."
    _counted: Counted = field(default_factory=Counted)
    _counted_until: Position = field(default_factory=Position)
    "What lies before it is in this process's metrics."
    _said: str = ""
    "What went wrong since something was shipped last, which is said once."

    def run(self) -> None:
        """Returns once ``stopped`` says so, within about a second."""
        store = Store(self.settings.redis_url)
        while not self.stopped():
            try:
                self._follow(store)
            except _MovedError:
                log.warning("Redis has another position of the spool; going on from there")
            except StoreError as error:
                # The node agent says that Redis is away.
                log.debug("no record is shipped: %s", error)
                self._count_alone(store)
            except Exception as error:
                # Nothing else would tell that records stay here.
                if self._said != str(error):
                    log.exception("no record is shipped")
                self._said = str(error)
            else:
                break
            time.sleep(RETRY_EVERY)
        store.close()

    def _follow(self, store: Store) -> None:
        text, calls = records.shipped(store, self.settings.node)
        position, assembly = Position.decode(text), Assembly.restored(self.settings.node, calls)
        self._shipped = position
        policy = self.policy_record()
        counter = Counter(_decoded(policy), fraud.counted_until(store, self.settings.node))
        counter.restore(assembly)
        self.seen.shipped()
        discarded = released = 0.0
        while not self.stopped():
            batch, anew = self._read(position)
            # Before the events are taken in: a call is given up only after all that was there at that time.
            now = time.time()
            # After the lines: whatever policy decided them is there by now. Before they are taken in: they count by it.
            if (record := self.policy_record()) != policy:
                policy = record
                counter.use(_decoded(policy), assembly, now)
            assembly.feed(event for event in map(parse, batch.lines) if event is not None)
            self._reading = assembly, batch.position
            self.seen.heard(assembly.samples)
            if batch.whole:
                assembly.close(now)
            self._count(assembly, batch, anew=anew)
            guarded = counter.count(assembly, now)
            if assembly.changed or assembly.breakers or batch.position != position or guarded:
                self._ship(store, assembly, position, batch.position, guarded)
                position = self._shipped = batch.position
                self._said = ""
            self.backlog.shipped(whole=batch.whole)
            if time.monotonic() - released >= RELEASE_EVERY:
                fraud.release_over(store, now)
                released = time.monotonic()
            if batch.whole and time.monotonic() - discarded >= DISCARD_EVERY:
                self._discard(store, position)
                discarded = time.monotonic()
            time.sleep(POLL if batch.whole else PAUSE)

    def _ship(
        self, store: Store, assembly: Assembly, before: Position, after: Position, guarded: fraud.Counted | None
    ) -> None:
        for event in assembly.breakers:
            # Before the position moves: told twice it changes nothing.
            self._tell(store, event)
        calls = {call: assembly.stored(call) if call in assembly.calls else "" for call in assembly.changed}
        finished = records.with_media(store, assembly.finished)
        if not records.ship(
            store, self.settings.node, before.encode(), after.encode(), finished, calls,
            self.settings.cdr_keep, guarded, counted(assembly.samples), call_events.encoded(assembly.told),
            by_slot(assembly.tallies),
        ):  # fmt: skip
            raise _MovedError
        SHIPPED.inc(len(finished))
        assembly.taken()

    def _tell(self, store: Store, event: Event) -> None:
        node, gateway, shared = self.settings.node, event["gateway"], event.get("shared", True)
        if event["event"] == "restored":
            breakers.closed(store, node, gateway)
        elif event["until"] > time.time():
            trip = OpenBreaker(node, gateway, event["at"], event["until"], event["since"], event["failures"])
            breakers.opened(store, trip, shared=shared)

    def _count_alone(self, store: Store) -> None:
        """Until Redis answers: what gateways do counts here. All of it is read again for Redis afterwards."""
        while self._reading is not None and not self.stopped() and not _answers(store):
            assembly, position = self._reading
            self.seen.keep(assembly.samples)
            assembly.taken()
            batch, anew = self._read(position)
            now = time.time()
            assembly.feed(event for event in map(parse, batch.lines) if event is not None)
            self.seen.heard(assembly.samples)
            if batch.whole:
                assembly.close(now)
            self._count(assembly, batch, anew=anew)
            self.backlog.shipped(whole=False)
            self._reading = assembly, batch.position
            time.sleep(RETRY_EVERY if batch.whole else PAUSE)

    def behind(self) -> Backlog:
        """How far the spool is ahead of Redis."""
        self.backlog.bytes = spool_reader.unread(self.settings.spool, self._shipped)
        return self.backlog

    def _read(self, position: Position) -> tuple[Batch, bool]:
        """What follows ``position``, and whether it was counted before: then up to where that ends."""
        if anew := position.behind(self._counted_until):
            return spool_reader.read(self.settings.spool, position, until=self._counted_until), anew
        return spool_reader.read(self.settings.spool, position), anew

    def _count(self, assembly: Assembly, batch: Batch, *, anew: bool) -> None:
        self._counted.take(assembly, anew=anew)
        if not anew:
            self._counted_until = batch.position

    def _discard(self, store: Store, position: Position) -> None:
        if self.settings.cdr_days:
            records.forget(store, self.settings.cdr_days)
        before = time.time() - self.settings.spool_hours * 3600
        for path in spool.discard(self.settings.spool, before, position.done):
            log.info("removed the call records in %s", path)


def _answers(store: Store) -> bool:
    try:
        store.ping()
    except StoreError:
        return False
    return True
