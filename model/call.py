"""One call, as policy sees it."""

from __future__ import annotations

from dataclasses import dataclass

from model.identity import Claims


# Not frozen: a worker makes one for each call, and setting a frozen one's fields takes twice as long.
@dataclass(slots=True)
class CallFacts:
    """What an INVITE says about itself; text as it came, nothing normalised."""

    caller: str
    "User part of From."
    callee: str
    "User part of the Request-URI."
    source: str
    "IP address that the request came from, IPv6 without brackets."
    asserted: str = ""
    "User part of P-Asserted-Identity."
    user_agent: str = ""
    private: bool = False
    "The caller asked for privacy (RFC 3323 section 4.2, values id, user or header)."
    caller_host: str = ""
    "Host part of From: anonymous.invalid means that the identity is withheld (RFC 3323 section 4.1.1.3)."
    hops: int = 0
    "How often the call was handed to media before it came back from there; 0: it comes from outside."
    origin: str = ""
    "Id of the call that came back as this one."
    subscriber: str = ""
    "The subscriber who has proved to be the caller, maybe before the call was handed to media; empty: none has."
    hook: str = ""
    "What came of asking a route hook, as :class:`kemi.hook.Heard` writes it; empty: none was asked."
    claims: Claims | None = None
    "None: the call says no more of who is calling."
    media: str = ""
    """Address and profile of the first stream that it offers, ``10.0.0.7 RTP/AVP``; ``-``: it offers none; empty:
    nobody looked, as the node has no media relay."""
