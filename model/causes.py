"""What a failed attempt means: the table that retries are keyed on.

The SIP status speaks first. Where it is a status that gateways use for anything (403, 404, 480, 500, 503 ...) the
Q.850 cause of the Reason header says more (RFC 6432), and its location tells the called user's own refusal from the
network's (RFC 8606). What is left falls to the default of its status class.

Sources: RFC 3261 section 21, RFC 3398 section 8.2.6, RFC 4497, ITU-T Q.850, RFC 6432, RFC 8606.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """The classes of failure."""

    NO_REPLY = "no-reply"
    SERVER_FAULT = "server-fault"
    CAPACITY = "capacity"
    GATEWAY_POLICY = "gateway-policy"
    AMBIGUOUS = "ambiguous"
    LOOP = "loop"
    FINAL = "final"
    CANCELLED = "cancelled"
    IDENTITY = "identity"
    REDIRECT = "redirect"


class Reason(StrEnum):
    """Why nobody took a call, as voicemail tells them apart."""

    NO_ANSWER = "no-answer"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    DO_NOT_DISTURB = "do-not-disturb"
    REJECTED = "rejected"
    "The called user said no."
    UNALLOCATED = "unallocated"
    "Nobody has the number."


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a cause class leads to unless a route or gateway says otherwise."""

    retry: bool
    "Whether the next gateway is tried."
    same_gateway: bool = True
    "Whether the gateway may be tried again later in the same call."


TREATMENTS: dict[Cause, Treatment] = {
    Cause.NO_REPLY: Treatment(retry=True),
    Cause.SERVER_FAULT: Treatment(retry=True),
    Cause.CAPACITY: Treatment(retry=True),
    Cause.GATEWAY_POLICY: Treatment(retry=True),
    Cause.AMBIGUOUS: Treatment(retry=False),
    Cause.LOOP: Treatment(retry=True, same_gateway=False),
    Cause.FINAL: Treatment(retry=False),
    Cause.CANCELLED: Treatment(retry=False),
    Cause.IDENTITY: Treatment(retry=False),
    Cause.REDIRECT: Treatment(retry=False),
}

_BY_STATUS: dict[int, Cause] = {
    401: Cause.GATEWAY_POLICY,
    402: Cause.GATEWAY_POLICY,
    403: Cause.GATEWAY_POLICY,
    404: Cause.AMBIGUOUS,
    407: Cause.GATEWAY_POLICY,
    408: Cause.NO_REPLY,
    410: Cause.FINAL,
    428: Cause.IDENTITY,
    429: Cause.IDENTITY,
    436: Cause.IDENTITY,
    437: Cause.IDENTITY,
    438: Cause.IDENTITY,
    477: Cause.NO_REPLY,
    480: Cause.AMBIGUOUS,
    482: Cause.LOOP,
    483: Cause.LOOP,
    484: Cause.FINAL,
    486: Cause.FINAL,
    487: Cause.CANCELLED,
    488: Cause.AMBIGUOUS,
}
_BY_STATUS_CLASS: dict[int, Cause] = {
    3: Cause.REDIRECT,
    4: Cause.AMBIGUOUS,
    5: Cause.SERVER_FAULT,
    6: Cause.FINAL,
}
# A gateway sends these for its own reasons and the network's alike, so the Reason header may refine them.
_UNSPECIFIC = frozenset({403, 404, 408, 480, 488})

_BY_Q850: dict[int, Cause] = {
    **dict.fromkeys((102,), Cause.NO_REPLY),
    **dict.fromkeys((27, 38, 41), Cause.SERVER_FAULT),
    **dict.fromkeys((34, 42, 44, 47), Cause.CAPACITY),
    **dict.fromkeys((57,), Cause.GATEWAY_POLICY),
    **dict.fromkeys((1, 2, 3, 18, 19, 20, 88), Cause.AMBIGUOUS),
    **dict.fromkeys((17, 22, 28), Cause.FINAL),
}
_CALL_REJECTED = 21
# RFC 8606 section 3: U is the user, RPN and LPN the private network in front of them.
_USER_LOCATIONS = frozenset({"U", "RPN", "LPN"})

