"""The small values of a policy file, each with the function that reads it.

Every reader takes what YAML gave. It raises ValueError with a message for the operator, and pydantic's error
for a value that is not text where text was expected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic_core import PydanticCustomError

from model.causes import Q850_NAMES, Cause, Reason
from model.narrowing import is_zone
from model.policy import PENALTIES, SIP_PORT, Place
from model.rates import parse_amount
from policyfile.patterns import check_pattern
from policyfile.problems import did_you_mean, quoted

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
HOST = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]")
REALM = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,63}")
REFUSAL_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# The phrase stands in the status line, and quoted in the Reason header (RFC 3326).
PHRASE = re.compile(r"[\x20-\x7e]{1,64}")
# What may stand before the @ of a URI unescaped (RFC 3261 section 25.1, user), and # as carriers use it.
USER_PART = re.compile(r"[0-9A-Za-z+*#._-]{0,32}")
# The same, and what else names an account, but for what a quoted string or a URI would have to escape.
SIP_USER = re.compile(r"[0-9A-Za-z+*._!~'()-]{1,64}")
HOST = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]")
REPLACEMENT = re.compile(r"(?:[0-9A-Za-z+*#._-]|\\[1-9]|\\g<\w{1,32}>){0,64}", re.ASCII)
# One line. SIP does not keep spaces at the ends of a header.
ARGUMENTS = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,254}[\x21-\x7e])?")
COUNTRY_CODE = re.compile(r"[1-9][0-9]{0,2}")
DIGITS = re.compile(r"[0-9]{1,8}")
TRUNK_CODE = re.compile(r"[0-9]{0,8}")

DEFAULT_PORT = SIP_PORT
# What a gateway may list; more of them may stand behind a name.
MAX_PLACES = 10
SCHEMA_VERSION = 1

_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|s|m|h)", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ZONE = re.compile(r"[A-Za-z0-9+_-]{1,32}(?:/[A-Za-z0-9+_-]{1,32}){0,2}")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|24:00", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_BRACKETED = re.compile(r"\[([^\]]*)\](?::(.*))?", re.DOTALL)
# RFC 1123 section 2.1. The last label begins with a letter, or an address with a slip in it would be a name.
_HOST_NAME = re.compile(
    r"(?:[0-9a-z](?:[0-9a-z-]{0,61}[0-9a-z])?\.)*[a-z](?:[0-9a-z-]{0,61}[0-9a-z])?\.?", re.IGNORECASE | re.ASCII
)
_LONGEST_NAME = 253
_STATUS = re.compile(r"[3-6][0-9][0-9]")
_Q850 = re.compile(r"q850:([1-9][0-9]{0,2})")
_CANCELLED = frozenset({Cause.CANCELLED.value, "487", "ORIGINATOR_CANCEL"})
_RETRYABLE = tuple(cause.value for cause in Cause if cause is not Cause.CANCELLED)


def text(value: object) -> str:
    """``value`` if it is text."""
    if not isinstance(value, str):
        # The name pydantic uses, so that one explanation serves its own checks and these.
        raise PydanticCustomError("string_type", "should be text")
    return value


def matching(pattern: re.Pattern[str], expected: str) -> Callable[[object], str]:
    """A reader of texts that match ``pattern`` as a whole; ``expected`` says what such a text is."""

    def read(value: object) -> str:
        if not pattern.fullmatch(text(value)):
            raise ValueError(f"{quoted(value)} is not {expected}")
        return text(value)

    return read


def read_schema_version(value: object) -> int:
    """The version of the file's own format."""
    if isinstance(value, bool) or value != SCHEMA_VERSION:
        raise ValueError(f"should be {SCHEMA_VERSION}, the version of the policy format that this program reads")
    return SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Duration:
    """A reader of durations: seconds, or a number with its unit. Comes back in seconds."""

    shortest: float
    "Seconds."
    longest: float
    "Seconds."

    def __call__(self, value: object) -> float:
        seconds = _seconds(value)
        if not self.shortest <= seconds <= self.longest:
            raise ValueError(f"should be {self}")
        return seconds

    def __str__(self) -> str:
        return f"{written_seconds(self.shortest)} to {written_seconds(self.longest)}"


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{quoted(value)} is not a duration: write seconds, or a number with ms, s, m or h")
    return float(match[1]) * _SECONDS[match[2]]


