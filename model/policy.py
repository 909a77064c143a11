"""The policy: what an operator wrote, checked and resolved, as plain frozen values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from model.causes import Failure, Reason, classify, hangup_cause
from model.fraud import Guard
from model.hook import Hook
from model.identity import Presentation, TrunkIdentity
from model.limits import Limits
from model.narrowing import Narrowing
from model.numbers import Dialling
from model.quality import Quality
from model.side import PLAIN, Side


class Strategy(StrEnum):
    """In which order a route's gateways are tried."""

    PRIORITY = "priority"
    "As listed, on every call."
    ALTERNATE = "alternate"
    "As listed, but each call begins one further than the call before (round-robin)."
    WEIGHTED = "weighted"
    "Drawn for each call, each gateway with the odds of its weight."
    LEAST_COST = "least_cost"
    "By the price of a minute in the gateways' rate sheets, the cheapest first."
    QUALITY = "quality"
    "By how well the gateways carry calls, the best first."


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A change of the called number: strip first, then the pattern, then the prefix."""

    strip: int = 0
    "Leading characters removed; the plus sign is one."
    match: str = ""
    "A regular expression, searched once; empty: none."
    replace: str = ""
    "What the match becomes; ``\\1`` is its first group."
    prefix: str = ""
    "Put in front."

    def apply(self, number: str) -> str:
        """``number`` rewritten."""
        number = number[self.strip :]
        if self.match:
            number = _compiled(self.match).sub(self.replace, number, count=1)
        return self.prefix + number


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@dataclass(frozen=True, slots=True)
class RetryRule:
    """Changes to the table of causes, for one route or gateway.

    Each item is a class name (``ambiguous``), a SIP status (``480``) or a Q.850 cause name or number
    (``NO_ROUTE_DESTINATION``, ``q850:3``).
    """

    also: tuple[str, ...] = ()
    "Retried too."
    never: tuple[str, ...] = ()
    "Not retried."
    only: tuple[str, ...] = ()
    "Exactly these are retried, and nothing else; empty: the table holds."
    after_ringing: bool | None = None
    "Whether an attempt that rang (180 to 183) may be followed by another; None: not said here."

    def verdict(self, failure: Failure) -> bool | None:
        """Whether this rule has the failure retried; None where it does not speak of it."""
        tokens = _tokens(failure)
        if any(item in tokens for item in self.never):
            return False
        if self.only:
            return any(item in tokens for item in self.only)
        return True if any(item in tokens for item in self.also) else None


def _tokens(failure: Failure) -> frozenset[str]:
    return frozenset((classify(failure).value, str(failure.status), f"q850:{hangup_cause(failure)}"))


# What a script refuses a call with is its word to the caller. Another node is for those that say nothing, or are full.
MEDIA_RETRY = RetryRule(only=("no-reply", "503"))


SIP_PORT = 5060
"Where SIP is spoken unless somebody says otherwise."
ANY = "any"
"Whatever transport."


class Place(NamedTuple):
    """Where a server is."""

    host: str
    "IP address, IPv6 in brackets; or a host name."
    port: int
    "0, of a name alone: what its SRV records say (RFC 3263 section 4.2)."


@dataclass(frozen=True, slots=True)
class Auth:
    """With what Strowger proves who it is (RFC 7616)."""

    user: str
    secret: str
    "Name of the secret (:mod:`model.secrets`): the password."
    hashed: bool = False
    "The secret is no password but HA1, the hash of user, realm and password, in hexadecimal."
    realm: str = ""
    "For which it is; empty: whichever realm asks."


@dataclass(frozen=True, slots=True)
class Registration:
    """Where a trunk's calls come from is told by a REGISTER (RFC 3261 section 10)."""

    registrar: Place
    user: str
    "Of the address that is registered, and unless ``contact`` says otherwise of our Contact."
    auth: Auth
    transport: str = "udp"
    domain: str = ""
    "Of the address that is registered; empty: the registrar's host."
    expires: int = 600
    "Seconds that are asked for."
    contact: str = ""
    "User part of our Contact."

    @property
    def contact_user(self) -> str:
        """For whom calls come in."""
        return self.contact or self.user


@dataclass(frozen=True, slots=True)
class Trunk:
    """Where calls come from."""

    name: str
    sources: tuple[str, ...]
    "Networks in CIDR notation."
    dialling: Dialling = Dialling()
    anonymous: bool = True
    "Whether callers who withhold their identity are accepted."
    trust_identity: bool = False
    "Whether P-Asserted-Identity names the caller (RFC 3325 section 4)."
    tags: tuple[str, ...] = ()
    "What routes may ask for."
    limits: Limits | None = None
    "Of its calls; None: none."
    identity: TrunkIdentity | None = None
    "None: any number may be shown, and P-Asserted-Identity is what is believed, if anything is."
    side: Side = PLAIN
    names: tuple[str, ...] = ()
    "Host names that are sources as well."
    registration: Registration | None = None
    "Set: calls for its contact that come from its registrar are the trunk's, too."


