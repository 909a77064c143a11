"""What follows a failed attempt: another, a forward, voicemail or the end; and what it tells of a gateway. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from msgspec import structs

from kemi import fraud, identity, refusals
from kemi import health as breakers
from kemi.destination import forwarded_to, voicemail_plan
from kemi.health import Health
from kemi.outcome import BRANCHES, FailureDecision, Live, Numbers, PassOn, Refused, Reject, Retry, Step
from kemi.plan import Attempt, Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import TREATMENTS, Cause, Failure, Reason, classify, hangup_cause, reason_of
from model.policy import Refusal, owner

# With less of the budget left, another attempt could only be cut short.
SHORTEST_ATTEMPT = 0.5

# What stands in for a reason phrase that is missing.
_PHRASES = {
    Reason.NO_ANSWER: "No Answer",
    Reason.BUSY: "Busy Here",
    Reason.UNREACHABLE: "Temporarily Unavailable",
    Reason.DO_NOT_DISTURB: "Do Not Disturb",
    Reason.REJECTED: "Decline",
    Reason.UNALLOCATED: "Not Found",
}


def next_attempt(plan: Plan, failure: Failure, live: Live, now: float) -> FailureDecision:
    """What happens after the plan's current attempt failed, at Unix time ``now``; see also :func:`voicemail_reason`."""
    decision = _next_attempt(plan, failure, live, now)
    if plan.original is not None and not isinstance(decision.outcome, Retry):
        return structs.replace(decision, outcome=Reject(plan.original))
    return decision


def forwarded(
    plan: Plan, failure: Failure, decision: FailureDecision, source: str, view: View, live: Live, now: float
) -> FailureDecision:
    """What happens instead of ``decision`` where the called subscriber forwards such calls; the same where not.

    ``source`` is where the call came from. What the new number makes of the call is decided now.
    """
    known, reason = plan.forwarding, reason_of(failure)
    number = known.numbers.after(reason) if known is not None and not isinstance(decision.outcome, Retry) else ""
    if known is None or not number:
        return decision
    steps: list[Step] = [("forward", number, f"of calls to subscriber {known.subscriber} with reason {reason}")]
    hidden = plan.identity is not None and plan.identity.withheld
    facts = CallFacts(
        caller=known.caller, callee=number, source=source, hops=known.hops, subscriber=plan.caller, private=hidden
    )  # fmt: skip
    numbers = Numbers(caller=known.caller, asserted=known.asserted, callee=number)
    try:
        fraud.check_forward(known.subscriber, number, view, now, steps)
        found = forwarded_to(number, numbers, facts, known.subscriber, known.count, view, live, now, steps).plan
        assert reason is not None
        found = identity.forwarded(plan, found, number, reason, view, steps)
    except Refused as refused:
        steps.append(("forward", number, f"is refused: {refused.refusal.id}"))
        return structs.replace(decision, steps=tuple(steps))
    used = plan.number
    if used >= BRANCHES:
        return structs.replace(decision, steps=tuple(steps))
    left = found.attempts[: BRANCHES - used]
    # The caller's trunk and the route are taken until the call is over.
    both = tuple(dict.fromkeys((*plan.limits, *found.limits)))
    following = structs.replace(found, attempts=left, used=used, limits=both, caller=plan.caller)
    return FailureDecision(Retry(following), decision.cause, f"forwarded to {number}", tuple(steps))


def voicemail_reason(plan: Plan, failure: Failure, decision: FailureDecision) -> Reason | None:
    """For what reason the call goes to voicemail now that ``decision`` ends its plan; None where it does not."""
    if plan.voicemail is None or isinstance(decision.outcome, Retry):
        return None
    reason = reason_of(failure)
    return reason if reason in plan.voicemail.when else None


def to_voicemail(
    plan: Plan, failure: Failure, reason: Reason, decision: FailureDecision, view: View, live: Live, now: float
) -> FailureDecision:
    """What happens instead of ``decision``, for a :func:`voicemail_reason`; the same where no media node is there."""
    assert plan.voicemail is not None
    steps: list[Step] = []
    original = _original(decision.outcome, failure, reason)
    following = voicemail_plan(plan.route, plan.voicemail, reason, original, plan.number, view, live, now, steps)
    if following is None:
        return structs.replace(decision, steps=tuple(steps))
    # The caller's trunk and the route are taken until the call is over.
    known = identity.to_voicemail(plan, following)
    following = structs.replace(following, identity=known, limits=plan.limits, caller=plan.caller)
    why = f"{reason}: to app {plan.voicemail.app}"
    return FailureDecision(Retry(following), decision.cause, why, tuple(steps))


def _original(outcome: Retry | PassOn | Reject, failure: Failure, reason: Reason) -> Refusal:
    """What the caller would have been told: by the time that voicemail fails, tm has let go of the gateway's reply."""
    if isinstance(outcome, Reject):
        return outcome.refusal
    if failure.status == 477:
        return refusals.GATEWAYS_FAILED
    phrase = failure.phrase if failure.phrase.isascii() and failure.phrase.isprintable() else ""
    return Refusal(
        reason.value, failure.status, phrase or _PHRASES[reason], hangup_cause(failure), int(failure.retry_after)
    )


