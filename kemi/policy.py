"""What happens to a call: pure functions of what is known, for live calls and for explanations alike.

Nothing here reads a clock, a socket or Kamailio. :func:`decide` takes the INVITE, :func:`next_attempt` each failure.
Both say step by step what they read and found, so an explanation is not a second opinion but the decision itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import cycle, islice
from typing import Protocol
from urllib.parse import quote

import msgspec
from msgspec import structs

from kemi import handover, limits, refusals
from kemi import health as breakers
from kemi.health import Health
from kemi.least_cost import Ranking, rated
from kemi.plan import Attempt, Forwarding, Limit, Media, Plan, Rated, Voicemail
from kemi.view import View
from kemi.weighting import weighted_order
from model.call import CallFacts
from model.causes import TREATMENTS, Cause, Failure, Reason, classify, hangup_cause, reason_of
from model.entries import Action, Entry
from model.handover import HOPS_MAX
from model.numbers import as_dialled, is_dialable, normalise
from model.policy import (
    DEFAULT_BREAKER,
    MEDIA_RETRY,
    Emergency,
    Gateway,
    LeastCost,
    MediaApp,
    Policy,
    Refusal,
    RetryRule,
    Route,
    Strategy,
    Trunk,
)
from model.subscriber import Subscriber

# A member of an enumeration is looked up by code in Python (until 3.12), which each call would pay for.
ALLOW, PRIORITY, WEIGHTED = Action.ALLOW, Strategy.PRIORITY, Strategy.WEIGHTED

# With less of the budget left, another attempt could only be cut short.
SHORTEST_ATTEMPT = 0.5

NO_RATES: tuple[Rated, ...] = ()

# How an emergency call is tried: on and on, unless the caller hangs up. What one gateway says of the called number,
# another need not say of it, and neither routes nor gateways have rules that were made with such a call in mind.
EMERGENCY = Route(
    name="emergency",
    prefixes=(),
    retry=RetryRule(also=("ambiguous", "final", "identity", "redirect"), after_ringing=True),
)

# Until when a gateway is not to be called that a trial call may go to.
HALF_OPEN = -1.0

# What tm lets a transaction branch into (its parameter max_branches).
BRANCHES = 12

# How often a call is forwarded from one subscriber to the next.
FORWARDS_MAX = 5

# Seconds in which some phone of a subscriber must reply at all, and in which one must ring: they are woken from sleep,
# and reached by radio.
PHONE_NO_REPLY = 5.0
PHONE_PROGRESS = 10.0

# What stands in for a reason phrase that is missing.
_PHRASES = {
    Reason.NO_ANSWER: "No Answer",
    Reason.BUSY: "Busy Here",
    Reason.UNREACHABLE: "Temporarily Unavailable",
    Reason.DO_NOT_DISTURB: "Do Not Disturb",
    Reason.REJECTED: "Decline",
    Reason.UNALLOCATED: "Not Found",
}

# The step that tells of a route which has a prefix of the number and yet is not there for the call.
PASSED_OVER = "passed over"


class Live(Protocol):
    """What changes from call to call on a node, and is in no policy."""

    def health(self, gateway: str) -> Health | None:
        """What failures have told of ``gateway``; None: nothing, so it is healthy."""

    def claim(self, gateway: str, now: float, until: float) -> bool:
        """Make this call the trial of a half-open ``gateway``; not if there is one. It ends by ``until``."""

    def probe(self, uri: str) -> int:
        """Unix time since which the gateway at ``uri`` answers no probe; below 0: since which it does again."""

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


class Decision(msgspec.Struct, frozen=True):
    """What to do with a call, and why."""

    outcome: Relay | ToMedia | Reject
    steps: tuple[Step, ...]
    emergency: bool = False


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


class _Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def decide(facts: CallFacts, view: View, live: Live, now: float) -> Decision:
    """What happens to a new call at Unix time ``now``."""
    steps: list[Step] = []
    emergency, number = view.policy.emergency, ""
    outcome: Relay | ToMedia | Reject
    try:
        if facts.hops:
            trunk, numbers = _returned(facts, view, steps)
        else:
            trunk = _trunk(facts, view, steps)
            numbers = _numbers(facts, trunk, steps)
            if facts.subscriber:
                numbers = _check_identity(facts, numbers, trunk, view, steps)
        if emergency is not None and (number := emergency.number(numbers.callee, as_dialled(facts.callee))):
            outcome = Relay(_emergency_plan(emergency, number, view, live, now, steps))
        else:
            _check_lists(facts, trunk, numbers, view, now, steps)
            route = _route(numbers, trunk, view, now, steps)
            if route.media is None and not route.subscribers:
                outcome = _to_gateways(route, numbers, facts.hops, view, live, now, steps)
            else:
                outcome = _along(route, numbers, facts, 0, view, live, now, steps)
            if trunk.limits is not None or route.limits is not None:
                outcome = _limited(outcome, limits.of_call(trunk, route))
    except _Refused as refused:
        outcome = Reject(refused.refusal)
    return Decision(outcome=outcome, steps=tuple(steps), emergency=number != "")


def _trunk(facts: CallFacts, view: View, steps: list[Step]) -> Trunk:
    trunk = view.trunk(facts.source)
    steps.append(("trunk", facts.source, trunk.name if trunk else "none"))
    return trunk or _of_subscribers(facts, view, steps)


def _of_subscribers(facts: CallFacts, view: View, steps: list[Step]) -> Trunk:
    subscribers = view.policy.subscribers
    if subscribers is None:
        raise _Refused(refusals.UNKNOWN_SOURCE)
    if not facts.subscriber:
        raise _Refused(refusals.UNAUTHENTICATED)
    steps[-1] = ("trunk", facts.source, subscribers.trunk.name)
    steps.append(("subscriber", facts.subscriber, "has proved to be the caller"))
    return subscribers.trunk


def _check_identity(facts: CallFacts, numbers: Numbers, trunk: Trunk, view: View, steps: list[Step]) -> Numbers:
    """A subscriber calls from their own numbers only; who withholds theirs, calls from their name."""
    subscriber = view.subscriber(facts.subscriber)
    if subscriber is None or not subscriber.enabled:
        raise _Refused(refusals.NO_SUBSCRIBER)
    # From may be anonymous, while P-Asserted-Identity still names somebody to the gateway.
    withheld = facts.caller.lower() in ("", "anonymous") or facts.caller_host.lower() == "anonymous.invalid"
    said = ([] if withheld else [facts.caller]) + ([facts.asserted] if facts.asserted else [])
    for number in said:
        if not subscriber.owns(normalise(number, trunk.dialling)):
            steps.append(("identity", number, f"is no number of subscriber {subscriber.name}"))
            raise _Refused(refusals.NOT_YOUR_NUMBER)
    return structs.replace(numbers, caller=subscriber.name) if withheld else numbers


def _numbers(facts: CallFacts, trunk: Trunk, steps: list[Step]) -> Numbers:
    asserted = facts.asserted if trunk.trust_identity else ""
    numbers = Numbers(
        caller=normalise(facts.caller, trunk.dialling),
        asserted=normalise(asserted, trunk.dialling) if asserted else "",
        callee=normalise(facts.callee, trunk.dialling),
    )
    steps.append(("caller", facts.caller, numbers.caller))
    if numbers.asserted:
        steps.append(("asserted", asserted, numbers.asserted))
    steps.append(("callee", facts.callee, numbers.callee))
    if not is_dialable(numbers.callee):
        raise _Refused(refusals.INVALID_NUMBER)
    return numbers


def _returned(facts: CallFacts, view: View, steps: list[Step]) -> tuple[Trunk, Numbers]:
    """Whence and for whom is a call that comes back from media: of who called before, to a number of the script's."""
    dialling = view.policy.dialling
    node = handover.node_at(view.policy, facts.source)
    trunk = view.trunk(facts.source) or (Trunk(node, (), dialling) if node else None)
    steps.append(("returned", facts.origin, f"handed to media {facts.hops} times"))
    steps.append(("trunk", facts.source, trunk.name if trunk else "none"))
    if trunk is None:
        raise _Refused(refusals.UNKNOWN_SOURCE)
    numbers = Numbers(caller=facts.caller, asserted="", callee=normalise(facts.callee, dialling))
    steps.append(("caller", facts.caller, numbers.caller))
    steps.append(("callee", facts.callee, numbers.callee))
    if not is_dialable(numbers.callee):
        raise _Refused(refusals.INVALID_NUMBER)
    return trunk, numbers


