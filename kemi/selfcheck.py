"""What candidate routing code must get right before it may decide a call."""

from __future__ import annotations

from kemi import handover, policy
from kemi.health import UNKNOWN, Health
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Failure
from model.entries import Entry, Kind
from model.open_breaker import OpenBreaker
from model.policy import Gateway, LeastCost, MediaApp, Policy, Route, Strategy, Trunk, Voicemail
from model.rates import Rate, Row
from state import layout


class SelfCheckError(Exception):
    """The code decides a plain case wrongly; the message says which."""


class _Idle:
    def health(self, gateway: str) -> None:
        return None

    def claim(self, gateway: str, now: float, until: float) -> bool:
        return True

    def probe(self, uri: str) -> int:
        return 0

    def told(self, gateway: str, trip: OpenBreaker, now: float) -> Health:
        return UNKNOWN

    def turn(self, route: str) -> int:
        return 0

    def draw(self) -> float:
        return 0.0


def run() -> None:
    """Decide a few plain cases; raises :class:`SelfCheckError`, or whatever the code raises."""
    view = View(_snapshot().get)
    plan = _relayed(policy.decide(_call("100"), view, _Idle(), 0.0))
    _expect([attempt.gateway for attempt in plan.attempts] == ["a", "b"], "a call gets its route's gateways in order")
    after = _after(Plan.loads(plan.dumps()), 503)
    _expect(isinstance(after, policy.Retry) and after.plan.attempt.gateway == "b", "a 503 leads to the next gateway")
    _expect(isinstance(_after(plan, 486), policy.PassOn), "busy is final")
    refused = policy.decide(_call("666"), view, _Idle(), 0.0).outcome
    blocked = isinstance(refused, policy.Reject) and refused.refusal.id == "blocked-caller"
    _expect(blocked, "a blocked caller is refused")
    _check_handover(view)
    _check_voicemail(view)
    plan = _relayed(policy.decide(CallFacts("100", "8", "192.0.2.9"), view, _Idle(), 0.0))
    _expect([attempt.gateway for attempt in plan.attempts] == ["b", "a"], "the cheapest gateway comes first")


def _check_handover(view: View) -> None:
    outcome = policy.decide(CallFacts("100", "5", "192.0.2.9"), view, _Idle(), 0.0).outcome
    handed = isinstance(outcome, policy.ToMedia) and handover.lines(Plan.loads(outcome.plan.dumps()), "c", b"key", 0.0)
    headers = dict(line.split(": ", 1) for line in (handed or "").splitlines())
    _expect(headers.get("X-Strowger-App") == "check", "a call to an app is handed over")
    facts, refusal, _ = handover.returned(CallFacts("", "200", "192.0.2.2"), headers, view, b"key", 0.0)
    _expect(refusal is None and facts.caller == "100", "a call that media gives back is known again")


def _check_voicemail(view: View) -> None:
    plan, busy = _relayed(policy.decide(CallFacts("100", "7", "192.0.2.9"), view, _Idle(), 0.0)), Failure(486)
    ended = policy.next_attempt(Plan.loads(plan.dumps()), busy, _Idle(), 0.0)
    reason = policy.voicemail_reason(plan, busy, ended)
    _expect(reason is not None, "busy is a reason for voicemail")
    assert reason is not None
    after = policy.to_voicemail(plan, busy, reason, ended, view, _Idle(), 0.0).outcome
    _expect(isinstance(after, policy.Retry) and after.plan.media is not None, "a call that nobody took is handed over")


def _after(plan: Plan, status: int) -> policy.Retry | policy.PassOn | policy.Reject:
    return policy.next_attempt(plan, Failure(status=status), _Idle(), 0.0).outcome


def _snapshot() -> dict[bytes, bytes]:
    return layout.build(
        Policy(
            trunks=(Trunk("check", ("192.0.2.0/24",)),),
            gateways={
                **{name: Gateway(name, "192.0.2.1") for name in ("a", "b")},
                "m": Gateway("m", "192.0.2.2", media=True),
            },
            currency="USD",
        ),
        (
            Route("check", ("",), ("a", "b")),
            Route("media", ("5",), ("m",), media=MediaApp("check")),
            Route("voicemail", ("7",), ("a",), voicemail=Voicemail()),
            Route("cheapest", ("8",), ("a", "b"), Strategy.LEAST_COST, least_cost=LeastCost(2)),
        ),
        (Entry(Kind.CALLER, "666"),),
        sheets={name: ("USD", [("8", Row(Rate(price)))]) for name, price in (("a", 2), ("b", 1))},
    )


def _call(caller: str) -> CallFacts:
    return CallFacts(caller=caller, callee="200", source="192.0.2.9")


def _relayed(decision: policy.Decision) -> Plan:
    _expect(isinstance(decision.outcome, policy.Relay), "a plain call is routed")
    assert isinstance(decision.outcome, policy.Relay)
    return decision.outcome.plan


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise SelfCheckError(f"self-check failed: {what}")
