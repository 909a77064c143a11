"""Which box a call is for, and what is known of who calls; pure."""

from __future__ import annotations

from dataclasses import dataclass

from media.session import Session

DIRECT = "direct"
"The reason of a call that was for the box itself."
_ARGUMENTS = ("box",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A call that came to leave a message."""

    boxes: tuple[str, ...]
    "Numbers that may lead to the box meant; the first that does counts."
    caller: str = ""
    "Number; empty: withheld."
    caller_name: str = ""
    callee: str = ""
    "The number that was dialled."
    reason: str = DIRECT
    call: str = ""
    "Id of the call's record; of the channel for a call that came without one."


def arguments(text: str) -> dict[str, str]:
    """``box=1001`` of the policy or the dialplan; several are divided by blanks or semicolons.

    Raises ValueError, which names what is wrong.
    """
    given = {}
    for word in text.replace(";", " ").split():
        name, equals, value = word.partition("=")
        if name not in _ARGUMENTS or not equals or not value:
            raise ValueError(f"arguments of voicemail: want {' or '.join(f'{known}=…' for known in _ARGUMENTS)}")
        given[name] = value
    return given


def visit(session: Session) -> Visit:
    """What the SIP tier says of the call, else the channel. Raises ValueError for arguments that cannot be."""
    given = arguments(session.script_args).get("box")
    told, handover = session.channel.get, session.handover
    hidden = told("Caller-Privacy-Hide-Number") == "true"
    name, number = told("Caller-Caller-ID-Name") or "", told("Caller-Caller-ID-Number") or ""
    if hidden or name == number:
        # A switch makes one of the number, where the caller has none.
        name = ""
    if handover is None:
        caller, callee = number, told("Caller-Destination-Number") or ""
        diverted, reason, call = "", DIRECT, session.uuid
    else:
        caller, callee, diverted = handover.caller, handover.callee, handover.diverted
        reason, call = handover.reason or DIRECT, handover.call
    if hidden or caller.lower() == "anonymous":
        caller = ""
    boxes = (given,) if given else tuple(number for number in (diverted, callee) if number)
    return Visit(boxes=boxes, caller=caller, caller_name=name, callee=callee, reason=reason, call=call)
