"""Digest authentication (RFC 7616, RFC 8760) of requests; pure.

Our own, since Kamailio's auth module speaks one hash function at a time, and phones with MD5 alone are to be served
beside those with SHA-256.

A nonce proves itself: time, chance, and a MAC over both and the address that it was given to. So a challenge leaves
nothing behind, and an answer with a nonce of ours proves that whoever sent it receives what is sent to its address.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2s
from hashlib import new as new_hash
from hmac import compare_digest

from model.subscriber import ALGORITHMS

# Seconds for which a nonce is good; each number of its count is good once within them.
NONCE_LIFE = 300
# What stands for the number of a request that has none: with it, the nonce is used up. The highest that Kamailio's
# tables hold; what a client counts does not come that far while a nonce is good.
ONCE = 0x7FFFFFFF

_PARAMETER = re.compile(r'\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]*))\s*(?:,|$)')
_SCHEME = re.compile(r"\s*Digest\s+", re.IGNORECASE)
_MAX_LENGTH = 4096


class Verdict(Enum):
    """What an answer to a challenge is worth."""

    RIGHT = auto()
    STALE = auto()
    "The password is right, but the nonce is too old, used, or not ours: ask again."
    WRONG = auto()
    "The nonce is good and the password is not: somebody guesses, or a phone is set up wrongly."
    NONE = auto()
    "No answer to a challenge of ours."


@dataclass(frozen=True, slots=True)
class Answer:
    """An Authorization or Proxy-Authorization header."""

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str
    qop: str
    cnonce: str
    nc: str

    @property
    def count(self) -> int:
        """The number of the request under this nonce; -1 where it is none."""
        if not self.qop:
            return ONCE
        number = int(self.nc, 16) if re.fullmatch("[0-9A-Fa-f]{8}", self.nc) else -1
        return number if number < ONCE else -1


def answers(headers: list[str], realm: str) -> Iterator[Answer]:
    """What is answered for ``realm``, in the order of the headers; one that cannot be read is left out."""
    for header in headers:
        scheme = _SCHEME.match(header)
        if scheme is None or len(header) > _MAX_LENGTH:
            continue
        found = parameters(header[scheme.end() :])
        if found is None or found.get("realm") != realm:
            continue
        yield Answer(
            username=found.get("username", ""), realm=realm, nonce=found.get("nonce", ""), uri=found.get("uri", ""),
            response=found.get("response", "").lower(), algorithm=found.get("algorithm", "MD5").upper(),
            qop=found.get("qop", "").lower(), cnonce=found.get("cnonce", ""), nc=found.get("nc", ""),
        )  # fmt: skip


def parameters(text: str) -> dict[str, str] | None:
    """The parameters of a digest header, their names in small letters; None where they cannot be read."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PARAMETER.match(text, position)
        if match is None or match[1].lower() in found:
            return None
        found[match[1].lower()] = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
        position = match.end()
    return found


def challenge(realm: str, nonce: str, algorithms: tuple[str, ...], *, stale: bool) -> list[str]:
    """Values of WWW-Authenticate or Proxy-Authenticate, the preferred one first (RFC 8760 section 2.4)."""
    more = ", stale=true" if stale else ""
    return [
        f'Digest realm="{realm}", nonce="{nonce}", qop="auth", algorithm={algorithm}{more}' for algorithm in algorithms
    ]


def new_nonce(key: bytes, source: str, now: float) -> str:
    """A nonce for whoever is at ``source``."""
    body = f"{int(now):x}.{secrets.token_hex(8)}"
    return f"{body}.{_mac(key, body, source)}"


def is_fresh(nonce: str, key: bytes, source: str, now: float) -> bool:
    """Whether a nonce is ours, for this address, and not too old."""
    body, _, mac = nonce.rpartition(".")
    if not nonce.isascii() or not compare_digest(mac, _mac(key, body, source)):
        return False
    return -1 <= now - int(body.partition(".")[0], 16) <= NONCE_LIFE


def is_right(answer: Answer, method: str, ha1: Mapping[str, str]) -> bool:
    """Whether an answer was made with the password behind ``ha1``, whatever its nonce is worth."""
    known, function = ha1.get(answer.algorithm), ALGORITHMS.get(answer.algorithm)
    if known is None or function is None or answer.qop not in ("", "auth"):
        return False
    ha2 = new_hash(function, f"{method}:{answer.uri}".encode()).hexdigest()
    middle = f"{answer.nc}:{answer.cnonce}:{answer.qop}:" if answer.qop else ""
    wanted = new_hash(function, f"{known}:{answer.nonce}:{middle}{ha2}".encode()).hexdigest()
    return answer.response.isascii() and compare_digest(wanted, answer.response)


def verdict(
    answer: Answer, *, method: str, ha1: Mapping[str, str], key: bytes, source: str, now: float
) -> Verdict:  # fmt: skip
    """What an answer is worth, but for its count, which whoever remembers counts has to look at."""
    fresh = is_fresh(answer.nonce, key, source, now)
    if is_right(answer, method, ha1):
        return Verdict.RIGHT if fresh and answer.count > 0 else Verdict.STALE
    return Verdict.WRONG if fresh else Verdict.NONE


def _mac(key: bytes, body: str, source: str) -> str:
    return blake2s(f"{body} {source}".encode(), key=key[: blake2s.MAX_KEY_SIZE], digest_size=12).hexdigest()
