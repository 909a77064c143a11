"""What a decision can look up, over any snapshot: the live one of a node, or one made for a hypothetical call."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from model.entries import KEY_MAX_BYTES, PAIR_SEPARATOR, Entry, Kind
from model.fraud import Trip
from model.open_breaker import OpenBreaker
from model.policy import Drain, Gateway, Policy, Route, Trunk
from model.rates import UNIT
from model.subscriber import Subscriber
from state import codec, figures, layout, names
from state.rates import RATES, SHORT, Sheet

Get = Callable[[bytes], bytes | None]
Rank = tuple[int, str, str, int]
"A gateway's place in its route, its name, the currency of its rate sheet and what that is worth."
Ranks = dict[int, Rank]
"By number of the sheet."
Memory = dict[str, Any]
"What :mod:`kemi.least_cost` keeps of short prefixes."

# A member of an enumeration is looked up by code in Python (until 3.12), and written by some; each call would pay.
CALLER, CALLEE, PAIR, SOURCE = Kind.CALLER.value, Kind.CALLEE.value, Kind.PAIR.value, Kind.SOURCE.value
CALLER_PREFIX, CALLEE_PREFIX = Kind.CALLER_PREFIX.value, Kind.CALLEE_PREFIX.value
USER_AGENT = Kind.USER_AGENT.value

NAME_MAX = 64
ENTRY_MAX = KEY_MAX_BYTES + 20
"Bytes of an entry's key."
KEPT_MAX = 4096
"So many routes and sources are kept, so that a worker's memory does not grow with their number."


class NoPolicyError(Exception):
    """The snapshot holds no policy: none was ever applied."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    version: int
    policy: Policy
    trunks: dict[tuple[int, int, int], Trunk]
    "By IP version, prefix length and network address."
    trunk_lengths: tuple[tuple[int, int], ...]
    "IP version and prefix length, longest first."
    expanded: names.Expanded
    registered: dict[tuple[int, int, str], Trunk]
    "By IP version, address of the registrar and user of our Contact."
    presents: bool
    "Whether some trunk or gateway has a rule of who is shown as the caller."
    asks: frozenset[str]
    "The trunks whose Remote-Party-ID is believed."
    ranks: dict[tuple[str, ...], tuple[_Index, tuple[Ranks, Memory]]] = field(default_factory=dict)
    "Of the gateways of each least-cost route that had a call, by the index that it was made of."
    sources: dict[str, Trunk | None] = field(default_factory=dict)
    "Of the addresses that calls came from."
    ways: dict[str, Any] = field(default_factory=dict)
    "See :attr:`View.ways`."

    def trunk_at(self, source: str) -> Trunk | None:
        """The trunk whose networks have the IP address ``source``: the longest that does."""
        version, width, number = _address(source)
        for family, length in self.trunk_lengths:
            if family == version:
                found = self.trunks.get((version, length, number >> (width - length)))
                if found is not None:
                    return found
        return None


@dataclass(frozen=True, slots=True)
class _Index:
    callers: tuple[int, ...]
    "Lengths of prefixes in use, longest first; so are the following."
    callees: tuple[int, ...]
    routes: tuple[int, ...]
    sources: dict[int, tuple[int, ...]]
    "By IP version."
    user_agents: tuple[str, ...]
    drains: dict[str, Drain]
    "By gateway, those over included."
    rates: tuple[int, ...]
    "Lengths of the prefixes that inherit, longest first."
    short_rates: frozenset[int]
    "Lengths of those that do not."
    sheets: dict[str, Sheet]
    "By gateway."
    trips: dict[str, int]
    "Guard to how many it refuses."
    breakers: dict[str, OpenBreaker]
    "By gateway, those over included."
    known: dict[str, list[str]] = field(default_factory=dict)
    "See :meth:`networks`, by source."

    def networks(self, source: str) -> list[str]:
        """Names of the entries that the IP address ``source`` may meet, not to be changed."""
        found = self.known.get(source)
        if found is None:
            if len(self.known) >= KEPT_MAX:
                self.known.clear()
            found = self.known[source] = [f"{SOURCE}:{network}" for network in _networks(source, self.sources)]
        return found


