"""How the snapshot is laid out: pure functions from policy, routes and entries to keys and values.

A snapshot is a sorted map of bytes. Four single records, then one record for each route prefix and entry:

====================  =====================================================================
``meta``              layout, generation and seq of the Redis state that it copies (JSON)
``policy``            version and policy without routes (JSON)
``index``             lengths in use for each table of prefixes, the User-Agent entries, the drained gateways, the
                      gateways with a rate sheet, other nodes' breakers, the windows of routes that go by quality (JSON)
``r`` + prefix        the routes with that prefix, in the policy's order (JSON), or, where the prefix was imported,
                      ``@`` and the name of a route
``n`` + name          a route (JSON), for imported prefixes
``e`` + kind:value    an entry (JSON)
``%`` + prefix        the rates of all gateways for that prefix (packed, see :mod:`state.rates`)
``subscriber:`` name  a subscriber (JSON)
``fraud:`` name       a guard that refuses somebody's calls (JSON)
``quality``           figures of gateways for the windows of routes (JSON, see :mod:`state.figures`); it may be missing
``dns``               the addresses of the policy's host names, as this node knows them (JSON, see :mod:`state.names`)
====================  =====================================================================

A longest-prefix search asks only for the lengths in use, longest first, so it costs as many look-ups as there are
different lengths, however many prefixes there are.
"""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain
from typing import Any

from model.entries import Entry, Kind
from model.policy import Policy, Route
from state import codec, rates
from state.rates import RATES, Sheet

VERSION = 2
"Of this layout. The agent makes a snapshot of another one anew."
META = b"meta"
POLICY = b"policy"
INDEX = b"index"
ROUTE = b"r"
"How the keys of routes begin."
ENTRY = b"e"
"How the keys of entries begin."
QUALITY = b"quality"
SUBSCRIBER = b"subscriber:"
"How the keys of subscribers begin."
TRIP = b"fraud:"
"How the keys of guards begin that refuse somebody's calls."
NAMED = b"n"
"How the keys begin under which routes stand by name."
REFERENCE = b"@"
"How the record of an imported prefix begins; the name of its route follows."
IMPORTED = "imported"
"Name of the imported prefixes' table in the index; a search looks for both kinds at once."
RATED = "rated"
"Name of the rates' table in the index."
ROUTES = "routes"
"Name of the routes' table in the index; the other tables are named after their kinds of entry."


@dataclass(frozen=True, slots=True)
class Meta:
    """Which Redis state a snapshot copies."""

    layout: int
    ":data:`VERSION`."
    generation: str
    seq: int
    version: int
    "Of the policy; 0 means that there is none."

    def encode(self) -> bytes:
        """As stored."""
        return json.dumps([self.layout, self.generation, self.seq, self.version]).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Meta:
        """From what :meth:`encode` made."""
        return cls(*json.loads(raw))


def policy_record(policy: Policy, version: int) -> bytes:
    """The value of ``policy``."""
    return f"{version}\n{codec.encode_policy(policy)}".encode()


def decode_policy_record(raw: bytes) -> tuple[int, Policy]:
    """Version and policy."""
    version, _, text = raw.partition(b"\n")
    return int(version), codec.decode_policy(text)


def route_key(prefix: str) -> bytes:
    """The key of the routes for ``prefix``."""
    return ROUTE + prefix.encode()


def entry_key(kind: Kind, value: str) -> bytes:
    """The key of an entry."""
    return f"e{kind}:{value}".encode()


def subscriber_key(name: str) -> bytes:
    """The key of a subscriber."""
    return SUBSCRIBER + name.encode()


def trip_key(field: str) -> bytes:
    """The key of a guard that refuses somebody's calls, by the name of what it counts."""
    return TRIP + field.encode()


