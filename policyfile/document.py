"""The shape of a policy file: every key with its type, default and meaning.

The descriptions are what operators read: ``docs/policy.md`` is made from them (:mod:`policyfile.reference`).
Defaults are those of :mod:`model.policy`, so that they are said once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from model.fraud import MEASURES
from model.hook import Hook
from model.identity import Presentation, TrunkIdentity
from model.narrowing import DAY_MINUTES, Window
from model.numbers import Dialling
from model.policy import DEFAULT_BREAKER, Gateway, Place, Policy, Route, Subscribers, Voicemail
from model.quality import SLOT, WINDOW_MAX, Quality
from model.rates import CURRENCY
from model.secrets import NAME as SECRET_NAME
from policyfile import values
from policyfile.patterns import check_replacement
from policyfile.problems import Path

_DIALLING = Dialling()
_GATEWAY = Gateway(name="", address="")
_ROUTE = Route(name="", prefixes=())
_POLICY = Policy()
_VOICEMAIL = Voicemail()
_SUBSCRIBERS = Subscribers(realm="")
_HOOK = Hook(name="", url="")
_PRESENTATION = Presentation()
_TRUNK_IDENTITY = TrunkIdentity()

# Gateways of a least-cost route, of which no call tries more than MAX_ATTEMPTS.
MAX_COMPARED = 100

# tm branches a call at most 12 times (its parameter max_branches); two are left for what else may fork it.
MAX_ATTEMPTS = 10

# The keys of a route that narrow it.
NARROWING = ("callers", "trunks", "tags", "times")

_WINDOW = Window(zone="")
_QUALITY = Quality()

T = TypeVar("T")
Listed = Annotated[tuple[T, ...], Field(strict=False)]


@dataclass(frozen=True, slots=True)
class Shown:
    """How the reference calls a type."""

    name: str


def _duration(shortest: float, longest: float) -> PlainValidator:
    return PlainValidator(values.Duration(shortest, longest))


def _matching(pattern: re.Pattern[str], expected: str) -> PlainValidator:
    return PlainValidator(values.matching(pattern, expected))


Name = Annotated[
    str,
    _matching(values.NAME, "a name: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"),
    Shown("name"),
]
Digits = Annotated[str, _matching(values.DIGITS, "1 to 8 digits"), Shown("digits")]
Source = Annotated[str, PlainValidator(values.read_source), Shown("network, IP address or host name")]
Network = Annotated[str, PlainValidator(values.read_network), Shown("network or IP address")]
ONE_PLACE = "IP[:port], [IPv6]:port or NAME[:port]"
Secret = Annotated[
    str, _matching(SECRET_NAME, "the name of a secret: letters, digits, and _.- behind the first"), Shown("secret")
]
SipUser = Annotated[
    str,
    _matching(values.SIP_USER, "a user: 1 to 64 of letters, digits and + * . _ - ! ~ ' ( )"),
    Shown("text, 64 characters at most"),
]
RetryItem = Annotated[str, PlainValidator(values.read_retry_item), Shown("cause")]
Clock = Annotated[int, PlainValidator(values.read_clock), Shown("time of day")]
Date = Annotated[str, PlainValidator(values.read_date), Shown("date")]
Nat = Annotated[bool | Literal["auto"], Shown("`true`, `false` or `auto`")]
UserPart = Annotated[str, _matching(values.USER_PART, "at most 32 of letters, digits and + * # . _ -"), Shown("text")]


class Section(BaseModel):
    """A part of the file: nothing unknown is accepted, nothing is converted."""

    # Built when a file is read: most commands read none, and building takes a third of what such a command takes.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class DiallingPlan(Section):
    """How one side of a trunk writes numbers."""

    country_code: Annotated[str, _matching(values.COUNTRY_CODE, "a country code: 1 to 3 digits"), Shown("digits")] = (
        Field(
            default=_DIALLING.country_code,
            description="Country code without plus. Without it, national spellings stay as they are.",
        )
    )
    international_prefixes: Listed[Digits] = Field(
        default=_DIALLING.international_prefixes, description="What is dialled before a country code."
    )
    national_prefix: Annotated[str, _matching(values.TRUNK_CODE, "at most 8 digits"), Shown("digits")] = Field(
        default=_DIALLING.national_prefix,
        description='What is dialled before a national number; `""` where nothing is.',
    )
    national_lengths: Listed[Annotated[int, Field(ge=1, le=15)]] = Field(
        default=_DIALLING.national_lengths,
        description="Lengths at which bare digits are a national number: `[10]` in North America.",
    )
    e164_without_plus: bool = Field(
        default=_DIALLING.e164_without_plus,
        description="Bare digits longer than an extension are E.164 without its plus, as carriers send it.",
    )
    extension_digits: int = Field(
        default=_DIALLING.extension_digits,
        ge=0,
        le=15,
        description="Digit strings up to this length are extensions and short codes, and stay as they are.",
    )


class Rewrite(Section):
    """A change of the called number, made for each attempt from the number as it arrived.

    First characters are stripped, then the pattern is applied, then the prefix is put in front.
    """

    strip: int = Field(default=0, ge=0, le=20, description="How many leading characters go; the plus sign is one.")
    match: Annotated[str, PlainValidator(values.read_pattern), Shown("regular expression")] = Field(
        default="", description="Searched once in what is left."
    )
    replace: Annotated[
        str,
        _matching(values.REPLACEMENT, r"a replacement: at most 64 of letters, digits, + * # . _ - and groups (\1)"),
        Shown("text"),
    ] = Field(default="", description=r"What the match becomes; `\1` is its first group.")
    prefix: UserPart = Field(default="", description="Put in front.")

    @field_validator("replace")
    @classmethod
    def _refers_to_groups(cls, replace: str, info: ValidationInfo) -> str:
        match = info.data.get("match")
        if match == "":
            raise ValueError("needs a 'match' to replace")
        if match is not None:
            check_replacement(match, replace)
        return replace


class Retry(Section):
    """Changes to the table of causes. A gateway's rule speaks before its route's, and both before the table.

    Each item is a cause class (`ambiguous`), a SIP status (`480`) or a Q.850 cause (`NO_ROUTE_DESTINATION`,
    `q850:3`).
    """

    also: Listed[RetryItem] = Field(default=(), description="Retried too.")
    never: Listed[RetryItem] = Field(
        default=(), description="Not retried, even if `also` or `only` of the same rule has it."
    )
    only: Listed[RetryItem] | None = Field(
        default=None, description="Exactly these are retried, and nothing else. Not together with `also`."
    )
    after_ringing: bool | None = Field(
        default=None,
        description="Whether an attempt that rang (180 to 183) may be followed by another. Said by neither "
        "gateway nor route: no.",
    )

    @field_validator("never")
    @classmethod
    def _contradicts_nothing(cls, never: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        both = set(never) & set(info.data.get("also", ()))
        if both:
            raise ValueError(f"'{min(both)}' stands in 'also' as well")
        return never

    @field_validator("only")
    @classmethod
    def _stands_alone(cls, only: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if only is not None and info.data.get("also"):
            raise ValueError("stands for the whole list: put the items of 'also' into it, or leave it out")
        if only == ():
            raise ValueError("is empty: leave it out, or set 'max_attempts: 1' on the route to retry nothing")
        return only


class LimitsSection(Section):
    """How many calls there may be, over all nodes together ([limits.md](limits.md))."""

    calls: int | None = Field(
        default=None, ge=1, le=1_000_000, description="At once, from the INVITE until the call is over."
    )
    per_second: int | None = Field(default=None, ge=1, le=10_000, description="Begun within any second.")
    when_away: Literal["open", "closed", "local"] = Field(
        default="local",
        description="While Redis is away: `open`: no limit; `closed`: no call; `local`: each node keeps to an equal "
        "share of the limit by itself.",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.calls is None and self.per_second is None:
            raise ValueError("limits nothing: give 'calls', 'per_second' or both")
        return self


class TrunkIdentitySection(Section):
    """Who is believed to call by a trunk, and what it may show ([identity.md](identity.md))."""

    believe: Listed[Literal["pai", "rpid"]] = Field(
        default=("pai",),
        min_length=1,
        description="With `trust_identity`, the headers that name the caller; the first that is there counts.",
    )
    numbers: Listed[Annotated[str, PlainValidator(values.read_caller), Shown("beginning of a number")]] = Field(
        default=_TRUNK_IDENTITY.numbers,
        min_length=1,
        description="Beginnings of the numbers that calls may show; otherwise any. Others are replaced by `default`.",
    )
    default: Annotated[str, PlainValidator(values.read_caller), Shown("number")] = Field(
        default=_TRUNK_IDENTITY.default,
        description="Number shown in place of one that may not be, or that is none. Without it, calls that show a "
        "number not among `numbers` are refused.",
    )


class RouteLimitsSection(LimitsSection):
    """The same of a route's calls, all together or by the prefix that they match."""

    each: Literal["route", "prefix"] = Field(
        default="route", description="`prefix`: each of its prefixes, imported ones too, has as many by itself."
    )


