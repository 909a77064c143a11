"""What NOTIFYs of message waiting say (RFC 3842), and what a SUBSCRIBE asks for (RFC 6665); pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from state.mwi import Lamp

EVENT = "message-summary"
BODY = "application/simple-message-summary"
# Seconds. RFC 3842 section 3.4 counts subscriptions in hours or days; a phone that reboots often is to cost little.
DEFAULT_EXPIRES, MIN_EXPIRES, MAX_EXPIRES = 3600, 60, 7200

# RFC 3261 section 25.1: what may stand in the user part of a URI as it is. '#' may not; mailboxes may have it.
_USER_SAFE = "-_.!~*'()&=+$,;?/"
_CONTACT = re.compile(r'(?:[^<"]|"(?:[^"\\]|\\.)*")*<(sips?:[^<>\s]+)>|(sips?:[^<>,;\s]+)', re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"\s*<?sips?:(?:[^@<>\s]*@)?(\[[^]]*\]|[^:;?<>,\s]*)(?::([0-9]{1,5}))?", re.IGNORECASE)


class RefusedError(Exception):
    """A SUBSCRIBE gets another reply than 200."""

    def __init__(self, status: int, phrase: str, headers: str = "") -> None:
        super().__init__(f"{status} {phrase}")
        self.status, self.phrase, self.headers = status, phrase, headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """A SUBSCRIBE as a SIP worker hands it over (kemi/lamps.py)."""

    transaction: str
    "By which Kamailio knows what to reply to."
    call_id: str
    cseq: int
    caller: str
    "URI in From."
    caller_tag: str
    callee: str
    "URI in To."
    tag: str
    "Ours, in To; empty in the first of a dialog."
    box: str
    host: str
    "Of the Request-URI."
    event: str
    "What identifies the subscription in Event; with its id, where there is one."
    expires: int
    "Seconds, within our bounds; 0 ends the subscription."
    contact: str
    "URI that NOTIFYs are for."
    routes: str
    "Record-Route."
    peer: str
    "URI of where the request came from."
    socket: str
    "Ours that it came to, as Kamailio names sockets: udp:192.0.2.1:5060."

    @property
    def other_peer(self) -> str:
        """URI of the next hop that the phone names itself; empty where that is ``peer``, or not on the same host.

        ``peer`` is right behind NAT, and wrong once a connection is closed or where a phone sends from another port.
        Nobody has NOTIFYs sent to a third.
        """
        address, _, transport = self.peer.partition(";")
        said = _HOST_AND_PORT.match(self.routes or self.contact)
        other = f"sip:{said[1]}:{said[2] or 5060}" if said else ""
        if not said or said[1].lower() != address.removeprefix("sip:").rpartition(":")[0].lower() or other == address:
            return ""
        return f"{other};{transport}"


def parse(data: Mapping[str, Any]) -> Subscribe:
    """What a SUBSCRIBE asks for; raises :class:`RefusedError`, or ValueError where ``data`` is not a worker's."""
    # A header may be folded over several lines, and nothing of it may become a line of ours.
    text = {name: " ".join(value.split()) for name, value in data.items() if isinstance(value, str)}
    try:
        return Subscribe(
            transaction=text["transaction"],
            call_id=text["call_id"],
            cseq=int(text["cseq"]),
            caller=text["from"],
            caller_tag=text["from_tag"],
            callee=text["to"],
            tag=text["to_tag"],
            box=unquote(text["user"]),
            host=text["host"],
            event=_event(text["event"]),
            expires=_expires(text["expires"], text["accept"]),
            contact=_contact(text["contact"]),
            routes=text["routes"],
            peer=text["peer"],
            socket=text["socket"],
        )
    except KeyError as error:
        raise ValueError(f"no {error} in what a worker handed over") from None


def transaction(data: Mapping[str, Any]) -> str:
    """What to reply to, whatever else may be wrong."""
    return str(data.get("transaction", ""))


def body(lamp: Lamp, host: str) -> str:
    """The message summary (RFC 3842 section 5.2)."""
    return (
        f"Messages-Waiting: {'yes' if lamp.new else 'no'}\r\n"
        f"Message-Account: sip:{user(lamp.box)}@{host}\r\n"
        f"Voice-Message: {lamp.new}/{lamp.saved} ({lamp.urgent_new}/{lamp.urgent_saved})\r\n"
    )


def contact(box: str, socket: str) -> str:
    """Where we are for requests about ``box``, on a socket of ours."""
    transport, _, address = socket.partition(":")
    return f"<sip:{user(box)}@{address}{'' if transport == 'udp' else f';transport={transport}'}>"


def user(box: str) -> str:
    """A mailbox's number as the user part of a URI has it."""
    return quote(box, safe=_USER_SAFE)


def _event(header: str) -> str:
    package, _, parameters = header.partition(";")
    if package.strip().lower() != EVENT:
        raise RefusedError(489, "Bad Event", f"Allow-Events: {EVENT}\r\n")
    # RFC 6665 section 8.2.1: an id tells subscriptions of one dialog apart, and comes back in each NOTIFY.
    ids = [word.strip() for word in parameters.split(";") if word.strip().lower().startswith("id=")]
    return ";".join([EVENT, *ids[:1]])


def _expires(header: str, accept: str) -> int:
    types = {word.partition(";")[0].strip().lower() for word in accept.split(",")} - {""}
    if types and types.isdisjoint((BODY, "application/*", "*/*")):
        raise RefusedError(406, "Not Acceptable", f"Accept: {BODY}\r\n")
    seconds = header or str(DEFAULT_EXPIRES)
    if not seconds.isascii() or not seconds.isdigit():
        raise RefusedError(400, "Bad Expires")
    wanted = int(seconds[:10])
    if 0 < wanted < MIN_EXPIRES:
        raise RefusedError(423, "Interval Too Brief", f"Min-Expires: {MIN_EXPIRES}\r\n")
    return min(wanted, MAX_EXPIRES)


def _contact(header: str) -> str:
    found = _CONTACT.match(header)
    if found is None:
        raise RefusedError(400, "Bad Contact")
    return found[1] or found[2]
