"""Past calls decided anew: which would have gone elsewhere under another policy; pure.

Both policies, the new one and the one in force, decide each call from its recorded facts, at the time when it came.
So both see the same lists, and neither sees what the node knew only then: which gateways were held back, and whose
turn it was. A route that alternates begins with its first gateway under both.
"""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from kemi import policy
from kemi.explain import Snapshot
from kemi.view import View
from model.call import CallFacts
from model.identity import Claims
from model.policy import Policy, Route
from state import layout
from state.rates import RATES

Get = Callable[[bytes], bytes | None]

# Of each group.
EXAMPLES = 3
_POLICY_KEYS = (layout.POLICY, layout.INDEX)
# What each fact must be; json.loads may give anything.
_KINDS = {"str": str, "bool": bool, "int": int}
_FACTS = {name: _KINDS.get(kind, object) for name, kind in CallFacts.__annotations__.items()}
# What a line may raise that is no record, or one of a call that cannot be looked up.
_UNUSABLE = (ValueError, RecursionError, OverflowError)


class PastCall(NamedTuple):
    """A call that a node decided."""

    call: str
    "The node's id of it."
    at: float
    "Unix time."
    facts: CallFacts


class Outcome(NamedTuple):
    """What becomes of a call, as far as it is where the call goes."""

    refusal: str
    "Status and id; empty: the call is routed."
    attempts: tuple[tuple[str, str], ...]
    "Gateway and Request-URI of each, in order."
    app: str = ""
    "Name of the call script that it is handed to; empty: to none."
    voicemail: tuple[str, str, tuple[str, ...]] | None = None
    "App, arguments and reasons of where it goes if the attempts fail; None: nowhere."

    def __str__(self) -> str:
        if self.refusal:
            return f"refused {self.refusal}"
        to = f"app {self.app} on " if self.app else ""
        gateways = to + ", ".join(gateway for gateway, _ in self.attempts)
        return f"{gateways}, else app {self.voicemail[0]}" if self.voicemail else gateways


@dataclass(frozen=True, slots=True)
class Example:
    """One call that would have gone elsewhere."""

    call: str
    at: float
    "Unix time."
    caller: str
    "As it came."
    callee: str
    "As it came."


@dataclass(slots=True)
class Group:
    """Calls that would have gone from one outcome to another."""

    old: str
    new: str
    "The same gateways, where only number or address differ."
    calls: int = 0
    examples: list[Example] = field(default_factory=list)
    "The first few."


@dataclass(slots=True)
class Report:
    """What a dry run found."""

    calls: int = 0
    "Decided under both policies."
    skipped: int = 0
    "Lines that are no record, or none that can be decided: torn ones, foreign ones."
    groups: dict[tuple[str, str], Group] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """Calls that would have gone elsewhere."""
        return sum(group.calls for group in self.groups.values())

    def sorted_groups(self) -> list[Group]:
        """The largest first."""
        return sorted(self.groups.values(), key=lambda group: (-group.calls, group.old, group.new))


def combined(live: Get, new_policy: Policy, routes: Iterable[Route]) -> Get:
    """A snapshot of a new policy and its routes with the lists of a ``live`` one."""
    records = layout.build(new_policy, routes, (), version=0)
    records[layout.INDEX] = _index(records[layout.INDEX], live(layout.INDEX))

    def get(key: bytes) -> bytes | None:
        own = key in _POLICY_KEYS or key.startswith((layout.ROUTE, layout.NAMED))
        found = records.get(key) if own else live(key)
        return _imported(live, key) if found is None and key.startswith(layout.ROUTE) else found

    return get


def with_rates(records: Mapping[bytes, bytes], live: Get) -> Get:
    """A snapshot in memory with the rate sheets of a ``live`` one, and nothing else of it."""
    raw = live(layout.INDEX)
    if raw is None:
        return records.get
    own, others = layout.Index.decode(records[layout.INDEX]), layout.Index.decode(raw)
    own.sheets, own.rated = others.sheets, others.rated
    if layout.RATED in others.lengths:
        own.lengths[layout.RATED] = others.lengths[layout.RATED]
    index = own.encode()

    def get(key: bytes) -> bytes | None:
        if key == layout.INDEX:
            return index
        return live(key) if key.startswith(RATES) else records.get(key)

    return get


