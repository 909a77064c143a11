"""Why a call goes where it goes: the live decision, walked through without placing a call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from msgspec import structs

from kemi import health as breakers
from kemi import least_cost, limits, policy
from kemi.health import Health
from kemi.plan import Attempt, Limit, Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Cause, Failure, reason_of
from model.open_breaker import OpenBreaker
from model.policy import owner

# A failure of each class as gateways show it, to tell what it would lead to.
TYPICAL: dict[str, Failure] = {
    "no-reply": Failure(408, local=True),
    "server-fault": Failure(500),
    "capacity": Failure(503, q850=34),
    "gateway-policy": Failure(403),
    "ambiguous": Failure(404),
    "loop": Failure(482),
    "final": Failure(486),
    "identity": Failure(428),
    "after-ringing": Failure(503, ringing=True),
    "no-answer": Failure(408, local=True, ringing=True),
}


PASSED_ON, DECIDED_ANEW = "reply passed on", "decided anew"


class FailureSpecError(ValueError):
    """A failure is not written as it should be; the message says how."""


@dataclass(frozen=True, slots=True)
class AttemptTrace:
    """One attempt, how it ends, and what would follow each class of failure."""

    number: int
    gateway: str
    uri: str
    result: str
    "``answered``, or the failure."
    cause: Cause | None
    why: str
    following: str
    "What comes next: a gateway, a refusal's id, or ``reply passed on``."
    consequences: dict[str, str]
    "Class of failure to what would follow it."


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything that decides a call."""

    facts: CallFacts
    version: int
    "Of the policy."
    steps: tuple[policy.Step, ...]
    route: str
    "Empty where the call is refused before one is found."
    attempts: tuple[AttemptTrace, ...]
    outcome: str
    "``answered``, ``refused``, ``reply passed on`` or, sent on by a media node, ``decided anew``."
    gateway: str = ""
    "Which one answers."
    refusal: str = ""
    "Its id."
    status: int = 0
    "What the caller gets."
    emergency: bool = False
    "Whether the call is an emergency call."
    app: str = ""
    "Name of the call script that it is handed to; empty: to none."
    reason: str = ""
    "Why it is: ``direct``, or that of its way to voicemail."
    rates: tuple[least_cost.Quote, ...] = ()
    "What each gateway takes for the number, where that decides, cheapest first; gateways of other routes included."
    limits: tuple[Limit, ...] = ()
    "Of the call, and of the gateways it may go to; they are taken to have room."

    def as_dict(self) -> dict[str, object]:
        """As JSON has it."""
        steps = [{"what": what, "subject": subject, "found": found} for what, subject, found in self.steps]
        return {
            **asdict(self),
            "steps": steps,
            "rates": [quote.as_dict() for quote in self.rates],
            "limits": [structs.asdict(limit) for limit in self.limits],
        }


@dataclass(slots=True)
class Snapshot:
    """What a node knew of its gateways at one moment; nothing, where nothing is said."""

    known: dict[str, Health] = field(default_factory=dict)
    "By gateway."
    probed: Mapping[str, int] = field(default_factory=dict)
    "Destination to Unix time, as :meth:`kemi.policy.Live.probe` has it."
    turns: Mapping[str, int] = field(default_factory=dict)
    "Route to number of calls so far."
    drawn: float = 0.0
    "What a weighted route draws, from 0 to 1; 0 hits the first gateway that has a weight."

    def health(self, gateway: str) -> Health | None:
        """See :class:`kemi.policy.Live`."""
        return self.known.get(gateway)

    def claim(self, gateway: str, now: float, until: float) -> bool:
        """See :class:`kemi.policy.Live`."""
        claimed = breakers.claimed(self.known.get(gateway, breakers.UNKNOWN), now, until)
        if claimed is not None:
            self.known[gateway] = claimed
        return claimed is not None

    def probe(self, uri: str) -> int:
        """See :class:`kemi.policy.Live`."""
        return self.probed.get(uri, 0)

    def told(self, gateway: str, trip: OpenBreaker, now: float) -> Health:
        """See :class:`kemi.policy.Live`."""
        self.known[gateway] = breakers.told(self.known.get(gateway, breakers.UNKNOWN), trip, now)
        return self.known[gateway]

    def fail(self, plan: Plan, failure: Failure, began: float, now: float) -> None:
        """Let the plan's attempt, which began at Unix time ``began``, fail at ``now``."""
        gateway, breaker = plan.attempt.gateway, plan.attempt.breaker
        known = breakers.begun(self.known.get(gateway, breakers.UNKNOWN))
        trial = breaker is not None and known.half_open(began)
        self.known[gateway] = policy.judged(known, plan, failure, now, trial=trial)

    def turn(self, route: str) -> int:
        """See :class:`kemi.policy.Live`; a look does not count as a call."""
        return self.turns.get(route, 0)

    def draw(self) -> float:
        """See :class:`kemi.policy.Live`."""
        return self.drawn