def _next_attempt(plan: Plan, failure: Failure, live: Live, now: float) -> FailureDecision:
    cause = classify(failure)
    if plan.attempt.subscriber:
        return _phones_failed(plan, failure, cause)
    retried, why = _retried(plan, failure, cause)
    if not retried:
        return FailureDecision(_give_up(failure, cause), cause, why)
    if plan.deadline - now < SHORTEST_ATTEMPT:
        return FailureDecision(Reject(refusals.POST_DIAL_DELAY), cause, "the post-dial delay is used up")
    if not TREATMENTS[cause].same_gateway:
        plan = structs.replace(plan, excluded=(*plan.excluded, owner(plan.attempt.gateway)))
    for index in range(_next_turn(plan, failure), len(plan.attempts)):
        name = plan.attempts[index].gateway
        if owner(name) not in plan.excluded and (plan.emergency or not _shut(plan.attempts[index], live, now)):
            return FailureDecision(Retry(structs.replace(plan, current=index)), cause, why)
    return FailureDecision(_exhausted(failure, cause), cause, "no attempt is left")


def _next_turn(plan: Plan, failure: Failure) -> int:
    """Index of the attempt that may follow: no other address of a gateway that has said what all of them would.

    RFC 3263 section 4.3: the next server of a name is for those that are silent, out of reach or answer 503.
    """
    index, gateway = plan.current + 1, owner(plan.attempt.gateway)
    if failure.local or failure.status == 503 or gateway == plan.attempt.gateway:
        return index
    while index < len(plan.attempts) and owner(plan.attempts[index].gateway) == gateway:
        index += 1
    return index


def _phones_failed(plan: Plan, failure: Failure, cause: Cause) -> FailureDecision:
    """There is nobody else to try, and a phone is no server whose faults the caller is to hear of."""
    gone = failure.status in (477, 503) or (failure.local and not failure.ringing)
    why = f"no phone of subscriber {plan.attempt.subscriber} was reached" if gone else "the phones' answer"
    return FailureDecision(Reject(refusals.SUBSCRIBER_AWAY) if gone else PassOn(), cause, why)


def candidates(plan: Plan, live: Live, now: float) -> list[int]:
    """Which attempts could be made now, from the plan's current one on, for limits to choose from."""
    return [
        index
        for index in range(plan.current, len(plan.attempts))
        if index == plan.current
        or (owner(plan.attempts[index].gateway) not in plan.excluded and not _shut(plan.attempts[index], live, now))
    ]


def full(failure: Failure, decision: FailureDecision, steps: tuple[Step, ...]) -> FailureDecision:
    """What happens instead of ``decision`` where no attempt that is left has room under its limits."""
    outcome = _exhausted(failure, decision.cause)
    steps = (*decision.steps, *steps)
    return FailureDecision(outcome, decision.cause, "no attempt is left that has room under its limits", steps)


def _shut(attempt: Attempt, live: Live, now: float) -> bool:
    health = live.health(attempt.gateway)
    return health is not None and health.shut_until(breaker=attempt.breaker is not None) > now


def _retried(plan: Plan, failure: Failure, cause: Cause) -> tuple[bool, str]:
    if cause is Cause.CANCELLED:
        return False, "the caller hung up"
    if failure.ringing and not _after_ringing(plan):
        return False, "the called phone had rung"
    for speaker, rule in ((f"gateway {plan.attempt.gateway}", plan.attempt.retry), (f"route {plan.route}", plan.retry)):
        verdict = rule.verdict(failure)
        if verdict is not None:
            return verdict, f"{speaker} says so"
    return TREATMENTS[cause].retry, "by the table of causes"


def _after_ringing(plan: Plan) -> bool:
    own = plan.attempt.retry.after_ringing
    return bool(plan.retry.after_ringing if own is None else own)


def _give_up(failure: Failure, cause: Cause) -> PassOn | Reject:
    # What speaks of the callee is passed on as it came; a 503 would speak of this proxy.
    if failure.status == 503 and cause is not Cause.CANCELLED:
        return Reject(refusals.GATEWAYS_FAILED)
    return PassOn()


def _exhausted(failure: Failure, cause: Cause) -> PassOn | Reject:
    if cause in (Cause.AMBIGUOUS, Cause.FINAL):
        return PassOn()
    return Reject(replace(refusals.GATEWAYS_FAILED, cause=failure.q850 or refusals.GATEWAYS_FAILED.cause))


def hold(plan: Plan, failure: Failure) -> float:
    """Seconds for which the failed gateway is to be left alone; 0: not at all.

    Retry-After speaks of the server on 500 and 503 (RFC 3261 sections 20.33, 21.5.1 and 21.5.4), and of the called
    user on every other status. A media node's says nothing: FreeSWITCH has 300 seconds written in its code, for a full
    house as for a start that takes a moment (sofia_handle_sip_i_invite and others of mod_sofia's sofia.c).
    """
    if plan.media:
        return 0.0
    return min(failure.retry_after, plan.retry_after_max) if failure.status in (500, 503) else 0.0


def judged(health: Health, plan: Plan, failure: Failure, now: float, *, trial: bool) -> Health:
    """What is known of a gateway after its attempt failed at Unix time ``now``; ``trial``: it was a trial call."""
    attempt = plan.attempt
    if attempt.breaker is not None:
        kind = breakers.kind_of(failure, classify(failure))
        if plan.current and kind == "time-out" and now >= plan.deadline - SHORTEST_ATTEMPT:
            # What others left of the budget was too short to tell anything.
            health = breakers.freed(health) if trial else health
        elif kind:
            health = breakers.failed(health, attempt.breaker, kind, now, trial=trial)
        elif trial:
            health = breakers.passed(health, attempt.breaker, now)
    if seconds := hold(plan, failure):
        # Rounded up: a gateway is never called earlier than it asked for.
        health = breakers.held(health, math.ceil(now + seconds))
    return health
