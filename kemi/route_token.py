"""What this node writes into its Record-Route, so that later requests prove to which call they belong; pure.

The parameter ``call`` holds the call's id and a MAC over it and the Call-ID. It comes back in the Route header of every
request within the dialog, also after a restart, when no process remembers the call (RFC 3261 section 16.6 item 4 has
proxies keep state that way). Without it, whoever invents a To tag and a Route header would be relayed anywhere.
"""

from __future__ import annotations

import hmac
import re
from hashlib import blake2s

PARAMETER = "call"
# Eight bytes: guessed at a thousand requests a second, one fits in some hundred million years.
_MAC_SIZE = 8
_ID = "[0-9a-f]{1,16}-[0-9a-f]{1,8}-[0-9a-f]{1,16}"
_IN_ROUTE = re.compile(rf";{PARAMETER}=({_ID})\.([0-9a-f]{{16}})(?:[;>?]|$)")


def parameter(secret: bytes, call: str, call_id: str) -> str:
    """The URI parameter, with its semicolon, for the call whose id is ``call`` and whose Call-ID is ``call_id``."""
    return f";{PARAMETER}={call}.{_mac(secret, call, call_id)}"


def call_of(secret: bytes, route: str, call_id: str) -> str:
    """The call's id in the URI of a Route header; empty where there is none that this node gave to ``call_id``."""
    found = _IN_ROUTE.search(route)
    if found is None or not hmac.compare_digest(found[2], _mac(secret, found[1], call_id)):
        return ""
    return found[1]


def _mac(secret: bytes, call: str, call_id: str) -> str:
    return blake2s(f"{call} {call_id}".encode(), key=secret, digest_size=_MAC_SIZE).hexdigest()
