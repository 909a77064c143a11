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
from model.open_breaker import OpenBreaker
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
    since: float = 0.0
    "Unix time of the first failure of those that make its score, or that opened the breaker."
    told: float = 0.0
    "Unix time of the trip of another node that was taken over last; no trip is taken over twice."
    teller: str = ""
    "That node, while the breaker is half-open for its sake."

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
        told = max(self.told, self.until) + REMEMBERED if self.told else 0.0
        return max(failed + REMEMBERED if failed else 0.0, told, self.held + 1, self.trial) - now

    def reasons(self) -> str:
        """The failures in words: ``5 time-out, 1 capacity``."""
        where = f" on node {self.teller}" if self.teller else ""
        return (", ".join(f"{count} {kind}" for kind, count in self.failures.items()) or "no failure") + where

    def dumps(self) -> str:
        """As text for Kamailio's shared memory."""
        numbers = (self.score, self.wait, self.until, self.passed, self.trial, self.held, self.last)
        more = (self.since, self.told, self.teller) if self.since or self.told else ()
        return _encode([*numbers, dict(self.failures), *more])

    @classmethod
    def loads(cls, text: object) -> Health | None:
        """From the text that :meth:`dumps` made; None, which is healthy, for what another version may have left."""
        try:
            score, wait, until, passed, trial, held, last, failures, *more = json.loads(str(text))
            since, told, teller = more or (0.0, 0.0, "")
            return cls(
                int(score), float(wait), float(until), int(passed), float(trial), float(held), float(last),
                {str(kind): int(count) for kind, count in failures.items()}, float(since), float(told), str(teller),
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
    before = {} if health.teller else health.failures
    failures = {**before, kind: before.get(kind, 0) + 1}
    since = health.since if health.score or health.tripped else now
    health = replace(health, last=now, failures=failures, since=since, teller="")
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
        # What another node told is over, and not to be taken over again.
        return Health(held=health.held, until=health.until if health.told else 0.0, told=health.told)
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


def opened(health: Health, now: float) -> bool:
    """Whether the failure at Unix time ``now`` has opened the breaker."""
    return health.wait > 0 and health.last == now and health.until == now + health.wait


def heeds(health: Health | None, trip: OpenBreaker, now: float) -> bool:
    """Whether a trip of another node counts: this one has no open breaker of its own, and did not try that out yet."""
    # A past call that is decided anew knew nothing of what came later; and without the agent, nobody takes back what
    # is over.
    if trip.since > now or trip.over(now):
        return False
    return health is None or (not health.tripped and health.told < trip.at)


def told(health: Health, trip: OpenBreaker, now: float) -> Health:
    """With the breaker of another node taken over."""
    if not heeds(health, trip, now):
        return health
    wait = max(trip.until - trip.at, 0.1)
    return replace(
        health, score=0, wait=wait, until=trip.until, passed=0, trial=0.0, last=trip.at, failures=trip.failures,
        since=trip.since, told=trip.at, teller=trip.node,
    )  # fmt: skip
