"""Whether a guard against toll fraud refuses a call: a look at what the nodes counted together, pure.

A call is looked up only while some guard refuses somebody.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from kemi import refusals
from kemi.outcome import Refused, Step
from kemi.view import View
from model.fraud import CALLER, RELEASED, SUBSCRIBER, TRUNK


def parties(subscriber: str, trunk: str, caller: str) -> Mapping[str, str]:
    """Who calls, as guards name them."""
    return {SUBSCRIBER: subscriber, TRUNK: trunk, CALLER: caller}


def check(parties: Mapping[str, str], callee: str, view: View, now: float, steps: list[Step]) -> None:
    """Raises Refused where a guard that counts the call has tripped. Only where :attr:`View.trips` is not empty."""
    for guard in view.policy.fraud:
        if guard.name in view.trips and (field := guard.counts(parties, callee)):
            trip = view.trip(field)
            if trip is None:
                continue
            if not trip.live(now):
                steps.append(("fraud", field, RELEASED))
                continue
            until = (
                time.strftime("until %Y-%m-%dT%H:%M:%SZ", time.gmtime(trip.until)) if trip.until else "until released"
            )
            steps.append(("fraud", field, f"{trip.found}, {until}"))
            raise Refused(refusals.FRAUD_BLOCKED)


def check_forward(subscriber: str, number: str, view: View, now: float, steps: list[Step]) -> None:
    """The same for a call that a subscriber forwards: it is theirs, whoever made it."""
    if view.trips:
        check({SUBSCRIBER: subscriber}, number, view, now, steps)
