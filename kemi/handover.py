"""Calls on their way to media, and those that come back from there; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address

from msgspec import structs

from kemi import refusals
from kemi.plan import Plan
from kemi.view import View
from model.call import CallFacts
from model.diversion import Diversion
from model.handover import DIRECT, TOKEN, Handover, HandoverError, HandoverLoop
from model.numbers import Dialling, is_dialable, normalise
from model.policy import Refusal, owner

# RFC 3261 section 20.10: a URI alone, or within angle brackets; of several, the first is the one preferred.
_CONTACT = re.compile(
    r'(?:[^<,"]*<|\s*"(?:[^"\\]|\\.)*"\s*<)?\s*(?:sips?:([^@;>,\s]*)@|tel:([^;>,\s]*))', re.IGNORECASE
)


def lines(plan: Plan, call: str, secret: bytes, now: float) -> str:
    """The header lines of the plan's attempt that begins at Unix time ``now``; ``call`` is our id of the call.

    Made for each attempt: a token is good for seconds, and an attempt may take longer to fail.
    """
    media = plan.media
    assert media is not None
    handed = Handover(
        call=call, app=media.app, args=media.args, caller=media.caller, callee=media.callee, diverted=media.diverted,
        reason=media.reason, subscriber=plan.caller, hops=media.hops,
    )  # fmt: skip
    return "".join(f"{name}: {value}\r\n" for name, value in handed.fresh(now).headers(secret))


def node_at(view: View, source: str) -> str:
    """Name of the media node one of whose IP addresses is ``source``; empty if there is none."""
    address = ip_address(source)
    nodes = (node for node in view.gateways.values() if node.media and node.address)
    return next((owner(node.name) for node in nodes if ip_address(node.address.strip("[]")) == address), "")


def returned(
    facts: CallFacts, headers: Mapping[str, str], view: View, secret: bytes, now: float
) -> tuple[CallFacts, Refusal | None, str]:
    """What is to be believed of a new call that brings headers of a hand-over, and whether it is refused, and why.

    Only a media node's are looked at, and only with a token. From anywhere else they are as good as none.
    """
    if TOKEN not in headers or not node_at(view, facts.source):
        return facts, None, ""
    try:
        proven = Handover.parse(headers, secret, now)
    except HandoverLoop as error:
        return facts, refusals.MEDIA_LOOP, str(error)
    except HandoverError as error:
        return facts, refusals.MEDIA_TOKEN, str(error)
    known = replace(facts, caller=proven.caller, asserted="", hops=proven.hops, origin=proven.call)
    return replace(known, subscriber=proven.subscriber), None, ""


def diverted(plan: Plan, found: Diversion | None, dialling: Dialling) -> tuple[Plan, tuple[tuple[str, str, str], ...]]:
    """A plan that goes to media, with what a trusted peer says of an earlier diversion, and the steps that tell so."""
    media = plan.media
    assert media is not None
    if found is None:
        return plan, ()
    number = normalise(found.number, dialling)
    number = number if is_dialable(number) else ""
    reason = found.reason if media.reason == DIRECT else media.reason
    told = structs.replace(plan, media=structs.replace(media, diverted=number, reason=reason))
    return told, (("diverted", found.number, f"{number or 'no number'}: {found.reason}"),)


def contact_user(header: str) -> str:
    """The user part of the first URI in a Contact header; empty where there is none."""
    found = _CONTACT.match(header)
    # Up to the password, which RFC 3261 section 19.1.1 advises against.
    return (found[1] or found[2] or "").partition(":")[0] if found else ""
