"""Where a call goes that may be: its route, and beyond gateways subscribers, forwards, media and voicemail; pure."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from kemi import fraud, identity, limits, refusals
from kemi.caller import check_lists
from kemi.gateways import WEIGHTED, escaped, plan_of, planned
from kemi.outcome import BRANCHES, Live, Numbers, Refused, Relay, Step, ToMedia
from kemi.plan import Attempt, Forwarding, Identity, Limit, Media, Plan, Voicemail
from kemi.view import View
from model.call import CallFacts
from model.causes import Reason
from model.diversion import UNCONDITIONAL
from model.handover import HOPS_MAX
from model.identity import Diverted
from model.policy import MEDIA_RETRY, MediaApp, Refusal, RetryRule, Route, Trunk
from model.subscriber import Subscriber

# How often a call is forwarded from one subscriber to the next.
FORWARDS_MAX = 5

# Seconds in which some phone of a subscriber must reply at all, and in which one must ring: they are woken from sleep,
# and reached by radio.
PHONE_NO_REPLY = 5.0

PHONE_PROGRESS = 10.0


# The step that tells of a route which has a prefix of the number and yet is not there for the call.
PASSED_OVER = "passed over"


def route_of(numbers: Numbers, trunk: Trunk, view: View, now: float, steps: list[Step]) -> Route:
    for prefix, route in view.routes(numbers.callee):
        if route.narrowing is not None:
            # Who a trusted peer says is calling, where one says so.
            why = route.narrowing.mismatch(numbers.callers[0], trunk.name, trunk.tags, now)
            if why:
                steps.append((PASSED_OVER, prefix or "any number", f"{route.name}: {why}"))
                continue
        steps.append(("route", prefix or "any number", route.name))
        if route.refusal is not None:
            raise Refused(route.refusal)
        return route
    passed_over = steps[-1][0] == PASSED_OVER
    steps.append(("route", numbers.callee, f"no {'other ' if passed_over else ''}prefix matches"))
    raise Refused(refusals.NO_ROUTE)


def to_gateways(
    route: Route, numbers: Numbers, hops: int, view: View, live: Live, now: float, steps: list[Step]
) -> Relay | ToMedia:
    if route.voicemail is None:
        return Relay(plan_of(route, numbers.callee, view, live, now, steps))
    voicemail = _voicemail(route, numbers, hops)
    assert voicemail is not None
    try:
        plan = plan_of(route, numbers.callee, view, live, now, steps)
    except Refused as refused:
        if refused.refusal.id != refusals.GATEWAYS_DOWN.id or Reason.UNREACHABLE not in voicemail.when:
            raise
        instead = voicemail_plan(route.name, voicemail, Reason.UNREACHABLE, refused.refusal, 0, view, live, now, steps)
        if instead is None:
            raise
        return ToMedia(instead, voicemail.app, voicemail.args)
    return Relay(structs.replace(plan, voicemail=voicemail))


def along(
    route: Route, numbers: Numbers, facts: CallFacts, forwards: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Relay | ToMedia:  # fmt: skip
    """Where a route leads; ``forwards`` is how often subscribers forwarded the call before."""
    if route.subscribers:
        return _to_subscriber(route, numbers, facts, forwards, view, live, now, steps)
    if route.media is None:
        return to_gateways(route, numbers, facts.hops, view, live, now, steps)
    return _to_media(route, route.media, numbers, facts.hops, view, live, now, steps)


def _to_subscriber(
    route: Route, numbers: Numbers, facts: CallFacts, forwards: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Relay | ToMedia:  # fmt: skip
    name = route.rewrite.apply(numbers.callee)
    subscriber = view.subscriber(name)
    if subscriber is None or not subscriber.enabled:
        steps.append(("subscriber", name, "is disabled" if subscriber else "there is none"))
        return _instead(route, numbers, facts.hops, Reason.UNALLOCATED, refusals.NO_SUBSCRIBER, view, live, now, steps)
    if subscriber.reject_anonymous and identity.withheld(facts):
        steps.append(("anonymous", name, "refuses callers who withhold their number"))
        raise Refused(refusals.ANONYMOUS)
    if number := subscriber.forwards.always:
        steps.append(("forward", number, f"of every call to subscriber {name}"))
        fraud.check_forward(name, number, view, now, steps)
        found = forwarded_to(number, numbers, facts, subscriber.name, forwards, view, live, now, steps)
        return identity.diverted(found, numbers.callee, UNCONDITIONAL, number, hidden=subscriber.withhold)
    if subscriber.do_not_disturb:
        steps.append(("subscriber", name, "does not want to be disturbed"))
        reason, refusal = Reason.DO_NOT_DISTURB, refusals.DO_NOT_DISTURB
        return _instead(route, numbers, facts.hops, reason, refusal, view, live, now, steps)
    steps.append(("subscriber", name, "phones are called"))
    return Relay(_phones_plan(route, numbers, subscriber, facts.hops, forwards, view, now, steps))


def _instead(
    route: Route, numbers: Numbers, hops: int, reason: Reason, refusal: Refusal, view: View, live: Live, now: float,
    steps: list[Step],
) -> ToMedia:  # fmt: skip
    """Voicemail at once, or else a refusal."""
    told = _voicemail(route, numbers, hops)
    if told is not None and reason in told.when:
        plan = voicemail_plan(route.name, told, reason, refusal, 0, view, live, now, steps)
        if plan is not None:
            return ToMedia(plan, told.app, told.args)
    raise Refused(refusal)


def _voicemail(route: Route, numbers: Numbers, hops: int) -> Voicemail | None:
    told = route.voicemail
    return Voicemail(told.app, told.args, told.when, numbers.callers[0], numbers.callee, hops) if told else None


def forwarded_to(
    number: str, numbers: Numbers, facts: CallFacts, subscriber: str, forwards: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Relay | ToMedia:  # fmt: skip
    """A call that a subscriber forwards: by the routes that are there for their own calls, to ``number``."""
    subscribers = view.policy.subscribers
    if forwards >= FORWARDS_MAX or subscribers is None:
        steps.append(("forward", number, f"the call was forwarded {forwards} times"))
        raise Refused(refusals.FORWARD_LOOP)
    numbers = structs.replace(numbers, callee=number)
    check_lists(facts, subscribers.trunk, numbers, view, now, steps)
    route = route_of(numbers, subscribers.trunk, view, now, steps)
    prefix = steps[-1][1]
    outcome = along(route, numbers, facts, forwards + 1, view, live, now, steps)
    # Whoever forwards a call pays for it.
    charged = charged_to(subscriber, view)
    return limited(outcome, limits.of_call(subscribers.trunk, route, prefix, charged))


def charged_to(name: str, view: View) -> tuple[Limit, ...]:
    """What limits the calls of a subscriber."""
    section, subscriber = view.policy.subscribers, view.subscriber(name)
    return limits.of_subscriber(subscriber, section.limits) if section is not None and subscriber is not None else ()


def limited(outcome: Relay | ToMedia, more: tuple[Limit, ...]) -> Relay | ToMedia:
    """With these limits of the call besides those that forwards brought, each once."""
    before = outcome.plan.limits
    known = tuple(dict.fromkeys((*more, *before))) if before else more
    return structs.replace(outcome, plan=structs.replace(outcome.plan, limits=known))


def _phones_plan(
    route: Route, numbers: Numbers, subscriber: Subscriber, hops: int, forwards: int, view: View, now: float,
    steps: list[Step],
) -> Plan:  # fmt: skip
    assert view.policy.subscribers is not None
    attempt = Attempt(
        gateway=f"subscriber:{subscriber.name}",
        uri=f"sip:{escaped(subscriber.name)}@{view.policy.subscribers.realm}",
        retry=RetryRule(),
        no_reply=PHONE_NO_REPLY,
        progress=PHONE_PROGRESS,
        own_breaker=False,
        subscriber=subscriber.name,
        side=view.policy.subscribers.side,
    )
    forwarding = Forwarding(
        subscriber.name, subscriber.forwards, numbers.caller, numbers.asserted, hops, forwards
    )  # fmt: skip
    plan = planned(route, [attempt], view, now, steps)
    return structs.replace(plan, voicemail=_voicemail(route, numbers, hops), forwarding=forwarding)


def voicemail_plan(
    route: str, voicemail: Voicemail, reason: Reason, original: Refusal, used: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Plan | None:  # fmt: skip
    """How a call goes to voicemail after ``used`` attempts; None where it cannot."""
    steps.append(("voicemail", reason.value, f"to app {voicemail.app}"))
    nodes = {node.name: node.weight for node in view.policy.gateways.values() if node.media}
    try:
        if voicemail.hops >= HOPS_MAX or used >= BRANCHES:
            raise Refused(refusals.MEDIA_LOOP)
        if not any(nodes.values()):
            raise Refused(refusals.MEDIA_DOWN)
        way = Route(route, (), tuple(nodes), WEIGHTED, tuple(nodes.values()), retry=MEDIA_RETRY)
        plan = plan_of(way, voicemail.callee, view, live, now, steps)
    except Refused as refused:
        why = f"after {used} attempts and {voicemail.hops} hand-overs the call goes no further"
        loop = refused.refusal.id == refusals.MEDIA_LOOP.id
        steps.append(("to media", voicemail.app, why if loop else "there is no media node to call"))
        return None
    told = Media(
        voicemail.app, voicemail.args, voicemail.caller, voicemail.callee, voicemail.hops + 1, reason=reason.value
    )
    left = plan.attempts[: BRANCHES - used]
    by = Identity(target=voicemail.callee, diverted=(Diverted(voicemail.callee, reason.value),))
    return structs.replace(plan, attempts=left, used=used, media=told, original=original, identity=by)


def _to_media(
    route: Route, media: MediaApp, numbers: Numbers, hops: int, view: View, live: Live, now: float, steps: list[Step]
) -> ToMedia:
    if hops >= HOPS_MAX:
        steps.append(("to media", media.app, f"the call was there {hops} times"))
        raise Refused(refusals.MEDIA_LOOP)
    try:
        plan = plan_of(route, numbers.callee, view, live, now, steps)
    except Refused as refused:
        if refused.refusal.id == refusals.GATEWAYS_DOWN.id:
            raise Refused(replace(refusals.MEDIA_DOWN, retry_after=refused.refusal.retry_after)) from None
        raise
    steps.append(("to media", media.app, f"hand-over {hops + 1} of at most {HOPS_MAX}"))
    told = Media(media.app, media.args, numbers.callers[0], numbers.callee, hops + 1)
    return ToMedia(structs.replace(plan, media=told), media.app, media.args)