PENALTIES = {"transport": 2, "time-out": 2, "server-fault": 2, "capacity": 1}
"The kinds of failure that speak of a gateway's health, and the points of each unless a gateway says otherwise."


@dataclass(frozen=True, slots=True)
class Breaker:
    """When failures take a gateway out of use on a node, and what brings it back; see :mod:`kemi.health`."""

    trip: int = 10
    "Points at which it opens."
    restore: int = 3
    "Trial calls that must pass in a row before it closes."
    open: float = 30.0
    "Seconds for which it opens first; each trial call that fails doubles them."
    open_max: float = 300.0
    "Seconds that are not exceeded by that."
    penalties: Mapping[str, int] = field(default_factory=lambda: dict(PENALTIES), hash=False)
    "Kind of failure to its points."
    shared: bool = True
    "Whether the other nodes are told that it opened here, and this one listens to them."


DEFAULT_BREAKER = Breaker()


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where calls go to."""

    name: str
    address: str
    "IP address, IPv6 in brackets; empty where ``places`` say it."
    port: int = SIP_PORT
    transport: str = "udp"
    "``udp`` or ``tcp``."
    enabled: bool = True
    rewrite: Rewrite = Rewrite()
    retry: RetryRule = RetryRule()
    no_reply: float = 2.0
    "Seconds without any reply before the next gateway is tried."
    progress: float = 8.0
    "Seconds without ringing, answer or refusal before the next gateway is tried."
    breaker: Breaker | None = DEFAULT_BREAKER
    "None: failures never take it out of use."
    probe: bool = False
    "Whether Kamailio asks it by OPTIONS whether it is there."
    media: bool = False
    "Whether it is a media node: calls reach it by a hand-over (:mod:`model.handover`) and may come back from it."
    weight: int = 1
    "Of a media node: its share of the calls that go to voicemail."
    limits: Limits | None = None
    "Of calls to it; None: none."
    identity: Presentation | None = None
    "None: who calls is told as it came."
    side: Side = PLAIN
    places: tuple[Place, ...] = ()
    "Set: it has names or several addresses, tried in this order; see :mod:`state.names`."
    auth: Auth | None = None
    "What it is told when it asks who calls; None: nothing."

    @property
    def written(self) -> str:
        """Where it is, as the policy says."""
        places = self.places or (Place(self.address, self.port),)
        return ", ".join(f"{host}:{port}" if port else host for host, port in places)

    @property
    def uri(self) -> str:
        """Where it is, without a user."""
        return f"sip:{self.address}:{self.port}{'' if self.transport == 'udp' else f';transport={self.transport}'}"


def owner(name: str) -> str:
    """The gateway that a name speaks of, which may be that of one of its members (:mod:`state.names`)."""
    return name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Drain:
    """A gateway that an operator wants no new calls to go to, on any node."""

    gateway: str
    reason: str = ""
    until: float = 0.0
    "Unix time at which it ends by itself; 0: it does not."
    author: str = ""
    since: float = 0.0
    "Unix time."

    def live(self, now: float) -> bool:
        """Whether it is in force at Unix time ``now``."""
        return not self.until or self.until > now


@dataclass(frozen=True, slots=True)
class NodeDrain:
    """A node that an operator wants to take no new calls; those under way go on."""

    node: str
    reason: str = ""
    until: float = 0.0
    "Unix time at which it ends by itself; 0: it does not."
    author: str = ""
    since: float = 0.0
    "Unix time."

    def live(self, now: float) -> bool:
        """Whether it is in force at Unix time ``now``."""
        return not self.until or self.until > now


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that is not routed, and what its caller is told."""

    id: str
    "Stable and machine-readable: it stands in the Reason header, the record and the trace."
    status: int
    phrase: str
    cause: int
    "Q.850."
    retry_after: int = 0
    "Seconds; 0 means none is sent."


@dataclass(frozen=True, slots=True)
class MediaApp:
    """What a media node is to do with a call."""

    app: str
    "Name of the call script."
    args: str = ""
    "Handed to it as they are."


@dataclass(frozen=True, slots=True)
class Voicemail:
    """Where a call goes that nobody took."""

    app: str = "voicemail"
    "Name of the call script."
    args: str = ""
    "Handed to it as they are."
    when: tuple[str, ...] = (Reason.NO_ANSWER, Reason.BUSY, Reason.UNREACHABLE, Reason.DO_NOT_DISTURB)
    "For which reasons, values of :class:`model.causes.Reason`."


@dataclass(frozen=True, slots=True)
class LeastCost:
    """How a route goes by the prices of its gateways."""

    at_most: int
    "So many gateways are tried, of those that may be called."
    max_price: int = 0
    "No gateway that takes more for a minute, in the policy's currency (:mod:`model.rates`); 0: whatever they take."
    unrated: str = "last"
    "What becomes of gateways without a rate: ``last`` or ``left_out``."


