"""Dialogs over plain UDP sockets: replies that may establish several, and the requests within each (RFC 3261, 12)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from harness.raw import Endpoint

_branches = itertools.count(1)


def header(message: bytes, name: bytes) -> bytes:
    """The value of a header, the first where there are several; empty if there is none."""
    return next(iter(headers(message, name)), b"")


def headers(message: bytes, name: bytes) -> list[bytes]:
    """The values of all headers of a name, as they are written."""
    head = message.partition(b"\r\n\r\n")[0] + b"\r\n"
    return re.findall(rb"(?im)^" + re.escape(name) + rb": *([^\r]*)\r\n", head)


def reply(
    request: bytes,
    line: bytes,
    callee: Endpoint,
    *,
    tag: bytes = b"",
    more: Sequence[bytes] = (),
    body: bytes = b"",
) -> bytes:
    """A reply of ``callee``, for instance with the ``line`` ``200 OK``; a tag makes a dialog."""
    to = header(request, b"To")
    return _message(
        b"SIP/2.0 " + line,
        [b"Via: " + value for value in headers(request, b"Via")]
        + [b"Record-Route: " + value for value in headers(request, b"Record-Route")]
        + [b"From: " + header(request, b"From"), b"To: " + to + (b";tag=" + tag if tag else b"")]
        + [name + b": " + header(request, name) for name in (b"Call-ID", b"CSeq")]
        + [_contact(callee), *more],
        body,
    )


def from_caller(
    method: bytes, number: int, caller: Endpoint, established: bytes, *, more: Sequence[bytes] = (), body: bytes = b""
) -> bytes:
    """A request of ``caller`` within the dialog that the reply ``established`` made."""
    routes = headers(established, b"Record-Route")[::-1]
    parties = header(established, b"From"), header(established, b"To")
    return _within(method, number, caller, established, routes, parties, more, body)


def from_callee(
    method: bytes, number: int, callee: Endpoint, invite: bytes, established: bytes, *, more: Sequence[bytes] = ()
) -> bytes:
    """A request of ``callee`` within the dialog that its reply ``established`` made."""
    parties = header(established, b"To"), header(established, b"From")
    return _within(method, number, callee, invite, headers(invite, b"Record-Route"), parties, more, b"")


def _within(
    method: bytes,
    number: int,
    sender: Endpoint,
    peer: bytes,
    routes: Sequence[bytes],
    parties: tuple[bytes, bytes],
    more: Sequence[bytes],
    body: bytes,
) -> bytes:
    target = header(peer, b"Contact").strip(b"<>")
    return _message(
        method + b" " + target + b" SIP/2.0",
        [b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK-w-%d-%d" % (sender.port, sender.port, next(_branches))]
        + [b"Route: " + route for route in routes]
        + [b"From: " + parties[0], b"To: " + parties[1], b"Call-ID: " + header(peer, b"Call-ID")]
        + [b"CSeq: %d " % number + method, b"Max-Forwards: 70", _contact(sender), *more],
        body,
    )


def _contact(endpoint: Endpoint) -> bytes:
    host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return b"Contact: <sip:%b:%d>" % (host.encode(), endpoint.port)


def _message(first: bytes, lines: Sequence[bytes], body: bytes) -> bytes:
    return b"\r\n".join((first, *lines, b"Content-Length: %d" % len(body))) + b"\r\n\r\n" + body
