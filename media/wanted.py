"""Which script a call is for, and what proves that.

A call that Kamailio handed over says so in its headers, with a token. A call that an operator's own dialplan sends
names its script in the channel variable ``strowger_script``, which nobody outside can set: what a peer sends becomes
variables that begin with ``sip_``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from media.esl.message import Event
from model.handover import HEADERS, PREFIX, Handover, HandoverError, HandoverForged, encoded

SCRIPT, ARGS, DETACHED = "strowger_script", "strowger_args", "strowger_detached"
"Channel variables of the dialplan; the first may be a number, too."
_TRUE = ("true", "yes", "on", "1")
_NAMES = tuple((name.removeprefix(PREFIX).lower(), name) for name in HEADERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a call asks for."""

    key: str
    "Name or number of a script."
    args: str = ""
    detached: bool = False
    "Whether the dialplan goes on while the script runs."
    handover: Handover | None = None
    "What the SIP tier says of the call; None where it says nothing, or not any more."


def wanted(channel: Event, secret: bytes, now: float) -> Wanted:
    """What the call of ``channel`` asks for at Unix time ``now``. Raises :class:`HandoverError`."""
    told = channel.variables(f"sip_h_{PREFIX}")
    headers = {name: value for small, name in _NAMES if (value := told.get(small))}
    if key := channel.variable(SCRIPT):
        # A call that Kamailio handed over still has its headers when a script has transferred it to this dialplan.
        detached = (channel.variable(DETACHED) or "").lower() in _TRUE
        args = channel.variable(ARGS) or ""
        return Wanted(key=key, args=args, detached=detached, handover=_proven_or_none(headers, secret, now))
    handover = _proven(headers, secret, now)
    return Wanted(key=handover.app or handover.callee, args=handover.args, handover=handover)


def _proven_or_none(headers: Mapping[str, str], secret: bytes, now: float) -> Handover | None:
    try:
        return _proven(headers, secret, now)
    except HandoverError:
        return None


def _proven(headers: Mapping[str, str], secret: bytes, now: float) -> Handover:
    # In events FreeSWITCH leaves alone what looks encoded already (switch_url_encode_opt of switch_utils.c): so what
    # was encoded in the header may have been decoded together with the event.
    try:
        return Handover.parse(headers, secret, now)
    except HandoverForged:
        return Handover.parse({name: encoded(value) for name, value in headers.items()}, secret, now)