class AuthSection(Section):
    """How Strowger answers when a server asks who calls (401, 407): by digest, with SHA-256 or MD5.

    The policy names a secret, and no policy holds one: what is in it is the first line of a file of that name in
    `STROWGER_SECRETS`, on each node.
    """

    user: SipUser = Field(description="As whom.")
    secret: Secret | None = Field(default=None, description="Name of the secret that holds the password.")
    ha1_secret: Secret | None = Field(
        default=None,
        description="Instead: name of the secret that holds the hash of `USER:REALM:PASSWORD` in hexadecimal, by MD5 "
        "or SHA-256. Servers that ask for the other are not answered.",
    )
    realm: str = Field(
        default="", max_length=255, description="Answer only who asks for this realm; otherwise, whoever asks."
    )

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if (self.secret is None) == (self.ha1_secret is None):
            raise ValueError("needs one of 'secret' and 'ha1_secret'")
        return self


class RegistrationSection(Section):
    """Where a carrier is told by REGISTER where this node is. One node registers for all that have this policy.

    Calls for the registered contact that come from an address of the registrar belong to the trunk.
    """

    registrar: Annotated[Place, PlainValidator(values.read_place), Shown(ONE_PLACE)] = Field(
        description="Where it listens."
    )
    transport: Literal["udp", "tcp"] = Field(default="udp", description="How it is reached.")
    user: SipUser = Field(description="The account: user of the address that is registered.")
    domain: Annotated[str, _matching(values.HOST, "a host name or IP address"), Shown("host name")] = Field(
        default="", description="Domain of that address; otherwise the registrar's host."
    )
    auth_user: SipUser | None = Field(default=None, description="As whom to authenticate, where that is not `user`.")
    secret: Secret | None = Field(default=None, description="As in a gateway's `auth`.")
    ha1_secret: Secret | None = Field(default=None, description="As in a gateway's `auth`.")
    realm: str = Field(default="", max_length=255, description="As in a gateway's `auth`.")
    expires: Annotated[float, _duration(60, 86400)] = Field(
        default=600, description="For how long to register; the registrar's word counts. Renewed in time."
    )
    contact: SipUser | None = Field(
        default=None, description="User of the contact: for whom calls come in. Otherwise `user`."
    )

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if (self.secret is None) == (self.ha1_secret is None):
            raise ValueError("needs one of 'secret' and 'ha1_secret'")
        return self


