"""Whom the caller of a diverted call wanted: Diversion (RFC 5806) and History-Info (RFC 7044, RFC 4244); pure.

RFC 7544 has History-Info as the solution and Diversion as what is in use until then. So History-Info is believed where
it tells of a diversion, and Diversion where it does not: it may have been begun only behind who diverted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from model.causes import Reason
from model.nameaddr import split, unquoted_at

UNCONDITIONAL = "unconditional"
"Diverted for no reason that the called user's phone gave."
# Longer than any honest header, and than a path has proxies; what is beyond is not read.
_MAX_LENGTH = 4096
_MAX_ENTRIES = 32

# RFC 5806 section 4; every other reason is unconditional, as far as a greeting goes.
_OF_DIVERSION: Mapping[str, str] = {
    "user-busy": Reason.BUSY,
    "no-answer": Reason.NO_ANSWER,
    "unavailable": Reason.UNREACHABLE,
    "out-of-service": Reason.UNREACHABLE,
    "do-not-disturb": Reason.DO_NOT_DISTURB,
}
# RFC 4458 section 3.1 and RFC 7544 section 6.2, and with them the statuses that an escaped Reason may have.
_OF_CAUSE: Mapping[str, str] = {
    "408": Reason.NO_ANSWER,
    "486": Reason.BUSY,
    "600": Reason.BUSY,
    "503": Reason.UNREACHABLE,
    "603": Reason.REJECTED,
}
_SIP_CAUSE = re.compile(r"\s*SIP\s*;[^,]{0,200}?\bcause\s*=\s*([0-9]{3})\b", re.IGNORECASE)
_URI = re.compile(r'\s*(?:sips?:(?:([^@<>"\s]*)@)?([^;?<>\s]*)|tel:([^@?<>"\s]*))([^<>]*)', re.IGNORECASE)
_INDEX = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,30}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diversion:
    """One diversion of a call."""

    number: str
    "User part of whom it was for, as written; empty where that is withheld or no number."
    reason: str
    ":data:`UNCONDITIONAL`, or a value of :class:`model.causes.Reason`."


@dataclass(frozen=True, slots=True)
class _Entry:
    """A URI with its parameters, as both headers have them; names in lower case."""

    user: str
    uri_params: Mapping[str, str] = field(default_factory=dict)
    uri_headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)


def first_diversion(diversion: str, history: str) -> Diversion | None:
    """The first diversion of a call, from the values of both headers, each joined by commas; None if there is none.

    Never raises: what cannot be read is left out.
    """
    return _of_history(history) or _of_diversion(diversion)


def _of_diversion(header: str) -> Diversion | None:
    entries = list(_entries(header))
    if not entries:
        return None
    # RFC 5806 section 4: who diverts puts an entry in front, so the last one came first.
    original = entries[-1]
    return Diversion(
        number=original.user,
        reason=_OF_DIVERSION.get(original.params.get("reason", "").lower(), UNCONDITIONAL),
    )


def _of_history(header: str) -> Diversion | None:
    entries = {index: entry for entry in _entries(header) if (index := _index(entry.params.get("index", "")))}
    for index in sorted(entries):
        # RFC 7044 section 5: mp says whose change of target this entry is of; RFC 4458 says why, and may stand alone.
        if "mp" in entries[index].params or "cause" in entries[index].uri_params:
            source = _source(entries, index)
            return _diverted(source, entries[index]) if source is not None else None
    # RFC 4244 has neither: who failed has a reason, and another target after it.
    failed = [index for index in sorted(entries) if "reason" in entries[index].uri_headers]
    if failed and (target := entries[max(entries)]).user != entries[failed[0]].user:
        return _diverted(entries[failed[0]], target)
    return None


def _source(entries: Mapping[tuple[int, ...], _Entry], index: tuple[int, ...]) -> _Entry | None:
    """The entry that the one at ``index`` was diverted from, or where that is a phone's contact, the number behind."""
    before = [other for other in sorted(entries) if other < index]
    source = next(
        (place for place in (_index(entries[index].params.get("mp", "")), index[:-1]) if place in before),
        before[-1] if before else (),
    )
    for _ in entries:
        behind = _index(entries[source].params.get("rc", "")) if source in entries else ()
        if behind not in entries or behind >= source:
            break
        source = behind
    return entries.get(source)


def _diverted(source: _Entry, target: _Entry) -> Diversion:
    cause = target.uri_params.get("cause", "")
    if cause not in _OF_CAUSE:
        found = _SIP_CAUSE.match(source.uri_headers.get("reason", ""))
        cause = found[1] if found and not cause else cause
    return Diversion(number=source.user, reason=_OF_CAUSE.get(cause, UNCONDITIONAL))


def _index(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("."))) if _INDEX.fullmatch(text) else ()


def _entries(header: str) -> Iterator[_Entry]:
    """The entries of a header, but for those that cannot be read."""
    for number, value in enumerate(split(header[:_MAX_LENGTH], ",")):
        if number >= _MAX_ENTRIES:
            return
        # Between angle brackets all is the URI's; without them, the parameters are the header's (RFC 3261 section 20).
        _, bracket, rest = unquoted_at(value, "<")
        uri, closed, after = rest.partition(">") if bracket else unquoted_at(value, ";")
        found = _URI.match(uri)
        if found is None or (bracket and not closed):
            continue
        params = _params(after if bracket else closed + after)
        yield _entry(found, params)


def _entry(found: re.Match[str], params: Mapping[str, str]) -> _Entry:
    user, host, tel, rest = found[1] or "", found[2] or "", found[3], found[4]
    if tel is not None:
        # A tel URI has its parameters behind the number.
        user, _, behind = tel.partition(";")
        rest = ";" + behind + rest
    elif host.lower().endswith(".invalid"):
        # RFC 3323 section 4.1.1.3 and RFC 7544 section 6.1: who it was is withheld, or not known.
        user = ""
    uri_params, _, uri_headers = rest.partition("?")
    headers = (part.partition("=") for part in uri_headers.split("&"))
    return _Entry(
        user=user.partition(":")[0],
        uri_params=_params(uri_params),
        uri_headers={name.lower(): unquote(value) for name, _, value in headers if name},
        params=params,
    )


def _params(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in split(text, ";"))
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in parts if name.strip()}
