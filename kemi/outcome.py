"""What a decision can be, and what it is made of: plain values."""

from __future__ import annotations

from typing import Protocol

import msgspec

from kemi.health import Health
from kemi.plan import Plan
from model.causes import Cause
from model.hook import Hook
from model.open_breaker import OpenBreaker
from model.policy import Refusal
from model.side import PLAIN, Side

# What tm lets a transaction branch into (its parameter max_branches).
BRANCHES = 12
# Of one plan.
ATTEMPTS = 10


class Live(Protocol):
    """What changes from call to call on a node, and is in no policy."""

    def health(self, gateway: str) -> Health | None:
        """What failures have told of ``gateway``; None: nothing, so it is healthy."""

    def claim(self, gateway: str, now: float, until: float) -> bool:
        """Make this call the trial of a half-open ``gateway``; not if there is one. It ends by ``until``."""

    def probe(self, uri: str) -> int:
        """Unix time since which the gateway at ``uri`` answers no probe; below 0: since which it does again."""

    def told(self, gateway: str, trip: OpenBreaker, now: float) -> Health:
        """Take over another node's breaker, whose time is over, so that trial calls of this node decide."""

    def turn(self, route: str) -> int:
        """How many calls took ``route`` before this one."""

    def draw(self) -> float:
        """A number for this call, at least 0 and at most 1, any as likely as any other."""


# One thing that a decision looked at: what, of whom or what, and what was found.
Step = tuple[str, str, str]


class Numbers(msgspec.Struct, frozen=True):
    """The two sides of a call, normalised."""

    caller: str
    asserted: str
    callee: str

    @property
    def callers(self) -> tuple[str, ...]:
        """Every number that the caller gives as theirs."""
        return (self.caller,) if self.asserted in ("", self.caller) else (self.asserted, self.caller)


class Relay(msgspec.Struct, frozen=True):
    """The call goes to the gateways of a plan."""

    plan: Plan


class ToMedia(msgspec.Struct, frozen=True):
    """The call goes to a call script, on the media nodes of a plan."""

    plan: Plan
    app: str
    args: str


class Reject(msgspec.Struct, frozen=True):
    """The call is refused."""

    refusal: Refusal


class Ask(msgspec.Struct, frozen=True):
    """A route hook is to be asked, and the call decided anew with the answer in its facts."""

    hook: Hook
    route: str
    trunk: str
    tags: tuple[str, ...]
    numbers: Numbers
    unasserted: bool = False
    "The caller asserts an identity that is not to go further as asserted."


class Decision(msgspec.Struct, frozen=True):
    """What to do with a call, and why."""

    outcome: Relay | ToMedia | Reject
    steps: tuple[Step, ...]
    emergency: bool = False
    ask: Ask | None = None
    "Set: nothing of this holds before the hook has answered."
    side: Side = PLAIN
    "What is to be known of the caller's."


class Retry(msgspec.Struct, frozen=True):
    """The next attempt of the plan begins."""

    plan: Plan


class PassOn(msgspec.Struct, frozen=True):
    """The gateway's reply goes to the caller."""


class FailureDecision(msgspec.Struct, frozen=True):
    """What to do after a failed attempt, and why."""

    outcome: Retry | PassOn | Reject
    cause: Cause
    why: str
    steps: tuple[Step, ...] = ()
    "Where the call was decided anew."


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