# ITU-T Q.850 names as FreeSWITCH spells them (switch_types.h), which is how operators write them.
Q850_NAMES: dict[str, int] = {
    "UNALLOCATED_NUMBER": 1,
    "NO_ROUTE_TRANSIT_NET": 2,
    "NO_ROUTE_DESTINATION": 3,
    "NORMAL_CLEARING": 16,
    "USER_BUSY": 17,
    "NO_USER_RESPONSE": 18,
    "NO_ANSWER": 19,
    "SUBSCRIBER_ABSENT": 20,
    "CALL_REJECTED": 21,
    "NUMBER_CHANGED": 22,
    "DESTINATION_OUT_OF_ORDER": 27,
    "INVALID_NUMBER_FORMAT": 28,
    "NORMAL_UNSPECIFIED": 31,
    "NORMAL_CIRCUIT_CONGESTION": 34,
    "EXCHANGE_ROUTING_ERROR": 25,
    "NETWORK_OUT_OF_ORDER": 38,
    "NORMAL_TEMPORARY_FAILURE": 41,
    "SWITCH_CONGESTION": 42,
    "REQUESTED_CHAN_UNAVAIL": 44,
    "OUTGOING_CALL_BARRED": 52,
    "INCOMING_CALL_BARRED": 54,
    "BEARERCAPABILITY_NOTAUTH": 57,
    "BEARERCAPABILITY_NOTAVAIL": 58,
    "SERVICE_UNAVAILABLE": 63,
    "SERVICE_NOT_IMPLEMENTED": 79,
    "INCOMPATIBLE_DESTINATION": 88,
    "RECOVERY_ON_TIMER_EXPIRE": 102,
    "INTERWORKING": 127,
}

