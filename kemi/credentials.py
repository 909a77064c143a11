"""Answers to challenges of servers that ask who calls or registers (RFC 7616, RFC 8760); pure.

Our own, as the other side of :mod:`kemi.digest` is: Kamailio's uac module of Debian 12 knows MD5 alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import new as new_hash

from kemi.digest import parameters
from model.policy import Auth
from model.subscriber import ALGORITHMS

_SESSION = "-SESS"
# By the length of an HA1 in hexadecimal.
_HASHED = {32: "MD5", 64: "SHA-256"}
_HEADERS = {401: ("WWW-Authenticate", "Authorization"), 407: ("Proxy-Authenticate", "Proxy-Authorization")}


class CannotAnswer(Exception):
    """A challenge has no answer of ours; the message says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server asks."""

    realm: str
    nonce: str
    opaque: str
    algorithm: str
    "As it was written; empty: MD5."
    qops: tuple[str, ...]
    "Empty, as RFC 2069 has it: without one."

    @property
    def function(self) -> str:
        """The hash function by its name in :data:`ALGORITHMS`, if it is among them."""
        return (self.algorithm or "MD5").upper().removesuffix(_SESSION)


def header_of(status: int) -> str:
    """The name of the header that challenges by a reply of ``status``."""
    return _HEADERS[status][0]


def challenge_of(header: str) -> Challenge | None:
    """The challenge that a header's value makes; None where it is no digest, or cannot be read."""
    scheme, _, rest = header.strip().partition(" ")
    found = parameters(rest) if scheme.lower() == "digest" else None
    if found is None or "realm" not in found or "nonce" not in found:
        return None
    qops = tuple(word.strip().lower() for word in found.get("qop", "").split(",") if word.strip())
    return Challenge(found["realm"], found["nonce"], found.get("opaque", ""), found.get("algorithm", ""), qops)


def answer(
    headers: Sequence[str], auth: Auth, secret: str, *, status: int, method: str, uri: str, cnonce: str
) -> str:  # fmt: skip
    """The header line that answers the first challenge that can be answered. Raises :exc:`CannotAnswer`.

    RFC 8760 section 2.4: who challenges puts the preferred one first.
    """
    challenges = [found for header in headers if (found := challenge_of(header)) is not None]
    if not challenges:
        raise CannotAnswer("it asks who calls, but not by digest")
    ours = [found for found in challenges if auth.realm in ("", found.realm)]
    if not ours:
        raise CannotAnswer(f"it asks for realm {challenges[0].realm[:64]!r}, and ours is {auth.realm!r}")
    known = _HASHED.get(len(secret), "") if auth.hashed else ""
    for found in ours:
        if found.function in ALGORITHMS and (not auth.hashed or found.function == known) and _qop(found) is not None:
            return f"{_HEADERS[status][1]}: {_response(found, auth, secret, method, uri, cnonce)}\r\n"
    asked = ", ".join(found.algorithm[:16] or "MD5" for found in ours)
    raise CannotAnswer(f"it asks for {asked}, which {'the stored hash is not for' if auth.hashed else 'is not known'}")


def _qop(challenge: Challenge) -> str | None:
    return "" if not challenge.qops else "auth" if "auth" in challenge.qops else None


def _response(challenge: Challenge, auth: Auth, secret: str, method: str, uri: str, cnonce: str) -> str:
    function, qop = ALGORITHMS[challenge.function], _qop(challenge)

    def hashed(text: str) -> str:
        return new_hash(function, text.encode()).hexdigest()

    ha1 = secret.lower() if auth.hashed else hashed(f"{auth.user}:{challenge.realm}:{secret}")
    if challenge.algorithm.upper().endswith(_SESSION):
        ha1 = hashed(f"{ha1}:{challenge.nonce}:{cnonce}")
    middle = f"00000001:{cnonce}:{qop}:" if qop else ""
    response = hashed(f"{ha1}:{challenge.nonce}:{middle}{hashed(f'{method}:{uri}')}")
    parts = {"username": auth.user, "realm": challenge.realm, "nonce": challenge.nonce, "uri": uri}
    told = [f'{name}="{_escaped(value)}"' for name, value in {**parts, "response": response}.items()]
    told += [f"algorithm={challenge.algorithm}"] if challenge.algorithm else []
    told += [f'opaque="{_escaped(challenge.opaque)}"'] if challenge.opaque else []
    if qop:
        told += [f"qop={qop}", "nc=00000001", f'cnonce="{cnonce}"']
    elif challenge.algorithm.upper().endswith(_SESSION):
        told += [f'cnonce="{cnonce}"']
    return "Digest " + ", ".join(told)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