def _check_lists(facts: CallFacts, trunk: Trunk, numbers: Numbers, view: View, now: float, steps: list[Step]) -> None:
    block: Entry | None = None
    for entry in view.entries(numbers.callers, numbers.callee, facts.source, facts.user_agent):
        if not entry.live(now):
            steps.append((f"{entry.action} {entry.kind}", entry.value, "expired"))
            continue
        steps.append((f"{entry.action} {entry.kind}", entry.value, entry.reason or "matches"))
        if entry.action is ALLOW:
            return
        block = block or entry
    if block is not None:
        raise _Refused(refusals.BLOCKED[block.kind])
    steps.append(("lists", "every kind", "no entry in force"))
    if not trunk.anonymous and _is_anonymous(facts):
        steps.append(("anonymous", trunk.name, "refused on this trunk"))
        raise _Refused(refusals.ANONYMOUS)


def _is_anonymous(facts: CallFacts) -> bool:
    return (
        facts.private or facts.caller.lower() in ("", "anonymous") or facts.caller_host.lower() == "anonymous.invalid"
    )


def _route(numbers: Numbers, trunk: Trunk, view: View, now: float, steps: list[Step]) -> Route:
    for prefix, route in view.routes(numbers.callee):
        if route.narrowing is not None:
            # Who a trusted peer says is calling, where one says so.
            why = route.narrowing.mismatch(numbers.callers[0], trunk.name, trunk.tags, now)
            if why:
                steps.append((PASSED_OVER, prefix or "any number", f"{route.name}: {why}"))
                continue
        steps.append(("route", prefix or "any number", route.name))
        if route.refusal is not None:
            raise _Refused(route.refusal)
        return route
    passed_over = steps[-1][0] == PASSED_OVER
    steps.append(("route", numbers.callee, f"no {'other ' if passed_over else ''}prefix matches"))
    raise _Refused(refusals.NO_ROUTE)