@dataclass(frozen=True, slots=True)
class Route:
    """What happens to the numbers that begin with one of its prefixes.

    Of several routes with one prefix, the first in the policy's order decides that is there for the call.
    """

    name: str
    prefixes: tuple[str, ...]
    "Normalised beginnings, ``+44`` or ``10``; the empty prefix matches every number."
    gateways: tuple[str, ...] = ()
    strategy: Strategy = Strategy.PRIORITY
    weights: tuple[int, ...] = ()
    "One for each gateway where the strategy is ``weighted``; 0: only after all others."
    max_attempts: int = 0
    "At most this many attempts, going round the gateways again if need be; 0: each gateway once."
    rewrite: Rewrite = Rewrite()
    retry: RetryRule = RetryRule()
    post_dial_delay: float = 20.0
    "Seconds in which some gateway must ring or answer, over all attempts."
    ring: float = 60.0
    "Seconds of ringing before the call counts as unanswered."
    refusal: Refusal | None = None
    "Set: calls are refused with it, and no gateway is tried."
    narrowing: Narrowing | None = None
    "Which calls it is there for; None: all."
    media: MediaApp | None = None
    "Set: its gateways are media nodes, and get calls with a hand-over to this app."
    voicemail: Voicemail | None = None
    "Where calls go for which its gateways found nobody; None: nowhere."
    least_cost: LeastCost | None = None
    "Set where the strategy is ``least_cost``."
    subscribers: bool = False
    "Set: the rewritten number is a subscriber, whose phones are called; it has no gateways."
    limits: Limits | None = None
    "Of calls that take it; None: none."
    quality: Quality | None = None
    "What its gateways' figures change in their order; None: nothing."
    hook: str = ""
    "Name of the hook that is asked what becomes of its calls; empty: none is."
    relay: bool = False
    "Whether the sound of all its calls goes through the media relay."


@dataclass(frozen=True, slots=True)
class Emergency:
    """Which calls are emergency calls, and where they go instead of where routes would send them."""

    numbers: tuple[str, ...]
    "Digits as they are dialled, ``112``."
    gateways: tuple[str, ...]
    rewrite: Rewrite = Rewrite()
    "The only change of the number: what gateways do to others is not meant for ``112``."

    def number(self, *spellings: str) -> str:
        """Which of the numbers a call is for that is dialled in one of these spellings; empty if none."""
        return next((spelling for spelling in spellings if spelling in self.numbers), "")


@dataclass(frozen=True, slots=True)
class Subscribers:
    """What holds for all subscribers; calls that they make come by a trunk of the name ``SUBSCRIBERS``."""

    realm: str
    "What they authenticate for, and what their passwords are hashed with."
    dialling: Dialling = Dialling()
    tags: tuple[str, ...] = ()
    "What routes may ask for."
    algorithms: tuple[str, ...] = ("MD5",)
    "Hash functions of challenges, the preferred one first, where a subscriber has none of their own."
    max_contacts: int = 5
    "Phones that one of them may have registered at once."
    expires_min: int = 60
    "Seconds for which a phone registers at least, as the following."
    expires_max: int = 3600
    guesses: int = 10
    "Wrong passwords from one address after which it is not listened to for this subscriber, for five minutes."
    limits: Limits | None = None
    "Of each one of them, where a subscriber has no others; None: none."
    side: Side = Side(nat="auto")
    edges: tuple[str, ...] = ()
    "Networks of proxies by which phones may register (RFC 3327)."

    @property
    def trunk(self) -> Trunk:
        """The trunk that their calls come by."""
        return Trunk(SUBSCRIBERS, (), self.dialling, tags=self.tags, side=self.side)


SUBSCRIBERS = "subscribers"
"Name of the trunk that subscribers' calls come by."


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything but the routes, which are looked up one by one."""

    trunks: tuple[Trunk, ...] = ()
    gateways: dict[str, Gateway] = field(default_factory=dict)
    dialling: Dialling = Dialling()
    "How operators write numbers in commands and in the policy file."
    retry_after_max: float = 300.0
    "Seconds: the longest that a gateway's Retry-After keeps it out of use."
    emergency: Emergency | None = None
    "None: no call is an emergency call."
    currency: str = ""
    "In which prices are compared; empty: nothing is."
    exchange: dict[str, int] = field(default_factory=dict)
    "Other currency to what one of it is worth in that one (:mod:`model.rates`)."
    subscribers: Subscribers | None = None
    "None: nobody may register."
    fraud: tuple[Guard, ...] = ()
    hooks: dict[str, Hook] = field(default_factory=dict)
    "Programs that routes may ask, by name."
    relay_away: str = "refuse"
    "What becomes of calls that need the media relay while it is away: ``refuse`` or ``pass``."
