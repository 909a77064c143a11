"""The plan of a call: every attempt resolved when the call arrives, carried on its transaction as text.

A failure is handled in whatever process sees it, maybe after a reload or a change of policy. So the plan needs
nothing but itself: no gateway or route is looked up again.
"""

from __future__ import annotations

import msgspec

from model.handover import DIRECT
from model.identity import Diverted, Presentation
from model.policy import DEFAULT_BREAKER, Auth, Breaker, Refusal, RetryRule
from model.side import Side
from model.subscriber import Forwards

Rated = tuple[str, str, tuple[tuple[int, ...], ...]]
"""A gateway, its currency, and its rates, each with the Unix time from which it counts: time, then price, fee, initial
and increment as :class:`model.rates.Rate` has them; of a time without a rate nothing more."""


# Each call looks up by its limits what is kept of them, and those of gateways are the same objects for all calls.
class Limit(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """How many calls something may have; see :class:`model.limits.Limits`."""

    name: str
    "``trunk:office``, ``route:national``, ``gateway:carrier-a``."
    calls: int
    "0: as many as come."
    per_second: int
    "0: as many as come."
    when_away: str


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One try at one gateway."""

    gateway: str
    uri: str
    "Request-URI, rewritten; its host is an IP address, so nothing is resolved on the way."
    retry: RetryRule
    "The gateway's rule."
    no_reply: float
    "Seconds."
    progress: float
    "Seconds."
    # No Literal here: typing keeps every Union that has one, and with it all modules of a version that was replaced.
    own_breaker: Breaker | bool = True
    "The gateway's; True: the default, False: it has none."
    subscriber: str = ""
    "Set: no gateway is called but the phones of this subscriber, all at once; where they are is looked up then."
    limits: tuple[Limit, ...] = ()
    "Of the gateway."
    identity: Presentation | None = None
    "How it is told who calls; None: as it came."
    side: Side | None = None
    "Set: what is to be known of the gateway's sound, or of the phones'."
    auth: Auth | None = None
    "What the gateway is told when it asks who calls; the name of a secret, and not what is in it."

    @property
    def breaker(self) -> Breaker | None:
        """The gateway's breaker; None where it has none."""
        if isinstance(self.own_breaker, bool):
            return DEFAULT_BREAKER if self.own_breaker else None
        return self.own_breaker


class Media(msgspec.Struct, frozen=True, array_like=True):
    """What the media nodes of a plan are told, but for what each attempt tells anew."""

    app: str
    args: str
    caller: str
    "Normalised, as is the callee."
    callee: str
    hops: int
    "This time included."
    diverted: str = ""
    "Whom a diverted call was for at first, normalised."
    reason: str = DIRECT
    "As :class:`model.handover.Handover` has it."


class Voicemail(msgspec.Struct, frozen=True, array_like=True):
    """Where the call goes if its plan ends without an answer, and what it takes to hand it over then."""

    app: str
    args: str
    when: tuple[str, ...]
    "For which reasons."
    caller: str
    "Normalised, as is the callee."
    callee: str
    hops: int
    "How often the call was handed to media before."


class Forwarding(msgspec.Struct, frozen=True, array_like=True):
    """Where the called subscriber wants calls to go that they do not take, and what it takes to decide them anew."""

    subscriber: str
    numbers: Forwards
    caller: str
    "Normalised."
    asserted: str
    hops: int
    "How often the call was handed to media before."
    count: int
    "How often it was forwarded before."


class Identity(msgspec.Struct, frozen=True, array_like=True):
    """Who calls, as far as attempts have a rule of how they are told so."""

    target: str
    "Whom the call goes to now, normalised as the following."
    number: str = ""
    "What From shows; empty: nobody, or as it came."
    network: str = ""
    "What P-Asserted-Identity and its like say; empty: nothing."
    replaced: bool = False
    "Whether the number is not the one that came."
    withheld: bool = False
    privacy: str = ""
    "The Privacy header as it came."
    trusted: bool = False
    "Whether what the call says of earlier diversions is passed on."
    unasserted: bool = False
    "Whether the P-Asserted-Identity that came is nobody's to pass on (RFC 3325 section 5)."
    by_setting: bool = False
    "Whether it is the subscriber's setting that the number is withheld."
    users: tuple[str, ...] = ()
    "Spellings of the caller's numbers, where they are withheld."
    impossible: str = ""
    "Why they cannot be; empty: they can."
    diverted: tuple[Diverted, ...] = ()
    "By whom here, the first comes first."


class Plan(msgspec.Struct, frozen=True, array_like=True):
    """The attempts of a call and how far they have come.

    As text it is an array: a field that is added stands last and has a default, so that a plan made before an upgrade
    is read after it.
    """

    route: str
    version: int
    "Of the policy that made it."
    attempts: tuple[Attempt, ...]
    retry: RetryRule
    "The route's rule."
    deadline: float
    "Unix time at which some gateway must have rung or answered."
    ring: float
    "Seconds."
    current: int = 0
    "Index of the attempt under way."
    excluded: tuple[str, ...] = ()
    "Gateways that must not be tried again in this call."
    retry_after_max: float = 300.0
    "Seconds."
    emergency: bool = False
    "Tried even at gateways that asked to be left alone."
    media: Media | None = None
    "Set: the attempts are hand-overs to media nodes."
    used: int = 0
    "Attempts made by plans that this one took the place of."
    voicemail: Voicemail | None = None
    "Set: where the call goes if these attempts fail."
    original: Refusal | None = None
    "Set: what the caller is told if these attempts fail, since others failed before them."
    rates: tuple[Rated, ...] = ()
    "Of a least-cost route: what the gateways take, where that is known."
    forwarding: Forwarding | None = None
    "Set: where the call goes, depending on why these attempts failed; before voicemail."
    limits: tuple[Limit, ...] = ()
    "Those of the call, whichever gateway it goes to."
    caller: str = ""
    "The subscriber who has proved to be the caller; empty: none has."
    identity: Identity | None = None
    "None: all attempts are told who calls as it came."
    relay: bool = False
    "Whether all its attempts go through the media relay."
    challenges: int = 0
    "Answered so far: each has made the CSeq of what is sent one higher (RFC 3261 section 22.2)."
    answered: int = 0
    "Number of the attempt that was sent again with an answer to its gateway's challenge; 0: none was yet."

    @property
    def attempt(self) -> Attempt:
        """The attempt under way."""
        return self.attempts[self.current]

    @property
    def number(self) -> int:
        """Of the attempt under way, counted from 1 over all plans of the call."""
        return self.used + self.current + 1

    def progress_at(self, now: float) -> float:
        """Seconds that the attempt beginning at Unix time ``now`` has until something must ring or answer."""
        return max(0.0, min(self.attempt.progress, self.deadline - now))

    def no_reply_at(self, now: float) -> float:
        """Seconds that the attempt beginning at Unix time ``now`` has until something must be replied at all."""
        return max(0.0, min(self.attempt.no_reply, self.deadline - now))

    def dumps(self) -> str:
        """As text for the transaction."""
        return _encode(self).decode()

    @classmethod
    def loads(cls, text: str) -> Plan:
        """From the text that :meth:`dumps` made."""
        return _decode(text)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Plan).decode