def _plan(route: Route, callee: str, view: View, live: Live, now: float, steps: list[Step]) -> Plan:
    policy, rates = view.policy, NO_RATES
    if route.least_cost is None:
        gateways = _usable(_ordered(route, live, steps), view, live, now, steps)
    else:
        gateways, rates = _cheapest(route, route.least_cost, callee, view, live, now, steps)
    attempts = _attempts(gateways, route, callee, policy, steps)
    if not attempts:
        raise _Refused(refusals.INVALID_NUMBER)
    if route.max_attempts:
        attempts = list(islice(cycle(attempts), route.max_attempts))
    return _planned(route, attempts, view, now, steps, rates)


def _cheapest(
    route: Route, least: LeastCost, callee: str, view: View, live: Live, now: float, steps: list[Step]
) -> tuple[list[str], tuple[Rated, ...]]:
    ranking = Ranking(route.gateways, least, callee, view, now)
    if not ranking.any():
        steps += ranking.rest()
        raise _Refused(refusals.NO_RATE)
    # Asked for one by one: of the dearer ones behind those that are tried, nobody needs to know how they are.
    gateways = _usable(ranking.order(steps), view, live, now, steps, least.at_most)
    steps += ranking.rest()
    return gateways, rated(ranking, route.gateways, callee, view, now)


def _to_gateways(
    route: Route, numbers: Numbers, hops: int, view: View, live: Live, now: float, steps: list[Step]
) -> Relay | ToMedia:
    if route.voicemail is None:
        return Relay(_plan(route, numbers.callee, view, live, now, steps))
    voicemail = _voicemail(route, numbers, hops)
    assert voicemail is not None
    try:
        plan = _plan(route, numbers.callee, view, live, now, steps)
    except _Refused as refused:
        if refused.refusal.id != refusals.GATEWAYS_DOWN.id or Reason.UNREACHABLE not in voicemail.when:
            raise
        instead = _voicemail_plan(route.name, voicemail, Reason.UNREACHABLE, refused.refusal, 0, view, live, now, steps)
        if instead is None:
            raise
        return ToMedia(instead, voicemail.app, voicemail.args)
    return Relay(structs.replace(plan, voicemail=voicemail))


