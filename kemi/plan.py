"""The plan of a call: every attempt resolved when the call arrives, carried on its transaction as text.

A failure is handled in whatever process sees it, maybe after a reload or a change of policy. So the plan needs
nothing but itself: no gateway or route is looked up again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from model.policy import DEFAULT_BREAKER, Breaker, RetryRule

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Attempt(NamedTuple):
    """One try at one gateway."""

    gateway: str
    uri: str
    "Request-URI, rewritten; its host is an IP address, so nothing is resolved on the way."
    retry: RetryRule
    "The gateway's rule."
    no_reply: float
    "Seconds."
    progress: float
    "Seconds."
    breaker: Breaker | None = DEFAULT_BREAKER
    "The gateway's."


@dataclass(frozen=True, slots=True)
class Plan:
    """The attempts of a call and how far they have come."""

    route: str
    version: int
    "Of the policy that made it."
    attempts: tuple[Attempt, ...]
    retry: RetryRule
    "The route's rule."
    deadline: float
    "Unix time at which some gateway must have rung or answered."
    ring: float
    "Seconds."
    current: int = 0
    "Index of the attempt under way."
    excluded: tuple[str, ...] = ()
    "Gateways that must not be tried again in this call."
    retry_after_max: float = 300.0
    "Seconds."
    emergency: bool = False
    "Tried even at gateways that asked to be left alone."

    @property
    def attempt(self) -> Attempt:
        """The attempt under way."""
        return self.attempts[self.current]

    def progress_at(self, now: float) -> float:
        """Seconds that the attempt beginning at Unix time ``now`` has until something must ring or answer."""
        return max(0.0, min(self.attempt.progress, self.deadline - now))

    def no_reply_at(self, now: float) -> float:
        """Seconds that the attempt beginning at Unix time ``now`` has until something must be replied at all."""
        return max(0.0, min(self.attempt.no_reply, self.deadline - now))

    def dumps(self) -> str:
        """As text for the transaction."""
        # By hand: dataclasses.asdict costs more than the whole decision.
        attempts = [
            [a.gateway, a.uri, _rule(a.retry), a.no_reply, a.progress]
            # Nothing for the default, so that the plans of most calls stay short.
            if a.breaker is DEFAULT_BREAKER
            else [a.gateway, a.uri, _rule(a.retry), a.no_reply, a.progress, _breaker(a.breaker)]
            for a in self.attempts
        ]
        return _encode(
            [
                self.route,
                self.version,
                attempts,
                _rule(self.retry),
                self.deadline,
                self.ring,
                self.current,
                self.excluded,
                self.retry_after_max,
                self.emergency,
            ]
        )

    @classmethod
    def loads(cls, text: str) -> Plan:
        """From the text that :meth:`dumps` made."""
        route, version, attempts, rule, deadline, ring, current, excluded, retry_after_max, *more = json.loads(text)
        return cls(
            route=route,
            version=version,
            attempts=tuple(_attempt(*attempt) for attempt in attempts),
            retry=_loaded(rule),
            deadline=deadline,
            ring=ring,
            current=current,
            excluded=tuple(excluded),
            retry_after_max=retry_after_max,
            # A call under way over an upgrade has the plan of a version that knew none.
            emergency=bool(more and more[0]),
        )


def _breaker(breaker: Breaker | None) -> list[object] | None:
    if breaker is None:
        return None
    return [breaker.trip, breaker.restore, breaker.open, breaker.open_max, dict(breaker.penalties)]


def _attempt(
    gateway: str, uri: str, rule: list[Any], no_reply: float, progress: float, *breaker: list[Any] | None
) -> Attempt:
    own = DEFAULT_BREAKER if not breaker else Breaker(*breaker[0]) if breaker[0] else None
    return Attempt(gateway, uri, _loaded(rule), no_reply, progress, own)


def _rule(rule: RetryRule) -> list[object]:
    return [rule.also, rule.never, rule.only, rule.after_ringing]


def _loaded(rule: list[Any]) -> RetryRule:
    also, never, only, after_ringing = rule
    return RetryRule(tuple(also), tuple(never), tuple(only), after_ringing)
