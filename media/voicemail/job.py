"""A job, and what is known of it: pure, with their codecs in Redis."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

TRANSCRIBE, MAIL, WEBHOOK = "transcribe", "mail", "webhook"
KINDS = (TRANSCRIBE, MAIL, WEBHOOK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Something to be done with a message."""

    kind: str
    message: str
    box: str
    due: float = 0.0
    "Unix time before which it waits."
    tries: int = 0
    "That began."
    since: float = 0.0
    "Unix time since when it is wanted."
    force: bool = False
    "Whether it is done although the disk says that it failed: somebody asked for it again."

    def record(self) -> str:
        """As stored."""
        record = {"box": self.box, "tries": self.tries, "since": self.since or time.time(), "force": self.force}
        return json.dumps(record)

    @classmethod
    def parse(cls, kind: str, message: str, record: str) -> Job:
        """From what was stored."""
        fields = json.loads(record)
        return cls(
            kind=kind, message=message, box=fields["box"], tries=int(fields["tries"]), since=fields["since"],
            force=fields["force"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A job that this service has."""

    job: Job
    entry: str
    "Id in the stream."


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A job that was given up."""

    kind: str
    message: str
    box: str
    reason: str
    tries: int
    at: float
    "Unix time."

    def record(self) -> str:
        """As stored."""
        return json.dumps({"box": self.box, "reason": self.reason, "tries": self.tries, "at": self.at})

    @classmethod
    def parse(cls, job: str, record: str) -> DeadLetter:
        """From what was stored under ``kind:message``."""
        kind, _, message = job.partition(":")
        return cls(kind=kind, message=message, **json.loads(record))


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the services and their jobs stand."""

    services: tuple[str, ...]
    "Those live."
    open: dict[str, int]
    "Jobs that are not over, by kind."
    waiting: int
    "Of these, such that wait for a time."
    dead: int
    oldest: float
    "Seconds that the oldest open job is wanted; 0 without any."
    ages: dict[str, float] = field(default_factory=dict)
    "The same of each kind."
    sound: bool
    "Whether Redis agrees with the disk; not from when it was restarted or flushed until a service has seen to it."
