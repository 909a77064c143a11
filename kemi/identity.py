"""Whom a call shows as its caller, and to whom: decided with the call, and carried by its plan; pure.

What the messages become then is in :mod:`kemi.presenting`.
"""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from kemi import refusals
from kemi.outcome import Numbers, Refused, Relay, Step, ToMedia
from kemi.plan import Attempt, Identity, Plan
from kemi.view import View
from model.call import CallFacts
from model.causes import Reason
from model.diversion import UNCONDITIONAL
from model.identity import (
    NO_CLAIMS,
    SHOW,
    WITHHOLD,
    Diverted,
    Presentation,
    TrunkIdentity,
    is_withheld,
    privacy_values,
)
from model.masking import Traces
from model.numbers import normalise
from model.policy import Trunk
from model.subscriber import Subscriber

# A phone shows what it is told to whoever looks at it, so it is told no more than it may show.
PHONES = Presentation(headers=(), diversion=("diversion",))
# A caller who said none has nothing to hide (RFC 3325 section 7).
PHONES_OPEN = replace(PHONES, headers=("pai",))
# For a subscriber who withholds their number by a setting, nobody has told the gateway of any wish.
UNTRUSTED = Presentation(headers=())

Found = Relay | ToMedia


def asserted(facts: CallFacts, trunk: Trunk) -> str:
    """The user whom the trunk's peer says is calling, if it is believed; empty if not."""
    if not trunk.trust_identity:
        return ""
    if trunk.identity is None:
        return facts.asserted
    said = {"pai": facts.asserted, "rpid": facts.claims.remote if facts.claims else ""}
    return next((user for name in trunk.identity.believe if (user := said.get(name, ""))), "")


def withheld(facts: CallFacts) -> bool:
    """Whether the caller withholds their number."""
    return facts.private or is_withheld(facts.caller, facts.caller_host)


def as_set(facts: CallFacts, subscriber: Subscriber | None) -> CallFacts:
    """The same with the wish that a subscriber has of all their calls, unless this one says otherwise."""
    if subscriber is None or not subscriber.withhold or "none" in privacy_values((facts.claims or NO_CLAIMS).privacy):
        return facts
    return replace(facts, private=True)


def told(outcome: Found, facts: CallFacts, trunk: Trunk, numbers: Numbers, view: View, steps: list[Step]) -> Found:
    """The outcome with what its attempts tell of the caller. Raises :class:`Refused`."""
    plan = outcome.plan
    claims = facts.claims or NO_CLAIMS
    subscriber = view.subscriber(facts.subscriber) if facts.subscriber else None
    hidden = withheld(facts)
    shown, network, replaced = _numbers(facts, trunk, numbers, subscriber, steps, emergency=plan.emergency)
    begun = plan.identity or Identity(target=numbers.callee)
    identity = structs.replace(
        begun,
        number=shown,
        network=network,
        replaced=replaced,
        withheld=hidden,
        privacy=claims.privacy,
        trusted=trunk.trust_identity,
        unasserted=unasserted(facts, trunk) and not plan.emergency,
        by_setting=subscriber is not None and subscriber.withhold and hidden,
        users=_spellings(facts, numbers, network, subscriber) if hidden else (),
        impossible=_impossible(facts, claims.privacy, claims.marks, numbers, subscriber) if hidden else "",
    )
    return structs.replace(outcome, plan=dressed(structs.replace(plan, identity=identity), view, steps))


def unasserted(facts: CallFacts, trunk: Trunk) -> bool:
    """Whether a caller asserts an identity that is not to go further as asserted."""
    return bool(facts.asserted) and not _is_trusted_with_pai(facts, trunk)