def explain(facts: CallFacts, view: View, live: Snapshot, now: float, failures: Mapping[str, Failure]) -> Explanation:
    """Decide a hypothetical call at Unix time ``now``; ``failures`` says which gateways fail, and how."""
    live = replace(live, known=dict(live.known))
    decision = policy.decide(facts, view, live, now)
    base = Explanation(
        facts=facts, version=view.version, steps=decision.steps, route="", attempts=(), outcome="refused",
        emergency=decision.emergency, rates=_rates(decision.steps, view, now),
    )  # fmt: skip
    if isinstance(decision.outcome, policy.Reject):
        refusal = decision.outcome.refusal
        return replace(base, refusal=refusal.id, status=refusal.status)
    plan = decision.outcome.plan
    base = replace(base, route=plan.route, limits=limits.named(plan))
    return _walk(_at_media(base, plan), plan, view, live, now, failures)


def _rates(steps: tuple[policy.Step, ...], view: View, now: float) -> tuple[least_cost.Quote, ...]:
    if not any(what == "rate" for what, _, _ in steps):
        return ()
    callee = next(number for what, _, number in steps if what == "callee")
    return tuple(least_cost.every(callee, view, now))


def _at_media(found: Explanation, plan: Plan) -> Explanation:
    return replace(found, app=plan.media.app, reason=plan.media.reason) if plan.media is not None else found


def _walk(
    base: Explanation, plan: Plan, view: View, live: Snapshot, now: float, failures: Mapping[str, Failure]
) -> Explanation:
    attempts: list[AttemptTrace] = []
    while True:
        attempt = plan.attempt
        failure = failures.get(attempt.gateway) or failures.get(owner(attempt.gateway))
        consequences = _consequences(plan, live, now)
        if failure is None:
            trace = _trace(len(attempts) + 1, attempt, "answered", None, "", "", consequences)
            answered = replace(base, attempts=(*attempts, trace), outcome="answered", gateway=attempt.gateway)
            return replace(answered, status=200)
        began, now = now, now + _duration(plan, failure, now)
        live.fail(plan, failure, began, now)
        decision = policy.next_attempt(plan, failure, live, now)
        decision = policy.forwarded(plan, failure, decision, base.facts.source, view, live, now)
        if isinstance(decision.outcome, policy.Retry):
            base = replace(base, steps=(*base.steps, *decision.steps))
        elif (reason := policy.voicemail_reason(plan, failure, decision)) is not None:
            decision = policy.to_voicemail(plan, failure, reason, decision, view, live, now)
            base = replace(base, steps=(*base.steps, *decision.steps))
        sent_on = plan.media is not None and failure.status // 100 == 3
        following = DECIDED_ANEW if sent_on else _following(decision)
        attempts.append(
            _trace(len(attempts) + 1, attempt, str(failure), decision.cause, decision.why, following, consequences)
        )
        match decision.outcome:
            case policy.Retry(plan=next_plan):
                plan, base = next_plan, _at_media(base, next_plan)
            case policy.Reject(refusal=refusal):
                return replace(base, attempts=tuple(attempts), refusal=refusal.id, status=refusal.status)
            case policy.PassOn():
                status = 0 if sent_on else failure.status
                return replace(base, attempts=tuple(attempts), outcome=following, status=status)