def written_seconds(seconds: float) -> str:
    """A duration as operators write it."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds / 60:g}m" if seconds and seconds % 60 == 0 else f"{seconds:g}s"


def read_places(value: object) -> tuple[Place, ...]:
    """Where a server is: ``IP``, ``IP:port``, ``[IPv6]``, ``NAME`` or ``NAME:port``, or a list of these."""
    if isinstance(value, list):
        if not 1 <= len(value) <= MAX_PLACES:
            raise ValueError(f"should have 1 to {MAX_PLACES} addresses")
        places = tuple(map(read_place, value))
        if len(set(places)) < len(places):
            raise ValueError("has the same address twice")
        return places
    return (read_place(value),)


def read_place(value: object) -> Place:
    """``IP``, ``IP:port``, ``[IPv6]``, ``[IPv6]:port``, ``NAME`` or ``NAME:port``."""
    written = text(value)
    bracketed = _BRACKETED.fullmatch(written)
    if bracketed is not None:
        host = _ip(bracketed[1], written)
        if host.version != 6:
            raise ValueError(f"only an IPv6 address stands in brackets: write {host}:port")
        return Place(f"[{host}]", _port(bracketed[2]))
    host_text, _, port = written.partition(":")
    if ":" in port:
        raise ValueError(f"{quoted(written)}: write an IPv6 address in brackets, as in [2001:db8::1]:5060")
    if _is_name(host_text):
        return Place(host_text.lower().removesuffix("."), _port(port) if ":" in written else 0)
    return Place(str(_ip(host_text, written)), _port(port if ":" in written else None))


def _is_name(text: str) -> bool:
    return _HOST_NAME.fullmatch(text) is not None and len(text) <= _LONGEST_NAME


def _ip(host: str, written: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{quoted(written)} does not begin with an IP address or a host name") from None
    if address.is_unspecified or address.is_multicast or "%" in host:
        raise ValueError(f"{quoted(written)} is not the address of one host")
    return address


def _port(written: str | None) -> int:
    if written is None:
        return DEFAULT_PORT
    if not (re.fullmatch(r"[1-9][0-9]{0,4}", written, re.ASCII) and int(written) < 65536):
        raise ValueError(f"{quoted(written)} is not a port: write a number from 1 to 65535")
    return int(written)


def read_app(value: object) -> object:
    """``NAME`` for ``{app: NAME}``; anything else as it is."""
    return {"app": value} if isinstance(value, str) else value


def read_reason(value: object) -> str:
    """Why nobody took a call."""
    reason = text(value)
    known = tuple(item.value for item in Reason)
    if reason not in known:
        raise ValueError(f"{quoted(reason)} is none of {', '.join(known)}{did_you_mean(reason, known)}")
    return reason


def read_penalty_kind(value: object) -> str:
    """A kind of failure that may speak of a gateway's health."""
    kind = text(value)
    if kind not in PENALTIES:
        raise ValueError(f"{quoted(kind)} is none of {', '.join(PENALTIES)}{did_you_mean(kind, tuple(PENALTIES))}")
    return kind


def read_off(value: object) -> object:
    """None for ``off``, which YAML 1.1 reads as false; anything else as it is."""
    return None if value is False or value == "off" else value


def read_source(value: object) -> str:
    """A network in CIDR notation, one IP address, or a host name; addresses come back in CIDR notation."""
    written = text(value)
    return written.lower().removesuffix(".") if _is_name(written) else read_network(value)


def read_network(value: object) -> str:
    """A network in CIDR notation, or one IP address; comes back in CIDR notation."""
    written = text(value)
    try:
        interface = ipaddress.ip_interface(written)
    except ValueError:
        raise ValueError(
            f"{quoted(written)} is no IP address, no network such as 192.0.2.0/24, and no host name"
        ) from None
    if "%" in written:
        raise ValueError(f"{quoted(written)} has a zone, which the source of a request has not")
    if interface.ip != interface.network.network_address:
        raise ValueError(f"{quoted(written)} lies within a network: write {interface.network} or {interface.ip}")
    return str(interface.network)