class TrunkSection(Section):
    """Where calls come from. The most specific network that holds a call's source decides on its trunk."""

    registration: RegistrationSection | None = Field(
        default=None, description="Register there, and take calls that come for it ([trunks.md](trunks.md))."
    )
    sources: Listed[Source] | None = Field(
        default=None,
        min_length=1,
        validate_default=True,
        description="Networks in CIDR notation, single IP addresses, or host names: all addresses that a name or its "
        "SRV records have. May be left out where there is a `registration`.",
    )
    dialling: Name | None = Field(
        default=None,
        description="Name of the dialling plan by which this side writes numbers; else the default.",
    )
    anonymous: Literal["accept", "reject"] = Field(
        default="accept", description="What happens to callers who withhold their number."
    )
    trust_identity: bool = Field(
        default=False,
        description="P-Asserted-Identity names the caller (RFC 3325). Only for a peer that vouches for it.",
    )
    tags: Listed[Name] = Field(default=(), description="What a route's own `tags` may ask for.")
    limits: LimitsSection | None = Field(default=None, description="Of calls from here.")
    identity: TrunkIdentitySection | None = Field(
        default=None, description="Who is believed to call, and which numbers may be shown."
    )
    nat: Nat = Field(
        default=False,
        description="Whether it is behind NAT ([nat.md](nat.md)), so that what goes to it goes to where it sends from; "
        "`auto`: where its messages show that.",
    )
    media_relay: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether the sound of its calls goes through the media relay ([nat.md](nat.md)): `auto`: where a "
        "call needs that.",
    )
    srtp: Literal["require", "no"] | None = Field(
        default=None,
        description="`require`: it speaks SRTP alone, `no`: RTP alone, and the media relay makes one of the other. "
        "Otherwise it speaks whatever the other side does.",
    )

    @field_validator("sources")
    @classmethod
    def _comes_from_somewhere(cls, sources: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        if sources is None and info.data.get("registration", True) is None:
            raise ValueError("is missing")
        return sources


class SubscribersSection(Section):
    """Who may register phones, and call from them: the subscribers of `strowger subscriber`.

    Calls that they make come by a trunk of the name `subscribers`, which routes may ask for by `trunks`.
    """

    realm: Annotated[
        str, _matching(values.REALM, "a realm: 1 to 64 of letters, digits, '.' and '-'"), Shown("text")
    ] = Field(
        description="Realm of the challenges, by custom the domain. Passwords are hashed with it: with another realm, "
        "each needs to be set anew."
    )
    dialling: Name | None = Field(
        default=None, description="Name of the dialling plan by which phones write numbers; else the default."
    )
    tags: Listed[Name] = Field(default=(), description="What a route's own `tags` may ask for.")
    algorithms: Listed[Literal["SHA-256", "MD5"]] = Field(
        default=("MD5",),
        min_length=1,
        description="Hash functions that phones are challenged with, the preferred one first: `[SHA-256, MD5]` where "
        "all phones know the first, or pass over it. A subscriber may have others.",
    )
    max_contacts: int = Field(
        default=_SUBSCRIBERS.max_contacts, ge=1, le=10, description="Phones that one subscriber may have at once."
    )
    expires_min: Annotated[float, _duration(60, 86400)] = Field(
        default=_SUBSCRIBERS.expires_min, description="Who registers for less is refused with 423, and told this."
    )
    expires_max: Annotated[float, _duration(60, 86400)] = Field(
        default=_SUBSCRIBERS.expires_max, description="Who registers for more has this, or with no wish at all."
    )
    limits: LimitsSection | None = Field(
        default=None,
        description="Of the calls of each subscriber, and the forwards of calls to them; a subscriber may have other "
        "numbers (`calls` and `per_second` of `strowger subscriber set`).",
    )
    guesses: int = Field(
        default=_SUBSCRIBERS.guesses,
        ge=1,
        le=1000,
        description="After so many wrong passwords from one address, it is not listened to for this subscriber, for "
        "five minutes.",
    )
    nat: Nat = Field(
        default="auto",
        description="Whether phones are behind NAT ([nat.md](nat.md)), so that what goes to one goes to where it sends "
        "from; `auto`: where its messages show that.",
    )
    media_relay: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether the sound of its calls goes through the media relay ([nat.md](nat.md)): `auto`: where a "
        "call needs that.",
    )
    srtp: Literal["require", "no"] | None = Field(
        default=None,
        description="`require`: it speaks SRTP alone, `no`: RTP alone, and the media relay makes one of the other. "
        "Otherwise it speaks whatever the other side does.",
    )
    edges: Listed[Network] = Field(
        default=(),
        description="Networks of proxies by which phones may register (RFC 3327, `Path`): calls to such a phone go by "
        "them.",
    )

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.expires_max < self.expires_min:
            raise ValueError("'expires_max' is shorter than 'expires_min'")
        return self


class BreakerSection(Section):
    """When failures take a gateway out of use on a node, and what brings it back. `breaker: off`: they never do.

    Each failure adds the points of its kind, each attempt takes one point off.
    """

    trip: int = Field(default=DEFAULT_BREAKER.trip, ge=1, le=1000, description="Points at which it opens.")
    restore: int = Field(
        default=DEFAULT_BREAKER.restore,
        ge=1,
        le=100,
        description="Trial calls that must pass in a row before it closes.",
    )
    open: Annotated[float, _duration(0.1, 3600)] = Field(
        default=DEFAULT_BREAKER.open,
        description="How long it is open at first, before a trial call; each that fails doubles it.",
    )
    open_max: Annotated[float, _duration(0.1, 86400)] = Field(
        default=DEFAULT_BREAKER.open_max, description="The longest that it becomes by that."
    )
    penalties: Annotated[
        dict[Annotated[str, PlainValidator(values.read_penalty_kind)], Annotated[int, Field(ge=0, le=1000)]],
        Shown("mapping of kind of failure to points, 0 to 1000"),
    ] = Field(
        default=dict(DEFAULT_BREAKER.penalties),
        description="Points of a kind of failure, where they are to be others: `transport` could not be sent, "
        "`time-out` nothing came in time, `server-fault` and `capacity` are causes.",
    )
    shared: bool = Field(
        default=DEFAULT_BREAKER.shared,
        description="Other nodes are told when it opens on one, and leave the gateway out as well, unless they see for "
        "themselves that it is there ([gateways.md](gateways.md#one-node-tells-the-others)).",
    )

    @model_validator(mode="after")
    def _can_trip(self) -> Self:
        if self.open_max < self.open:
            raise ValueError("'open_max' is shorter than 'open'")
        return self