def network_table(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """The table of prefix lengths that a source network belongs to; the two families are kept apart."""
    return f"source{network.version}"


@dataclass(slots=True)
class Index:
    """What a search must know beforehand; it changes with the entries, and its record is rewritten then."""

    lengths: dict[str, Counter[int]] = field(default_factory=dict)
    "Table to length to number of records of that length."
    user_agents: set[str] = field(default_factory=set)
    drains: dict[str, str] = field(default_factory=dict)
    "Gateway to its drain as JSON text; here, as each call reads the index anyway."
    sheets: dict[str, Sheet] = field(default_factory=dict)
    "By gateway."
    trips: Counter[str] = field(default_factory=Counter)
    "Guard to how many it refuses calls of."
    breakers: dict[str, str] = field(default_factory=dict)
    "Gateway to another node's breaker that this node goes by, as JSON text."
    windows: list[float] = field(default_factory=list)
    "Seconds: those of routes that go by quality."
    rated: str = ""
    "Another one whenever rates have changed, for who keeps what it made of them."

    def add(self, kind: Kind, value: str) -> None:
        """Count an entry in that was not there before."""
        if kind is Kind.USER_AGENT:
            self.user_agents.add(value)
        elif (where := _place(kind, value)) is not None:
            self.lengths.setdefault(where[0], Counter())[where[1]] += 1

    def remove(self, kind: Kind, value: str) -> None:
        """Count an entry out that was there."""
        if kind is Kind.USER_AGENT:
            self.user_agents.discard(value)
        elif (where := _place(kind, value)) is not None:
            table = self.lengths[where[0]]
            table[where[1]] -= 1
            if not table[where[1]]:
                del table[where[1]]
            if not table:
                del self.lengths[where[0]]

    def set_routes(self, prefixes: Iterable[str]) -> None:
        """Count the routes' records anew; a prefix of several routes has one record."""
        self.lengths[ROUTES] = Counter(len(prefix) for prefix in set(prefixes))

    def count_imported(self, prefix: str, by: int = 1) -> None:
        """Count an imported prefix in or out."""
        self._count(IMPORTED, len(prefix), by)

    def count_rated(self, key: bytes, by: int = 1) -> None:
        """Count the record of rates under ``key`` in or out."""
        self._count(RATED, len(key) - len(RATES), by)

    def count_trip(self, field: str, by: int = 1) -> None:
        """Count in or out that a guard refuses somebody's calls."""
        guard = field.partition("/")[0]
        self.trips[guard] += by
        if not self.trips[guard]:
            del self.trips[guard]

    def _count(self, name: str, length: int, by: int) -> None:
        table = self.lengths.setdefault(name, Counter())
        table[length] += by
        if not table[length]:
            del table[length]
        if not table:
            del self.lengths[name]

    def encode(self) -> bytes:
        """As stored."""
        lengths = {table: {str(length): n for length, n in count.items()} for table, count in self.lengths.items()}
        data: dict[str, Any] = {"lengths": lengths, "user_agents": sorted(self.user_agents), "drains": self.drains}
        if self.sheets:
            data["sheets"] = self.sheets
        if self.trips:
            data["trips"] = self.trips
        if self.breakers:
            data["breakers"] = self.breakers
        if self.windows:
            data["windows"] = self.windows
        if self.rated:
            data["rated"] = self.rated
        return json.dumps(data).encode()

    @classmethod
    def decode(cls, raw: bytes) -> Index:
        """From what :meth:`encode` made."""
        data = json.loads(raw)
        lengths = {
            table: Counter({int(length): n for length, n in count.items()}) for table, count in data["lengths"].items()
        }
        sheets = {gateway: Sheet(*sheet) for gateway, sheet in data.get("sheets", {}).items()}
        parts = Counter(data.get("trips", {})), data.get("breakers", {}), data.get("windows", [])
        rated = data.get("rated", "")
        return cls(lengths, set(data["user_agents"]), data.get("drains", {}), sheets, *parts, rated)


def _place(kind: Kind, value: str) -> tuple[str, int] | None:
    if kind in (Kind.CALLER_PREFIX, Kind.CALLEE_PREFIX):
        return kind.value, len(value)
    if kind is Kind.SOURCE:
        network = ipaddress.ip_network(value)
        return network_table(network), network.prefixlen
    return None


def build(
    policy: Policy,
    routes: Iterable[Route],
    entries: Iterable[Entry],
    version: int = 1,
    imported: Mapping[str, str] | None = None,
    sheets: rates.Sheets | None = None,
) -> dict[bytes, bytes]:
    """A whole snapshot in memory, as an explanation of a policy that is in force nowhere needs it.

    ``imported`` are prefixes, each with the name of its route.
    """
    index, routes = Index(), tuple(routes)
    records = {POLICY: policy_record(policy, version), **route_records(routes), **named_records(routes)}
    for prefix, name in (imported or {}).items():
        index.count_imported(prefix)
        records[route_key(prefix)] = reference(name)
    index.set_routes(prefix for route in routes for prefix in route.prefixes)
    for entry in entries:
        index.add(entry.kind, entry.value)
        records[entry_key(entry.kind, entry.value)] = codec.encode_entry(entry).encode()
    index.sheets, rated = rates.records(sheets or {})
    for key in rated:
        index.count_rated(key)
    if rated:
        index.rated = sha256(b"".join(chain.from_iterable(sorted(rated.items())))).hexdigest()
    records |= rated
    records[INDEX] = index.encode()
    return records


def route_records(routes: Iterable[Route]) -> dict[bytes, bytes]:
    """The records of all routes, which are given in the policy's order."""
    by_prefix: dict[str, list[str]] = {}
    for route in routes:
        text = codec.encode_route(route)
        for prefix in route.prefixes:
            by_prefix.setdefault(prefix, []).append(text)
    return {route_key(prefix): codec.join_routes(texts).encode() for prefix, texts in by_prefix.items()}


def named_records(routes: Iterable[Route]) -> dict[bytes, bytes]:
    """The records of all routes by name."""
    return {NAMED + route.name.encode(): codec.encode_route(route).encode() for route in routes}


def reference(name: str) -> bytes:
    """The record of an imported prefix whose route has this name."""
    return REFERENCE + name.encode()