def _imported(live: Get, key: bytes) -> bytes | None:
    # Imported prefixes stay when a policy is applied; the routes that they name are the new policy's.
    raw = live(key)
    return raw if raw is not None and raw.startswith(layout.REFERENCE) else None


def _index(new: bytes, live: bytes | None) -> bytes:
    own = layout.Index.decode(new)
    if live is None:
        return new
    index = layout.Index.decode(live)
    index.lengths[layout.ROUTES] = own.lengths[layout.ROUTES]
    return index.encode()


def run(lines: Iterable[bytes], old: View, new: View, *, since: float) -> Report:
    """Decide under both policies the calls that ``lines`` of records tell of, from Unix time ``since`` on."""
    report = Report()
    for line in lines:
        try:
            call = parse(line)
            if call is None or call.at < since:
                continue
            before, after = outcome(call, old), outcome(call, new)
        except _UNUSABLE:
            report.skipped += 1
            continue
        report.calls += 1
        if before != after:
            _count(report, call, before, after)
    return report


def parse(line: bytes) -> PastCall | None:
    """The call that a record tells of; None for records of other events. Raises one of ``_UNUSABLE``."""
    record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("event"), str):
        raise ValueError("no record")
    if record["event"] != "decided":
        return None
    at, call, facts = record.get("at"), record.get("call"), record.get("facts")
    if not isinstance(at, int | float) or not math.isfinite(at) or not isinstance(call, str):
        raise ValueError("no record of a decision")
    return PastCall(call, float(at), _facts(facts))


def _facts(data: Any) -> CallFacts:
    if not isinstance(data, Mapping):
        raise ValueError("no facts")
    # A record of another release may know more facts, or fewer, than there are defaults for.
    known = {name: value for name, value in data.items() if name in _FACTS}
    if any(not isinstance(value, _FACTS[name]) for name, value in known.items()):
        raise ValueError("facts of another kind")
    try:
        facts = CallFacts(**{**known, "claims": _claims(known["claims"])} if known.get("claims") else known)
    except TypeError:
        raise ValueError("facts are missing") from None
    _check_address(facts.source)
    return facts


def _claims(data: Any) -> Claims:
    try:
        return msgspec.convert(data, Claims)
    except msgspec.ValidationError:
        raise ValueError("claims of another kind") from None


# A node hears from few addresses, again and again.
@lru_cache(maxsize=4096)
def _check_address(text: str) -> None:
    ipaddress.ip_address(text)


def outcome(call: PastCall, view: View) -> Outcome:
    """Where ``call`` goes under a policy. Raises ValueError where its text cannot be looked up."""
    decided = policy.decide(call.facts, view, Snapshot(), call.at).outcome
    if isinstance(decided, policy.Reject):
        return Outcome(f"{decided.refusal.status} {decided.refusal.id}", ())
    app = decided.app if isinstance(decided, policy.ToMedia) else ""
    attempts = tuple((attempt.gateway, attempt.uri) for attempt in decided.plan.attempts)
    then = decided.plan.voicemail
    return Outcome("", attempts, app, (then.app, then.args, tuple(sorted(then.when))) if then else None)


def _count(report: Report, call: PastCall, before: Outcome, after: Outcome) -> None:
    old, new = str(before), str(after)
    if old == new:
        new = f"{new}, but {_detail(before, after)}"
    group = report.groups.setdefault((old, new), Group(old, new))
    group.calls += 1
    if len(group.examples) < EXAMPLES:
        group.examples.append(Example(call.call, call.at, call.facts.caller, call.facts.callee))


def _detail(before: Outcome, after: Outcome) -> str:
    """What differs where the gateways are the same."""
    numbers, hosts = (
        any(
            was.partition("@")[side] != now.partition("@")[side]
            for (_, was), (_, now) in zip(before.attempts, after.attempts, strict=True)
        )
        for side in (0, 2)
    )
    otherwise = before.voicemail != after.voicemail
    differing = (("another number", numbers), ("another address", hosts), ("voicemail otherwise", otherwise))
    return " and ".join(name for name, differs in differing if differs)


def masked(number: str) -> str:
    """A number without what tells who it is: of a long one the first four characters stay, of others none."""
    long = number.removeprefix("+").isdecimal() and len(number) > 8
    shown = number[:4] if long else ""
    return shown + "•" * (len(number) - len(shown))