class PresentationSection(Section):
    """How a gateway is told who calls ([identity.md](identity.md)). Without it, all passes as it came."""

    privacy: Literal["pass", "withhold"] = Field(
        default="withhold",
        description="Of callers who withhold their number. `pass`: it is told, with the wish (RFC 3325), to a gateway "
        "that is trusted to heed it. `withhold`: whatever names the caller is taken out.",
    )
    headers: Listed[Literal["pai", "ppi", "rpid"]] = Field(
        default=("pai",),
        description="Headers besides From that tell the number: P-Asserted-Identity, P-Preferred-Identity, "
        "Remote-Party-ID. All others of these are removed.",
    )
    number: Literal["as_it_came", "e164", "e164_without_plus", "national"] = Field(
        default="as_it_came", description="How the number is written."
    )
    dialling: Name | None = Field(
        default=None, description="Name of the dialling plan of `number: national`; else the default."
    )
    domain: Annotated[str, PlainValidator(values.read_domain), Shown("host or `gateway`")] = Field(
        default=_PRESENTATION.domain,
        description="Host of these addresses: a name of ours, or `gateway` for its own address. Otherwise as it came.",
    )
    diversion: Listed[Literal["diversion", "history-info"]] = Field(
        default=(),
        description="What tells of forwards: Diversion (RFC 5806), History-Info (RFC 7044), both, or nothing.",
    )
    connected: bool = Field(
        default=_PRESENTATION.connected,
        description="Whether the caller is told who has answered, by P-Asserted-Identity and Remote-Party-ID of "
        "replies.",
    )


class GatewaySection(Section):
    """Where calls go to."""

    address: Annotated[
        tuple[Place, ...], PlainValidator(values.read_places), Shown(f"{ONE_PLACE}, or a list of them")
    ] = Field(
        description=f"Where it listens. Port {values.DEFAULT_PORT} unless given; of a name without a port, what its "
        "SRV records say. Of several, each is tried in turn ([trunks.md](trunks.md))."
    )
    transport: Literal["udp", "tcp"] = Field(default="udp", description="How it is reached.")
    enabled: bool = Field(default=_GATEWAY.enabled, description="`false` takes it out of every route.")
    no_reply: Annotated[float, _duration(0.1, 30)] = Field(
        default=_GATEWAY.no_reply, description="Without any reply for this long, the next gateway is tried."
    )
    progress: Annotated[float, _duration(0.5, 120)] = Field(
        default=_GATEWAY.progress,
        description="Without ringing, answer or refusal for this long, the next gateway is tried.",
    )
    rewrite: Rewrite = Field(default=Rewrite(), description="Change of the called number, after the route's own.")
    retry: Retry = Field(default=Retry(), description="Changes to the table of causes.")
    breaker: Annotated[BreakerSection | None, BeforeValidator(values.read_off)] = Field(
        default=BreakerSection(), description="When failures take it out of use; `off`: never."
    )
    probe: bool = Field(
        default=_GATEWAY.probe,
        description="Ask it by OPTIONS whether it is there, and call it only while it is. Only for a gateway that "
        "answers OPTIONS.",
    )
    limits: LimitsSection | None = Field(
        default=None, description="Of calls to it. One that has no room is skipped, and not taken for failed."
    )
    auth: AuthSection | None = Field(
        default=None, description="What it is told when it asks who calls. Otherwise its 401 and 407 are failures."
    )
    identity: PresentationSection | None = Field(default=None, description="How it is told who calls.")
    media_relay: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether the sound of its calls goes through the media relay ([nat.md](nat.md)): `auto`: where a "
        "call needs that.",
    )
    srtp: Literal["require", "no"] | None = Field(
        default=None,
        description="`require`: it speaks SRTP alone, `no`: RTP alone, and the media relay makes one of the other. "
        "Otherwise it speaks whatever the other side does.",
    )


class MediaNodeSection(Section):
    """A server on which call scripts run. It is a gateway, but that calls are handed over to it, and may come back.

    All routes with `media` or `voicemail` share them. Each call is drawn to one with the odds of its weight; the others
    follow.
    """

    address: Annotated[
        tuple[Place, ...], PlainValidator(values.read_places), Shown(f"{ONE_PLACE}, or a list of them")
    ] = Field(
        description="Where it listens, as a gateway's `address`, and where calls that come back from it come from."
    )
    transport: Literal["udp", "tcp"] = Field(default="udp", description="How it is reached.")
    weight: int = Field(
        default=1, ge=0, le=1000, description="Its share of the calls. One of weight 0 is tried only after all others."
    )
    media_relay: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether the sound of its calls goes through the media relay ([nat.md](nat.md)): `auto`: where a "
        "call needs that.",
    )
    enabled: bool = Field(default=_GATEWAY.enabled, description="`false`: no call is handed over to it.")
    no_reply: Annotated[float, _duration(0.1, 30)] = Field(
        default=_GATEWAY.no_reply, description="Without any reply for this long, the next node is tried."
    )
    progress: Annotated[float, _duration(0.5, 120)] = Field(
        default=_GATEWAY.progress,
        description="Without ringing, answer or refusal for this long, the next node is tried.",
    )
    breaker: Annotated[BreakerSection | None, BeforeValidator(values.read_off)] = Field(
        default=BreakerSection(), description="When failures take it out of use; `off`: never."
    )
    probe: bool = Field(
        default=True, description="Ask it by OPTIONS whether it is there, and call it only while it is."
    )


