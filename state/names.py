"""Host names of a policy, and the addresses that this node knows of them; pure.

No SIP worker resolves a name. The node agent does (:mod:`agent.resolving`), and writes what it knows into the snapshot.
A gateway with several addresses has a member for each: a gateway of its own, ``carrier-a/198.51.100.7``, that fails,
recovers and is probed by itself, while limits, drains and rate sheets are those of the whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import NamedTuple

from model.policy import ANY, SIP_PORT, Gateway, Place, Policy, Registration, Trunk

NAMES = b"dns"
"Key of the snapshot's record; no other's beginning (:mod:`state.layout`)."

# Nobody waits for more than this many addresses of one gateway.
ADDRESSES_MAX = 10


class Question(NamedTuple):
    """What the DNS is asked: for the servers of a name (RFC 3263)."""

    host: str
    port: int
    "0: SRV says it, or else it is 5060."
    transport: str
    "``udp`` or ``tcp``; :data:`model.policy.ANY` asks for both, and for the name's own addresses beside them."

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.transport}"


class Found(NamedTuple):
    """One server of a name."""

    address: str
    "IP address, IPv6 in brackets."
    port: int
    priority: int = 0
    weight: int = 1


class Answer(NamedTuple):
    """What is known of a question."""

    found: tuple[Found, ...] = ()
    "In the order of their priorities."
    since: float = 0.0
    "Unix time since which that is the answer."
    trouble: str = ""
    "Why it may be out of date, or is empty: ``DNS does not answer``, ``no such name``."
    trouble_since: float = 0.0
    "Unix time."


Answers = Mapping[str, Answer]
"By question, as text."


def encode(answers: Answers) -> bytes:
    """As the snapshot has them."""
    return json.dumps(answers, sort_keys=True, separators=(",", ":")).encode()


def decode(raw: bytes | None) -> dict[str, Answer]:
    """From what :func:`encode` made; nothing is known where there is no record."""
    known = json.loads(raw) if raw else {}
    return {
        key: Answer(tuple(Found(*one) for one in found), since, trouble, trouble_since)
        for key, (found, since, trouble, trouble_since) in known.items()
    }


def is_name(host: str) -> bool:
    """Whether a host is a name, and no IP address."""
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return True
    return False


def questions(policy: Policy) -> dict[str, Question]:
    """Every name of a policy that has to be resolved, by its text."""
    asked = [Question(*place, gateway.transport) for gateway in policy.gateways.values() for place in gateway.places]
    for trunk in policy.trunks:
        asked += [Question(name, 0, ANY) for name in trunk.names]
        if (told := trunk.registration) is not None:
            asked += [Question(*told.registrar, told.transport), Question(told.registrar.host, 0, ANY)]
    return {str(question): question for question in asked if is_name(question.host)}


class Group(NamedTuple):
    """Members of a gateway that are as good as one another."""

    names: tuple[str, ...]
    weights: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expanded:
    """The gateways of a policy with their members."""

    gateways: dict[str, Gateway]
    "By name, the members besides."
    groups: dict[str, tuple[Group, ...]] = field(default_factory=dict)
    "Of each gateway that has names or several addresses, its members in the order in which they are tried."
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    "Of each of these gateways, what is to be said of its names; and of each member, whence it is known."

    def members(self, name: str) -> tuple[Gateway, ...]:
        """The gateway itself where it has one address, else its members."""
        if name not in self.groups:
            return (self.gateways[name],)
        return tuple(self.gateways[member] for group in self.groups[name] for member in group.names)


def expanded(policy: Policy, answers: Answers) -> Expanded:
    """Every gateway with its members."""
    several = [gateway for gateway in policy.gateways.values() if gateway.places]
    if not several:
        return Expanded(policy.gateways)
    result = Expanded(dict(policy.gateways))
    for gateway in several:
        _expand(gateway, answers, result)
    return result


def _expand(gateway: Gateway, answers: Answers, result: Expanded) -> None:
    groups: list[Group] = []
    seen: set[str] = set()
    troubles: list[str] = []
    for place in gateway.places:
        found, note, trouble = _known(place, gateway.transport, answers)
        troubles += [trouble] if trouble else []
        for servers in _by_priority(found):
            fresh = [one for one in servers if len(seen) < ADDRESSES_MAX and not _is_in(seen, one)]
            names = tuple(member_name(gateway.name, one) for one in fresh)
            for name, one in zip(names, fresh, strict=True):
                whole = replace(gateway, name=name, address=one.address, port=one.port, places=())
                result.gateways[name], result.notes[name] = whole, (note,) if note else ()
            if names:
                weights = tuple(one.weight for one in fresh)
                # RFC 2782 has weight 0 for who does not share load; among themselves these are as good as any.
                groups.append(Group(names, weights if any(weights) else (1,) * len(names)))
    result.groups[gateway.name] = tuple(groups)
    result.notes[gateway.name] = tuple(troubles)


def _is_in(seen: set[str], one: Found) -> bool:
    key = f"{one.address}:{one.port}"
    if key in seen:
        return True
    seen.add(key)
    return False


def servers(place: Place, transport: str, answers: Answers) -> tuple[tuple[Found, ...], str]:
    """Where a server is, as far as that is known, and what is wrong with it; an empty text: nothing is."""
    found, _, trouble = _known(place, transport, answers)
    return found, trouble


def _known(place: Place, transport: str, answers: Answers) -> tuple[tuple[Found, ...], str, str]:
    if not is_name(place.host):
        return (Found(place.host, place.port or SIP_PORT),), "", ""
    answer = answers.get(str(Question(*place, transport)), Answer(trouble="is not resolved yet"))
    note = f"{place.host}, known since {moment(answer.since)}" if answer.since else place.host
    since = f" since {moment(answer.trouble_since)}" if answer.trouble_since else ""
    return answer.found, note, f"{place.host}: {answer.trouble}{since}" if answer.trouble else ""


def _by_priority(found: Iterable[Found]) -> Iterator[list[Found]]:
    groups: dict[int, list[Found]] = {}
    for one in found:
        groups.setdefault(one.priority, []).append(one)
    for priority in sorted(groups):
        yield groups[priority]


def member_name(gateway: str, one: Found) -> str:
    """What the member of a gateway is called that has this address."""
    return f"{gateway}/{one.address}" + ("" if one.port == SIP_PORT else f":{one.port}")


def sources(policy: Policy, answers: Answers) -> Iterator[tuple[Trunk, str]]:
    """Trunks, each with an IP address that a name of its sources has."""
    for trunk in policy.trunks:
        for name in trunk.names:
            for address in _addresses(name, answers):
                yield trunk, address


def registrars(policy: Policy, answers: Answers) -> Iterator[tuple[Trunk, Registration, str]]:
    """Trunks with a registration, each with an IP address that its registrar has."""
    for trunk in policy.trunks:
        if trunk.registration is not None:
            for address in _addresses(trunk.registration.registrar.host, answers):
                yield trunk, trunk.registration, address


def _addresses(host: str, answers: Answers) -> list[str]:
    if not is_name(host):
        return [host.strip("[]")]
    answer = answers.get(str(Question(host, 0, ANY)), Answer())
    return [found.address.strip("[]") for found in answer.found]


def moment(at: float) -> str:
    """A time as steps have it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
