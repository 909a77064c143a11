"""What SIPp sent and received, from its message traces: two sides compared, header by header and byte by byte."""

from __future__ import annotations

import re
import time
from pathlib import Path

_MESSAGE = re.compile(rb"^(?:UDP|TCP) message (sent|received) [(\[](\d+)\]? bytes\)? ?:\n\n", re.MULTILINE)
# What a proxy may change of a request (RFC 3261 section 16.6); of a reply it takes off its own Via.
_HOP = (b"via:", b"route:", b"record-route:", b"max-forwards:")
# Seconds that a message may be on its way.
_ARRIVES_WITHIN = 10.0


def messages(trace: Path, direction: str) -> list[bytes]:
    """The messages that were ``sent`` or ``received``, in order."""
    data = trace.read_bytes()
    return [
        data[found.end() : found.end() + int(found[2])]
        for found in _MESSAGE.finditer(data)
        if found[1] == direction.encode()
    ]


def assert_passed_on(caller: Path, gateway: Path) -> None:
    """Assert that each side received what the other one sent, no less and no more.

    Both must still run, or have ended by themselves: who ends the call has sent the last message, not received it.
    """
    for sender, receiver in ((caller, gateway), (gateway, caller)):
        deadline = time.monotonic() + _ARRIVES_WITHIN
        while any(differences := _differences(sender, receiver)) and time.monotonic() < deadline:
            time.sleep(0.02)
        lost, invented = differences
        assert messages(sender, "sent"), f"nothing in {sender}"
        assert not lost, f"not received as it was sent: {lost}\ninstead: {invented}"
        assert not invented, f"received, but never sent: {invented}"


def _differences(sender: Path, receiver: Path) -> tuple[set[bytes], set[bytes]]:
    """What was sent and not received, and what was received and not sent."""
    sent = {end_to_end(message) for message in messages(sender, "sent")}
    received = {end_to_end(message) for message in messages(receiver, "received")}
    # 100 is of this hop alone (RFC 3261 section 16.7).
    received = {message for message in received if not message.startswith(b"SIP/2.0 100")}
    return sent - received, received - sent


def end_to_end(message: bytes) -> bytes:
    """A message without what belongs to one hop; of a request's first line the method only."""
    head, _, body = message.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    if first.startswith(b"SIP/2.0"):
        kept = [line for line in headers if not line.lower().startswith(b"via:")]
    else:
        first = first.partition(b" ")[0]
        kept = [line for line in headers if not line.lower().startswith(_HOP)]
    return b"\r\n".join((first, *kept)) + b"\r\n\r\n" + body
