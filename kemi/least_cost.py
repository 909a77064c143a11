"""Which of a route's gateways is cheapest for a number: the longest prefix of each gateway's own sheet; pure.

The records of rates are read from the longest prefix of the number to the shortest. Each has the rows of all gateways,
so a gateway whose longest prefix is shorter than another's is found on the way, and the walk ends with the last one.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from kemi.plan import Rated
from kemi.view import Memory, Rank, Ranks, View
from model.policy import LeastCost
from model.rates import UNIT, Rate, amount_text
from state.rates import ROW, PackedRow, unpacked

# Seconds for which changes of a rate are told with a call: a call that is not answered by then counts as interrupted.
SETUP = 900.0

Step = tuple[str, str, str]
# Price and fee in the policy's currency, the gateway's rank, key of the record, row, and what was told of it before. A
# plain tuple, as each call sorts one for every gateway: by price, then by fee, then as the route lists them.
Priced = tuple[int, int, Rank, bytes, PackedRow, list[tuple[Step, Rated]]]
# A record, its rows, and from which time on each gateway has one alone that has no end; infinity: never.
Kept = tuple[bytes, list[Priced], float]
# Short prefixes have rows of most gateways, and of numbers with all kinds of long ones. So many bytes are kept as rows,
# of so many records.
MANY, KEPT_MAX = 6 * ROW.size, 256


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


def quote(one: Priced) -> Quote:
    """For people."""
    _, _, (_, gateway, currency, _), key, (_, _, _, *rate), _ = one
    return Quote(gateway, currency, key[1:].decode(), Rate(*rate))


class Ranking:
    """The gateways of a route for one number, at one time."""

    __slots__ = ("_last", "_least", "asked", "changes", "dear", "fitting", "unrated")

    def __init__(self, gateways: tuple[str, ...], least: LeastCost, number: str, view: View, at: float) -> None:
        """At Unix time ``at``."""
        self._least = least
        self._last = least.unrated == "last"
        self.asked = 0
        "How many of :meth:`order` were asked for."
        found, self.changes = _priced(*view.ranks(gateways), number, view, at)
        "When a rate is another (Unix time, or infinity)."
        self.unrated: list[str] = []
        "The gateways without a rate, in the route's order."
        if len(found) < len(gateways):
            rated = {one[2][1] for one in found}
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
            steps.append((one[5] or _told(one))[0][0])
            yield one[2][1]
        if self._last:
            for name in self.unrated:
                self.asked += 1
                steps.append(("rate", name, "none for this number: it comes last"))
                yield name

    def rest(self) -> Iterator[Step]:
        """What becomes of those that :meth:`order` was not asked for."""
        if behind := self.fitting[self.asked :]:
            yield "rate", "others", f"dearer, and not tried: {_names(behind)}"
        if self.unrated and self.asked <= len(self.fitting):
            yield "rate", "none", f"{'not tried' if self._last else 'left out'}: {', '.join(self.unrated)}"
        if self.dear:
            yield "rate", f"above {amount_text(self._least.max_price)}", f"left out: {_names(self.dear)}"


def _names(found: list[Priced]) -> str:
    return ", ".join([one[2][1] for one in found])


def _told(one: Priced) -> list[tuple[Step, Rated]]:
    """What the trace and the record say of it; kept with it, as most rows are met again."""
    _, _, (_, gateway, currency, _), key, (_, _, _, *rate), told = one
    price, fee, _, _ = rate
    more = f" and {amount_text(fee)} a call" if fee else ""
    text = f"{amount_text(price)} {currency}{more} by {key[1:].decode() or 'any number'}"
    told.append((("rate", gateway, text), (gateway, currency, ((0, *rate),))))
    return told


def every(number: str, view: View, at: float) -> list[Quote]:
    """What each gateway takes that has a rate, cheapest first; those last that the policy cannot compare."""
    worth = {view.policy.currency: UNIT, **view.policy.exchange}
    ranks = {
        sheet.number: (place, name, sheet.currency, worth.get(sheet.currency, 0))
        for place, (name, sheet) in enumerate(sorted(view.sheets.items()))
    }
    found = _priced(ranks, {}, number, view, at)[0]
    return [quote(one) for one in sorted(found, key=lambda one: not one[2][3])]


def _priced(ranks: Ranks, memory: Memory, number: str, view: View, at: float) -> tuple[list[Priced], float]:
    """The gateways with a rate, cheapest first; and when one of these rates is another, infinity if never."""
    found: list[Priced] = []
    taken: set[int] = set()
    changes = inf
    for key, raw in view.rates(number):
        rows, steady = _kept(ranks, memory, key, raw) if len(raw) >= MANY else (_rows(ranks, key, raw), inf)
        if steady <= at:
            more = [one for one in rows if one[2][0] not in taken] if taken else rows.copy()
            # In order already, unlike the few before.
            for one in found:
                insort(more, one)
            found = more
            if len(found) == len(ranks):
                return found, changes
            taken.update([one[2][0] for one in rows])
            continue
        for one in rows:
            place, starts, ends = one[2][0], one[4][1], one[4][2]
            if place in taken:
                continue
            if starts > at:
                changes = min(changes, starts)
            elif not ends or ends > at:
                taken.add(place)
                found.append(one)
                if ends:
                    changes = min(changes, ends)
        if len(found) == len(ranks):
            break
    found.sort()
    return found, changes


def _rows(ranks: Ranks, key: bytes, raw: bytes) -> list[Priced]:
    """The rows of a record that are of these gateways, those that begin latest first."""
    found: list[Priced] = []
    for row in unpacked(raw):
        rank = ranks.get(row[0])
        if rank is not None:
            worth = rank[3]
            found.append((row[3] * worth, row[4] and row[4] * worth, rank, key, row, []))
    return found


def _kept(ranks: Ranks, memory: Memory, key: bytes, raw: bytes) -> tuple[list[Priced], float]:
    kept: Kept | None = memory.get(key)
    if kept is None or kept[0] != raw:
        rows = _rows(ranks, key, raw)
        alone = len({one[2] for one in rows}) == len(rows) and not any(one[4][2] for one in rows)
        if alone:
            rows.sort()
        if len(memory) >= KEPT_MAX:
            memory.clear()
        kept = memory[key] = raw, rows, max((one[4][1] for one in rows), default=0) if alone else inf
    return kept[1], kept[2]


def rated(ranking: Ranking, gateways: tuple[str, ...], number: str, view: View, at: float) -> tuple[Rated, ...]:
    """What those of ``gateways`` take that were asked for, at ``at`` and at every change until the call is answered."""
    if ranking.changes > at + SETUP:
        # As nearly always.
        return tuple([one[5][0][1] for one in ranking.fitting[: ranking.asked]])
    asked = [one[2][1] for one in ranking.fitting[: ranking.asked]]
    asked += ranking.unrated[: max(0, ranking.asked - len(ranking.fitting))]
    found: dict[str, tuple[str, list[tuple[int, ...]]]] = {}
    since, begins = 0, at
    while begins <= at + SETUP:
        priced, following = _priced(*view.ranks(gateways), number, view, begins)
        by_name = {one[2][1]: one for one in priced}
        for name in asked:
            if (one := by_name.get(name)) is not None:
                found.setdefault(name, (one[2][2], []))[1].append((since, *one[4][3:]))
            elif name in found:
                found[name][1].append((since,))
        if following == inf:
            break
        since, begins = int(following), following
    return tuple((name, currency, tuple(steps)) for name, (currency, steps) in found.items())
