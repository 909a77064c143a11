"""The plan of a call: every attempt resolved when the call arrives, carried on its transaction as text.

A failure is handled in whatever process sees it, maybe after a reload or a change of policy. So the plan needs
nothing but itself: no gateway or route is looked up again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from model.policy import RetryRule
from state.codec import retry_rule

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Attempt:
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

    @property
    def attempt(self) -> Attempt:
        """The attempt under way."""
        return self.attempts[self.current]

    def progress_at(self, now: float) -> float:
        """Seconds that the attempt beginning at Unix time ``now`` has until something must ring or answer."""
        return max(0.0, min(self.attempt.progress, self.deadline - now))

    def dumps(self) -> str:
        """As text for the transaction."""
        return _encode(asdict(self))

    @classmethod
    def loads(cls, text: str) -> Plan:
        """From the text that :meth:`dumps` made."""
        data = json.loads(text)
        attempts = tuple(Attempt(**{**item, "retry": retry_rule(item["retry"])}) for item in data["attempts"])
        return cls(
            **{
                **data,
                "attempts": attempts,
                "retry": retry_rule(data["retry"]),
                "excluded": tuple(data["excluded"]),
            }
        )
