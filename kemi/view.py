"""What a decision can look up, over any snapshot: the live one of a node, or one made for a hypothetical call."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from model.entries import KEY_MAX_BYTES, Entry, Kind, pair_value
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

# A member of an enumeration is looked up by code in Python (until 3.12), which each call would pay for.
CALLER, CALLEE, PAIR, SOURCE, USER_AGENT = Kind.CALLER, Kind.CALLEE, Kind.PAIR, Kind.SOURCE, Kind.USER_AGENT
CALLER_PREFIX, CALLEE_PREFIX = Kind.CALLER_PREFIX, Kind.CALLEE_PREFIX

NAME_MAX = 64


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


class View:
    """One consistent state of the snapshot; ``get`` reads a record."""

    __slots__ = ("_compiled", "_get", "_index")

    def __init__(self, get: Get) -> None:
        """Raises :class:`NoPolicyError`."""
        policy, index = get(layout.POLICY), get(layout.INDEX)
        if policy is None or index is None:
            raise NoPolicyError
        self._get = get
        self._compiled = _compile(policy, get(names.NAMES))
        self._index = _compile_index(index)

    def at(self, get: Get) -> View:
        """The same state, read by another transaction."""
        view: View = View.__new__(View)
        view._get, view._compiled, view._index = get, self._compiled, self._index
        return view

    @property
    def version(self) -> int:
        """Version of the policy."""
        return self._compiled.version

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self._compiled.policy

    @property
    def presents(self) -> bool:
        """Whether some trunk or gateway has a rule of who is shown as the caller."""
        return self._compiled.presents

    @property
    def asks(self) -> frozenset[str]:
        """The trunks whose Remote-Party-ID is believed."""
        return self._compiled.asks

    @property
    def drains(self) -> dict[str, Drain]:
        """The gateways that operators drained, those whose drain is over included."""
        return self._index.drains

    @property
    def breakers(self) -> dict[str, OpenBreaker]:
        """Breakers of other nodes that this one goes by, those over included; nearly always there is none."""
        return self._index.breakers

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

    @property
    def trips(self) -> dict[str, int]:
        """The guards that refuse somebody's calls, or did until lately, with how many they are."""
        return self._index.trips

    def trip(self, field: str) -> Trip | None:
        """What a guard has of the name under which it counts a call (:meth:`model.fraud.Guard.field`)."""
        key = layout.trip_key(field)
        raw = self._get(key)
        return Trip.decode(raw) if raw is not None else None

    @property
    def gateways(self) -> dict[str, Gateway]:
        """Every gateway by name, and the members of those that have several addresses."""
        return self._compiled.expanded.gateways

    @property
    def expanded(self) -> names.Expanded:
        """The gateways that have names or several addresses."""
        return self._compiled.expanded

    def trunk(self, source: str, callee: str = "") -> Trunk | None:
        """The trunk that the IP address ``source`` belongs to: the longest matching network.

        Before all, calls for a contact that was registered there belong to the trunk that did.
        """
        version, width, number = _address(source)
        registered = self._compiled.registered
        if registered and (known := registered.get((version, number, callee))) is not None:
            return known
        for family, length in self._compiled.trunk_lengths:
            if family == version:
                found = self._compiled.trunks.get((version, length, number >> (width - length)))
                if found is not None:
                    return found
        return None

    def entry(self, kind: Kind, value: str) -> Entry | None:
        """The entry of exactly this value."""
        key = layout.entry_key(kind, value)
        if len(key) > KEY_MAX_BYTES + 20:
            return None  # longer than any entry, and than a key of the snapshot may be
        raw = self._get(key)
        return codec.decode_entry(codec.entry_field(kind, value), raw) if raw is not None else None

    def entries(self, callers: tuple[str, ...], callee: str, source: str, user_agent: str) -> list[Entry]:
        """Every entry that a call may meet, whether or not it is in force.

        In this order: caller, callee, pair, caller's and callee's prefix, source, User-Agent; of prefixes and networks
        the longest first.
        """
        index = self._index
        found = [self.entry(CALLER, caller) for caller in callers]
        found.append(self.entry(CALLEE, callee))
        found += [self.entry(PAIR, pair_value(caller, callee)) for caller in callers]
        for caller in callers if index.callers else ():
            found += [self.entry(CALLER_PREFIX, caller[:length]) for length in index.callers if length <= len(caller)]
        found += [self.entry(CALLEE_PREFIX, callee[:length]) for length in index.callees if length <= len(callee)]
        if index.sources:
            found += [self.entry(SOURCE, network) for network in _networks(source, index.sources)]
        if index.user_agents:
            lowered = user_agent.lower()
            found += [self.entry(USER_AGENT, value) for value in index.user_agents if value in lowered]
        return [entry for entry in found if entry is not None]

    def subscriber(self, name: str) -> Subscriber | None:
        """The subscriber of this name."""
        # Longer than any name, and than a key of the snapshot may be.
        raw = self._get(layout.subscriber_key(name)) if 0 < len(name) <= NAME_MAX else None
        return _subscriber(name, raw) if raw is not None else None

    def routes(self, number: str) -> Iterator[tuple[str, Route]]:
        """The routes whose prefix ``number`` begins with, longest first, each with that prefix.

        Those of one prefix are in the policy's order, and cost one look-up.
        """
        for length in self._index.routes:
            if length <= len(number):
                prefix = number[:length]
                raw = self._get(layout.route_key(prefix))
                if raw is not None and raw.startswith(layout.REFERENCE):
                    raw = self._get(layout.NAMED + raw[1:])
                if raw is not None:
                    for route in _routes(raw):
                        yield prefix, route

    def named(self, name: str) -> Route | None:
        """The route of this name."""
        raw = self._get(layout.NAMED + name.encode()) if 0 < len(name) <= NAME_MAX else None
        return _routes(raw)[0] if raw is not None else None

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


# Bounded, so that a worker's memory does not grow with the number of routes.
@lru_cache(maxsize=4096)
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


@lru_cache(maxsize=4096)
def _network(version: int, number: int, length: int) -> str:
    address = ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)
    return f"{address}/{length}"
