"""The numbers that a call was made to, and whose calls it is thereby: from the steps of its decision, pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from model.fraud import CALLER, SUBSCRIBER, TRUNK

Steps = Iterable[Sequence[str]]
"Rows of what, of whom or what, and what was found."

_FORWARDER = re.compile(r"to subscriber (\S+)")


class Leg(NamedTuple):
    """A number that a call was made to."""

    parties: Mapping[str, str]
    "Whose call it is, by :data:`model.fraud.PER`; empty: nobody's."
    number: str
    "Normalised."


def legs(steps: Steps, facts: Mapping[str, Any]) -> Iterator[Leg]:
    """Of a new call, with the facts that it was decided by: its caller's, and then of each subscriber who forwards."""
    found = {what: text for what, _, text in steps}
    if found.get("callee"):
        yield Leg(_parties(found, facts), found["callee"])
        yield from _forwards(steps)


def further_legs(caller: Mapping[str, str], steps: Steps) -> Iterator[Leg]:
    """Of a call that was decided anew: sent on by media for its caller, or forwarded."""
    found = {what: text for what, _, text in steps}
    if found.get("callee") and "returned" in found and "emergency" not in found:
        yield Leg(caller, found["callee"])
    yield from _forwards(steps)


def _parties(found: Mapping[str, str], facts: Mapping[str, Any]) -> dict[str, str]:
    subscriber, trunk = str(facts.get("subscriber", "")), found.get("trunk", "none")
    caller: str = found.get("asserted", "") or found.get("caller", "")
    if subscriber and _is_withheld(facts):
        # As the decision takes it (kemi/caller.py).
        caller = subscriber
    return {SUBSCRIBER: subscriber, TRUNK: "" if trunk == "none" else trunk, CALLER: caller}


def _is_withheld(facts: Mapping[str, Any]) -> bool:
    host = str(facts.get("caller_host", ""))
    return str(facts.get("caller", "")).lower() in ("", "anonymous") or host.lower() == "anonymous.invalid"


def _forwards(steps: Steps) -> Iterator[Leg]:
    refused = {number for what, number, text in steps if what == "forward" and text.startswith("is refused")}
    for what, number, text in steps:
        if what == "forward" and number not in refused and (by := _FORWARDER.search(text)):
            yield Leg({SUBSCRIBER: by[1]}, number)