def dressed(plan: Plan, view: View, steps: list[Step]) -> Plan:
    """The plan with each attempt's way of telling who calls; without those that would tell what is withheld.

    Raises :class:`Refused` where none is left.
    """
    identity = plan.identity
    assert identity is not None
    if plan.media is not None:
        return plan
    left: list[Attempt] = []
    for attempt in plan.attempts:
        rule = _rule(attempt, identity, plan, view)
        if rule is not None and rule.privacy == WITHHOLD and identity.impossible:
            steps.append(("identity", attempt.gateway, f"cannot be kept from it: {identity.impossible}"))
            continue
        if rule is not None:
            steps.append(("identity", attempt.gateway, _told(rule, identity)))
            attempt = structs.replace(attempt, identity=rule)
        left.append(attempt)
    if not left:
        raise Refused(refusals.NOT_WITHHELD)
    return structs.replace(plan, attempts=tuple(left))


def diverted(outcome: Found, number: str, reason: str, target: str, *, hidden: bool) -> Found:
    """The outcome of a call for ``number`` that went to ``target`` instead."""
    plan = outcome.plan
    begun = plan.identity or Identity(target=target)
    known = structs.replace(begun, diverted=(Diverted(number, reason, hidden), *begun.diverted))
    return structs.replace(outcome, plan=structs.replace(plan, identity=known))


def forwarded(before: Plan, following: Plan, number: str, reason: Reason, view: View, steps: list[Step]) -> Plan:
    """The plan of a call that was forwarded to ``number`` after its attempts failed. Raises :class:`Refused`."""
    known = before.identity
    if known is None:
        return following
    subscriber = view.subscriber(before.forwarding.subscriber) if before.forwarding is not None else None
    hidden = subscriber is not None and subscriber.withhold
    return _again(known, following, Diverted(known.target, reason.value, hidden), number, view, steps)


def sent_on(before: Plan, following: Plan, view: View, steps: list[Step]) -> Plan:
    """The plan of a call that media sent on. Raises :class:`Refused`."""
    known, media = before.identity, before.media
    if known is None or media is None:
        return following
    target = following.identity.target if following.identity is not None else ""
    if known.diverted and known.diverted[-1].number == media.callee:
        # By voicemail, which sends it on.
        known = structs.replace(known, diverted=known.diverted[:-1])
    return _again(known, following, Diverted(media.callee, UNCONDITIONAL), target, view, steps)


def to_voicemail(before: Plan, following: Plan) -> Identity | None:
    """What is known of a call that goes to voicemail after its attempts failed."""
    known, by = before.identity, following.identity
    if known is None or by is None:
        return by
    return structs.replace(known, diverted=(*known.diverted, *by.diverted))


def _again(known: Identity, following: Plan, own: Diverted, target: str, view: View, steps: list[Step]) -> Plan:
    begun = following.identity or Identity(target=target)
    identity = structs.replace(known, diverted=(*known.diverted, own, *begun.diverted), target=begun.target)
    # It may have been dressed before, as a call of nobody known.
    plain = tuple(structs.replace(attempt, identity=None) for attempt in following.attempts)
    return dressed(structs.replace(following, attempts=plain, identity=identity), view, steps)


def _is_trusted_with_pai(facts: CallFacts, trunk: Trunk) -> bool:
    # A subscriber's own was looked at; what comes from media is ours.
    if facts.subscriber or facts.hops:
        return True
    return trunk.trust_identity and (trunk.identity is None or "pai" in trunk.identity.believe)


def _rule(attempt: Attempt, identity: Identity, plan: Plan, view: View) -> Presentation | None:
    if attempt.subscriber:
        open_ = "none" in privacy_values(identity.privacy)
        if identity.withheld or identity.diverted or identity.network or identity.replaced:
            return PHONES_OPEN if open_ and not identity.withheld else PHONES
        return None
    # One of several addresses has the name of its gateway in front.
    gateway = view.policy.gateways.get(attempt.gateway.partition("/")[0])
    rule = gateway.identity if gateway is not None else None
    if plan.emergency:
        # Help has to find the caller (RFC 3325 section 7, RFC 6443 section 4).
        return replace(rule, privacy=SHOW, headers=rule.headers or ("pai",)) if rule is not None else None
    return rule or (UNTRUSTED if identity.by_setting else None)


