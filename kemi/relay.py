"""Whether the sound of an attempt goes through the media relay, and what the relay is asked for; pure.

Facts of both sides in, an :class:`Anchor` or None out. rtpengine is asked by kamailio.cfg.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import msgspec

from kemi.outcome import Step
from kemi.plan import Attempt, Plan
from model.side import PLAIN, Side

ALWAYS, CALLER_NAT, PHONE_NAT, FAMILIES, CRYPTO = (
    "always", "the caller is behind NAT", "the phone is behind NAT", "IPv4 to IPv6", "SRTP to RTP",
)  # fmt: skip
"Why an attempt is anchored."

WITHOUT_SDP = "-"
"What facts say of the sound of an INVITE that offers none (RFC 3264, late offer)."

# What rtpengine is told of every message. It listens where packets really come from, whatever the SDP says.
_ALWAYS = "replace-origin replace-session-connection ICE=remove"
# Keys in the SDP (RFC 4568), and of the ways to use them those that phones agree on.
_PROFILES = {"p": " RTP/AVP", "s": " RTP/SAVP DTLS=off SDES-no-AEAD_AES_256_GCM SDES-no-AEAD_AES_128_GCM"}
_FAMILIES = {"4": " address-family=IP4", "6": " address-family=IP6"}
_NOTHING = "-"
_CODE = re.compile(r"[ps-][46-][n-][ps-][46-][n-]")

_CONNECTION = re.compile(r"^c=IN IP[46] ([0-9A-Fa-f.:]+)", re.MULTILINE)
_STREAM = re.compile(r"^m=[a-z]+ [0-9]+(?:/[0-9]+)? (\S+)", re.MULTILINE)

# RFC 1918, RFC 6598, link-local and RFC 4193.
_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fc00::/7", "fe80::/10"),
    )
)


class Caller(msgspec.Struct, frozen=True, array_like=True):
    """The side that a call comes from, carried on its transaction as text."""

    source: str
    "IP address."
    media: str
    "As the facts of a call have it."
    side: Side

    @property
    def address(self) -> str:
        """Where it wants its sound; empty where it does not say."""
        return "" if self.media == WITHOUT_SDP else self.media.partition(" ")[0]

    @property
    def secure(self) -> bool:
        """Whether it speaks SRTP: as it offers, and else as the policy says."""
        profile = self.media.partition(" ")[2]
        return "SAVP" in profile if profile else self.side.srtp == "require"

    @property
    def behind_nat(self) -> bool:
        """Whether its sound comes from elsewhere than it says."""
        return self.side.nat == "yes" or (
            self.side.nat == "auto" and self.address not in ("", self.source) and _is_private(self.address)
        )

    def dumps(self) -> str:
        """As text for the transaction."""
        return _encode(self).decode()

    @classmethod
    def loads(cls, text: str) -> Caller:
        """From the text that :meth:`dumps` made."""
        return _decode(text)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Caller).decode


class Anchor(msgspec.Struct, frozen=True):
    """An attempt whose sound goes through the relay."""

    why: str
    code: str
    "What both directions need, as :func:`flags` reads it: to the callee, then to the caller."

    def __str__(self) -> str:
        """For kamailio.cfg: flags to the callee, flags to the caller, code and reason, divided by bars."""
        return "|".join((*flags(self.code), self.code, self.why))


def media_of(sdp: str) -> str:
    """What a session description says of its first stream: ``10.0.0.7 RTP/AVP``; ``-`` where there is none."""
    connection, stream = _CONNECTION.search(sdp), _STREAM.search(sdp)
    return f"{connection[1]} {stream[1]}" if connection and stream else WITHOUT_SDP


def anchor(caller: Caller, plan: Plan, *, phone_nat: bool = False) -> Anchor | None:
    """How the attempt under way is anchored; None: it is not. ``phone_nat``: to a phone that is behind NAT."""
    return _anchor(caller, plan.attempt, always=plan.relay, phone_nat=phone_nat)


def _anchor(caller: Caller, attempt: Attempt, *, always: bool, phone_nat: bool) -> Anchor | None:
    callee = attempt.side or PLAIN
    if "never" in (caller.side.relay, callee.relay):
        return None
    crypto = callee.srtp != "" and (callee.srtp == "require") != caller.secure
    families = _family(caller.address), _family(_host(attempt.uri))
    mixed = "" not in families and families[0] != families[1]
    reasons = {
        ALWAYS: always or "always" in (caller.side.relay, callee.relay),
        CALLER_NAT: caller.behind_nat,
        PHONE_NAT: phone_nat,
        FAMILIES: mixed,
        CRYPTO: crypto,
    }
    why = ", ".join(reason for reason, given in reasons.items() if given)
    if not why:
        return None
    to_callee = _code(callee.srtp == "require" if crypto else None, families[1] if mixed else "", caller.behind_nat)
    to_caller = _code(caller.secure if crypto else None, families[0] if mixed else "", phone_nat)
    return Anchor(why, to_callee + to_caller)


def _code(secure: bool | None, family: str, sender_nat: bool) -> str:
    profile = _NOTHING if secure is None else "s" if secure else "p"
    return profile + (family or _NOTHING) + ("n" if sender_nat else _NOTHING)


def flags(code: str) -> tuple[str, str]:
    """What rtpengine is told of session descriptions that go to the callee, and of those that go to the caller.

    ``code`` comes back in the Route of later requests: whatever is no code asks for nothing.
    """
    if not _CODE.fullmatch(code):
        code = _NOTHING * 6
    return _flags(code[:3]), _flags(code[3:])


def _flags(half: str) -> str:
    # Where packets of a side behind NAT will come from is not known before the first; till then its own address is
    # nobody's, and that of its signalling may be right.
    sender = " SIP-source-address" if half[2] == "n" else ""
    return _ALWAYS + _PROFILES.get(half[0], "") + _FAMILIES.get(half[1], "") + sender


def anchored(caller: Caller, plan: Plan) -> list[Step]:
    """What there is to say of a plan's attempts: which are anchored, and why."""
    found: dict[str, Step] = {}
    for attempt in plan.attempts:
        made = _anchor(caller, attempt, always=plan.relay, phone_nat=False)
        if made is not None:
            found[attempt.gateway] = ("media relay", attempt.gateway, made.why)
        elif attempt.subscriber and _anchor(caller, attempt, always=plan.relay, phone_nat=True):
            found[attempt.gateway] = ("media relay", attempt.gateway, "for phones that are behind NAT")
    return list(found.values())


@lru_cache(maxsize=4096)
def _is_private(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in _PRIVATE)


def _family(address: str) -> str:
    return "" if not address else "6" if ":" in address else "4" if address.replace(".", "").isdigit() else ""


def _host(uri: str) -> str:
    host = uri.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0].partition(";")[0]
