"""What a node's calls count under the guards against fraud of the policy in force; pure.

With each batch of the spool goes to Redis what its calls count more than before. What a call that runs has counted
follows from its events and from the time up to which running calls are counted, which is kept in Redis: so whoever is
killed, nothing is counted twice or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import model.legs
from agent.assembly import Assembly, Event
from agent.cost import cost_of
from model.fraud import Guard, parted
from model.legs import Leg, further_legs
from model.policy import Policy, owner
from model.rates import UNIT
from state.fraud import Counted, Item

# Seconds between two looks at running calls.
TICK = 1.0
_RUNNING = ("minutes", "cost")


class Spent(NamedTuple):
    """What is counted of a call."""

    legs: int = 0
    "How many of them."
    milliseconds: int = 0
    cost: int = 0
    "In 1/1,000,000 of the policy's currency."


def legs(events: list[Event]) -> list[tuple[Leg, float]]:
    """The numbers that a call was made to, each with the Unix time at which that was."""
    # Where its route hook is asked, the decision comes later.
    first = next((event for event in events if event["event"] == "decided"), None)
    if first is None or first.get("emergency") or "refusal" in first:
        return []
    found = [(leg, first["at"]) for leg in model.legs.legs(first["steps"], first["facts"])]
    # An INVITE that came twice is decided twice, and made once.
    failed = (event for event in events if event["event"] == "failed" and "next" in event)
    caller = found[0][0].parties if found else {}
    return found + [(leg, event["at"]) for event in failed for leg in further_legs(caller, event.get("steps", ()))]


def spent(events: list[Event], until: float, policy: Policy) -> Spent:
    """What a call counts that began with these events, up to Unix time ``until`` where it still runs."""
    found = {event["event"]: event for event in reversed(events)}
    answered, ended = found.get("answered"), found.get("ended")
    if answered is None:
        return Spent(len(legs(events)))
    seconds = max(0.0, (ended["at"] if ended is not None else until) - answered["at"])
    return Spent(len(legs(events)), round(seconds * 1000), _cost(events, answered["at"], seconds, policy))


def _cost(events: list[Event], answered: float, seconds: float, policy: Policy) -> int:
    rates: list[Any] = []
    gateway = ""
    for event in events:
        if event["event"] in ("decided", "failed"):
            rates = event.get("rates", rates)
            gateway = event["gateways"][0] if event.get("gateways") else event.get("next", gateway)
    text, currency = cost_of(rates, owner(gateway), answered, seconds) if rates and seconds else ("", "")
    worth = UNIT if currency == policy.currency else policy.exchange.get(currency, 0)
    # All of its decimals are written.
    return int(text.replace(".", "")) * worth // UNIT if text else 0


@dataclass(slots=True)
class Counter:
    """What a node's calls have counted so far."""

    policy: Policy
    until: float = 0.0
    "Unix time up to which running calls are counted."
    _spent: dict[str, Spent] = field(default_factory=dict)
    "Call under way that some guard counts to what is counted of it."
    _running: set[str] = field(default_factory=set)
    "Those of them whose minutes count."

    def restore(self, assembly: Assembly) -> None:
        """Take the calls that are not over as counted, up to :attr:`until`."""
        for call, events in assembly.calls.items():
            if self._items(events):
                self._keep(call, events, spent(events, self.until, self.policy))

    def use(self, policy: Policy, assembly: Assembly, now: float) -> None:
        """Go on with another policy: calls under way count by its guards from Unix time ``now`` on."""
        known, self.policy = self._spent, policy
        self._spent, self._running = {}, set()
        for call, events in assembly.calls.items():
            if call in known or self._items(events):
                self._keep(call, events, known.get(call) or spent(events, now, policy))

    def count(self, assembly: Assembly, now: float) -> Counted | None:
        """What changed since the last time, with running calls up to Unix time ``now`` where a second has passed."""
        if not self.policy.fraud:
            return None
        ticks = bool(self._running) and now - self.until >= TICK
        until = now if ticks or not self.until else self.until
        items: dict[str, Item] = {}
        for call in assembly.changed | (self._running if until > self.until else set()):
            events = assembly.over.get(call) or assembly.calls.get(call, [])
            if events:
                self._count(call, events, until, over=call in assembly.over, items=items)
        if not items and until == self.until:
            return None
        self.until = until
        return Counted(tuple(items.values()), until)

    def _count(self, call: str, events: list[Event], until: float, *, over: bool, items: dict[str, Item]) -> None:
        found = self._items(events)
        if not found and call not in self._spent:
            return
        before, after = self._spent.get(call, Spent()), spent(events, until, self.policy)
        at, named = _last(events, until), set[str]()
        for place, guard, name, (leg, began) in found:
            item = items.setdefault(name, Item(guard, *parted(name)[1:]))
            if place >= before.legs:
                _add_call(item, call, leg, began)
            if name not in named:
                _add_spent(item, before, after, at)
            named.add(name)
        if over:
            self._spent.pop(call, None)
            self._running.discard(call)
        else:
            self._keep(call, events, after)

    def _items(self, events: list[Event]) -> list[tuple[int, Guard, str, tuple[Leg, float]]]:
        return [
            (place, guard, name, (leg, at))
            for place, (leg, at) in enumerate(legs(events))
            for guard in self.policy.fraud
            if (name := guard.counts(leg.parties, leg.number))
        ]

    def _keep(self, call: str, events: list[Event], counted: Spent) -> None:
        self._spent[call] = counted
        kinds = {event["event"] for event in events}
        measured = any(measure in guard.measures for _, guard, _, _ in self._items(events) for measure in _RUNNING)
        if "answered" in kinds and "ended" not in kinds and measured:
            self._running.add(call)


def _last(events: list[Event], until: float) -> float:
    return max(event["at"] for event in events) if any(event["event"] == "ended" for event in events) else until


def _add_call(item: Item, call: str, leg: Leg, at: float) -> None:
    item.stretch(at)[0] += 1
    item.numbers[leg.number] = round(at * 1000)
    item.ids.append(call)


def _add_spent(item: Item, before: Spent, after: Spent, at: float) -> None:
    if after[1:] != before[1:]:
        stretch = item.stretch(at)
        stretch[1] += after.milliseconds - before.milliseconds
        stretch[2] += after.cost - before.cost
