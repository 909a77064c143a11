"""What happens to a call: pure functions of what is known, for live calls and for explanations alike.

Nothing here reads a clock, a socket or Kamailio. :func:`decide` takes the INVITE, :func:`next_attempt` each failure.
Both say step by step what they read and found, so an explanation is not a second opinion but the decision itself.

A decision goes through :mod:`kemi.caller` (who calls, and may they), :mod:`kemi.destination` (where that leads) and
:mod:`kemi.gateways` (whom to try, in which order); what follows failures is in :mod:`kemi.failure`. Its results are
:mod:`kemi.outcome`. All of it has its names here.
"""

from __future__ import annotations

from msgspec import structs

from kemi import fraud, identity, limits, refusals
from kemi.caller import check_identity, check_lists, numbers_of, returned, trunk_of
from kemi.destination import along, charged_to, limited, route_of, to_gateways
from kemi.failure import (
    candidates,
    forwarded,
    full,
    hold,
    judged,
    next_attempt,
    to_voicemail,
    voicemail_reason,
)
from kemi.gateways import emergency_plan
from kemi.hook import consult
from kemi.outcome import (
    BRANCHES,
    Ask,
    Decision,
    FailureDecision,
    Live,
    PassOn,
    Refused,
    Reject,
    Relay,
    Retry,
    Step,
    ToMedia,
)
from kemi.plan import Plan
from kemi.relay import Caller, anchored
from kemi.view import View
from model.call import CallFacts
from model.causes import Cause
from model.numbers import as_dialled
from model.side import PLAIN

__all__ = [
    "BRANCHES",
    "Ask",
    "Decision",
    "FailureDecision",
    "Live",
    "PassOn",
    "Reject",
    "Relay",
    "Retry",
    "Step",
    "ToMedia",
    "candidates",
    "decide",
    "forwarded",
    "full",
    "hold",
    "judged",
    "next_attempt",
    "redirected",
    "to_voicemail",
    "voicemail_reason",
]


def decide(facts: CallFacts, view: View, live: Live, now: float, *, ask: bool = False) -> Decision:
    """What happens to a new call at Unix time ``now``.

    ``ask``: a route hook can be asked, which the decision says where it needs an answer. Otherwise its fallback holds.
    """
    steps: list[Step] = []
    emergency, number = view.policy.emergency, ""
    outcome: Relay | ToMedia | Reject
    side = PLAIN
    try:
        if facts.hops:
            trunk, numbers = returned(facts, view, steps)
        else:
            trunk = trunk_of(facts, view, steps)
            numbers = numbers_of(facts, trunk, steps)
            side = trunk.side
            if facts.subscriber:
                helped = emergency is not None and emergency.number(numbers.callee, as_dialled(facts.callee)) != ""
                numbers = check_identity(facts, numbers, trunk, view, steps, helped=helped)
                facts = identity.as_set(facts, view.subscriber(facts.subscriber))
        if emergency is not None and (number := emergency.number(numbers.callee, as_dialled(facts.callee))):
            outcome = Relay(emergency_plan(emergency, number, view, live, now, steps))
        else:
            check_lists(facts, trunk, numbers, view, now, steps)
            if view.trips:
                who = fraud.parties(facts.subscriber, trunk.name, numbers.callers[0])
                fraud.check(who, numbers.callee, view, now, steps)
            route = route_of(numbers, trunk, view, now, steps)
            prefix = steps[-1][1]
            if route.hook:
                found = consult(route, numbers, trunk, facts, view, steps, ask=ask)
                if isinstance(found, Ask):
                    found = structs.replace(found, unasserted=identity.unasserted(facts, trunk))
                    return Decision(Reject(refusals.HOOK_FAILED), tuple(steps), ask=found, side=side)
                route, numbers = found
            if route.media is None and not route.subscribers:
                outcome = to_gateways(route, numbers, facts.hops, view, live, now, steps)
            else:
                outcome = along(route, numbers, facts, 0, view, live, now, steps)
            if trunk.limits is not None or route.limits is not None or facts.subscriber:
                # What comes back from media is part of a call that counts already.
                charged = charged_to(facts.subscriber, view) if facts.subscriber and not facts.hops else ()
                outcome = limited(outcome, limits.of_call(trunk, route, prefix, charged))
        if (
            view.presents
            or facts.private
            or facts.asserted
            or outcome.plan.forwarding is not None
            or outcome.plan.media is not None
            or outcome.plan.identity is not None
        ):
            outcome = identity.told(outcome, facts, trunk, numbers, view, steps)
        if facts.subscriber:
            outcome = structs.replace(outcome, plan=structs.replace(outcome.plan, caller=facts.subscriber))
        if facts.media:
            steps += anchored(Caller(facts.source, facts.media, side), outcome.plan)
    except Refused as refused:
        outcome = Reject(refused.refusal)
    return Decision(outcome=outcome, steps=tuple(steps), emergency=number != "", side=side)


def redirected(plan: Plan, user: str, source: str, call: str, view: View, live: Live, now: float) -> FailureDecision:
    """What happens when a media node sends a call on (3xx): it is decided anew, for the ``user`` of the Contact.

    ``source`` is where the call came from, ``call`` our id of it. The hops are counted on, so circles end.
    """
    media, used = plan.media, plan.number
    assert media is not None
    hidden = plan.identity is not None and plan.identity.withheld
    facts = CallFacts(
        caller=media.caller, callee=user, source=source, hops=media.hops, origin=call, subscriber=plan.caller,
        private=hidden,
    )  # fmt: skip
    decision = decide(facts, view, live, now)
    steps = list(decision.steps)
    outcome: Retry | Reject = Reject(refusals.GATEWAYS_FAILED)
    if isinstance(decision.outcome, Reject):
        outcome = decision.outcome
    elif used < BRANCHES:
        try:
            following = identity.sent_on(plan, decision.outcome.plan, view, steps)
            left = following.attempts[: BRANCHES - used]
            known = tuple(dict.fromkeys((*following.limits, *limits.of_people(plan.limits))))
            outcome = Retry(structs.replace(following, attempts=left, used=used, limits=known))
        except Refused as refused:
            outcome = Reject(refused.refusal)
    if plan.original is not None and isinstance(outcome, Reject):
        outcome = Reject(plan.original)
    return FailureDecision(outcome, Cause.REDIRECT, f"sent on to {user or 'nobody'}", tuple(steps))
