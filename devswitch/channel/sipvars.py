"""The variables that FreeSWITCH's mod_sofia sets on a channel from what SIP says (sofia.c, sofia_glue.c)."""

from __future__ import annotations

import re

from devswitch.channel.profile import now
from devswitch.leg import Leg
from devswitch.sip.causes import NUMBERS

_KNOWN = {
    "user-agent": "sip_user_agent",
    "subject": "sip_subject",
    "diversion": "sip_h_Diversion",
    "history-info": "sip_history_info",
    "referred-by": "sip_h_Referred-By",
    "replaces": "sip_replaces",
    "p-asserted-identity": "sip_P-Asserted-Identity",
    "p-preferred-identity": "sip_P-Preferred-Identity",
    "remote-party-id": "sip_Remote-Party-ID",
    "via": "sip_full_via",
    "from": "sip_full_from",
    "to": "sip_full_to",
    "allow": "sip_allow",
    "max-forwards": "max_forwards",
    "call-info": "sip_call_info",
    "privacy": "sip_Privacy",
}


def is_private(leg: Leg) -> bool:
    """Whether the caller asks that nobody be told who calls (RFC 3325 section 9.3)."""
    values = next((value for name, value in leg.headers.items() if name.lower() == "privacy"), "")
    return "id" in re.split(r"[;,\s]+", values)


def header_variables(leg: Leg, prefix: str = "sip_h_") -> dict[str, str]:
    """``sip_h_X-Name`` for each header whose name begins with X- or P-."""
    return {
        f"{prefix}{name}": value for name, value in leg.headers.items() if name[:2].upper() in {"X-", "P-"} and value
    }


def inbound_variables(leg: Leg, profile: str) -> dict[str, str]:
    """What an INVITE tells."""
    host, port = leg.remote_address, str(leg.remote_port)
    variables = {
        "sip_from_user": leg.caller,
        "sip_from_display": leg.caller_name,
        "sip_from_user_stripped": leg.caller.lstrip("+"),
        "sip_to_user": leg.callee,
        "sip_req_user": leg.callee,
        "sip_call_id": leg.call_id,
        "sip_network_ip": host,
        "sip_network_port": port,
        "sip_received_ip": host,
        "sip_received_port": port,
        "sip_via_protocol": "udp",
        "sip_invite_stamp": str(now()),
        "sofia_profile_name": profile,
        "recovery_profile_name": profile,
        "read_codec": "PCMU",
        "write_codec": "PCMU",
        "read_rate": "8000",
        "write_rate": "8000",
        "dtmf_type": "rfc2833",
        "endpoint_disposition": "RECEIVED",
    }
    for name, value in leg.headers.items():
        if variable := _KNOWN.get(name.lower()):
            variables[variable] = value
    variables |= _uri("sip_from", leg.headers.get("From", "")) | _uri("sip_to", leg.headers.get("To", ""))
    variables |= _uri("sip_contact", leg.headers.get("Contact", ""))
    variables |= _uri("sip_req", f"sip:{leg.callee}@{variables.get('sip_to_host', '')}")
    return {name: value for name, value in (variables | header_variables(leg)).items() if value}


def _uri(prefix: str, header: str) -> dict[str, str]:
    match = re.search(r"sips?:(?:([^@>;]*)@)?([^>;:\s]+)(?::(\d+))?", header)
    if not match:
        return {}
    user, host, port = match[1] or "", match[2], match[3] or ""
    uri = f"{user}@{host}" if user else host
    tag = re.search(r";tag=([^;\s]+)", header)
    return {
        f"{prefix}_uri": f"{uri}:{port}" if port else uri,
        f"{prefix}_host": host,
        f"{prefix}_port": port,
        f"{prefix}_tag": tag[1] if tag else "",
    }


def hangup_variables(cause: str, status: int, *, inbound: bool) -> dict[str, str | None]:
    """What is said of a peer that ended the call, by a BYE (status 0) or a reply; None: not set any more."""
    told: dict[str, str | None] = {"sip_hangup_phrase": None if status else "OK"}
    if status:
        told |= {"sip_term_status": str(status), "sip_invite_failure_status": None if inbound else str(status)}
    disposition = "recv_cancel" if inbound else "recv_refuse"
    return told | {
        "sip_hangup_disposition": disposition if status else "recv_bye",
        "sip_term_cause": str(NUMBERS.get(cause, 0)),
        "proto_specific_hangup_cause": f"sip:{status or 200}",
    }
