"""Which phones are told of a mailbox without having asked, and the NOTIFY for one that is told; pure."""

from __future__ import annotations

import ipaddress
import logging
import re

from agent import lamp_messages as messages
from agent.lamp_watchers import Watcher
from state.mwi import Lamp

log = logging.getLogger("strowger.agent")

_PHONE = re.compile(r"sips?:(?:[^@\s<>]*@)?(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(?::\d+)?(?:;[^\s<>?]*)?")


def phones(lamp: Lamp) -> tuple[str, ...]:
    """The phones of a mailbox that are told without having asked: SIP URIs.

    Here the contacts of a registrar come in, when there is one.
    """
    usable = tuple(uri for uri in dict.fromkeys(lamp.phones) if _usable(uri))
    if len(usable) < len(set(lamp.phones)):
        log.warning("a mailbox has phones that are no sip:USER@IP-ADDRESS")
    return usable


def _usable(uri: str) -> bool:
    # A name would have to be looked up, and Kamailio would wait for that.
    found = _PHONE.fullmatch(uri)
    try:
        return found is not None and bool(ipaddress.ip_address(found[1].strip("[]")))
    except ValueError:
        return False


def notify(watcher: Watcher, lamp: Lamp, now: float) -> tuple[str, ...]:
    """A NOTIFY as tm.t_uac_start takes it: method, Request-URI, next hop, our socket, headers, body."""
    headers = {
        "From": watcher.sender,
        "To": watcher.receiver,
        "Call-ID": watcher.call_id,
        "CSeq": f"{watcher.cseq} NOTIFY",
        "Contact": watcher.contact,
        "Route": watcher.routes,
        "Event": watcher.event,
        "Subscription-State": _state(watcher, now),
        "Content-Type": messages.BODY,
    }
    # RFC 6665 section 4.2.2: a subscription to what is gone is told so, without a state.
    text = "" if watcher.ended == "noresource" else messages.body(lamp, watcher.host)
    kept = (f"{name}: {value}\r\n" for name, value in headers.items() if value and (text or name != "Content-Type"))
    return "NOTIFY", watcher.target, watcher.peer or ".", watcher.socket or ".", "".join(kept), text


def _state(watcher: Watcher, now: float) -> str:
    if not watcher.solicited:
        # There is no subscription; what Asterisk's res_pjsip_mwi sends as well.
        return "active"
    if watcher.ended:
        return f"terminated;reason={watcher.ended}"
    return f"active;expires={max(0, round(watcher.expires - now))}"