def _along(
    route: Route, numbers: Numbers, facts: CallFacts, forwards: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Relay | ToMedia:  # fmt: skip
    """Where a route leads; ``forwards`` is how often subscribers forwarded the call before."""
    if route.subscribers:
        return _to_subscriber(route, numbers, facts, forwards, view, live, now, steps)
    if route.media is None:
        return _to_gateways(route, numbers, facts.hops, view, live, now, steps)
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
    if number := subscriber.forwards.always:
        steps.append(("forward", number, f"of every call to subscriber {name}"))
        return _forwarded(number, numbers, facts, forwards, view, live, now, steps)
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
        plan = _voicemail_plan(route.name, told, reason, refusal, 0, view, live, now, steps)
        if plan is not None:
            return ToMedia(plan, told.app, told.args)
    raise _Refused(refusal)


def _voicemail(route: Route, numbers: Numbers, hops: int) -> Voicemail | None:
    told = route.voicemail
    return Voicemail(told.app, told.args, told.when, numbers.callers[0], numbers.callee, hops) if told else None


def _forwarded(
    number: str, numbers: Numbers, facts: CallFacts, forwards: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Relay | ToMedia:  # fmt: skip
    """A call that a subscriber forwards: by the routes that are there for their own calls, to ``number``."""
    subscribers = view.policy.subscribers
    if forwards >= FORWARDS_MAX or subscribers is None:
        steps.append(("forward", number, f"the call was forwarded {forwards} times"))
        raise _Refused(refusals.FORWARD_LOOP)
    numbers = structs.replace(numbers, callee=number)
    _check_lists(facts, subscribers.trunk, numbers, view, now, steps)
    route = _route(numbers, subscribers.trunk, view, now, steps)
    outcome = _along(route, numbers, facts, forwards + 1, view, live, now, steps)
    return _limited(outcome, limits.of_call(subscribers.trunk, route))


def _limited(outcome: Relay | ToMedia, more: tuple[Limit, ...]) -> Relay | ToMedia:
    """With these limits of the call besides those that forwards brought, each once."""
    known = tuple(dict.fromkeys((*more, *outcome.plan.limits)))
    return structs.replace(outcome, plan=structs.replace(outcome.plan, limits=known))


def _phones_plan(
    route: Route, numbers: Numbers, subscriber: Subscriber, hops: int, forwards: int, view: View, now: float,
    steps: list[Step],
) -> Plan:  # fmt: skip
    assert view.policy.subscribers is not None
    attempt = Attempt(
        gateway=f"subscriber:{subscriber.name}",
        uri=f"sip:{_escaped(subscriber.name)}@{view.policy.subscribers.realm}",
        retry=RetryRule(),
        no_reply=PHONE_NO_REPLY,
        progress=PHONE_PROGRESS,
        own_breaker=False,
        subscriber=subscriber.name,
    )
    forwarding = Forwarding(
        subscriber.name, subscriber.forwards, numbers.caller, numbers.asserted, hops, forwards
    )  # fmt: skip
    plan = _planned(route, [attempt], view, now, steps)
    return structs.replace(plan, voicemail=_voicemail(route, numbers, hops), forwarding=forwarding)


def _voicemail_plan(
    route: str, voicemail: Voicemail, reason: Reason, original: Refusal, used: int, view: View, live: Live, now: float,
    steps: list[Step],
) -> Plan | None:  # fmt: skip
    """How a call goes to voicemail after ``used`` attempts; None where it cannot."""
    steps.append(("voicemail", reason.value, f"to app {voicemail.app}"))
    nodes = {node.name: node.weight for node in view.policy.gateways.values() if node.media}
    try:
        if voicemail.hops >= HOPS_MAX or used >= BRANCHES:
            raise _Refused(refusals.MEDIA_LOOP)
        if not any(nodes.values()):
            raise _Refused(refusals.MEDIA_DOWN)
        way = Route(route, (), tuple(nodes), WEIGHTED, tuple(nodes.values()), retry=MEDIA_RETRY)
        plan = _plan(way, voicemail.callee, view, live, now, steps)
    except _Refused as refused:
        why = f"after {used} attempts and {voicemail.hops} hand-overs the call goes no further"
        loop = refused.refusal.id == refusals.MEDIA_LOOP.id
        steps.append(("to media", voicemail.app, why if loop else "there is no media node to call"))
        return None
    told = Media(
        voicemail.app, voicemail.args, voicemail.caller, voicemail.callee, voicemail.hops + 1, reason=reason.value
    )
    left = plan.attempts[: BRANCHES - used]
    return structs.replace(plan, attempts=left, used=used, media=told, original=original)


def _to_media(
    route: Route, media: MediaApp, numbers: Numbers, hops: int, view: View, live: Live, now: float, steps: list[Step]
) -> ToMedia:
    if hops >= HOPS_MAX:
        steps.append(("to media", media.app, f"the call was there {hops} times"))
        raise _Refused(refusals.MEDIA_LOOP)
    try:
        plan = _plan(route, numbers.callee, view, live, now, steps)
    except _Refused as refused:
        if refused.refusal.id == refusals.GATEWAYS_DOWN.id:
            raise _Refused(replace(refusals.MEDIA_DOWN, retry_after=refused.refusal.retry_after)) from None
        raise
    steps.append(("to media", media.app, f"hand-over {hops + 1} of at most {HOPS_MAX}"))
    told = Media(media.app, media.args, numbers.callers[0], numbers.callee, hops + 1)
    return ToMedia(structs.replace(plan, media=told), media.app, media.args)


def _planned(
    route: Route, attempts: list[Attempt], view: View, now: float, steps: list[Step], rates: tuple[Rated, ...] = ()
) -> Plan:
    steps += [("attempt", attempt.gateway, attempt.uri) for attempt in attempts]
    return Plan(
        route=route.name,
        version=view.version,
        attempts=tuple(attempts),
        retry=route.retry,
        deadline=now + route.post_dial_delay,
        ring=route.ring,
        retry_after_max=view.policy.retry_after_max,
        rates=rates,
    )


def _emergency_plan(emergency: Emergency, number: str, view: View, live: Live, now: float, steps: list[Step]) -> Plan:
    steps.append(("emergency", number, "passes lists and routes, takes its own gateways"))
    names = _reachable(emergency.gateways, view, live, now, steps)
    gateways = (view.policy.gateways[name] for name in names)
    # A rewriting that leaves nothing of the number must not cost the call.
    number = emergency.rewrite.apply(number) or number
    attempts = [structs.replace(_attempt(gateway, number), retry=RetryRule(), limits=()) for gateway in gateways]
    if not attempts:
        raise _Refused(refusals.GATEWAYS_DOWN)
    return structs.replace(_planned(EMERGENCY, attempts, view, now, steps), emergency=True)


def _reachable(names: Iterable[str], view: View, live: Live, now: float, steps: list[Step]) -> list[str]:
    """Every gateway that is not disabled; one that is not to be called now comes last, and yet is tried."""
    free: list[str] = []
    last: list[str] = []
    for name in names:
        gateway = view.policy.gateways[name]
        if not gateway.enabled:
            steps.append(("gateway", name, "disabled"))
            continue
        why, _ = _unusable(gateway, live.health(name), view, live, now)
        if why:
            steps.append(("gateway", name, f"{why}, so it comes last"))
        (last if why else free).append(name)
    return free + last


def _ordered(route: Route, live: Live, steps: list[Step]) -> tuple[str, ...]:
    if route.strategy is PRIORITY:
        return route.gateways
    if route.strategy is WEIGHTED:
        draw = live.draw()
        order = weighted_order(route.gateways, route.weights, draw)
        # In full: the same number leads to the same order when the call is explained.
        steps.append(("draw", repr(draw), f"begins with {order[0]}"))
        return order
    first = live.turn(route.name) % len(route.gateways)
    steps.append(("turn", route.name, f"begins with {route.gateways[first]}"))
    return route.gateways[first:] + route.gateways[:first]


def _usable(names: Iterable[str], view: View, live: Live, now: float, steps: list[Step], at_most: int = 0) -> list[str]:
    """Those of ``names`` that may be called, the half-open ones last; at most so many, unless that is 0."""
    usable: list[str] = []
    half_open: list[str] = []
    releases: list[float] = []
    gateways, drains = view.policy.gateways, view.drains
    for name in names:
        gateway = gateways[name]
        if not gateway.enabled:
            steps.append(("gateway", name, "disabled"))
            continue
        health = live.health(name)
        if health is None and not drains and not gateway.probe:
            # As nearly always.
            usable.append(name)
            if len(usable) == at_most:
                break
            continue
        why, until = _unusable(gateway, health, view, live, now)
        if until == HALF_OPEN and health is not None:
            # One call at a time begins with it; all others come to it only where everybody else has failed them.
            if not usable and live.claim(name, now, now + max(gateway.no_reply, gateway.progress) + 1):
                passed = f"{health.passed} of {gateway.breaker.restore} passed so far" if gateway.breaker else ""
                steps.append(("gateway", name, f"{why}: this call is a trial, {passed}"))
                usable.append(name)
                if at_most == 1:
                    break
            else:
                steps.append(("gateway", name, f"{why}: it comes last"))
                half_open.append(name)
        elif why:
            steps.append(("gateway", name, why))
            if until:
                releases.append(until - now)
        else:
            usable.append(name)
            if len(usable) == at_most:
                break
    usable += half_open
    if at_most:
        del usable[at_most:]
    if not usable:
        wait = int(min(releases)) + 1 if releases else refusals.GATEWAYS_DOWN.retry_after
        raise _Refused(replace(refusals.GATEWAYS_DOWN, retry_after=wait))
    return usable


def _unusable(gateway: Gateway, health: Health | None, view: View, live: Live, now: float) -> tuple[str, float]:
    """Why a gateway is not to be called now, and until when (Unix time; 0: nobody knows); an empty text: it is."""
    drain = view.drains.get(gateway.name)
    if drain is not None and drain.live(now):
        more = f" for {drain.until - now:.0f} s more" if drain.until else ""
        return f"drained by {drain.author}{more}: {drain.reason}", drain.until
    probe = live.probe(gateway.uri) if gateway.probe else 0
    if probe > 0:
        return f"answers no probe since {now - probe:.0f} s", 0.0
    if health is None:
        return "", 0.0
    if health.held > now:
        return f"asked to be left alone for {health.held - now:.0f} s more", health.held
    if not health.tripped or gateway.breaker is None:
        return "", 0.0
    if health.is_open(now) and -probe < health.last:
        return f"breaker open for {health.until - now:.0f} s more: {health.reasons()}", health.until
    return f"breaker half-open after {health.reasons()}", HALF_OPEN


def _attempts(names: Iterable[str], route: Route, callee: str, policy: Policy, steps: list[Step]) -> list[Attempt]:
    attempts = []
    # Always from the number as it arrived: what one attempt rewrote, the next never sees.
    rewritten = route.rewrite.apply(callee)
    for name in names:
        gateway = policy.gateways[name]
        number = gateway.rewrite.apply(rewritten)
        if number:
            attempts.append(_attempt(gateway, number))
        else:
            steps.append(("gateway", name, "rewriting leaves nothing of the number"))
    return attempts


def _attempt(gateway: Gateway, number: str) -> Attempt:
    transport = "" if gateway.transport == "udp" else f";transport={gateway.transport}"
    return Attempt(
        gateway=gateway.name,
        uri=f"sip:{_escaped(number)}@{gateway.address}:{gateway.port}{transport}",
        retry=gateway.retry,
        no_reply=gateway.no_reply,
        progress=gateway.progress,
        own_breaker=gateway.breaker is DEFAULT_BREAKER or gateway.breaker or False,
        limits=() if gateway.limits is None else (limits.of("gateway", gateway.name, gateway.limits),),
    )


def _escaped(user: str) -> str:
    # RFC 3261 section 25.1: what may stand in the user part; anything else could pretend to be another host. The
    # number sign is not among it, but gateways expect it as it is dialled. What came escaped stays so.
    plain = user.isascii() and user.removeprefix("+").isalnum()
    return user if plain else quote(user, safe="+*#-_.!~'()&=$,%")


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
    facts = CallFacts(caller=known.caller, callee=number, source=source, hops=known.hops)
    numbers = Numbers(caller=known.caller, asserted=known.asserted, callee=number)
    try:
        found = _forwarded(number, numbers, facts, known.count, view, live, now, steps)
    except _Refused as refused:
        steps.append(("forward", number, f"is refused: {refused.refusal.id}"))
        return structs.replace(decision, steps=tuple(steps))
    used = plan.number
    if used >= BRANCHES:
        return structs.replace(decision, steps=tuple(steps))
    left = found.plan.attempts[: BRANCHES - used]
    # The caller's trunk and the route are taken until the call is over.
    both = tuple(dict.fromkeys((*plan.limits, *found.plan.limits)))
    following = structs.replace(found.plan, attempts=left, used=used, limits=both)
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
    following = _voicemail_plan(plan.route, plan.voicemail, reason, original, plan.number, view, live, now, steps)
    if following is None:
        return structs.replace(decision, steps=tuple(steps))
    # The caller's trunk and the route are taken until the call is over.
    following = structs.replace(following, limits=plan.limits)
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
        plan = structs.replace(plan, excluded=(*plan.excluded, plan.attempt.gateway))
    for index in range(plan.current + 1, len(plan.attempts)):
        name = plan.attempts[index].gateway
        if name not in plan.excluded and (plan.emergency or not _shut(plan.attempts[index], live, now)):
            return FailureDecision(Retry(structs.replace(plan, current=index)), cause, why)
    return FailureDecision(_exhausted(failure, cause), cause, "no attempt is left")


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
        or (plan.attempts[index].gateway not in plan.excluded and not _shut(plan.attempts[index], live, now))
    ]


def full(failure: Failure, decision: FailureDecision, steps: tuple[Step, ...]) -> FailureDecision:
    """What happens instead of ``decision`` where no attempt that is left has room under its limits."""
    outcome = _exhausted(failure, decision.cause)
    steps = (*decision.steps, *steps)
    return FailureDecision(outcome, decision.cause, "no attempt is left that has room under its limits", steps)


def redirected(plan: Plan, user: str, source: str, call: str, view: View, live: Live, now: float) -> FailureDecision:
    """What happens when a media node sends a call on (3xx): it is decided anew, for the ``user`` of the Contact.

    ``source`` is where the call came from, ``call`` our id of it. The hops are counted on, so circles end.
    """
    media, used = plan.media, plan.number
    assert media is not None
    facts = CallFacts(caller=media.caller, callee=user, source=source, hops=media.hops, origin=call)
    decision = decide(facts, view, live, now)
    outcome: Retry | Reject = Reject(refusals.GATEWAYS_FAILED)
    if isinstance(decision.outcome, Reject):
        outcome = decision.outcome
    elif used < BRANCHES:
        following = decision.outcome.plan
        left = following.attempts[: BRANCHES - used]
        outcome = Retry(structs.replace(following, attempts=left, used=used))
    if plan.original is not None and isinstance(outcome, Reject):
        outcome = Reject(plan.original)
    return FailureDecision(outcome, Cause.REDIRECT, f"sent on to {user or 'nobody'}", decision.steps)


def _shut(attempt: Attempt, live: Live, now: float) -> bool:
    health = live.health(attempt.gateway)
    return health is not None and health.shut_until(breaker=attempt.breaker is not None) > now


def _retried(plan: Plan, failure: Failure, cause: Cause) -> tuple[bool, str]:
    if cause is Cause.CANCELLED:
        return False, "the caller hung up"
    if failure.ringing and not _after_ringing(plan):
        return False, "the called phone had rung"
    for owner, rule in ((f"gateway {plan.attempt.gateway}", plan.attempt.retry), (f"route {plan.route}", plan.retry)):
        verdict = rule.verdict(failure)
        if verdict is not None:
            return verdict, f"{owner} says so"
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
