"""A voicemail service's metrics. How jobs stand is the same for all services of a Redis."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from telemetry.registry import REGISTRY

JOBS = Gauge("strowger_voicemail_jobs", "Jobs that are not over: transcribe, mail, webhook.", ["kind"],
             registry=REGISTRY)  # fmt: skip
AGE = Gauge("strowger_voicemail_job_age_seconds", "Since when the oldest of them is wanted; 0: there is none.",
            ["kind"], registry=REGISTRY)  # fmt: skip
WAITING = Gauge("strowger_voicemail_jobs_waiting", "Of all kinds, those that wait for their next try.",
                registry=REGISTRY)  # fmt: skip
DEAD = Gauge("strowger_voicemail_jobs_dead", "Jobs that were given up.", registry=REGISTRY)
SERVICES = Gauge("strowger_voicemail_services", "Voicemail services that are live.", registry=REGISTRY)
SOUND = Gauge("strowger_voicemail_index_sound", "Whether Redis agrees with the disk.", registry=REGISTRY)
TRIES = Counter("strowger_voicemail_tries", "Tries that ended here: done, again, dead.", ["kind", "result"],
                registry=REGISTRY)  # fmt: skip
REAL_TIME = Histogram(
    "strowger_transcription_real_time_factor", "Seconds that a transcript took, for each second of audio.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0), registry=REGISTRY,
)  # fmt: skip
AUDIO = Counter("strowger_transcribed_audio_seconds", "Seconds of audio that were written down.", registry=REGISTRY)