def read_retry_item(value: object) -> str:
    """A cause class, a SIP status, or a Q.850 cause by name or as ``q850:N``.

    Comes back as :class:`model.policy.RetryRule` wants it: names of Q.850 causes as ``q850:N``.
    """
    item = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)
    if item in _CANCELLED:
        raise ValueError(f"{item} cannot be retried: the caller hung up, so nobody is left to call for")
    if item in Q850_NAMES:
        return f"q850:{Q850_NAMES[item]}"
    q850 = _Q850.fullmatch(item)
    if item in _RETRYABLE or _STATUS.fullmatch(item) or (q850 is not None and int(q850[1]) <= 127):
        return item
    raise ValueError(
        f"{quoted(value)} is not a cause class, a SIP status from 300 to 699, a Q.850 cause name or q850:1 "
        f"to q850:127{did_you_mean(item, (*_RETRYABLE, *Q850_NAMES))}"
    )


def read_pattern(value: object) -> str:
    """A regular expression that no number can keep busy."""
    pattern = text(value)
    if not pattern:
        raise ValueError("should not be empty")
    check_pattern(pattern)
    return pattern


def read_url(value: object) -> str:
    """An absolute URL of HTTP, without a password in it."""
    url = text(value)
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound or not re.fullmatch(r"[\x21-\x7e]{1,512}", url):
        raise ValueError(f"{quoted(url)} is not a URL such as http://192.0.2.1:8080/calls")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("should have no user, password or fragment in it: questions are signed by 'secret'")
    return url


def read_phrase(value: object) -> str:
    """A SIP reason phrase."""
    phrase = text(value)
    if not PHRASE.fullmatch(phrase) or any(char in phrase for char in "\"'\\"):
        raise ValueError(f"{quoted(phrase)} should be 1 to 64 printable ASCII characters without quotes or backslashes")
    return phrase


def read_prefix(value: object) -> str:
    """The beginning of a number as operators write it; ``default`` and the empty text match every number."""
    prefix = text(value)
    return "" if prefix == "default" else prefix


def read_caller(value: object) -> str:
    """The beginning of a caller's number as operators write it."""
    prefix = text(value)
    if prefix in ("", "default"):
        raise ValueError("every caller matches: leave 'callers' out")
    return prefix


def read_domain(value: object) -> str:
    """The host of addresses: a name, an IP address, or the word ``gateway``."""
    host = text(value)
    if not HOST.fullmatch(host):
        raise ValueError(f"{quoted(host)} is no host: a name or IPv4 address, or [IPv6]")
    return host


def read_amount(value: object) -> int:
    """An amount of money above 0, as :mod:`model.rates` has it; a number of YAML is read as it is written there."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    amount = parse_amount(repr(value) if isinstance(value, float) else str(value) if plain else text(value))
    if not amount:
        raise ValueError("should be more than 0")
    return amount


def read_percent(value: object) -> float:
    """A share in percent, above 0 and at most 100."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 100:
        raise ValueError("should be a number of percent, above 0 and at most 100")
    return float(value)


def read_zone(value: object) -> str:
    """The name of a time zone that this machine knows."""
    name = text(value)
    if not (_ZONE.fullmatch(name) and is_zone(name)):
        raise ValueError(
            f"{quoted(name)} is not a time zone such as Europe/London{did_you_mean(name, available_timezones())}"
        )
    return name


def read_days(value: object) -> tuple[int, ...]:
    """``mon`` or ``mon-fri``, as days of the week from 0 for Monday; ``fri-mon`` goes over the week's end."""
    first, dash, last = text(value).partition("-")
    if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
        raise ValueError(f"{quoted(value)} is not a day or range of days: write mon, or mon-fri")
    begin = WEEKDAYS.index(first)
    length = (WEEKDAYS.index(last) - begin) % 7 if dash else 0
    return tuple((begin + day) % 7 for day in range(length + 1))


def read_clock(value: object) -> int:
    """``09:00``, as minutes after midnight; ``24:00`` is the end of the day."""
    written = text(value)
    match = _CLOCK.fullmatch(written)
    if match is None:
        raise ValueError(f'{quoted(written)} is not a time of day: write "09:00", or "24:00" for the end of the day')
    return int(match[1]) * 60 + int(match[2]) if match[1] else 24 * 60


def read_date(value: object) -> str:
    """``2026-12-24``."""
    written = text(value)
    try:
        if not _DATE.fullmatch(written):
            raise ValueError
        date.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{quoted(written)} is not a date such as 2026-12-24") from None
    return written
