"""Limits of a call's plan: what it asks for, and what the answer makes of it; pure. :mod:`kemi.leasing` asks.

A plan names its limits: those of the call (its trunk, its route) and those of each attempt's gateway. A call counts
under its own from the INVITE to its end, and under a gateway's while it is with that gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from msgspec import structs

from kemi import refusals
from kemi.plan import Limit, Plan
from model.limits import PREFIX, Limits
from model.policy import Refusal, Route, Trunk
from model.subscriber import Subscriber

CALLS, RATE, AWAY = "calls", "rate", "away"
"Why a limit has no room: the calls at once, the calls a second, or nobody knows as Redis is away."

Step = tuple[str, str, str]


class Grant(msgspec.Struct, frozen=True):
    """Leases that a call may be given together."""

    names: tuple[str, ...]
    "Of their limits."
    text: str
    "The same with blanks between."


class Claim(msgspec.Struct, frozen=True):
    """What an attempt of a call needs before it may begin."""

    base: tuple[Limit, ...]
    "Each must have room."
    groups: tuple[tuple[Limit, ...], ...]
    "Of each attempt that may be next, in order: the first is taken whose limits all have room."
    grants: tuple[Grant, ...]
    "What it would have with each of the groups."


class Verdict(msgspec.Struct, frozen=True):
    """What came of a claim."""

    chosen: int | None
    "Which of the candidates, by its place among them; None: none."
    full: Mapping[str, str]
    "Limits that had no room, by name, and why."
    refused: bool = False
    "Whether it was one of the base."
    away: tuple[str, ...] = ()
    "Limits that were judged without Redis."


class Admission(msgspec.Struct, frozen=True):
    """What limits make of a call or of its next attempt."""

    plan: Plan | None
    "With the attempt that begins now; None: none may."
    refusal: Refusal | None
    "Set where there is no plan."
    steps: tuple[Step, ...]
    grant: Grant
    "What the call has from now on, besides what it had."


def of(scope: str, name: str, limits: Limits) -> Limit:
    """A limit as a plan has it; ``scope`` is what it belongs to."""
    return Limit(f"{scope}:{name}", limits.calls, limits.per_second, limits.when_away)


def of_call(trunk: Trunk, route: Route, prefix: str, charged: tuple[Limit, ...] = ()) -> tuple[Limit, ...]:
    """The limits of a call, whichever gateway it goes to. What else may limit calls gets its line here.

    ``prefix`` is the one by which the call took the route, as the trace has it; ``charged`` is of the subscriber whose
    call it is.
    """
    own = (of("trunk", trunk.name, trunk.limits),) if trunk.limits is not None else ()
    return (*own, *charged) if route.limits is None else (*own, *charged, _of_route(route.name, prefix, route.limits))


def _of_route(route: str, prefix: str, limits: Limits) -> Limit:
    # Any number: without the blank, as leases of a call stand in one text.
    each = limits.each == PREFIX
    return of(PREFIX, f"{route}/{prefix.partition(' ')[0]}", limits) if each else of("route", route, limits)


def of_subscriber(subscriber: Subscriber, each: Limits | None) -> tuple[Limit, ...]:
    """What limits a subscriber's calls; ``each`` is what does so where they have no numbers of their own."""
    each = each or _NONE
    calls = each.calls if subscriber.calls is None else subscriber.calls
    per_second = each.per_second if subscriber.per_second is None else subscriber.per_second
    if not calls and not per_second:
        return ()
    return (Limit(f"subscriber:{subscriber.name}", calls, per_second, each.when_away),)


def of_people(known: tuple[Limit, ...]) -> tuple[Limit, ...]:
    """Those of subscribers, who stay charged with their call wherever it goes."""
    return tuple([limit for limit in known if limit.name.startswith("subscriber:")])


_NONE = Limits()


def limited(plan: Plan) -> bool:
    """Whether anything limits a plan."""
    if plan.limits:
        return True
    for attempt in plan.attempts:  # noqa: SIM110 - a generator costs each call more than all that it looks at
        if attempt.limits:
            return True
    return False


def named(plan: Plan) -> tuple[Limit, ...]:
    """Every limit of a plan, once."""
    gateways = (limit for attempt in plan.attempts for limit in attempt.limits)
    return tuple(dict.fromkeys((*plan.limits, *gateways)))


def claim(base: tuple[Limit, ...], groups: tuple[tuple[Limit, ...], ...]) -> Claim:
    """A claim of the limits ``base``, and of those of one of ``groups``."""
    return Claim(base, groups, tuple([_grant((*base, *group)) for group in groups]))


def _grant(limits: tuple[Limit, ...]) -> Grant:
    names = tuple([limit.name for limit in limits])
    return Grant(names, " ".join(names))


def admission(plan: Plan, candidates: Sequence[int], asked: Claim, verdict: Verdict) -> Admission:
    """What becomes of a plan whose claim got this verdict; the groups are those of the attempts ``candidates``."""
    if not verdict.full and not verdict.away and verdict.chosen is not None:
        # As nearly always.
        grant = asked.grants[verdict.chosen]
        return Admission(_begun(plan, candidates[verdict.chosen]), None, (), grant)
    steps = [("limit", name, _WHY[why]) for name, why in verdict.full.items()]
    steps += [("limit", name, "Redis is away: judged by this node alone") for name in verdict.away]
    if verdict.chosen is None:
        return Admission(None, _refusal(verdict), tuple(steps), NOTHING)
    grant = asked.grants[verdict.chosen]
    return Admission(_begun(plan, candidates[verdict.chosen]), None, tuple(steps), grant)


NOTHING = Grant((), "")
_WHY = {CALLS: "has no room for another call", RATE: "has no room within this second", AWAY: "Redis is away: closed"}


def _begun(plan: Plan, index: int) -> Plan:
    """The plan with attempt ``index`` as the one under way; those that it was passed over for come last."""
    attempts, now = plan.attempts, plan.current
    if index == now:
        return plan
    return structs.replace(plan, attempts=(*attempts[:now], *attempts[index:], *attempts[now:index]))


def _refusal(verdict: Verdict) -> Refusal:
    if AWAY in verdict.full.values():
        return refusals.LIMITS_AWAY
    if not verdict.refused:
        return refusals.GATEWAYS_FULL
    name, why = next(iter(verdict.full.items()))
    scope = name.partition(":")[0]
    return replace(refusals.LIMITS[why], id=f"{scope}-{refusals.LIMITS[why].id}")
