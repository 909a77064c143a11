"""What a worker writes down of a call, as lines of the spool; pure. docs/records.md says what becomes of them.

Every line begins with its event, so that a reader finds it again behind one that was torn. The lines ``answered`` and
``ended`` are written by kamailio.cfg, which costs a worker much less.
"""

from __future__ import annotations

from kemi import policy
from kemi.asking import Asked
from kemi.health import Health
from kemi.plan import Plan
from model.call import CallFacts
from model.causes import Failure

Event = dict[str, object]


def started(now: float) -> Event:
    """Kamailio has started: what was being set up before is broken off."""
    return {"event": "started", "at": now}


def decided(
    call: str, call_id: str, from_tag: str, facts: CallFacts, decision: policy.Decision, version: int, now: float,
    limits: tuple[str, ...] = (), took: float = 0.0,
) -> Event:  # fmt: skip
    """A new call was decided, by the policy's ``version``; 0 where there is none. It counts under ``limits``.

    It took so many seconds; 0: nobody measured it.
    """
    outcome = decision.outcome
    event: Event = {
        "event": "decided",
        "call": call,
        "call_id": call_id,
        "from_tag": from_tag,
        "at": now,
        "facts": _said(facts),
        "steps": decision.steps,
        "emergency": decision.emergency,
        "version": version,
    }
    if took:
        event["took_us"] = int(took * 1e6)
    if isinstance(outcome, policy.Reject):
        event["refusal"], event["status"] = outcome.refusal.id, outcome.refusal.status
        return event
    plan = outcome.plan
    event["route"] = plan.route
    event["gateways"] = [attempt.gateway for attempt in plan.attempts]
    if plan.rates:
        event["rates"] = plan.rates
    if plan.media is not None:
        event["app"], event["reason"] = plan.media.app, plan.media.reason
    if limits:
        event["limits"] = limits
    return event


def asked(asked: Asked, decision: policy.Decision, version: int, now: float) -> Event:
    """A route hook is asked what becomes of a new call; its decision follows."""
    return {
        "event": "asked",
        "call": asked.call,
        "call_id": asked.call_id,
        "from_tag": asked.from_tag,
        "at": now,
        "facts": _said(asked.facts),
        "steps": decision.steps,
        "version": version,
    }


def _said(facts: CallFacts) -> Event:
    """Facts as the spool has them: what is as :class:`CallFacts` has it by itself is left out."""
    found: Event = {"caller": facts.caller, "callee": facts.callee, "source": facts.source}
    if facts.asserted:
        found["asserted"] = facts.asserted
    if facts.user_agent:
        found["user_agent"] = facts.user_agent
    if facts.private:
        found["private"] = True
    if facts.caller_host:
        found["caller_host"] = facts.caller_host
    if facts.hops:
        found["hops"], found["origin"] = facts.hops, facts.origin
    if facts.subscriber:
        found["subscriber"] = facts.subscriber
    if facts.hook:
        found["hook"] = facts.hook
    if facts.claims is not None:
        found["claims"] = facts.claims
    if facts.media:
        found["media"] = facts.media
    return found


def _handed_over(plan: Plan) -> Event:
    return {"app": plan.media.app, "reason": plan.media.reason} if plan.media is not None else {}


def failed(
    call: str, plan: Plan, failure: Failure, decision: policy.FailureDecision, rang: float | None, now: float,
    limits: tuple[str, ...] = (),
) -> Event:  # fmt: skip
    """An attempt failed, and was the last one unless there is a ``next``, which counts under ``limits`` as well."""
    outcome = decision.outcome
    event: Event = {
        "event": "failed",
        "call": call,
        "at": now,
        "attempt": plan.number,
        "gateway": plan.attempt.gateway,
        "status": failure.status,
        "local": failure.local,
        "q850": failure.q850,
        "location": failure.location,
        "retry_after": failure.retry_after,
        "ringing": failure.ringing,
        "rang": rang,
        "cause": decision.cause,
        "why": decision.why,
    }
    if failure.do_not_disturb:
        event["do_not_disturb"] = True
    if decision.steps:
        event["steps"] = decision.steps
    if limits:
        event["limits"] = limits
    if isinstance(outcome, policy.Retry):
        voicemail = _handed_over(outcome.plan) if outcome.plan.original and not plan.original else {}
        if outcome.plan.used != plan.used and (outcome.plan.rates or plan.rates):
            # To media, sent on by it, or forwarded: what others take for another number is not what these take.
            event["rates"] = outcome.plan.rates
        return event | {"next": outcome.plan.attempt.gateway} | voicemail
    if isinstance(outcome, policy.Reject):
        return event | {"refusal": outcome.refusal.id, "told": outcome.refusal.status}
    return event


def tripped(gateway: str, health: Health, now: float, *, shared: bool) -> Event:
    """A gateway's breaker opened; ``shared``: other nodes are to know."""
    return {
        "event": "tripped",
        "gateway": gateway,
        "at": now,
        "until": health.until,
        "since": health.since,
        "failures": health.failures,
        "shared": shared,
    }


def restored(gateway: str, now: float, *, shared: bool) -> Event:
    """A gateway's breaker closed."""
    return {"event": "restored", "gateway": gateway, "at": now, "shared": shared}


def cancelled(call: str, rang: float | None, now: float) -> Event:
    """The caller hung up before anybody answered."""
    return {"event": "cancelled", "call": call, "at": now, "rang": rang}


def ended(call: str, call_id: str, by: str, now: float) -> Event:
    """A call that stood is over; ``by`` says who sent the BYE: ``caller`` or ``callee``.

    The id comes from the network, unlike that in the lines of kamailio.cfg, and is believed with its Call-ID only.
    """
    return {"event": "ended", "call": call, "call_id": call_id, "at": now, "by": by}
