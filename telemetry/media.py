"""A media worker's metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from telemetry.registry import REGISTRY

_LAG = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

CALLS = Gauge("strowger_media_calls", "Calls under way in this worker.", registry=REGISTRY)
TAKEN = Counter("strowger_media_calls_taken", "Calls that the switch handed over.", registry=REGISTRY)
REFUSED = Counter("strowger_media_calls_refused", "Connections closed since there were too many calls.",
                  registry=REGISTRY)  # fmt: skip
DRAINING = Gauge("strowger_media_draining", "Whether this worker takes no new calls.", registry=REGISTRY)
RUNNING = Gauge("strowger_script_running", "Scripts at work, with a call or without.", ["script"], registry=REGISTRY)
RUNS = Counter("strowger_script_runs", "Scripts that ended, by how: done, failed, cancelled.", ["script", "result"],
               registry=REGISTRY)  # fmt: skip
SCRIPTS = Gauge("strowger_scripts_loaded", "Call scripts in force.", registry=REGISTRY)
SCRIPTS_REFUSED = Gauge("strowger_scripts_refused", "Files of scripts that do not load; what they were stays in force.",
                        registry=REGISTRY)  # fmt: skip
BLOCKED = Counter("strowger_media_loop_blocked", "Times that a script held up all calls of this worker.",
                  registry=REGISTRY)  # fmt: skip
INTERRUPTED = Gauge("strowger_media_hooks_interrupted", "Hangup hooks that a worker's death kept from their end.",
                    registry=REGISTRY)  # fmt: skip
CONNECTED = Gauge("strowger_switch_connected", "Whether the switch has let this worker in.", registry=REGISTRY)
COMMANDS = Counter("strowger_esl_commands", "Commands sent to the switch.", registry=REGISTRY)
EVENTS = Counter("strowger_esl_events", "Events that the switch sent.", registry=REGISTRY)
LAG = Histogram(
    "strowger_esl_event_lag_seconds", "From the switch making an event to its being read; of one in 32.",
    buckets=_LAG, registry=REGISTRY,
)  # fmt: skip
SPEECH = Counter("strowger_speech_requests", "Speech that was asked for, by whether it was there: hit, miss.",
                 ["result"], registry=REGISTRY)  # fmt: skip
