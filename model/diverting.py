"""Diversion (RFC 5806) and History-Info (RFC 7044) of a call that was forwarded here; pure.

:mod:`model.diversion` reads what others say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from model.causes import Reason
from model.diversion import UNCONDITIONAL
from model.identity import Diverted
from model.nameaddr import NameAddr, listed

# RFC 5806 section 4.
_REASONS = {
    Reason.BUSY: "user-busy",
    Reason.NO_ANSWER: "no-answer",
    Reason.UNREACHABLE: "unavailable",
    Reason.DO_NOT_DISTURB: "do-not-disturb",
    UNCONDITIONAL: "unconditional",
}
# RFC 4458 section 3.1, and RFC 7544 section 6.2 for what that has no cause for.
_CAUSES = {
    Reason.BUSY: 486,
    Reason.NO_ANSWER: 408,
    Reason.UNREACHABLE: 503,
    Reason.DO_NOT_DISTURB: 404,
    Reason.REJECTED: 603,
    UNCONDITIONAL: 302,
}
_ANSWERS = {Reason.BUSY: 486, Reason.NO_ANSWER: 408, Reason.UNREACHABLE: 480, Reason.REJECTED: 603}
_INDEX = re.compile(r"[0-9]+(\.[0-9]+)*", re.ASCII)
_NOBODY = "sip:anonymous@anonymous.invalid"

Uri = Callable[[str], str]
"Makes the URI of a number as the gateway wants it."


def diversion(diverted: Sequence[Diverted], uri: Uri, *, hide: bool) -> list[str]:
    """The values of Diversion, the newest first; ``hide``: the gateway is not to know numbers that are withheld."""
    return [
        f"<{_NOBODY if one.withheld and hide else uri(one.number)}>;reason={_REASONS.get(one.reason, 'unknown')}"
        f";counter=1;privacy={'full' if one.withheld else 'off'};screen=yes"
        for one in reversed(diverted)
    ]


def history_info(
    diverted: Sequence[Diverted], target: str, uri: Uri, known: Sequence[NameAddr] = (), *, hide: bool
) -> list[str]:
    """The values of History-Info that follow those ``known``, down to the number ``target``."""
    if not diverted:
        return []
    last = next((index for one in reversed(known) if _INDEX.fullmatch(index := one.param("index"))), "")
    lines: list[str] = []
    told = bool(last) and known[-1].user.lstrip("+") == diverted[0].number.lstrip("+")
    index = "1" if not last else last if told else f"{last}.1"
    for place, number in enumerate((*(one.number for one in diverted), target)):
        parameters, parent = "", index
        if place:
            before = diverted[place - 1]
            index = f"{index}.1"
            # RFC 7044 section 10.4: another user, by the entry whose target was changed.
            parameters = f";mp={parent}"
            cause = f";cause={_CAUSES.get(before.reason, 404)}"
        else:
            cause = ""
        own = diverted[place] if place < len(diverted) else None
        if place or not told:
            lines.append(f"<{_entry(number, own, uri, cause, hide)}>;index={index}{parameters}")
    return lines


def _entry(number: str, own: Diverted | None, uri: Uri, cause: str, hide: bool) -> str:
    if own is None:
        return uri(number) + cause
    withheld = own.withheld
    # RFC 7044 section 10.1.2: withheld, an entry says so as long as it names somebody, and names nobody outside.
    headers = ["Privacy=history"] if withheld else []
    if own.reason in _ANSWERS:
        headers.insert(0, f"Reason=SIP%3Bcause%3D{_ANSWERS[Reason(own.reason)]}")
    base = _NOBODY if withheld and hide else uri(number)
    return base + cause + ("?" + "&".join(headers) if headers else "")


def kept(header: str, *, hide: bool) -> list[NameAddr]:
    """The entries of either header that a trusted peer sent, without those that ``hide`` keeps from the gateway."""
    return [one for one in listed(header) if not (hide and _is_private(one))]


def _is_private(one: NameAddr) -> bool:
    # RFC 5806 section 4; RFC 7044 section 10.1.
    said = one.param("privacy").strip('"').lower()
    escaped = re.search(r"[?&]privacy=([^&]*)", one.uri, re.IGNORECASE)
    return said in ("full", "name", "uri") or (escaped is not None and escaped[1].lower() != "none")
