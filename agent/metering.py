"""What the node agent tells Prometheus, and whether it is ready."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent import metered
from agent.assembly import Assembly
from agent.metered import Metered
from agent.replica import NOTHING
from agent.standing import RPC_TIMEOUT, Standing
from kemi import asking, limits
from kemi.health import Health
from kemi.hook_breaker import Breaker
from kemi.rpc import Kamcmd, RpcError
from model.policy import Policy, owner
from model.settings import Settings
from state import keys, layout, limit_use, names, registrations
from state.layout import Meta
from state.store import Store, StoreError
from telemetry import agent as metrics
from telemetry import redis
from telemetry.health import Check
from telemetry.registry import Names, raised

log = logging.getLogger("strowger.agent")

# Different gateways, refusals and so on that are told apart; what comes after these is "other".
MOST = 500
# Seconds for which the snapshot may not have been compared with Redis.
OLD = 10.0


@dataclass(slots=True)
class Counted:
    """Takes what the spool says into metrics, each event once while this process lives."""

    _gateways: Names = field(default_factory=lambda: Names(MOST))
    _outcomes: Names = field(default_factory=lambda: Names(MOST))
    _causes: Names = field(default_factory=lambda: Names(MOST))
    _known: dict[tuple[str, tuple[str, ...]], Callable[[float], None]] = field(default_factory=dict)
    "What is counted, by what and labels, to the metric that takes it."

    def take(self, assembly: Assembly, *, anew: bool) -> None:
        """What was read since the last time; ``anew``: it was counted before, as Redis did not get it."""
        metrics.CALLS_OPEN.set(len(assembly.calls))
        if not anew:
            for one in assembly.metered:
                self._count(one)
            for record in assembly.finished:
                metrics.CALLS.labels(str(record.outcome)).inc()
            for event in assembly.breakers:
                if event["event"] == "tripped":
                    metrics.TRIPS.labels(self._gateways.label(owner(event["gateway"]))).inc()
        assembly.metered.clear()

    def _count(self, one: Metered) -> None:
        key = one.what, one.labels
        add = self._known.get(key)
        if add is None:
            add = self._meter(one.what, *one.labels)
            if len(self._known) < 10 * MOST:
                # Looking for a metric's labels costs as much as all the rest.
                self._known[key] = add
        add(one.value)

    def _meter(self, what: str, *labels: str) -> Callable[[float], None]:
        match what:
            case metered.DECISION:
                return metrics.DECISIONS.labels(self._outcomes.label(labels[0])).inc
            case metered.ATTEMPT:
                return metrics.ATTEMPTS.labels(self._gateways.label(labels[0]), self._causes.label(labels[1])).inc
            case metered.DIAL_DELAY:
                return metrics.POST_DIAL_DELAY.labels(self._gateways.label(labels[0])).observe
            case metered.DECISION_TIME:
                return metrics.DECISION_SECONDS.observe
            case _:
                return metrics.TALK_SECONDS.inc


@dataclass(slots=True)
class Backlog:
    """How far the shipper is behind."""

    bytes: int = 0
    since: float = 0.0
    "Of ``time.monotonic``: when the spool was last whole in Redis; 0: it is now."

    def shipped(self, *, whole: bool) -> None:
        """All that was read is in Redis; ``whole``: and nothing more was there."""
        self.since = 0.0 if whole else self.since or time.monotonic()

    def age(self) -> float:
        """In seconds."""
        return time.monotonic() - self.since if self.since else 0.0


@dataclass(slots=True)
class Metering:
    """Asks what nobody keeps up to date, at each scrape; and checks."""

    settings: Settings
    standing: Standing
    snapshot: Callable[[bytes], bytes | None]
    "Of this node."
    in_step: Callable[[], float]
    "Of ``time.monotonic``: when the snapshot was last compared with Redis."
    backlog: Callable[[], Backlog]
    threads: list[threading.Thread] = field(default_factory=list)
    _names: Names = field(default_factory=lambda: Names(MOST))
    _routes: tuple[int, list[tuple[str, int]]] = (-1, [])
    "Version of the policy, and its limits with the calls that each allows."

    def live(self) -> list[Check]:
        """Whether every thread is there: one that ended would be missed by nobody else."""
        return [Check(one.name, one.is_alive(), "at work" if one.is_alive() else "has ended") for one in self.threads]

    def ready(self) -> list[Check]:
        """Redis, snapshot, Kamailio, spool, and whether this node is drained."""
        meta, away = self._meta(), time.monotonic() - self.in_step()
        lag, trouble = self.backlog(), self.standing.trouble
        version = f"policy version {meta.version}" if meta.version else "no policy was applied yet"
        drain, draining = self.standing.drain, self.standing.draining(time.time())
        late = f"; not compared with Redis for {away:.0f} s" if away > OLD else ""
        return [
            self._redis(),
            Check("snapshot", bool(meta.version) and not late, version + late),
            Check("kamailio", not trouble, trouble or f"answers; {self.standing.calls} calls"),
            Check("spool", lag.age() < OLD, f"{lag.bytes} bytes are not in Redis, for {lag.age():.0f} s"),
            Check("draining", not draining, f"takes no new calls: {drain.reason}" if drain and draining else "no"),
        ]

    def troubles(self) -> tuple[str, ...]:
        """What is not well, in short, for the node's report; a drain is no trouble, and without Redis there is none."""
        version = self._meta().version
        found = [
            (bool(self.standing.trouble), f"kamailio: {self.standing.trouble}"),
            (not version, "snapshot: no policy was applied yet"),
            (self.backlog().age() >= OLD, f"spool: {self.backlog().bytes} bytes are not in Redis"),
            (not all(one.is_alive() for one in self.threads), "agent: a thread has ended"),
        ]
        return tuple(text for holds, text in found if holds)

    def sample(self) -> None:
        """Everything that nobody keeps up to date."""
        meta, backlog = self._meta(), self.backlog()
        metrics.POLICY_VERSION.set(meta.version)
        metrics.SNAPSHOT_SEQ.set(meta.seq)
        metrics.SNAPSHOT_AGE.set(time.monotonic() - self.in_step())
        metrics.SNAPSHOT_SIZE.set(_size(self.settings))
        metrics.SPOOL_BACKLOG.set(backlog.bytes)
        metrics.SPOOL_AGE.set(backlog.age())
        metrics.DRAINING.set(self.standing.draining(time.time()))
        metrics.KAMAILIO_UP.set(not self.standing.trouble)
        metrics.KAMAILIO_CALLS.set(self.standing.calls or 0)
        raw = self.snapshot(layout.POLICY)
        policy = layout.decode_policy_record(raw)[1] if raw else Policy()
        self._of_kamailio(policy)
        if self._redis().ok:
            self._of_redis(policy, meta)

    def _meta(self) -> Meta:
        raw = self.snapshot(layout.META)
        return Meta.decode(raw) if raw else NOTHING

    def _redis(self) -> Check:
        store = Store(self.settings.redis_url)
        try:
            return redis.checked(store.ping, StoreError)
        finally:
            store.close()

    # Kamailio's shared memory

    def _of_kamailio(self, policy: Policy) -> None:
        health: Mapping[str, object] = {}
        probed: Mapping[str, object] = {}
        hooks: Mapping[str, object] = {}
        try:
            with Kamcmd(f"unix:{self.settings.rpc_socket}", timeout=RPC_TIMEOUT) as rpc:
                health, probed = rpc.htable_dump("health"), rpc.htable_dump("probed")
                hooks = rpc.htable_dump(asking.BREAKERS)
                self._count_questions(rpc.htable_dump(asking.COUNTS))
        except RpcError as error:
            log.debug("Kamailio does not tell how its gateways are: %s", error)
        self._of_gateways(policy, health, probed)
        now = time.time()
        for name in policy.hooks:
            paused = Breaker.loads(hooks.get(name, "")).state(now) != "asked"
            metrics.HOOK_PAUSED.labels(self._names.label(name)).set(paused)

    def _of_gateways(self, policy: Policy, health: Mapping[str, object], probed: Mapping[str, object]) -> None:
        for metric in (metrics.GATEWAY_BREAKER, metrics.GATEWAY_HELD, metrics.GATEWAY_PROBE_DOWN):
            metric.clear()
        now, expanded = time.time(), names.expanded(policy, names.decode(self.snapshot(names.NAMES)))
        known: dict[str, list[Health]] = {}
        for name, text in health.items():
            known.setdefault(owner(name), []).append(Health.loads(text) or Health())
        for gateway in policy.gateways.values():
            label, found = self._names.label(gateway.name), known.get(gateway.name, [])
            metrics.GATEWAY_BREAKER.labels(label).set(max((_breaker(one, now) for one in found), default=0.0))
            metrics.GATEWAY_HELD.labels(label).set(any(one.held > now for one in found))
            if gateway.probe and (members := expanded.members(gateway.name)):
                down = [int(str(probed.get(member.uri, 0))) > 0 for member in members]
                metrics.GATEWAY_PROBE_DOWN.labels(label).set(all(down))

    def _count_questions(self, counts: Mapping[str, object]) -> None:
        """Kamailio counts from its start on."""
        for key, found in counts.items():
            labels = map(self._names.label, key.split(" ", 1))
            raised(metrics.HOOK_QUESTIONS.labels(*labels), int(str(found)))

    # Redis

    def _of_redis(self, policy: Policy, meta: Meta) -> None:
        store = Store(self.settings.redis_url)
        try:
            self._ask(store, policy, meta)
        except StoreError as error:
            log.debug("Redis does not tell how it is: %s", error)
        finally:
            store.close()

    def _ask(self, store: Store, policy: Policy, meta: Meta) -> None:
        memory, writes = store.vitals()
        metrics.REDIS_MEMORY.set(memory)
        metrics.REDIS_WRITES.set(writes)
        metrics.SNAPSHOT_LAG.set(max(0, store.position()[1] - meta.seq))
        live, gone = store.nodes()
        metrics.NODES.labels("live").set(len(live))
        metrics.NODES.labels("gone").set(len(gone))
        metrics.FRAUD_BLOCKED.set(store.count(keys.TRIPS))
        metrics.ENTRIES.set(store.count(keys.ENTRIES))
        drains, now = store.drains(), time.time()
        metrics.GATEWAY_DRAINED.clear()
        for name in policy.gateways:
            drained = name in drains and drains[name].live(now)
            metrics.GATEWAY_DRAINED.labels(self._names.label(name)).set(drained)
        metrics.REGISTERED.clear()
        for trunk, status in registrations.read(store).items():
            metrics.REGISTERED.labels(self._names.label(trunk)).set((status["until"] or 0) > now)
        self._of_limits(store, meta.version)

    def _of_limits(self, store: Store, version: int) -> None:
        if self._routes[0] != version:
            self._routes = version, _limits(store) if version else []
        found = self._routes[1]
        use = limit_use.usage(store, [name for name, _ in found])
        for metric in (metrics.LIMIT_CALLS, metrics.LIMIT_MAX, metrics.LIMIT_REFUSED):
            metric.clear()
        for name, most in found:
            label = self._names.label(name)
            metrics.LIMIT_CALLS.labels(label).set(use[name].calls)
            metrics.LIMIT_REFUSED.labels(label).set(use[name].refused)
            if most:
                metrics.LIMIT_MAX.labels(label).set(most)


def _limits(store: Store) -> list[tuple[str, int]]:
    """Limits of trunks, routes and gateways. Not of subscribers and prefixes: these are numbers, and many."""
    policy, routes = store.policy().decode()
    parts = [("trunk", one.name, one.limits) for one in policy.trunks]
    parts += [("route", one.name, one.limits) for one in routes]
    parts += [("gateway", one.name, one.limits) for one in policy.gateways.values()]
    found = [limits.of(scope, name, own) for scope, name, own in parts if own is not None and not own.each]
    return [(limit.name, limit.calls) for limit in found]


def _breaker(known: Health, now: float) -> float:
    return 1.0 if known.is_open(now) else 0.5 if known.tripped else 0.0


def _size(settings: Settings) -> int:
    try:
        return os.stat(settings.snapshot / "data.mdb").st_size
    except OSError:
        return 0