class View:
    """One consistent state of the snapshot; ``get`` reads a record.

    What each call asks for is an attribute, as a property is one more function to run.
    """

    __slots__ = (
        "_compiled", "_get", "_index", "_routes", "asks", "breakers", "drains", "expanded", "policy", "presents",
        "trips", "version", "ways",
    )  # fmt: skip

    def __init__(self, get: Get) -> None:
        """Raises :class:`NoPolicyError`."""
        policy, index = get(layout.POLICY), get(layout.INDEX)
        if policy is None or index is None:
            raise NoPolicyError
        self._get = get
        self._compiled = compiled = _compile(policy, get(names.NAMES))
        self._index = found = _compile_index(index)
        # What stands under keys of routes, of those that some call met; prefixes that were imported are not among them.
        self._routes: dict[bytes, tuple[Route, ...]] = {}
        self.version = compiled.version
        "Of the policy."
        self.policy = compiled.policy
        "The policy."
        self.expanded = compiled.expanded
        "The gateways that have names or several addresses."
        self.ways = compiled.ways
        "What :mod:`kemi.gateways` keeps of gateways, by name, as long as the policy is in force."
        self.presents = compiled.presents
        "Whether some trunk or gateway has a rule of who is shown as the caller."
        self.asks = compiled.asks
        "The trunks whose Remote-Party-ID is believed."
        self.drains = found.drains
        "The gateways that operators drained, those whose drain is over included."
        self.breakers = found.breakers
        "Breakers of other nodes that this one goes by, those over included; nearly always there is none."
        self.trips = found.trips
        "The guards that refuse somebody's calls, or did until lately, with how many they are."

    def at(self, get: Get) -> View:
        """The same state, read by another transaction, in the place of the one before."""
        self._get = get
        return self

    def figures(self, window: float, now: float) -> figures.Counted:
        """What was counted of each gateway in the last ``window`` seconds; nothing, if that was told too long ago."""
        raw = self._get(layout.QUALITY)
        at, windows = figures.read(raw) if raw is not None else (0.0, {})
        known = windows.get(window) if 0 <= now - at < window else None
        return figures.Counted({}) if known is None else known

    @property
    def sheets(self) -> dict[str, Sheet]:
        """The rate sheets by gateway, those of gateways that the policy lacks included."""
        return self._index.sheets

    def trip(self, field: str) -> Trip | None:
        """What a guard has of the name under which it counts a call (:meth:`model.fraud.Guard.field`)."""
        key = layout.trip_key(field)
        raw = self._get(key)
        return Trip.decode(raw) if raw is not None else None

    @property
    def gateways(self) -> dict[str, Gateway]:
        """Every gateway by name, and the members of those that have several addresses."""
        return self._compiled.expanded.gateways

    def trunk(self, source: str, callee: str = "") -> Trunk | None:
        """The trunk that the IP address ``source`` belongs to: the longest matching network.

        Before all, calls for a contact that was registered there belong to the trunk that did.
        """
        compiled = self._compiled
        if compiled.registered:
            version, _, number = _address(source)
            if (known := compiled.registered.get((version, number, callee))) is not None:
                return known
        sources = compiled.sources
        if source not in sources:
            if len(sources) >= KEPT_MAX:
                sources.clear()
            sources[source] = compiled.trunk_at(source)
        return sources[source]

    def entries(self, callers: tuple[str, ...], callee: str, source: str, user_agent: str) -> list[Entry]:
        """Every entry that a call may meet, whether or not it is in force.

        In this order: caller, callee, pair, caller's and callee's prefix, source, User-Agent; of prefixes and networks
        the longest first.
        """
        get, index = self._get, self._index
        wanted = []
        # Without comprehensions and functions of functions, which cost a worker more than what they do here.
        for caller in callers:
            wanted.append(f"{CALLER}:{caller}")
        wanted.append(f"{CALLEE}:{callee}")
        for caller in callers:
            wanted.append(f"{PAIR}:{caller}{PAIR_SEPARATOR}{callee}")
        for caller in callers:
            for length in index.callers:
                if length <= len(caller):
                    wanted.append(f"{CALLER_PREFIX}:{caller[:length]}")
        for length in index.callees:
            if length <= len(callee):
                wanted.append(f"{CALLEE_PREFIX}:{callee[:length]}")
        if index.sources:
            wanted += index.networks(source)
        if index.user_agents:
            lowered = user_agent.lower()
            wanted += [f"{USER_AGENT}:{value}" for value in index.user_agents if value in lowered]
        found = []
        for name in wanted:
            key = layout.ENTRY + name.encode()
            # What is longer than any entry may be too long for a key of the snapshot.
            if len(key) <= ENTRY_MAX and (raw := get(key)) is not None:
                found.append(codec.decode_entry(name, raw))
        return found

    def subscriber(self, name: str) -> Subscriber | None:
        """The subscriber of this name."""
        # Longer than any name, and than a key of the snapshot may be.
        raw = self._get(layout.subscriber_key(name)) if 0 < len(name) <= NAME_MAX else None
        return _subscriber(name, raw) if raw is not None else None

    def routes(self, number: str) -> Iterator[tuple[str, Route]]:
        """The routes whose prefix ``number`` begins with, longest first, each with that prefix.

        Those of one prefix are in the policy's order, and cost one look-up.
        """
        get, known = self._get, self._routes
        for length in self._index.routes:
            if length > len(number):
                continue
            prefix = number[:length]
            key = layout.ROUTE + prefix.encode()
            found = known.get(key)
            if found is None and (raw := get(key)) is not None:
                found = self._named(raw[1:]) if raw.startswith(layout.REFERENCE) else self._kept(key, raw)
            if found is not None:
                for route in found:
                    yield prefix, route

    def named(self, name: str) -> Route | None:
        """The route of this name."""
        found = self._named(name.encode()) if 0 < len(name) <= NAME_MAX else None
        return found[0] if found is not None else None

    def _named(self, name: bytes) -> tuple[Route, ...] | None:
        key = layout.NAMED + name
        found = self._routes.get(key)
        if found is None and (raw := self._get(key)) is not None:
            found = self._kept(key, raw)
        return found

    def _kept(self, key: bytes, raw: bytes) -> tuple[Route, ...]:
        """The routes of a record, kept as long as nothing in the snapshot changes."""
        if len(self._routes) >= KEPT_MAX:
            self._routes.clear()
        found = self._routes[key] = _routes(raw)
        return found

    def rates(self, number: str) -> bytes | None:
        """What is to be known of the rates for ``number``, but for those of short prefixes."""
        get, wanted = self._get, RATES + number.encode()
        for length in self._index.rates:
            # A slice of what is shorter would be another prefix's.
            if length < len(wanted) and (raw := get(wanted[: length + 1])) is not None:
                return raw
        return None

    def short_rates(self, prefix: str) -> bytes | None:
        """The record of a prefix of at most :data:`state.rates.SHORT` characters."""
        return self._get(RATES + prefix.encode()) if len(prefix) in self._index.short_rates else None

    def ranks(self, gateways: tuple[str, ...]) -> tuple[Ranks, Memory]:
        """The sheets of ``gateways`` whose prices can be compared, not to be changed; and what is kept of rates."""
        # Another index wherever rates have changed.
        found = self._compiled.ranks.get(gateways)
        if found is None or found[0] is not self._index:
            found = self._compiled.ranks[gateways] = self._index, (self._ranks(gateways), {})
        return found[1]

    def _ranks(self, gateways: tuple[str, ...]) -> Ranks:
        policy = self._compiled.policy
        worth = {policy.currency: UNIT, **policy.exchange}
        sheets = ((place, name, self._index.sheets.get(name)) for place, name in enumerate(gateways))
        return {
            sheet.number: (place, name, sheet.currency, worth[sheet.currency])
            for place, name, sheet in sheets
            if sheet is not None and sheet.currency in worth
        }


