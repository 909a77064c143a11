"""Which of a route's gateways is cheapest for a number: the longest prefix of each gateway's own sheet; pure.

The record of the number's longest prefix has the rows of all gateways, and those of shorter prefixes as well, but for
the shortest (:mod:`state.rates`). What these come to is kept: numbers of all kinds begin with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from operator import itemgetter
from typing import NamedTuple

from kemi.plan import Rated
from kemi.view import Memory, Rank, Ranks, View
from model.policy import LeastCost
from model.rates import UNIT, Rate, amount_text
from state.rates import SHORT, PackedRow, unpacked

# Seconds for which changes of a rate are told with a call: a call that is not answered by then counts as interrupted.
SETUP = 900.0

Step = tuple[str, str, str]
# Price and fee in the policy's currency, the gateway's place in its route, its name, rank, row, and what was told of it
# before. A plain tuple, as each call compares some of them: by price, then by fee, then as the route lists them.
Priced = tuple[int, int, int, str, Rank, PackedRow, list[tuple[Step, Rated]]]
# From when until when this holds (Unix time), and the gateways with a rate, cheapest first; not to be changed.
Found = tuple[float, float, list[Priced]]
NOTHING: Found = (-inf, inf, [])
# Of so many short prefixes it is kept.
KEPT_MAX = 2048


class Quote(NamedTuple):
    """What a gateway takes for a number."""

    gateway: str
    currency: str
    prefix: str
    "By which prefix of its sheet; empty: it is for any number."
    rate: Rate

    def __str__(self) -> str:
        fee = f" and {amount_text(self.rate.fee)} a call" if self.rate.fee else ""
        price = f"{amount_text(self.rate.price)} {self.currency} a minute{fee}"
        return f"{price}, {self.rate.billing}, by {self.prefix or 'any number'}"

    def as_dict(self) -> dict[str, str]:
        """As JSON has it; amounts as text."""
        return {
            "gateway": self.gateway, "price": amount_text(self.rate.price), "currency": self.currency,
            "fee": amount_text(self.rate.fee), "billing": self.rate.billing, "prefix": self.prefix,
        }  # fmt: skip


def quote(one: Priced, number: str) -> Quote:
    """For people."""
    _, _, _, gateway, (_, _, currency, _), (_, length, _, _, *rate), _ = one
    return Quote(gateway, currency, number[:length], Rate(*rate))


class Ranking:
    """The gateways of a route for one number, at one time."""

    __slots__ = ("_last", "_least", "_number", "asked", "changes", "dear", "fitting", "told", "unrated")

    def __init__(self, gateways: tuple[str, ...], least: LeastCost, number: str, view: View, at: float) -> None:
        """At Unix time ``at``."""
        self._least, self._number = least, number
        self._last = least.unrated == "last"
        self.asked = 0
        "How many of :meth:`order` were asked for."
        self.told: list[Rated] = []
        "What those of them take that have a rate, now."
        _, self.changes, found = _found(*view.ranks(gateways), number, view, at)
        "When a rate may be another (Unix time, or infinity)."
        self.unrated: list[str] = []
        "The gateways without a rate, in the route's order."
        if len(found) < len(gateways):
            rated = {one[3] for one in found}
            self.unrated = [name for name in gateways if name not in rated]
        self.fitting, self.dear = found, found[:0]
        "Those with a rate, cheapest first; and those among them that take more than is allowed."
        if least.max_price:
            limit = least.max_price * UNIT
            self.fitting = [one for one in found if one[0] <= limit]
            self.dear = found[len(self.fitting) :]

    def any(self) -> bool:
        """Whether there is a gateway to try."""
        return bool(self.fitting or (self.unrated and self._last))

    def order(self, steps: list[Step]) -> Iterator[str]:
        """The gateways as they are to be tried; what is asked for goes into ``steps``."""
        for one in self.fitting:
            self.asked += 1
            step, takes = (one[6] or _told(one, self._number))[0]
            steps.append(step)
            self.told.append(takes)
            yield step[1]
        if self._last:
            for name in self.unrated:
                self.asked += 1
                steps.append(("rate", name, "none for this number: it comes last"))
                yield name

    def rest(self, steps: list[Step]) -> None:
        """What becomes of those that :meth:`order` was not asked for goes into ``steps``."""
        if behind := self.fitting[self.asked :]:
            steps.append(("rate", "others", f"dearer, and not tried: {_names(behind)}"))
        if self.unrated and self.asked <= len(self.fitting):
            what = "not tried" if self._last else "left out"
            steps.append(("rate", "none", f"{what}: {', '.join(self.unrated)}"))
        if self.dear:
            limit = amount_text(self._least.max_price)
            steps.append(("rate", f"above {limit}", f"left out: {_names(self.dear)}"))


_name: Callable[[Priced], str] = itemgetter(3)


def _names(found: list[Priced]) -> str:
    return ", ".join(map(_name, found))


def _told(one: Priced, number: str) -> list[tuple[Step, Rated]]:
    """What the trace and the record say of it; kept with it, as rows of short prefixes are met again."""
    _, _, _, gateway, (_, _, currency, _), (_, length, _, _, *rate), told = one
    price, fee, _, _ = rate
    more = f" and {amount_text(fee)} a call" if fee else ""
    text = f"{amount_text(price)} {currency}{more} by {number[:length] or 'any number'}"
    told.append((("rate", gateway, text), (gateway, currency, ((0, *rate),))))
    return told


def every(number: str, view: View, at: float) -> list[Quote]:
    """What each gateway takes that has a rate, cheapest first; those last that the policy cannot compare."""
    worth = {view.policy.currency: UNIT, **view.policy.exchange}
    ranks = {
        sheet.number: (place, name, sheet.currency, worth.get(sheet.currency, 0))
        for place, (name, sheet) in enumerate(sorted(view.sheets.items()))
    }
    _, _, found = _found(ranks, {}, number, view, at)
    return [quote(one, number) for one in sorted(found, key=lambda one: not one[4][3])]


def _found(ranks: Ranks, memory: Memory, number: str, view: View, at: float) -> Found:
    """What the gateways take for a number."""
    prefix = number[:SHORT]
    short: Found | None = memory.get(prefix)
    if short is None or not short[0] <= at < short[1]:
        short = _short(ranks, memory, prefix, view, at)
    raw = view.rates(number)
    return short if raw is None else _nearer(short, ranks, raw, at)


def _short(ranks: Ranks, memory: Memory, prefix: str, view: View, at: float) -> Found:
    """What they take by this prefix, and by those that it begins with."""
    known: Found | None = memory.get(prefix)
    if known is not None and known[0] <= at < known[1]:
        return known
    known, raw = _short(ranks, memory, prefix[:-1], view, at) if prefix else NOTHING, view.short_rates(prefix)
    if raw is not None:
        known = _nearer(known, ranks, raw, at)
    if len(memory) >= KEPT_MAX:
        memory.clear()
    memory[prefix] = known
    return known


def _nearer(above: Found, ranks: Ranks, raw: bytes, at: float) -> Found:
    """What holds where a record has rows besides what ``above`` says, of shorter prefixes."""
    since, until, others = above
    found: list[Priced] = []
    taken: set[int] = set()
    for row in unpacked(raw):
        rank = ranks.get(row[0])
        if rank is None or rank[0] in taken:
            continue
        _, _, starts, ends, price, fee, _, _ = row
        if starts > at:
            until = min(until, starts)
        elif ends and ends <= at:
            since = max(since, ends)
        else:
            since = max(since, starts)
            if ends:
                until = min(until, ends)
            place, name, _, worth = rank
            taken.add(place)
            found.append((price * worth, fee and fee * worth, place, name, rank, row, []))
    for one in others:
        if one[2] not in taken:
            found.append(one)
    # Few rows are new, and the others are in order.
    found.sort()
    return since, until, found


def rated(ranking: Ranking, gateways: tuple[str, ...], number: str, view: View, at: float) -> tuple[Rated, ...]:
    """What those of ``gateways`` take that were asked for, at ``at`` and at every change until the call is answered."""
    if ranking.changes > at + SETUP:
        # As nearly always.
        return tuple(ranking.told)
    asked = [one[3] for one in ranking.fitting[: ranking.asked]]
    asked += ranking.unrated[: max(0, ranking.asked - len(ranking.fitting))]
    found: dict[str, tuple[str, list[tuple[int, ...]]]] = {}
    since, begins = 0, at
    while begins <= at + SETUP:
        _, following, priced = _found(*view.ranks(gateways), number, view, begins)
        by_name = {one[3]: one for one in priced}
        for name in asked:
            if (one := by_name.get(name)) is not None:
                found.setdefault(name, (one[4][2], []))[1].append((since, *one[5][4:]))
            elif name in found:
                found[name][1].append((since,))
        if following == inf:
            break
        since, begins = int(following), following
    return tuple((name, currency, tuple(steps)) for name, (currency, steps) in found.items())