class Reject(Section):
    """What the caller of a refused call is told."""

    id: Annotated[str, _matching(values.REFUSAL_ID, "an id: 1 to 63 of a-z, 0-9 and '-'"), Shown("id")] = Field(
        description="Stable and machine-readable: in the Reason header, the call record, the trace."
    )
    status: int = Field(ge=400, le=699, description="SIP status.")
    phrase: Annotated[str, PlainValidator(values.read_phrase), Shown("text")] = Field(description="SIP reason phrase.")
    cause: int = Field(default=21, ge=1, le=127, description="Q.850 cause for the Reason header.")


class MediaSection(Section):
    """What a call script is told. `media: welcome` is short for `media: {app: welcome}`."""

    app: Name = Field(description="Name of the call script.")
    args: Annotated[
        str,
        _matching(values.ARGUMENTS, "1 to 256 printable ASCII characters, no space at either end"),
        Shown("text, 256 characters at most"),
    ] = Field(default="", description="Handed to it as they are.")


class VoicemailSection(Section):
    """Where calls go for which the gateways found nobody. `voicemail: NAME` is short for `voicemail: {app: NAME}`.

    How the last attempt failed is [the reason](#when-a-call-goes-to-voicemail).
    """

    app: Name = Field(default=_VOICEMAIL.app, description="Name of the call script.")
    args: Annotated[
        str,
        _matching(values.ARGUMENTS, "1 to 256 printable ASCII characters, no space at either end"),
        Shown("text, 256 characters at most"),
    ] = Field(default=_VOICEMAIL.args, description="Handed to it as they are.")
    when: Listed[Annotated[str, PlainValidator(values.read_reason), Shown("reason")]] = Field(
        default=tuple(map(str, _VOICEMAIL.when)),
        min_length=1,
        description="For which reasons: `no-answer`, `busy`, `unreachable`, `do-not-disturb`, `rejected`, "
        "`unallocated`.",
    )


class HookSection(Section):
    """A program that routes may ask over HTTP what becomes of a call ([route-hook.md](route-hook.md))."""

    url: Annotated[str, PlainValidator(values.read_url), Shown("URL")] = Field(
        description="Where it is asked, by POST: `http://` or `https://`."
    )
    timeout: Annotated[float, _duration(0.05, 30)] = Field(
        default=_HOOK.timeout, description="How long its answer may take; the caller hears nothing meanwhile."
    )
    fallback: Literal["continue", "reject", "route"] = Field(
        default="reject",
        description="What happens to calls for which it gives no answer: `continue`: the route goes on as if it had no "
        "hook; `reject`: 503 `hook-failed`; `route`: that of `fallback_route`.",
    )
    fallback_route: Name | None = Field(
        default=None, description="With `fallback: route`, the name of the route that takes the calls."
    )
    secret: Annotated[str, _matching(SECRET_NAME, "a name of a secret"), Shown("secret")] | None = Field(
        default=None, description="Name of the secret that questions are signed with."
    )
    signed_answers: bool = Field(
        default=_HOOK.signed_answers, description="An answer counts only if it is signed with the secret, too."
    )
    at_most: int = Field(
        default=_HOOK.at_most,
        ge=1,
        le=10_000,
        description="So many questions of a node wait for an answer at once; beyond, the fallback holds.",
    )
    failures: int = Field(
        default=_HOOK.failures,
        ge=1,
        le=1_000_000,
        description="After so many questions in a row without an answer, the fallback holds at once for a while.",
    )
    pause: Annotated[float, _duration(0.1, 3600)] = Field(
        default=_HOOK.pause, description="How long that is, until one call at a time asks again on trial."
    )

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if (self.fallback == "route") != (self.fallback_route is not None):
            raise ValueError("'fallback: route' and 'fallback_route' need one another")
        if self.signed_answers and self.secret is None:
            raise ValueError("'signed_answers' needs 'secret'")
        return self


class WindowSection(Section):
    """A stretch of time that comes again, by the clock on the wall in its zone, summer time and all.

    One over midnight belongs to the day on which it begins: `days: [fri]` from `"22:00"` to `"06:00"` ends on Saturday.
    """

    zone: Annotated[str, PlainValidator(values.read_zone), Shown("time zone")] = Field(
        description="Name of a time zone, as in `Europe/London`."
    )
    days: Annotated[
        tuple[Annotated[tuple[int, ...], PlainValidator(values.read_days), Shown("day or range of days")], ...],
        Field(strict=False),
    ] = Field(default=(), description="Days of the week on which it begins: `[mon-thu, sun]`. Otherwise every day.")
    start: Clock | None = Field(
        default=None, alias="from", description='When it begins: `"09:00"`. Otherwise as the day does.'
    )
    end: Clock | None = Field(
        default=None,
        alias="to",
        description='When it ends, this minute not included: `"17:30"`; if that is earlier than `from`, on the next '
        "day. Otherwise as the day does.",
    )
    first: Date = Field(default=_WINDOW.first, description="The first date on which it begins: `2026-12-24`.")
    last: Date = Field(default=_WINDOW.last, description="The last date on which it begins.")

    @property
    def begins(self) -> int:
        """Minutes after midnight."""
        return _WINDOW.start if self.start is None else self.start

    @property
    def ends(self) -> int:
        """Minutes after midnight."""
        return _WINDOW.end if self.end is None else self.end

    @model_validator(mode="after")
    def _has_a_length(self) -> Self:
        if self.begins == DAY_MINUTES:
            raise ValueError("""cannot begin at 24:00: write "00:00" and the next day""")
        if self.begins == self.ends:
            raise ValueError("is empty: leave 'from' and 'to' out for the whole day")
        if self.first and self.last and self.last < self.first:
            raise ValueError("ends before it begins: 'last' is earlier than 'first'")
        return self


