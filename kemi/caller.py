"""Who calls whom, and whether that call may be: the first half of a decision, pure."""

from __future__ import annotations

from msgspec import structs

from kemi import handover, identity, refusals
from kemi.outcome import Numbers, Refused, Step
from kemi.view import View
from model.call import CallFacts
from model.entries import Action, Entry
from model.identity import is_withheld
from model.numbers import is_dialable, normalise
from model.policy import Trunk

# A member of an enumeration is looked up by code in Python (until 3.12), which each call would pay for.
ALLOW = Action.ALLOW


def trunk_of(facts: CallFacts, view: View, steps: list[Step]) -> Trunk:
    trunk = view.trunk(facts.source, facts.callee)
    steps.append(("trunk", facts.source, trunk.name if trunk else "none"))
    return trunk or _of_subscribers(facts, view, steps)


def _of_subscribers(facts: CallFacts, view: View, steps: list[Step]) -> Trunk:
    subscribers = view.policy.subscribers
    if subscribers is None:
        raise Refused(refusals.UNKNOWN_SOURCE)
    if not facts.subscriber:
        raise Refused(refusals.UNAUTHENTICATED)
    steps[-1] = ("trunk", facts.source, subscribers.trunk.name)
    steps.append(("subscriber", facts.subscriber, "has proved to be the caller"))
    return subscribers.trunk


def check_identity(
    facts: CallFacts, numbers: Numbers, trunk: Trunk, view: View, steps: list[Step], *, helped: bool
) -> Numbers:  # fmt: skip
    """A subscriber calls from their own numbers only; who withholds theirs or calls for help, calls from their name."""
    subscriber = view.subscriber(facts.subscriber)
    if subscriber is None or not subscriber.enabled:
        raise Refused(refusals.NO_SUBSCRIBER)
    # From may be anonymous, while P-Asserted-Identity still names somebody to the gateway.
    withheld = is_withheld(facts.caller, facts.caller_host)
    said = ([] if withheld else [facts.caller]) + ([facts.asserted] if facts.asserted else [])
    said += facts.claims.asserted if facts.claims is not None else ()
    for number in said:
        if not subscriber.owns(normalise(number, trunk.dialling)):
            steps.append(("identity", number, f"is no number of subscriber {subscriber.name}"))
            if helped:
                return structs.replace(numbers, caller=subscriber.name)
            raise Refused(refusals.NOT_YOUR_NUMBER)
    return structs.replace(numbers, caller=subscriber.name) if withheld else numbers


def numbers_of(facts: CallFacts, trunk: Trunk, steps: list[Step]) -> Numbers:
    asserted = identity.asserted(facts, trunk) if trunk.trust_identity else ""
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
        raise Refused(refusals.INVALID_NUMBER)
    return numbers


def returned(facts: CallFacts, view: View, steps: list[Step]) -> tuple[Trunk, Numbers]:
    """Whence and for whom is a call that comes back from media: of who called before, to a number of the script's."""
    dialling = view.policy.dialling
    steps.append(("returned", facts.origin, f"handed to media {facts.hops} times"))
    trunk = _back_from_media(facts, view, steps)
    numbers = Numbers(caller=facts.caller, asserted="", callee=normalise(facts.callee, dialling))
    steps.append(("caller", facts.caller, numbers.caller))
    steps.append(("callee", facts.callee, numbers.callee))
    if not is_dialable(numbers.callee):
        raise Refused(refusals.INVALID_NUMBER)
    return trunk, numbers


def _back_from_media(facts: CallFacts, view: View, steps: list[Step]) -> Trunk:
    subscribers, subscriber = view.policy.subscribers, view.subscriber(facts.subscriber)
    if facts.subscriber:
        # Who proved it before the call was handed over need not do so again.
        if subscribers is None or subscriber is None or not subscriber.enabled:
            raise Refused(refusals.NO_SUBSCRIBER)
        steps.append(("trunk", facts.source, subscribers.trunk.name))
        steps.append(("subscriber", facts.subscriber, "has proved to be the caller"))
        return subscribers.trunk
    node = handover.node_at(view, facts.source)
    trunk = view.trunk(facts.source) or (Trunk(node, (), view.policy.dialling) if node else None)
    steps.append(("trunk", facts.source, trunk.name if trunk else "none"))
    if trunk is None:
        raise Refused(refusals.UNKNOWN_SOURCE)
    return trunk


def check_lists(facts: CallFacts, trunk: Trunk, numbers: Numbers, view: View, now: float, steps: list[Step]) -> None:
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
        raise Refused(refusals.BLOCKED[block.kind])
    steps.append(("lists", "every kind", "no entry in force"))
    if not trunk.anonymous and identity.withheld(facts):
        steps.append(("anonymous", trunk.name, "refused on this trunk"))
        raise Refused(refusals.ANONYMOUS)