@lru_cache(maxsize=4)
def _compile(raw: bytes, resolved: bytes | None) -> _Compiled:
    version, policy = layout.decode_policy_record(raw)
    answers = names.decode(resolved)
    trunks: dict[tuple[int, int, int], Trunk] = {}
    registered: dict[tuple[int, int, str], Trunk] = {}
    for trunk, address in names.sources(policy, answers):
        # Of two trunks with one address, the first in the policy has it; but an address that is written counts more.
        trunks.setdefault(_address(address), trunk)
    for trunk, told, address in names.registrars(policy, answers):
        family, _, number = _address(address)
        registered.setdefault((family, number, told.contact_user), trunk)
    for trunk in policy.trunks:
        for source in trunk.sources:
            network = ipaddress.ip_network(source)
            shift = network.max_prefixlen - network.prefixlen
            trunks[network.version, network.prefixlen, int(network.network_address) >> shift] = trunk
    lengths = sorted({(family, length) for family, length, _ in trunks}, key=lambda pair: -pair[1])
    presents = any(trunk.identity for trunk in policy.trunks) or any(one.identity for one in policy.gateways.values())
    asks = frozenset(
        trunk.name
        for trunk in policy.trunks
        if trunk.identity and trunk.trust_identity and "rpid" in trunk.identity.believe
    )
    return _Compiled(
        version=version, policy=policy, trunks=trunks, trunk_lengths=tuple(lengths), presents=presents, asks=asks,
        expanded=names.expanded(policy, answers), registered=registered,
    )  # fmt: skip


