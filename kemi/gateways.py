"""Which gateways a route has for a call, in which order, and the plan of attempts that follows; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle, islice
from typing import Any
from urllib.parse import quote

from msgspec import structs

from kemi import health as breakers
from kemi import limits, refusals
from kemi.health import Health
from kemi.least_cost import Ranking, rated
from kemi.outcome import ATTEMPTS, Live, Refused, Step
from kemi.plan import Attempt, Plan, Rated
from kemi.quality import QUALITY, Judged, rule_of
from kemi.view import View
from kemi.weighting import weighted_order
from model.policy import DEFAULT_BREAKER, Emergency, Gateway, LeastCost, RetryRule, Rewrite, Route, Strategy, owner
from model.side import PLAIN

# A member of an enumeration is looked up by code in Python (until 3.12), which each call would pay for.
PRIORITY, WEIGHTED = Strategy.PRIORITY, Strategy.WEIGHTED

NO_RATES: tuple[Rated, ...] = ()
UNCHANGED = Rewrite()

# What all attempts at a gateway have in common: behind the user of their URI, None or the change of the number, and
# the fields of :class:`Attempt` behind the URI.
Way = tuple[str, Rewrite | None, tuple[Any, ...]]


# How an emergency call is tried: on and on, unless the caller hangs up. What one gateway says of the called number,
# another need not say of it, and neither routes nor gateways have rules that were made with such a call in mind.
EMERGENCY = Route(
    name="emergency",
    prefixes=(),
    retry=RetryRule(also=("ambiguous", "final", "identity", "redirect"), after_ringing=True),
)


# Until when a gateway is not to be called that a trial call may go to.
HALF_OPEN = -1.0


def plan_of(route: Route, callee: str, view: View, live: Live, now: float, steps: list[Step]) -> Plan:
    rates = NO_RATES
    if route.least_cost is None:
        names = route.gateways if route.strategy is PRIORITY else _ordered(route, view, live, now, steps)
        gateways = _chosen(route, names, view, live, now, steps)
    else:
        gateways, rates = _cheapest(route, route.least_cost, callee, view, live, now, steps)
    attempts = _attempts(gateways, route, callee, view, steps)
    if not attempts:
        raise Refused(refusals.INVALID_NUMBER)
    if route.max_attempts:
        attempts = list(islice(cycle(attempts), route.max_attempts))
    if len(attempts) > ATTEMPTS and view.expanded.groups:
        del attempts[ATTEMPTS:]
    return planned(route, attempts, view, now, steps, rates)


def _cheapest(
    route: Route, least: LeastCost, callee: str, view: View, live: Live, now: float, steps: list[Step]
) -> tuple[list[str], tuple[Rated, ...]]:
    ranking = Ranking(route.gateways, least, callee, view, now)
    if not ranking.any():
        ranking.rest(steps)
        raise Refused(refusals.NO_RATE)
    # Asked for one by one: of the dearer ones behind those that are tried, nobody needs to know how they are.
    gateways = _chosen(route, ranking.order(steps), view, live, now, steps, least.at_most)
    ranking.rest(steps)
    return gateways, rated(ranking, route.gateways, callee, view, now)


def planned(
    route: Route, attempts: list[Attempt], view: View, now: float, steps: list[Step], rates: tuple[Rated, ...] = ()
) -> Plan:
    for attempt in attempts:
        steps.append(("attempt", attempt.gateway, attempt.uri))
    return Plan(
        route=route.name,
        version=view.version,
        attempts=tuple(attempts),
        retry=route.retry,
        deadline=now + route.post_dial_delay,
        ring=route.ring,
        retry_after_max=view.policy.retry_after_max,
        rates=rates,
        relay=route.relay,
    )


def emergency_plan(emergency: Emergency, number: str, view: View, live: Live, now: float, steps: list[Step]) -> Plan:
    steps.append(("emergency", number, "passes lists and routes, takes its own gateways"))
    names = _reachable(emergency.gateways, view, live, now, steps)
    # A rewriting that leaves nothing of the number must not cost the call.
    user = escaped(emergency.rewrite.apply(number) or number)
    attempts = []
    for name in names[:ATTEMPTS]:
        host, _, rest = view.ways.get(name) or _way(name, view)
        attempts.append(structs.replace(Attempt(name, f"sip:{user}@{host}", *rest), retry=RetryRule(), limits=()))
    if not attempts:
        raise Refused(refusals.GATEWAYS_DOWN)
    return structs.replace(planned(EMERGENCY, attempts, view, now, steps), emergency=True)


def _reachable(names: Iterable[str], view: View, live: Live, now: float, steps: list[Step]) -> list[str]:
    """Every gateway that is not disabled; one that is not to be called now comes last, and yet is tried."""
    free: list[str] = []
    last: list[str] = []
    for name in _each(names, view, live, steps):
        gateway = view.gateways[name]
        if not gateway.enabled:
            steps.append(("gateway", name, "disabled"))
            continue
        health = _heard(gateway, live.health(name), view, live, now)
        why, _ = _unusable(gateway, health, view, live, now)
        if why:
            steps.append(("gateway", name, f"{why}, so it comes last"))
        (last if why else free).append(name)
    return free + last


def _ordered(route: Route, view: View, live: Live, now: float, steps: list[Step]) -> Iterable[str]:
    if route.strategy is WEIGHTED:
        draw = live.draw()
        order = weighted_order(route.gateways, route.weights, draw)
        # In full: the same number leads to the same order when the call is explained.
        steps.append(("draw", repr(draw), f"begins with {order[0]}"))
        return order
    if route.strategy is QUALITY:
        return Judged(rule_of(route), view, now, steps).best_first(route.gateways)
    first = live.turn(route.name) % len(route.gateways)
    steps.append(("turn", route.name, f"begins with {route.gateways[first]}"))
    return route.gateways[first:] + route.gateways[:first]


def _chosen(
    route: Route, names: Iterable[str], view: View, live: Live, now: float, steps: list[Step], at_most: int = 0
) -> list[str]:
    """Those of ``names`` that may be called, the well before those that are not; see :func:`_usable`."""
    if route.quality is None:
        return _usable(names, view, live, now, steps, at_most)
    judged = Judged(route.quality, view, now, steps)
    try:
        return _usable(judged.order(names), view, live, now, steps, at_most)
    except Refused:
        if not judged.left_out:
            raise
        steps.append(("quality", "left out", f"nobody else is to be called: {', '.join(judged.left_out)}"))
        return _usable(judged.left_out, view, live, now, steps, at_most)


def _usable(names: Iterable[str], view: View, live: Live, now: float, steps: list[Step], at_most: int = 0) -> list[str]:
    """Those of ``names`` that may be called, the half-open ones last; at most so many, unless that is 0."""
    usable: list[str] = []
    half_open: list[str] = []
    releases: list[float] = []
    expanded, drains, trips = view.expanded, view.drains, view.breakers
    gateways = expanded.gateways
    for name in _each(names, view, live, steps) if expanded.groups else names:
        gateway = gateways[name]
        if not gateway.enabled:
            steps.append(("gateway", name, "disabled"))
            continue
        health = live.health(name)
        if health is None and not drains and not gateway.probe and not trips:
            # As nearly always.
            usable.append(name)
            if len(usable) == at_most:
                break
            continue
        health = _heard(gateway, health, view, live, now)
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
        raise Refused(replace(refusals.GATEWAYS_DOWN, retry_after=wait))
    return usable


def _each(names: Iterable[str], view: View, live: Live, steps: list[Step]) -> Iterator[str]:
    """Each gateway, or its members in the order in which they are tried where it has several addresses."""
    groups, notes = view.expanded.groups, view.expanded.notes
    for name in names:
        if name not in groups or not view.gateways[name].enabled:
            yield name
            continue
        steps += [("gateway", name, note) for note in notes[name]]
        if not groups[name]:
            steps.append(("gateway", name, "no address of it is known"))
        for group in groups[name]:
            order = group.names
            if len(order) > 1:
                draw = live.draw()
                order = weighted_order(group.names, group.weights, draw)
                steps.append(("share", repr(draw), f"begins with {order[0]}"))
            for member in order:
                steps += [("address", member, note) for note in notes[member]]
                yield member


def _heard(gateway: Gateway, health: Health | None, view: View, live: Live, now: float) -> Health | None:
    """What is known of a gateway, with what another node says of it where this node goes by that."""
    trip = view.breakers.get(gateway.name)
    breaker = gateway.breaker
    if trip is None or breaker is None or not breaker.shared or not breakers.heeds(health, trip, now):
        return health
    if trip.live(now):
        # Not taken over yet: until then this node may see for itself that the gateway is well.
        return breakers.told(health or breakers.UNKNOWN, trip, now)
    return live.told(gateway.name, trip, now)


def _unusable(gateway: Gateway, health: Health | None, view: View, live: Live, now: float) -> tuple[str, float]:
    """Why a gateway is not to be called now, and until when (Unix time; 0: nobody knows); an empty text: it is."""
    drain = view.drains.get(gateway.name) or view.drains.get(owner(gateway.name))
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


def _attempts(names: Iterable[str], route: Route, callee: str, view: View, steps: list[Step]) -> list[Attempt]:
    attempts, ways = [], view.ways
    # Always from the number as it arrived: what one attempt rewrote, the next never sees.
    rewritten = route.rewrite.apply(callee)
    user = escaped(rewritten)
    for name in names:
        host, rewrite, rest = ways.get(name) or _way(name, view)
        own = user if rewrite is None else escaped(rewrite.apply(rewritten))
        if own:
            attempts.append(Attempt(name, f"sip:{own}@{host}", *rest))
        else:
            steps.append(("gateway", name, "rewriting leaves nothing of the number"))
    return attempts


def _way(name: str, view: View) -> Way:
    gateway = view.gateways[name]
    transport = "" if gateway.transport == "udp" else f";transport={gateway.transport}"
    common = Attempt(
        gateway=name,
        uri="",
        retry=gateway.retry,
        no_reply=gateway.no_reply,
        progress=gateway.progress,
        own_breaker=gateway.breaker is DEFAULT_BREAKER or gateway.breaker or False,
        limits=() if gateway.limits is None else (limits.of("gateway", owner(name), gateway.limits),),
        side=None if gateway.side is PLAIN else gateway.side,
        auth=gateway.auth,
    )
    rewrite = None if gateway.rewrite == UNCHANGED else gateway.rewrite
    way = view.ways[name] = f"{gateway.address}:{gateway.port}{transport}", rewrite, structs.astuple(common)[2:]
    return way


def escaped(user: str) -> str:
    # RFC 3261 section 25.1: what may stand in the user part; anything else could pretend to be another host. The
    # number sign is not among it, but gateways expect it as it is dialled. What came escaped stays so.
    plain = user.isascii() and user.removeprefix("+").isalnum()
    return user if plain else quote(user, safe="+*#-_.!~'()&=$,%")
