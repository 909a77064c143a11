"""How the SIP tier hands a call to the media tier: headers of the INVITE, and a token that proves them.

A source address proves nothing, since addresses are forged and media nodes are shared. The token is a MAC over every
header, with an end. Only Kamailio sets these headers; those from outside are removed.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2s
from urllib.parse import quote, unquote

# FreeSWITCH makes channel variables (``sip_h_X-…``) only of headers that begin with X-.
PREFIX = "X-Strowger-"
TOKEN = PREFIX + "Token"
HOPS_MAX = 5
"Times that a call may be handed to media before it counts as a loop."
VALID = 30.0
"Seconds for which a token is good: a hand-over is an INVITE away, retransmissions included."
DIRECT = "direct"
"The reason of a call whose route is the app itself."
_MAC_SIZE = 16
# What may stand in a header's value as it is; the rest travels percent-encoded.
_SAFE = "+*#@:;,=/!$'() "


class HandoverError(ValueError):
    """A call came without proof that the SIP tier sent it; the message names what is wrong, and no value."""


class HandoverForged(HandoverError):
    """The token was not made with this key for these headers."""


class HandoverLoop(HandoverError):
    """The proof is good, but the call was handed over too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A call on its way to a call script."""

    call: str
    "The call's id in the SIP tier: that of its record."
    app: str
    "Name of the call script."
    args: str = ""
    "Handed to it as written in the policy."
    caller: str = ""
    "Who calls, normalised."
    callee: str = ""
    "Who was called, normalised, before any rewriting for a gateway."
    diverted: str = ""
    "Whom the caller wanted before anybody diverted the call, normalised, as a trusted trunk says; empty: nobody did."
    reason: str = ""
    "Why the call comes to media: :data:`DIRECT`, ``unconditional``, or a value of :class:`model.causes.Reason`."
    subscriber: str = ""
    "The subscriber who has proved to be the caller; empty: the call is none's."
    hops: int = 1
    "How often this call has been handed to media, this time included."
    expires: int = 0
    "Unix time, in seconds, after which the token is worth nothing."

    def fresh(self, now: float) -> Handover:
        """The same, good from Unix time ``now`` on: for an attempt that begins then, and for the way back.

        A call script that sends the call back leaves the hops as they came. Who hands over counts them.
        """
        return replace(self, expires=int(now + VALID))

    def headers(self, secret: bytes) -> tuple[tuple[str, str], ...]:
        """Names and values for the INVITE, the token last."""
        fields = tuple((PREFIX + name, encoded(value)) for name, value in self._fields())
        return (*fields, (TOKEN, _mac(secret, fields)))

    def _fields(self) -> tuple[tuple[str, str], ...]:
        return (
            ("Call", self.call),
            ("App", self.app),
            ("Args", self.args),
            ("Caller", self.caller),
            ("Callee", self.callee),
            ("Diverted", self.diverted),
            ("Reason", self.reason),
            ("Subscriber", self.subscriber),
            ("Hops", str(self.hops)),
            ("Expires", str(self.expires)),
        )

    @classmethod
    def parse(cls, headers: Mapping[str, str], secret: bytes, now: float) -> Handover:
        """The hand-over that ``headers`` (full names, ``X-Strowger-…``) prove at Unix time ``now``.

        Raises :class:`HandoverError` where the token is missing or too old, and of that :class:`HandoverForged` where
        it is wrong, :class:`HandoverLoop` where the call goes in circles.
        """
        if TOKEN not in headers:
            raise HandoverError("no token: the call does not come from the SIP tier")
        fields = tuple((name, headers.get(name, "").strip()) for name in HEADERS if name != TOKEN)
        if not hmac.compare_digest(headers[TOKEN].strip().encode(), _mac(secret, fields).encode()):
            raise HandoverForged("the token does not fit the headers: forged, or made with another key")
        *texts, hops, expires = (unquote(value) for _, value in fields)
        call, app, args, caller, callee, diverted, reason, subscriber = texts
        found = cls(
            call=call, app=app, args=args, caller=caller, callee=callee, diverted=diverted, reason=reason,
            subscriber=subscriber, hops=int(hops), expires=int(expires),
        )  # fmt: skip
        if now > found.expires:
            raise HandoverError("the token has expired: the call came late, or the clocks differ")
        if found.hops > HOPS_MAX:
            raise HandoverLoop(f"handed to media more than {HOPS_MAX} times")
        return found


HEADERS = (*(PREFIX + name for name, _ in Handover(call="", app="")._fields()), TOKEN)
"Their names, in the order in which they are sent."


def encoded(value: str) -> str:
    """``value`` as it stands in its header."""
    return quote(value, safe=_SAFE)


def _mac(secret: bytes, fields: tuple[tuple[str, str], ...]) -> str:
    text = "\n".join(f"{name}:{value.strip()}" for name, value in fields)
    # Another key than the route tokens', should somebody give both the same file.
    return blake2s(text.encode(), key=secret[:32], digest_size=_MAC_SIZE, person=b"handover").hexdigest()