class PercentBounds(Section):
    """Shares in percent from which on a gateway is held back: a figure that is lower counts against it."""

    warn: Annotated[float, PlainValidator(values.read_percent), Shown("percent")] = Field(
        default=0.0, description="Below it, the gateway comes behind those without anything against them."
    )
    critical: Annotated[float, PlainValidator(values.read_percent), Shown("percent")] = Field(
        default=0.0, description="Below it, the gateway comes last or is left out."
    )

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        return _in_order(self, self.warn, self.critical, worse=-1)


class ShortestBounds(Section):
    """Durations from which on a gateway is held back: a figure that is shorter counts against it."""

    warn: Annotated[float, _duration(0.1, 3600)] | None = Field(
        default=None, description="Below it, the gateway comes behind those without anything against them."
    )
    critical: Annotated[float, _duration(0.1, 3600)] | None = Field(
        default=None, description="Below it, the gateway comes last or is left out."
    )

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        return _in_order(self, self.warn, self.critical, worse=-1)


class LongestBounds(Section):
    """Durations from which on a gateway is held back: a figure that is longer counts against it."""

    warn: Annotated[float, _duration(0.1, 180)] | None = Field(
        default=None, description="Above it, the gateway comes behind those without anything against them."
    )
    critical: Annotated[float, _duration(0.1, 180)] | None = Field(
        default=None, description="Above it, the gateway comes last or is left out."
    )

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        return _in_order(self, self.warn, self.critical, worse=1)


B = TypeVar("B", bound=Section)


def _in_order(bounds: B, warn: float | None, critical: float | None, *, worse: int) -> B:
    if not warn and not critical:
        raise ValueError("holds nobody back: give 'warn', 'critical' or both")
    if warn and critical and (critical - warn) * worse <= 0:
        raise ValueError(f"'critical' should be {'longer' if worse > 0 else 'less'} than 'warn'")
    return bounds


class QualitySection(Section):
    """Which figures of a gateway hold it back ([gateways.md](gateways.md#quality)).

    Each is judged once it has `min_samples`. The worst decides, and among gateways alike the strategy's order stands.
    """

    window: Annotated[float, _duration(SLOT, WINDOW_MAX)] = Field(
        default=_QUALITY.window, description="The figures are those of the last so long, of all nodes together."
    )
    min_samples: int = Field(
        default=_QUALITY.min_samples,
        ge=1,
        le=100_000,
        description="With fewer attempts (of `acd`: calls that ended; of `pdd`: attempts that rang) nothing is held "
        "against a gateway.",
    )
    asr: PercentBounds | None = Field(default=None, description="Share of the attempts that are answered.")
    acd: ShortestBounds | None = Field(default=None, description="Average duration of the answered calls.")
    pdd: LongestBounds | None = Field(default=None, description="Average time from the INVITE until something rings.")
    critical: Literal["last", "left_out"] = Field(
        default="last",
        description="What becomes of a gateway with a critical figure. One that is `left_out` is tried after all where "
        "nobody else may be called.",
    )