def _trace(
    number: int, attempt: Attempt, result: str, cause: Cause | None, why: str, following: str,
    consequences: dict[str, str],
) -> AttemptTrace:  # fmt: skip
    return AttemptTrace(
        number=number, gateway=attempt.gateway, uri=attempt.uri, result=result, cause=cause, why=why,
        following=following, consequences=consequences,
    )  # fmt: skip


def _duration(plan: Plan, failure: Failure, now: float) -> float:
    """Seconds that the attempt takes to fail: only a timer's failure takes any."""
    if not failure.local or failure.status != 408:
        return 0.0
    return plan.ring if failure.ringing else min(plan.attempt.no_reply, plan.progress_at(now))


def _consequences(plan: Plan, live: policy.Live, began: float) -> dict[str, str]:
    """What would follow each class of failure of the attempt that began at Unix time ``began``."""
    return {name: _consequence(plan, failure, live, began) for name, failure in TYPICAL.items()}


def _consequence(plan: Plan, failure: Failure, live: policy.Live, began: float) -> str:
    decision = policy.next_attempt(plan, failure, live, began + _duration(plan, failure, began))
    known = plan.forwarding
    if known is not None and (number := known.numbers.after(reason_of(failure))):
        return f"forward to {number}"
    if plan.voicemail is not None and policy.voicemail_reason(plan, failure, decision) is not None:
        # Which node gets it is drawn when it comes to that.
        return f"app {plan.voicemail.app}"
    return _following(decision)


def _following(decision: policy.FailureDecision) -> str:
    match decision.outcome:
        case policy.Retry(plan=plan):
            return plan.attempt.gateway
        case policy.Reject(refusal=refusal):
            return f"{refusal.status} {refusal.id}"
        case policy.PassOn():
            return PASSED_ON


_SPEC = re.compile(r"(?P<gateway>[^=,]+)=(?P<status>timeout|unsendable|[3-6][0-9]{2})(?P<details>(,[^,]+)*)")
# As the routing code reads a Retry-After.
LONGEST_NUMBER = 9
_DETAIL = re.compile(r"(?P<name>q850|location|retry-after)=(?P<value>\w+)|(?P<flag>ringing)")


def parse_failure(spec: str) -> tuple[str, Failure]:
    """A gateway and its failure, as ``GATEWAY=STATUS[,q850=N][,location=L][,retry-after=SECONDS][,ringing]``.

    STATUS is 300 to 699, ``timeout`` (no reply came) or ``unsendable``. Raises :class:`FailureSpecError`.
    """
    found = _SPEC.fullmatch(spec)
    if found is None:
        raise FailureSpecError(f"{spec!r} is not GATEWAY=STATUS, as in carrier-a=503,q850=34 or carrier-a=timeout")
    local = {"timeout": 408, "unsendable": 477}
    failure = Failure(local.get(found["status"]) or int(found["status"]), local=found["status"] in local)
    for detail in filter(None, found["details"].split(",")):
        failure = _detailed(spec, failure, detail)
    return found["gateway"], failure


def _detailed(spec: str, failure: Failure, detail: str) -> Failure:
    found = _DETAIL.fullmatch(detail)
    if found is None:
        raise FailureSpecError(f"{spec!r}: {detail!r} is none of q850=N, location=L, retry-after=SECONDS, ringing")
    if found["flag"]:
        return replace(failure, ringing=True)
    if found["name"] == "location":
        return replace(failure, location=found["value"].upper())
    if not found["value"].isdecimal() or len(found["value"]) > LONGEST_NUMBER:
        raise FailureSpecError(f"{spec!r}: {found['name']} is a number of at most {LONGEST_NUMBER} digits")
    number = int(found["value"])
    return replace(failure, q850=number) if found["name"] == "q850" else replace(failure, retry_after=float(number))
