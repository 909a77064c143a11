"""Who a call says is calling, and how gateways are told: what the policy says of that, and numbers as they want them.

RFC 3323 (privacy), RFC 3325 (P-Asserted-Identity, P-Preferred-Identity); Remote-Party-ID is of an expired draft
(draft-ietf-sip-privacy-04) that is still spoken.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.nameaddr import NameAddr, listed
from model.numbers import Dialling

HEADERS = {"pai": "P-Asserted-Identity", "ppi": "P-Preferred-Identity", "rpid": "Remote-Party-ID"}
PASS, WITHHOLD, SHOW = "pass", "withhold", "show"
"Privacy is the gateway's to grant; is granted here; an emergency call has none."

AS_IT_CAME, E164, WITHOUT_PLUS, NATIONAL = "as_it_came", "e164", "e164_without_plus", "national"
GATEWAY = "gateway"
"The domain that is the gateway's own address."


@dataclass(frozen=True, slots=True)
class TrunkIdentity:
    """What is believed of who calls by a trunk, and which numbers the trunk may show."""

    believe: tuple[str, ...] = ("pai",)
    "Names of :data:`HEADERS`, the first that is there counts; of a trunk with ``trust_identity`` alone."
    numbers: tuple[str, ...] = ()
    "Normalised beginnings; empty: any."
    default: str = ""
    "Normalised number that stands in for one that may not be shown, or that is none; empty: the call is refused."


@dataclass(frozen=True, slots=True)
class Presentation:
    """How a gateway is told who calls."""

    privacy: str = WITHHOLD
    ":data:`PASS`, :data:`WITHHOLD` or :data:`SHOW`."
    headers: tuple[str, ...] = ("pai",)
    "Which of :data:`HEADERS` tell the number, besides From."
    number: str = AS_IT_CAME
    domain: str = ""
    "Host of From and the others; empty: as it came; :data:`GATEWAY`."
    diversion: tuple[str, ...] = ()
    "``diversion``, ``history-info``: what tells of forwards."
    connected: bool = True
    "Whether the caller is told who has answered (P-Asserted-Identity and Remote-Party-ID of replies)."
    dialling: Dialling = Dialling()
    "How :data:`NATIONAL` numbers are written."


@dataclass(frozen=True, slots=True)
class Diverted:
    """One diversion of a call by Strowger."""

    number: str
    "Who it was for, normalised."
    reason: str
    "Of :class:`model.causes.Reason`, or :data:`model.diversion.UNCONDITIONAL`."
    withheld: bool = False
    "Whether they withhold their number."


@dataclass(frozen=True, slots=True)
class Claims:
    """What few INVITEs say of who is calling, besides what all say (:class:`model.call.CallFacts`); text as it came."""

    privacy: str = ""
    "The Privacy header."
    asserted: tuple[str, ...] = ()
    "Users of P-Asserted-Identity behind the first, and of a subscriber's Remote-Party-ID."
    preferred: str = ""
    "User of P-Preferred-Identity."
    remote: str = ""
    "User of Remote-Party-ID with party=calling, or none."
    marks: str = ""
    "What of a call no proxy can change (Call-ID, From tag, Via), where the caller withholds their number."
    diverted: tuple[Diverted, ...] = ()
    "By whom here the call was diverted before; the first comes first."


NO_CLAIMS = Claims()


def privacy_values(header: str) -> frozenset[str]:
    """The values of a Privacy header (RFC 3323 section 4.2), in lower case."""
    return frozenset(value.strip().lower() for value in header.replace(",", ";").split(";") if value.strip())


def is_withheld(user: str, host: str) -> bool:
    """Whether From names nobody (RFC 3323 section 4.1.1.3)."""
    return user.lower() in ("", "anonymous") or host.lower() == "anonymous.invalid"


def asserted_users(header: str) -> tuple[str, ...]:
    """The users of P-Asserted-Identity or P-Preferred-Identity, as many as come."""
    return tuple(user for one in listed(header) if (user := one.user))


def calling_party(header: str) -> tuple[str, bool]:
    """The user of Remote-Party-ID who calls, and whether they withhold their number."""
    for one in listed(header):
        if one.param("party").lower() in ("", "calling"):
            return one.user, one.param("privacy").strip('"').lower() in ("full", "uri", "id", "user")
    return "", False


def calling_parties(header: str) -> tuple[str, ...]:
    """All users of Remote-Party-ID who are said to call."""
    found = (one for one in listed(header) if one.param("party").lower() in ("", "calling"))
    return tuple(one.user for one in found if one.user and not is_withheld(one.user, one.host))


def written(number: str, form: str, dialling: Dialling) -> str:
    """A normalised number as a gateway wants it; one that is not E.164 as it is."""
    if not number.startswith("+") or form not in (WITHOUT_PLUS, NATIONAL):
        return number
    digits = number[1:]
    if form == WITHOUT_PLUS:
        return digits
    code = dialling.country_code
    if code and digits.startswith(code):
        return dialling.national_prefix + digits[len(code) :]
    return dialling.international_prefixes[0] + digits if dialling.international_prefixes else number


def address(user: str, host: str, display: str = "") -> NameAddr:
    """Who calls, as a header has it; ``user`` is escaped already."""
    return NameAddr(display, f"sip:{user}@{host}", "")
