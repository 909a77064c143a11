"""The servers of a host name, as RFC 3263 section 4.2 has them found: SRV, then A and AAAA. No NAPTR: whoever writes a
name in a policy writes the transport beside it.

What goes wrong is a :exc:`LookupFailed`::

    LookupFailed
    ├── NoSuchName      an answer: the name is not there, or has no address of a family that this node speaks
    └── Away            no answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from model.policy import ANY, SIP_PORT
from model.settings import Address
from state.names import Found, Question

# Seconds for one look-up, all servers and tries together.
LIFETIME = 3.0


class LookupFailed(Exception):
    """There are no addresses to be had; the message says why, and names no name."""


class NoSuchName(LookupFailed):
    """That is the answer."""


class Away(LookupFailed):
    """Nobody answered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was answered."""

    found: tuple[Found, ...]
    "By priority, then in an order that does not change from one answer to the next."
    ttl: float
    "Seconds for which all of it is good."


class Lookup:
    """Asks the DNS."""

    def __init__(self, servers: Sequence[Address], addresses: Sequence[str]) -> None:
        """``servers`` are asked, those of /etc/resolv.conf where there are none; ``addresses`` are this node's."""
        self._servers = tuple(servers)
        families = {ip_address(address).version for address in addresses}
        self._types = tuple(kind for family, kind in ((4, "A"), (6, "AAAA")) if family in families)
        self._resolver: dns.resolver.Resolver | None = None

    def ask(self, question: Question) -> Outcome:
        """The servers of a name. Raises :exc:`LookupFailed`."""
        try:
            return self._ask(question)
        except dns.exception.DNSException as error:
            raise Away(f"DNS does not answer ({type(error).__name__})") from error
        except OSError as error:
            raise Away(f"DNS does not answer ({error.strerror or error})") from error

    def _ask(self, question: Question) -> Outcome:
        any_transport = question.transport == ANY
        transports = ("udp", "tcp") if any_transport else (question.transport,)
        found: set[Found] = set()
        ttls: list[float] = []
        for transport in () if question.port else transports:
            self._servers_of(f"_sip._{transport}.{question.host}", found, ttls)
        if any_transport or not ttls:
            # Of a trunk's name, whatever belongs to it.
            self._addresses(question.host, Found("", question.port or SIP_PORT), found, ttls)
        if not found:
            raise NoSuchName("no such name" if not ttls else "has no address that this node could use")
        return Outcome(tuple(sorted(found, key=_order)), min(ttls))

    def _servers_of(self, service: str, found: set[Found], ttls: list[float]) -> None:
        answer = self._resolve(service, "SRV")
        if answer is None:
            return
        ttls.append(_ttl(answer))
        for record in answer:
            # RFC 2782: a target of "." says that the service is not there.
            if record.target != dns.name.root:
                server = Found("", record.port, record.priority, record.weight)
                self._addresses(record.target.to_text(), server, found, ttls)

    def _addresses(self, host: str, server: Found, found: set[Found], ttls: list[float]) -> None:
        for kind in self._types:
            answer = self._resolve(host, kind)
            if answer is not None:
                ttls.append(_ttl(answer))
                found.update(server._replace(address=_host(record.address)) for record in answer)

    def _resolve(self, name: str, kind: str) -> dns.resolver.Answer | None:
        if self._resolver is None:
            self._resolver = _resolver(self._servers)
        try:
            return self._resolver.resolve(f"{name.removesuffix('.')}.", kind, lifetime=LIFETIME, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return None


def _resolver(servers: Sequence[Address]) -> dns.resolver.Resolver:
    if not servers:
        return dns.resolver.Resolver()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver(server.host, server.port) for server in servers]
    return resolver


def _ttl(answer: dns.resolver.Answer) -> float:
    return float(answer.chaining_result.minimum_ttl)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _order(one: Found) -> tuple[int, bool, str, int]:
    # IPv4 first, as most carriers are on it.
    return one.priority, ":" in one.address, one.address, one.port