class RouteSection(Section):
    """What happens to the numbers that begin with one of its prefixes. The longest prefix of all wins.

    Of the routes that share a prefix, the first decides that is there for the call: `callers`, `trunks`, `tags` and
    `times` narrow a route, and all that are given must fit. Where none is, the next shorter prefix is looked at.
    """

    name: Name = Field(description="Stands in call records and explanations.")
    prefixes: Listed[Annotated[str, PlainValidator(values.read_prefix), Shown("beginning of a number")]] = Field(
        min_length=1,
        description='Beginnings of called numbers, best written as `"+44"`; otherwise they are read by '
        "`default_dialling`. `default` matches every number.",
    )
    gateways: Listed[Name] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_COMPARED,
        description=f"Names of gateways to try, at most {MAX_ATTEMPTS}; {MAX_COMPARED} with `strategy: least_cost`. "
        "Either these, `media` or `reject`.",
    )
    media: Annotated[MediaSection | None, BeforeValidator(values.read_app)] = Field(
        default=None, description="Hand the call over to a call script, on the nodes of the file's own `media`."
    )
    reject: Reject | None = Field(default=None, description="Refuse the call.")
    subscribers: bool = Field(
        default=False,
        description="`true`: call the phones of the subscriber whose name the number is, all at once; `rewrite` comes "
        "first. Instead of `gateways`.",
    )
    voicemail: Annotated[VoicemailSection | None, BeforeValidator(values.read_app)] = Field(
        default=None,
        description="With `gateways` or `subscribers`: the call script that takes the call when they found nobody; "
        "`{}` for the usual.",
    )
    callers: Listed[Annotated[str, PlainValidator(values.read_caller), Shown("beginning of a number")]] = Field(
        default=(),
        min_length=1,
        description="Only for callers whose number begins with one of these: the asserted number where the trunk "
        "is trusted with it, otherwise that of From.",
    )
    trunks: Listed[Name] = Field(default=(), min_length=1, description="Only for calls by one of these trunks.")
    tags: Listed[Name] = Field(
        default=(), min_length=1, description="Only for calls by a trunk that has every one of these tags."
    )
    times: Listed[WindowSection] = Field(default=(), min_length=1, description="Only at these times.")
    strategy: Literal["priority", "alternate", "weighted", "least_cost", "quality"] = Field(
        default="priority",
        description="`priority`: as listed; `alternate`: each call begins one gateway further than the last; "
        "`weighted`: drawn for each call, with the odds of `weights`; `least_cost`: the cheapest first, by their "
        "[rate sheets](rates.md); `quality`: the best first, by [their figures](gateways.md#quality). With `media` it "
        "is `weighted` unless given.",
    )
    weights: Annotated[
        dict[Name, Annotated[int, Field(ge=0, le=1000)]], Shown("mapping of gateway to number, 0 to 1000")
    ] = Field(
        default={},
        description="With `strategy: weighted`, the share of each gateway: `{carrier-a: 70, carrier-b: 30}`. One of "
        "weight 0 is tried only after all others.",
    )
    at_most: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ATTEMPTS,
        description=f"With `strategy: least_cost`, so many gateways are tried: the cheapest of those that may be "
        f"called. Otherwise {MAX_ATTEMPTS}.",
    )
    max_price: Annotated[int | None, PlainValidator(values.read_amount), Shown("amount")] = Field(
        default=None,
        description='With `strategy: least_cost`, leave gateways out that take more for a minute: `"0.05"`, in the '
        "file's `currency`.",
    )
    unrated: Literal["last", "left_out"] = Field(
        default="last",
        description="With `strategy: least_cost`, what becomes of gateways without a rate for the number: they come "
        "`last`, as listed, or are `left_out`.",
    )
    max_attempts: int | None = Field(
        default=None,
        ge=1,
        le=MAX_ATTEMPTS,
        description="At most this many attempts, going round the gateways again if need be; otherwise each "
        "gateway once.",
    )
    rewrite: Rewrite = Field(default=Rewrite(), description="Change of the called number, before the gateway's own.")
    retry: Retry = Field(
        default=Retry(),
        description="Changes to the table of causes. With `media` it is `{only: [no-reply, 503]}` unless given.",
    )
    post_dial_delay: Annotated[float, _duration(1, 180)] = Field(
        default=_ROUTE.post_dial_delay,
        description="In this time, over all attempts, some gateway must ring or answer.",
    )
    ring: Annotated[float, _duration(5, 300)] = Field(
        default=_ROUTE.ring,
        description="Ringing for this long, the call counts as unanswered: `20s` sends it to `voicemail` then.",
    )
    limits: RouteLimitsSection | None = Field(default=None, description="Of calls that take this route.")
    quality: QualitySection | None = Field(
        default=None, description="Gateways that carry calls badly are held back, whatever the strategy."
    )
    hook: Annotated[Name | None, BeforeValidator(values.read_off)] = Field(
        default=None,
        description="Name of the hook that is asked what becomes of a call; otherwise the file's own. `off`: none.",
    )
    media_relay: Literal["auto", "always"] = Field(
        default="auto", description="`always`: the sound of its calls goes through the media relay ([nat.md](nat.md))."
    )

    @model_validator(mode="after")
    def _goes_one_way(self) -> Self:
        ways = [key for key in ("gateways", "media", "reject") if getattr(self, key) is not None]
        ways += ["subscribers"] if self.subscribers else []
        if len(ways) != 1:
            both = f", not both {' and '.join(map(repr, ways))}" if ways else ""
            raise ValueError(f"needs one of 'gateways', 'media', 'subscribers' and 'reject'{both}")
        if self.media is not None and self.strategy == "least_cost":
            raise ValueError("media nodes cost nothing, so 'least_cost' means nothing in a route with 'media'")
        if self.media is not None and (self.strategy == "quality" or self.quality is not None):
            raise ValueError("media nodes have no figures, so 'quality' means nothing in a route with 'media'")
        apart = {"strategy", "weights", "max_attempts", "retry", "quality"} & self.model_fields_set
        if self.subscribers and apart:
            raise ValueError(f"a subscriber's phones are called all at once, so '{min(apart)}' means nothing here")
        if self.media is not None and "weights" in self.model_fields_set:
            raise ValueError("the weights of media nodes stand with the nodes, so 'weights' means nothing in a route")
        if self.media is not None and self.voicemail is not None:
            raise ValueError("a route with 'media' is at its script already, so 'voicemail' means nothing in it")
        idle = self.model_fields_set - {"name", "prefixes", "reject", *NARROWING}
        if self.reject is not None and idle:
            raise ValueError(f"a route with 'reject' calls nobody, so '{min(idle)}' means nothing in it")
        return self


class EmergencySection(Section):
    """Calls to emergency numbers. They pass blocklists and the refusal of anonymous callers, and take no route."""

    numbers: Listed[Digits] = Field(
        min_length=1, description='Numbers as they are dialled, on every trunk: `["112", "999"]`.'
    )
    gateways: Listed[Name] = Field(
        min_length=1, max_length=MAX_ATTEMPTS, description="Names of the gateways to try, in this order."
    )
    rewrite: Rewrite = Field(
        default=Rewrite(), description="Change of the number. That of the gateway is not made for these calls."
    )


class ThresholdSection(Section):
    """Counts within the guard's time at which something happens."""

    warn: int | None = Field(default=None, ge=1, le=1_000_000, description="An event tells of it, once in that time.")
    block: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Calls that the guard counts are refused from then on."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        return _rising(self, self.warn, self.block)


class CostSection(Section):
    """What calls cost within the guard's time, in the file's `currency`, at which something happens."""

    warn: Annotated[int | None, PlainValidator(values.read_amount), Shown("amount")] = Field(
        default=None, description="An event tells of it, once in that time."
    )
    block: Annotated[int | None, PlainValidator(values.read_amount), Shown("amount")] = Field(
        default=None, description="Calls that the guard counts are refused from then on."
    )

    @model_validator(mode="after")
    def _rises(self) -> Self:
        return _rising(self, self.warn, self.block)