def _numbers(
    facts: CallFacts, trunk: Trunk, numbers: Numbers, subscriber: Subscriber | None, steps: list[Step], *,
    emergency: bool,
) -> tuple[str, str, bool]:  # fmt: skip
    """What From shows, what P-Asserted-Identity does, and whether that is the trunk's default."""
    shown = "" if is_withheld(facts.caller, facts.caller_host) else numbers.caller
    network = numbers.asserted or shown
    if subscriber is not None:
        network = _own(facts, subscriber, trunk) or shown
    rule = trunk.identity
    if rule is None or emergency:
        return shown, network, False
    if shown and not _allowed(shown, rule):
        shown, network = _instead(shown, rule, trunk, steps), ""
        return shown, shown, True
    if not network or not _allowed(network, rule):
        network = shown or rule.default
    return shown, network, False


def _own(facts: CallFacts, subscriber: Subscriber, trunk: Trunk) -> str:
    """Which of their numbers a subscriber calls from: the one that they prefer, or the first."""
    said = (facts.asserted, facts.claims.preferred if facts.claims else "")
    numbers = (normalise(user, trunk.dialling) for user in said if user)
    preferred = next((number for number in numbers if subscriber.owns(number)), "")
    if preferred or not is_withheld(facts.caller, facts.caller_host):
        return preferred
    return subscriber.numbers[0] if subscriber.numbers else subscriber.name


def _allowed(number: str, rule: TrunkIdentity) -> bool:
    if rule.numbers:
        return number.startswith(rule.numbers)
    return not rule.default or number.removeprefix("+").isdigit()


def _instead(number: str, rule: TrunkIdentity, trunk: Trunk, steps: list[Step]) -> str:
    if rule.default:
        steps.append(("identity", number, f"trunk {trunk.name} may not show it: {rule.default} instead"))
        return rule.default
    steps.append(("identity", number, f"trunk {trunk.name} may not show it"))
    raise Refused(refusals.NOT_YOUR_NUMBER)


def _spellings(facts: CallFacts, numbers: Numbers, network: str, subscriber: Subscriber | None) -> tuple[str, ...]:
    claims = facts.claims or NO_CLAIMS
    own = (subscriber.name, *subscriber.numbers) if subscriber is not None else ()
    found = (facts.caller, facts.asserted, claims.preferred, claims.remote, *numbers.callers, network, *own)
    return tuple(dict.fromkeys(user for user in found if user and user.lower() != "anonymous"))


def _impossible(
    facts: CallFacts, privacy: str, marks: str, numbers: Numbers, subscriber: Subscriber | None
) -> str:  # fmt: skip
    """Why the caller's number cannot be kept from a gateway; empty: it can."""
    if Traces.of(_spellings(facts, numbers, "", subscriber)).in_marks(marks):
        return "Call-ID, From tag or Via have the caller's number"
    asked = privacy_values(privacy)
    # RFC 3323 section 5: a service that cannot do what is critical fails the call.
    if "critical" in asked and not asked.isdisjoint(("header", "session")):
        return "addresses cannot be hidden, which the caller calls critical"
    return ""


def _told(rule: Presentation, identity: Identity) -> str:
    hidden = identity.withheld and rule.privacy == WITHHOLD
    sender = "anonymous" if identity.withheld and rule.privacy != SHOW else identity.number or "as it came"
    words = [f"From {sender}" + ("" if hidden or rule.number == "as_it_came" else f" ({rule.number})")]
    if hidden:
        words.append("nothing else that names the caller")
    elif rule.headers and identity.network:
        words.append(f"{', '.join(rule.headers)} {identity.network}")
    if identity.withheld and rule.privacy != WITHHOLD:
        words.append("with Privacy")
    if identity.diverted and rule.diversion:
        by = ", ".join("a withheld number" if one.withheld else one.number for one in identity.diverted)
        words.append(f"{', '.join(rule.diversion)} of {by}")
    return "; ".join(words)
