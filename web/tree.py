"""A hypothetical call's decision as a tree, pure; templates/tree.html draws it.

The first branch of an attempt is its answer; the others are what each class of failure leads to, together where that is
the same. The branch that was assumed goes on with the next attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kemi.explain import TYPICAL, AttemptTrace, Explanation
from model.causes import Failure


@dataclass(frozen=True, slots=True)
class Branch:
    """Something that may follow."""

    when: tuple[tuple[str, str], ...]
    "What leads here: a word, and how to assume that (`carrier-a=503`), empty where it cannot be."
    then: str
    taken: bool = False
    kind: str = ""
    "``good`` or ``bad`` where it ends, empty where it goes on."
    next: Attempt | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try at a gateway."""

    number: int
    gateway: str
    uri: str
    branches: tuple[Branch, ...] = field(default=())


def tree(found: Explanation) -> Attempt | None:
    """The first attempt with all that follows; None where the call is refused before."""
    following: Attempt | None = None
    for trace in reversed(found.attempts):
        following = Attempt(trace.number, trace.gateway, trace.uri, _branches(trace, following))
    return following


def _branches(trace: AttemptTrace, following: Attempt | None) -> tuple[Branch, ...]:
    answered = trace.cause is None
    found = [Branch((("answers", ""),), "the call is answered", taken=answered, kind="good")]
    assumed = False
    for then, classes in _grouped(trace.consequences).items():
        # Of the classes that lead there, the one that was assumed is among them, or shown by itself.
        taken = not answered and not assumed and then == trace.following
        assumed |= taken
        when = tuple((name, f"{trace.gateway}={_SPECS[name]}") for name in classes)
        found.append(Branch(when, then, taken=taken, kind=_kind(then), next=following if taken else None))
    if not answered and not assumed:
        end = _kind(trace.following)
        found.append(Branch(((trace.result, ""),), trace.following, taken=True, kind=end, next=following))
    return tuple(found)


def _grouped(consequences: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, result in consequences.items():
        found.setdefault(result, []).append(name)
    return found


def _kind(then: str) -> str:
    # A refusal begins with its status; everything else but a reply that is passed on goes on.
    return "bad" if then[:3].isdigit() or then == "reply passed on" else ""


def _spec(failure: Failure) -> str:
    if failure.local:
        return "timeout,ringing" if failure.ringing else "timeout"
    q850 = f",q850={failure.q850}" if failure.q850 is not None else ""
    return f"{failure.status}{q850}{',ringing' if failure.ringing else ''}"


_SPECS = {name: _spec(failure) for name, failure in TYPICAL.items()}