@lru_cache(maxsize=4)
def _compile_index(raw: bytes) -> _Index:
    data = json.loads(raw)
    tables = data["lengths"]
    tables[layout.ROUTES] = {**tables.get(layout.ROUTES, {}), **tables.pop(layout.IMPORTED, {})}
    lengths = {table: tuple(sorted(map(int, count), reverse=True)) for table, count in tables.items()}
    rated = lengths.get(layout.RATED, ())
    sources = {version: lengths[table] for version in (4, 6) if (table := f"source{version}") in lengths}
    drains = {name: codec.decode_drain(name, text) for name, text in data.get("drains", {}).items()}
    return _Index(
        callers=lengths.get(CALLER_PREFIX, ()),
        callees=lengths.get(CALLEE_PREFIX, ()),
        routes=lengths.get(layout.ROUTES, ()),
        sources=sources,
        user_agents=tuple(data["user_agents"]),
        drains=drains,
        rates=tuple(length for length in rated if length > SHORT),
        short_rates=frozenset(length for length in rated if length <= SHORT),
        sheets={gateway: Sheet(*sheet) for gateway, sheet in data.get("sheets", {}).items()},
        trips=data.get("trips", {}),
        breakers={gateway: OpenBreaker.decode(text) for gateway, text in data.get("breakers", {}).items()},
    )


@lru_cache(maxsize=KEPT_MAX)
def _routes(raw: bytes) -> tuple[Route, ...]:
    return codec.decode_routes(raw)


@lru_cache(maxsize=1024)
def _subscriber(name: str, raw: bytes) -> Subscriber:
    return Subscriber.decode(name, raw)


@lru_cache(maxsize=4096)
def _address(text: str) -> tuple[int, int, int]:
    address = ipaddress.ip_address(text)
    return address.version, address.max_prefixlen, int(address)


def _networks(source: str, lengths: dict[int, tuple[int, ...]]) -> list[str]:
    version, width, number = _address(source)
    shifts = (width - length for length in lengths.get(version, ()))
    return [_network(version, number >> shift << shift, width - shift) for shift in shifts]


def _network(version: int, number: int, length: int) -> str:
    address = ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)
    return f"{address}/{length}"
