"""The node agent's metrics: calls as the spool has them, and how the node stands."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from telemetry.registry import REGISTRY

# A worker decides in some tens of microseconds; a limit asks Redis, for 50 ms at most.
_DECISION = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_DIAL_DELAY = (0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0)

# Calls

DECISIONS = Counter(
    "strowger_decisions", "New calls decided: relay, media, or the id of a refusal.", ["outcome"], registry=REGISTRY
)
DECISION_SECONDS = Histogram(
    "strowger_decision_seconds", "From a worker's Python being entered for a new call to its decision.",
    buckets=_DECISION, registry=REGISTRY,
)  # fmt: skip
ATTEMPTS = Counter(
    "strowger_attempts", "Attempts that are over, or answered, by gateway and cause.", ["gateway", "cause"],
    registry=REGISTRY,
)  # fmt: skip
POST_DIAL_DELAY = Histogram(
    "strowger_post_dial_delay_seconds", "From a call's INVITE to the first ringing, or answer, by gateway.",
    ["gateway"], buckets=_DIAL_DELAY, registry=REGISTRY,
)  # fmt: skip
CALLS = Counter("strowger_calls", "Calls that are over, by outcome, as their records say.", ["outcome"],
                registry=REGISTRY)  # fmt: skip
TALK_SECONDS = Counter("strowger_talk_seconds", "Seconds from answer to end, of calls that ended.", registry=REGISTRY)
CALLS_OPEN = Gauge("strowger_calls_open", "Calls of this node that have no record yet.", registry=REGISTRY)
TRIPS = Counter("strowger_breaker_trips", "Breakers that opened on this node.", ["gateway"], registry=REGISTRY)

# Records

SHIPPED = Counter("strowger_records_shipped", "Call records that are in Redis.", registry=REGISTRY)
SPOOL_BACKLOG = Gauge("strowger_spool_backlog_bytes", "Bytes of the spool that are not in Redis yet.",
                      registry=REGISTRY)  # fmt: skip
SPOOL_AGE = Gauge("strowger_spool_backlog_age_seconds", "Since when the spool was not shipped whole; 0: it is.",
                  registry=REGISTRY)  # fmt: skip

# The node

KAMAILIO_UP = Gauge("strowger_kamailio_up", "Whether Kamailio answers by RPC.", registry=REGISTRY)
KAMAILIO_CALLS = Gauge("strowger_kamailio_calls", "Dialogs that Kamailio has, answered or not.", registry=REGISTRY)
DRAINING = Gauge("strowger_node_draining", "Whether this node takes no new calls.", registry=REGISTRY)
POLICY_VERSION = Gauge("strowger_policy_version", "Of the policy in the snapshot; 0: none.", registry=REGISTRY)
SNAPSHOT_SEQ = Gauge("strowger_snapshot_seq", "Number of the last change in the snapshot.", registry=REGISTRY)
SNAPSHOT_LAG = Gauge("strowger_snapshot_lag_changes", "Changes in Redis that are not in the snapshot.",
                     registry=REGISTRY)  # fmt: skip
SNAPSHOT_AGE = Gauge("strowger_snapshot_age_seconds", "Since when nobody knows whether the snapshot is up to date.",
                     registry=REGISTRY)  # fmt: skip
SNAPSHOT_SIZE = Gauge("strowger_snapshot_bytes", "Size of the snapshot's file.", registry=REGISTRY)

# Gateways, as this node sees them

GATEWAY_BREAKER = Gauge("strowger_gateway_breaker", "1: open, 0.5: half-open, 0: closed, or none.", ["gateway"],
                        registry=REGISTRY)  # fmt: skip
GATEWAY_PROBE_DOWN = Gauge("strowger_gateway_probe_down", "Whether it answers no probe.", ["gateway"],
                           registry=REGISTRY)  # fmt: skip
GATEWAY_HELD = Gauge("strowger_gateway_held", "Whether it asked to be left alone (Retry-After).", ["gateway"],
                     registry=REGISTRY)  # fmt: skip
GATEWAY_DRAINED = Gauge("strowger_gateway_drained", "Whether an operator drained it.", ["gateway"], registry=REGISTRY)
HOOK_PAUSED = Gauge("strowger_hook_paused", "Whether nobody asks a route hook, since it gave no answers.", ["hook"],
                    registry=REGISTRY)  # fmt: skip
HOOK_QUESTIONS = Counter("strowger_hook_questions", "Calls of route hooks, by what came of asking.", ["hook", "result"],
                         registry=REGISTRY)  # fmt: skip

# All nodes together: each agent tells the same

REDIS_MEMORY = Gauge("strowger_redis_memory_bytes", "Memory that Redis uses.", registry=REGISTRY)
REDIS_WRITES = Gauge("strowger_redis_writes_ok", "Whether Redis could last write its append-only file.",
                     registry=REGISTRY)  # fmt: skip
LIMIT_CALLS = Gauge("strowger_limit_calls", "Calls under a limit, on all nodes.", ["limit"], registry=REGISTRY)
LIMIT_MAX = Gauge("strowger_limit_calls_max", "Calls that it allows; without it, it limits calls a second alone.",
                  ["limit"], registry=REGISTRY)  # fmt: skip
LIMIT_REFUSED = Gauge("strowger_limit_refused", "Calls it refused, or gateways passed over for it, in ten minutes.",
                      ["limit"], registry=REGISTRY)  # fmt: skip
NODES = Gauge("strowger_nodes", "Nodes that are live, and that were once.", ["state"], registry=REGISTRY)
REGISTERED = Gauge("strowger_trunk_registered", "Whether a trunk is registered at its registrar.", ["trunk"],
                   registry=REGISTRY)  # fmt: skip
FRAUD_BLOCKED = Gauge("strowger_fraud_blocked", "Callers that a guard against fraud refuses now.", registry=REGISTRY)
ENTRIES = Gauge("strowger_list_entries", "Entries of block and allow lists, expired ones included.", registry=REGISTRY)
