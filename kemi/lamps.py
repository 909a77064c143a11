"""What a worker tells the node agent of message waiting: a SUBSCRIBE that the agent is to answer, and what was answered
to a NOTIFY of the agent's. One line each in a pipe; the agent away, or behind by a megabyte, is an error at once.

A pipe, since a socket for datagrams holds as few as ten of them (net.unix.max_dgram_qlen).
"""

from __future__ import annotations

import errno
import json
import os
import select
from collections.abc import Callable, Mapping
from pathlib import Path

# Every tag that the agent makes begins so; by it kamailio.cfg knows whose NOTIFY a reply is to.
TAG = "mwi-"

# The same of a REGISTER of the agent's.
REGISTERED_TAG = "reg-"
# Challenges of one reply, and Contacts, that are told.
_CHALLENGES, _CONTACTS = 4, 8

_HEADERS = {
    "call_id": "$ci", "cseq": "$cs", "from": "$fu", "from_tag": "$ft", "to": "$tu", "to_tag": "$tt", "user": "$rU",
    "host": "$rd", "event": "$hdr(Event)", "expires": "$hdr(Expires)", "accept": "$(hdr(Accept)[*])",
    "contact": "$hdr(Contact)", "routes": "$(hdr(Record-Route)[*])",
}  # fmt: skip


def subscribe(pv: Callable[[str], object]) -> dict[str, str]:
    """A SUBSCRIBE whose transaction is suspended; ``pv`` reads a pseudo-variable, empty where it is null."""
    transport = str(pv("$proto")).lower()
    return {
        "kind": "subscribe",
        "transaction": f"{pv('$T(id_index)')}:{pv('$T(id_label)')}",
        **{name: str(pv(variable)) for name, variable in _HEADERS.items()},
        "peer": f"sip:{_host(str(pv('$si')))}:{pv('$sp')};transport={transport}",
        "socket": f"{transport}:{_host(str(pv('$Ri')))}:{pv('$Rp')}",
    }


def answered(pv: Callable[[str], object]) -> dict[str, str]:
    """A final reply to a NOTIFY of the agent's."""
    fields = {"call_id": "$ci", "tag": "$ft", "cseq": "$cs", "status": "$rs"}
    return {"kind": "answered", **{name: str(pv(variable)) for name, variable in fields.items()}}


def register_answered(pv: Callable[[str], object]) -> dict[str, object]:
    """A final reply to a REGISTER of the agent's."""
    fields = {
        "call_id": "$ci", "cseq": "$cs", "status": "$rs", "phrase": "$rr", "expires": "$hdr(Expires)",
        "min_expires": "$hdr(Min-Expires)", "retry_after": "$hdr(Retry-After)",
    }  # fmt: skip
    name = "WWW-Authenticate" if str(pv("$rs")) == "401" else "Proxy-Authenticate"
    challenges = [str(pv(f"$(hdr({name})[{index}])")) for index in range(_CHALLENGES)]
    contacts = [str(pv(f"$(hdr(Contact)[{index}])")) for index in range(_CONTACTS)]
    return {
        "kind": "register-answered", **{key: str(pv(variable)) for key, variable in fields.items()},
        "challenges": [one for one in challenges if one], "contacts": ",".join(one for one in contacts if one),
    }  # fmt: skip


def registered(box: str, contact: str) -> dict[str, str]:
    """A phone at ``contact`` has registered for the first time since it was started, by its Call-ID."""
    return {"kind": "registered", "box": box, "contact": contact}


def tell(path: Path, message: Mapping[str, object]) -> None:
    """Write into the agent's pipe; raises OSError where it does not get there."""
    line = json.dumps(message).encode() + b"\n"
    if len(line) > select.PIPE_BUF:
        # It might be torn, or mixed with another's.
        raise OSError(errno.EMSGSIZE, "too long for the pipe")
    pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(pipe, line)
    finally:
        os.close(pipe)


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address
