"""What a node knows of a gateway's health, and the circuit breaker that goes by it; pure.

A gateway of which nothing is known is healthy. The breaker keeps a score. A failure adds the points of its kind, and
each attempt takes one point off, though never below zero; at ``trip`` points the breaker opens. So with two points a
failure it opens when clearly more than half of the calls fail, and at every such rate. A gateway that fails one call
in five loses 0.6 points a call: the score is a walk that is pulled down, which reaches 10 about once in a million
calls. Attempts are credited when they begin. Failures come early, while successes ring for seconds: credited when they
succeed, they would come too late for the failures of the same moment, and a busy gateway would seem worse than it is.

An open breaker lets no call through until its time is over. Then it is half-open: one trial call at a time, and
``restore`` of them that pass in a row close it. One that fails opens it again, for twice as long.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from model.causes import Cause, Failure
from model.policy import Breaker

# Seconds after the last failure in which a gateway must be in use and well for it to be forgotten.
REMEMBERED = 300.0

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Health:
    """One gateway, as one node knows it."""

    score: int = 0
    wait: float = 0.0
    "Seconds for which the breaker opened last; 0: it is closed."
    until: float = 0.0
    "Unix time until which it is open; half-open from then on."
    passed: int = 0
    "Trial calls that passed in a row."
    trial: float = 0.0
    "Unix time until which a trial call is taken to be under way."
    held: float = 0.0
    "Unix time until which the gateway asked to be left alone (Retry-After)."
    last: float = 0.0
    "Unix time of the last failure that counted."
    failures: Mapping[str, int] = field(default_factory=dict)
    "Kind of failure to how many there were since the gateway was last healthy."

    @property
    def tripped(self) -> bool:
        """Whether the breaker is open or half-open."""
        return self.wait > 0

    def is_open(self, now: float) -> bool:
        """Whether the breaker lets no call through at Unix time ``now``."""
        return self.wait > 0 and self.until > now

    def half_open(self, now: float) -> bool:
        """Whether the breaker lets trial calls through at Unix time ``now``."""
        return self.wait > 0 and self.until <= now

    def shut_until(self, *, breaker: bool) -> float:
        """Unix time until which no call is to be sent; ``breaker`` says whether that counts."""
        return max(self.held, self.until if breaker and self.wait else 0.0)

    def expires(self, now: float) -> float:
        """Seconds for which this is worth remembering."""
        failed = max(self.last, self.until) if self.wait else self.last
        return max(failed + REMEMBERED if failed else 0.0, self.held + 1, self.trial) - now

    def reasons(self) -> str:
        """The failures in words: ``5 time-out, 1 capacity``."""
        return ", ".join(f"{count} {kind}" for kind, count in self.failures.items()) or "no failure"

    def dumps(self) -> str:
        """As text for Kamailio's shared memory."""
        numbers = (self.score, self.wait, self.until, self.passed, self.trial, self.held, self.last)
        return _encode([*numbers, dict(self.failures)])

    @classmethod
    def loads(cls, text: object) -> Health | None:
        """From the text that :meth:`dumps` made; None, which is healthy, for what another version may have left."""
        try:
            score, wait, until, passed, trial, held, last, failures = json.loads(str(text))
            return cls(
                int(score), float(wait), float(until), int(passed), float(trial), float(held), float(last),
                {str(kind): int(count) for kind, count in failures.items()},
            )  # fmt: skip
        except (ValueError, TypeError, AttributeError):
            return None


UNKNOWN = Health()


def kind_of(failure: Failure, cause: Cause) -> str:
    """Which kind of failure speaks of the gateway's health; empty: this one does not.

    A phone that rings and is not answered says nothing of the gateway, nor does a 408 that it passes on.
    """
    if failure.local:
        return "transport" if failure.status == 477 else "" if failure.ringing else "time-out"
    return cause.value if cause in (Cause.SERVER_FAULT, Cause.CAPACITY) else ""


def begun(health: Health) -> Health:
    """After an attempt began."""
    return replace(health, score=health.score - 1) if health.score and not health.tripped else health


def failed(health: Health, breaker: Breaker, kind: str, now: float, *, trial: bool) -> Health:
    """After an attempt failed with a kind of failure, at Unix time ``now``."""
    points = breaker.penalties[kind]
    if not points:
        return passed(health, breaker, now) if trial else health
    if health.tripped and not (trial and health.half_open(now)):
        # Of an attempt that began before the breaker opened.
        return health
    failures = {**health.failures, kind: health.failures.get(kind, 0) + 1}
    health = replace(health, last=now, failures=failures)
    if trial:
        return _opened(health, min(health.wait * 2, breaker.open_max), now) if health.tripped else health
    score = health.score + points
    return _opened(health, breaker.open, now) if score >= breaker.trip else replace(health, score=score)


def _opened(health: Health, wait: float, now: float) -> Health:
    return replace(health, score=0, wait=wait, until=now + wait, passed=0, trial=0.0)


def passed(health: Health, breaker: Breaker, now: float) -> Health:
    """After a trial call passed, at Unix time ``now``."""
    if not health.half_open(now):
        # Another trial has failed or been the last meanwhile.
        return health
    if health.passed + 1 >= breaker.restore:
        return Health(held=health.held)
    return replace(health, passed=health.passed + 1, trial=0.0)


def claimed(health: Health, now: float, until: float) -> Health | None:
    """With a trial call under way until Unix time ``until`` at most; None: there is one already."""
    return None if health.trial > now else replace(health, trial=until, until=min(health.until, now))


def freed(health: Health) -> Health:
    """After a trial call ended without telling anything."""
    return replace(health, trial=0.0)


def held(health: Health, until: float) -> Health:
    """Left alone until Unix time ``until``."""
    return replace(health, held=until)