S = TypeVar("S", bound=Section)


def _rising(section: S, warn: int | None, block: int | None) -> S:
    if warn is None and block is None:
        raise ValueError("guards nothing: give 'warn', 'block' or both")
    if warn is not None and block is not None and warn >= block:
        raise ValueError("'warn' is not lower than 'block'")
    return section


class GuardSection(Section):
    """Who calls how much, and when that is too much ([fraud.md](fraud.md)). Emergency calls are never counted."""

    per: Literal["subscriber", "trunk", "caller"] = Field(
        description="Who is counted, each by themselves: subscribers who proved who they are, trunks, or the numbers "
        "of callers."
    )
    prefixes: Listed[Annotated[str, PlainValidator(values.read_prefix), Shown("beginning of a number")]] = Field(
        default=("",), min_length=1, max_length=1000,
        description="Beginnings of the called numbers that count, as in a route. Otherwise all do.",
    )  # fmt: skip
    each: Literal["prefix"] | None = Field(
        default=None, description="`prefix`: each of `prefixes` is counted, and blocked, by itself; the longest counts."
    )
    within: Annotated[float, _duration(60, 7 * 86400)] = Field(
        default=86400.0, description="How long what was counted counts: a window that slides."
    )
    block_for: Annotated[float, _duration(0, 30 * 86400)] = Field(
        default=0.0, description="How long calls are refused; `0`: until somebody releases them."
    )
    calls: ThresholdSection | None = Field(default=None, description="Calls, answered or not.")
    minutes: ThresholdSection | None = Field(
        default=None, description="Minutes from answers on, those of calls that still run included."
    )
    destinations: ThresholdSection | None = Field(default=None, description="Different numbers that were called.")
    sequential: ThresholdSection | None = Field(
        default=None, description="Numbers that follow upon one another: the longest run of those that were called."
    )
    cost: CostSection | None = Field(
        default=None, description="What calls cost, where gateways have [rates](rates.md), running calls included."
    )

    @model_validator(mode="after")
    def _guards_something(self) -> Self:
        if not any(getattr(self, measure) for measure in MEASURES):
            raise ValueError(f"guards nothing: give one of {', '.join(MEASURES)}")
        if self.each and "" in self.prefixes:
            raise ValueError("'each: prefix' needs 'prefixes', without 'default'")
        return self


class Document(Section):
    """The keys at the top of the file."""

    strowger: Annotated[int, PlainValidator(values.read_schema_version), Shown("1")] = Field(
        description="Version of this format."
    )
    dialling_plans: dict[Name, DiallingPlan] = Field(default={}, description="Ways to write numbers, by name.")
    default_dialling: Name | None = Field(
        default=None,
        description="Name of the plan by which operators write numbers, in this file and in commands.",
    )
    trunks: dict[Name, TrunkSection] = Field(
        default={}, description="Where calls come from, by name. Calls from elsewhere are refused."
    )
    subscribers: SubscribersSection | None = Field(
        default=None, description="What holds for subscribers and their phones. Without it, nobody may register."
    )
    gateways: dict[Name, GatewaySection] = Field(default={}, description="Where calls go to, by name.")
    media: dict[Name, MediaNodeSection] = Field(
        default={},
        max_length=MAX_ATTEMPTS,
        description=f"Where call scripts run, by name; at most {MAX_ATTEMPTS}.",
    )
    retry_after_max: Annotated[float, _duration(0, 3600)] = Field(
        default=_POLICY.retry_after_max,
        description="The longest that a gateway's own Retry-After keeps it out of use.",
    )
    relay_away: Literal["refuse", "pass"] = Field(
        default="refuse",
        description="While the media relay is away, calls that need it are refused with 503, or `pass` without it. "
        "Emergency calls always pass.",
    )
    emergency: EmergencySection | None = Field(
        default=None, description="Which calls are emergency calls, and where they go."
    )
    fraud: dict[Name, GuardSection] = Field(default={}, description="Guards against toll fraud, by name.")
    currency: Annotated[str, _matching(CURRENCY, "a currency: three capital letters"), Shown("currency")] = Field(
        default=_POLICY.currency,
        description="In which prices are compared, as in `USD`. Needed where a route has `strategy: least_cost`.",
    )
    exchange: Annotated[
        dict[
            Annotated[str, _matching(CURRENCY, "a currency: three capital letters")],
            Annotated[int, PlainValidator(values.read_amount)],
        ],
        Shown("mapping of currency to amount"),
    ] = Field(
        default={},
        description='What one of another currency is worth in `currency`: `{EUR: "1.0855"}`. Gateways whose sheets are '
        "in yet another one count as without a rate.",
    )
    hooks: dict[Name, HookSection] = Field(default={}, description="Programs that routes may ask, by name.")
    hook: Name | None = Field(
        default=None,
        description="Name of the hook of all routes that do not name their own, but for those with `reject`.",
    )
    routes: Listed[RouteSection] = Field(
        default=(), description="Which called number goes where. Numbers that no route matches are refused."
    )


def section_in(annotation: Any) -> type[Section] | None:
    """The section that a field's type consists of: itself, optional, or as the items of a list or mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def keys_of(section: type[Section]) -> dict[str, FieldInfo]:
    """The keys of a section as they are written."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def section_at(path: Path) -> type[Section]:
    """The section whose keys stand at ``path`` in a document. Raises LookupError if there is none."""
    section: type[Section] = Document
    parts = iter(path)
    for part in parts:
        annotation = keys_of(section)[str(part)].annotation
        nested = section_in(annotation)
        if nested is None:
            raise LookupError(path)
        if get_origin(annotation) in (dict, tuple):
            next(parts, None)
        section = nested
    return section