# The cause FreeSWITCH gives a SIP status that came without one (mod_sofia, sofia_glue.c), so that a rule written
# with cause names means the same here as it did in a FreeSWITCH script.
_Q850_OF_STATUS: dict[int, int] = {
    200: 16,
    401: 21,
    402: 21,
    403: 21,
    407: 21,
    603: 21,
    608: 21,
    404: 1,
    485: 3,
    604: 3,
    408: 102,
    504: 102,
    410: 22,
    413: 127,
    414: 127,
    416: 127,
    420: 127,
    421: 127,
    423: 127,
    505: 127,
    513: 127,
    480: 18,
    400: 41,
    481: 41,
    500: 41,
    503: 41,
    486: 17,
    600: 17,
    484: 28,
    488: 88,
    606: 88,
    502: 38,
    405: 63,
    406: 79,
    415: 79,
    501: 79,
    482: 25,
    483: 25,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """How one attempt ended."""

    status: int
    "SIP status of the winning reply; 408 when nobody replied, 477 when nothing could be sent."
    local: bool = False
    "Made here (a timer, a transport) and not received from the gateway."
    q850: int | None = None
    "Cause of the reply's Reason header."
    location: str = ""
    "Location of that cause (RFC 8606), upper case."
    ringing: bool = False
    "A 180 to 183 had come on this attempt."
    retry_after: float = 0.0
    "Seconds; 0 means the reply had none."
    do_not_disturb: bool = False
    "The reply says so in words."
    phrase: str = ""
    "Of the reply's status line; read only where the call may go to voicemail."
    relay: bool = False
    "Nothing was sent, since the media relay that it needs is away: it says nothing of the gateway."

    def __str__(self) -> str:
        if self.relay:
            return "needs the media relay, which is away"
        text = {408: "no reply", 477: "could not be sent"}[self.status] if self.local else str(self.status)
        cause = f", Q.850 cause {self.q850}" if self.q850 is not None else ""
        return text + cause + (" after ringing" if self.ringing else "") + ", do not disturb" * self.do_not_disturb


def classify(failure: Failure) -> Cause:
    """The cause class of a failed attempt."""
    status = failure.status
    if failure.q850 is not None and (status in _UNSPECIFIC or _is_generic(status)):
        refined = _of_q850(failure.q850, failure.location, status)
        if refined is not None:
            return refined
    return _BY_STATUS.get(status) or _BY_STATUS_CLASS.get(status // 100, Cause.SERVER_FAULT)


def _is_generic(status: int) -> bool:
    return status // 100 == 5 or (status // 100 == 4 and status not in _BY_STATUS)


def _of_q850(cause: int, location: str, status: int) -> Cause | None:
    if cause == _CALL_REJECTED:
        if location:
            return Cause.FINAL if location in _USER_LOCATIONS else Cause.GATEWAY_POLICY
        # No location: a 403 is the gateway speaking; otherwise assume that the person said no.
        return Cause.GATEWAY_POLICY if status == 403 else Cause.FINAL
    return _BY_Q850.get(cause)


def hangup_cause(failure: Failure) -> int:
    """The Q.850 cause of a failure: the Reason header's, or else what FreeSWITCH makes of the status."""
    if failure.q850 is not None:
        return failure.q850
    return _Q850_OF_STATUS.get(failure.status, 31)


_UNREACHABLE = frozenset({Cause.NO_REPLY, Cause.SERVER_FAULT, Cause.CAPACITY})
_DECLINED = 603
_REASON_OF_Q850: dict[int, Reason] = {
    **dict.fromkeys((1, 2, 3, 22, 28), Reason.UNALLOCATED),
    17: Reason.BUSY,
    19: Reason.NO_ANSWER,
    20: Reason.UNREACHABLE,
}
_REASON_OF_STATUS: dict[int, Reason] = {
    **dict.fromkeys((404, 410, 484, 485, 604), Reason.UNALLOCATED),
    **dict.fromkeys((486, 600), Reason.BUSY),
}


def reason_of(failure: Failure) -> Reason | None:
    """Why nobody took the call; None where the failure says nothing of the called user (403, 488, a redirection)."""
    cause = classify(failure)
    if cause in _UNREACHABLE:
        # A gateway that lets a phone ring and then says 408 tells of the phone, not of itself.
        return Reason.NO_ANSWER if failure.ringing and failure.status == 408 else Reason.UNREACHABLE
    if cause not in (Cause.AMBIGUOUS, Cause.FINAL):
        return None
    if failure.do_not_disturb:
        return Reason.DO_NOT_DISTURB
    unspecific = failure.status in _UNSPECIFIC or failure.status == _DECLINED or _is_generic(failure.status)
    q850 = failure.q850 if unspecific else None
    if q850 in _REASON_OF_Q850:
        return _REASON_OF_Q850[q850]
    if failure.status == _DECLINED or q850 == _CALL_REJECTED:
        return _declined(failure)
    if failure.status == 480 or q850 == Q850_NAMES["NO_USER_RESPONSE"]:
        # RFC 3261 section 21.4.18: not logged in; RFC 3398 section 8.2.6.1 makes it of cause 19, no answer, too.
        return Reason.NO_ANSWER if failure.ringing else Reason.UNREACHABLE
    return _REASON_OF_STATUS.get(failure.status)


def _declined(failure: Failure) -> Reason | None:
    if failure.location and failure.location not in _USER_LOCATIONS:
        # Analytics of the network, which the called user knows nothing of.
        return None
    # Nobody can have said no before the phone rang: its settings have.
    return Reason.REJECTED if failure.ringing else Reason.DO_NOT_DISTURB


_DO_NOT_DISTURB = re.compile(r"\bdnd\b|do[ _-]?not[ _-]?disturb", re.IGNORECASE)


def says_do_not_disturb(text: str) -> bool:
    """Whether a reply's reason phrase or Reason header names do not disturb: SIP has no other word for it."""
    return _DO_NOT_DISTURB.search(text[:_REASON_MAX_LENGTH]) is not None


# Longer than any honest Reason header; a quoted text without its end takes time by the square of its length.
_REASON_MAX_LENGTH = 1000
# RFC 3326: Reason = protocol *(";" name ["=" value]); several values may share one header.
_REASON_VALUE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_REASON_PARAM = re.compile(r';\s*([\w-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]+)')


def parse_reason(header: str) -> tuple[int | None, str]:
    """The Q.850 cause and its location in the value of Reason headers (joined by commas).

    Returns ``(None, "")`` where there is none; never raises, since the text comes from the network.
    """
    for cause, location in _q850_reasons(header):
        return cause, location
    return None, ""


def _q850_reasons(header: str) -> Iterator[tuple[int, str]]:
    for value in _REASON_VALUE.findall(header[:_REASON_MAX_LENGTH]):
        if not value.strip().upper().startswith("Q.850"):
            continue
        params = {name.lower(): text.strip('"') for name, text in _REASON_PARAM.findall(value)}
        cause = params.get("cause", "")
        if cause.isascii() and cause.isdigit() and len(cause) <= 3:
            yield int(cause), params.get("location", "").upper()
