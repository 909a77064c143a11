"""Every refusal that Strowger makes of itself. Their ids are an interface: records, alarms and tests key on them."""

from __future__ import annotations

from model.entries import Kind
from model.policy import Refusal

NO_POLICY = Refusal("no-policy", 503, "No Policy", cause=41, retry_after=5)
# Whoever operates the node wants it to end its calls; peers try another one, and this one again later.
DRAINING = Refusal("node-drained", 503, "Node Drained", cause=42, retry_after=60)
INTERNAL_ERROR = Refusal("internal-error", 500, "Internal Error", cause=41)
UNKNOWN_SOURCE = Refusal("unknown-source", 403, "Unknown Source", cause=21)
# RFC 3398 section 8.2.6.1: 484 and cause 28 are one another's equal.
INVALID_NUMBER = Refusal("invalid-number", 484, "Invalid Number", cause=28)
# RFC 5079.
ANONYMOUS = Refusal("anonymous", 433, "Anonymity Disallowed", cause=21)
# RFC 3261 section 22.3. Never sent as it is: whoever may be a subscriber is challenged.
UNAUTHENTICATED = Refusal("unauthenticated", 407, "Proxy Authentication Required", cause=21)
# Of a subscriber, whoever guesses at their password.
GUESSES = Refusal("too-many-guesses", 403, "Too Many Wrong Passwords", cause=21, retry_after=300)
NOT_YOUR_NUMBER = Refusal("not-your-number", 403, "Not Your Number", cause=21)
# RFC 3323 section 5: what the caller asked for cannot be granted.
NOT_WITHHELD = Refusal("not-withheld", 500, "Number Cannot Be Withheld", cause=79)
NO_SUBSCRIBER = Refusal("no-subscriber", 404, "No Such Subscriber", cause=1)
# ITU-T Q.850: 20, subscriber absent.
SUBSCRIBER_AWAY = Refusal("subscriber-away", 480, "Subscriber Away", cause=20)
DO_NOT_DISTURB = Refusal("do-not-disturb", 480, "Do Not Disturb", cause=19)
FORWARD_LOOP = Refusal("forward-loop", 482, "Forwarding Loop", cause=25)
# RFC 3261 section 21.4.4: not to be repeated. A 503 would have a peer look for another way.
FRAUD_BLOCKED = Refusal("fraud-blocked", 403, "Call Blocked", cause=21)
NO_ROUTE = Refusal("no-route", 404, "No Route", cause=3)
# The number is known, and may be called again when a sheet says otherwise.
NO_RATE = Refusal("no-rate", 503, "No Rate", cause=3)
# Whoever was to say what becomes of the call has not.
HOOK_FAILED = Refusal("hook-failed", 503, "Not Decided", cause=41)
GATEWAYS_DOWN = Refusal("gateways-down", 503, "Gateways Down", cause=38, retry_after=10)
# Told apart from gateways, as somebody else is to be called out of bed.
MEDIA_DOWN = Refusal("media-down", 503, "Media Down", cause=38, retry_after=10)
MEDIA_TOKEN = Refusal("media-token", 403, "Wrong Media Token", cause=21)
# ITU-T Q.850: 25, exchange routing error, is what 482 stands for.
MEDIA_LOOP = Refusal("media-loop", 482, "Media Loop", cause=25)
# RFC 3261 section 16.7 step 6: a 503 is not passed on, or the peer would take this proxy for overloaded.
GATEWAYS_FAILED = Refusal("gateways-failed", 500, "Gateways Failed", cause=41)
POST_DIAL_DELAY = Refusal("post-dial-delay", 408, "No Gateway Answered In Time", cause=102)
# Another peer's switch tries its next way on 503 with cause 34, as it does where a trunk group is full. A Retry-After
# would have it leave this proxy alone, for other calls too; a second is what a limit of calls a second needs.
LIMITS = {
    "calls": Refusal("calls-limit", 503, "No Line Free", cause=34),
    "rate": Refusal("rate-limit", 503, "Too Many Calls A Second", cause=42, retry_after=1),
}
GATEWAYS_FULL = Refusal("gateways-full", 503, "Gateways Full", cause=34)
RELAY_DOWN = Refusal("relay-down", 503, "Media Relay Down", cause=38, retry_after=10)
LIMITS_AWAY = Refusal("limits-away", 503, "Limits Not Known", cause=41, retry_after=5)

BLOCKED = {kind: Refusal(f"blocked-{kind.value}", 403, "Call Blocked", cause=21) for kind in Kind}
