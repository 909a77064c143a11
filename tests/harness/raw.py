"""Plain UDP sockets that speak just enough SIP to send what no SIP stack would."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

RECEIVE_TIMEOUT = 15.0
_numbers: Iterator[int] = itertools.count(1)


class Endpoint:
    """A UDP socket on a port of a loopback address; a context manager."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.address = address
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.socket.settimeout(RECEIVE_TIMEOUT)
        self.port: int = self.socket.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def invite(
        self,
        *,
        uri: bytes = b"sip:1002@127.0.0.1",
        sender: bytes = b"<sip:1001@127.0.0.1>",
        to: bytes = b"<sip:1002@127.0.0.1>",
        call_id: bytes = b"",
        hops: int = 70,
        headers: Sequence[bytes] = (),
        method: bytes = b"INVITE",
    ) -> bytes:
        """A request without a body from this endpoint, its parts as raw bytes."""
        number = next(_numbers)
        lines = (
            method + b" " + uri + b" SIP/2.0",
            b"Via: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK-%d-%d" % (self.port, self.port, number),
            b"From: " + sender + b";tag=raw%d" % number,
            b"To: " + to,
            b"Call-ID: " + (call_id or b"raw-%d-%d" % (self.port, number)),
            b"CSeq: 1 " + method,
            b"Contact: <sip:127.0.0.1:%d>" % self.port,
            b"Max-Forwards: %d" % hops,
            *headers,
            b"Content-Length: 0",
        )
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def send(self, message: bytes, to: tuple[str, int]) -> None:
        """Send one datagram."""
        self.socket.sendto(message, to)

    def receive(self, *beginnings: bytes) -> bytes:
        """The next message that begins with one of ``beginnings``; TimeoutError if none comes."""
        while True:
            message, _ = self.socket.recvfrom(65535)
            if message.startswith(beginnings):
                return message

    def final_reply(self, request: bytes, server: tuple[str, int]) -> bytes:
        """The final reply to ``request``, which it acknowledges if that is an INVITE."""
        while True:
            reply = self.receive(b"SIP/2.0")
            if status(reply) >= 200 and method_of(reply) != b"CANCEL":
                break
        if request.startswith(b"INVITE"):
            self.send(acknowledge(request, reply), server)
        return reply

    def refuse_next(self, status_line: bytes, headers: Sequence[bytes] = (), *, to: Endpoint | None = None) -> bytes:
        """Be a gateway: refuse the next INVITE, of one caller or of any, and return it."""
        request, sender = self.next_invite(to)
        self.send(reply_to(request, status_line, headers), sender)
        return request

    def next_invite(self, caller: Endpoint | None = None) -> tuple[bytes, tuple[str, int]]:
        """The next INVITE, of one caller or of any, and where it came from."""
        via = b"%b:%d;" % (caller.address.encode(), caller.port) if caller else b""
        while True:
            message, sender = self.socket.recvfrom(65535)
            if message.startswith(b"INVITE") and via in message:
                return message, sender


def status(reply: bytes) -> int:
    """The status of a reply."""
    return int(reply[8:11])


def reply_to(request: bytes, status_line: bytes, headers: Sequence[bytes] = ()) -> bytes:
    """A reply to ``request``, for instance with the status line ``486 Busy Here``."""
    copied = (line for line in _head(request) if _name(line) in (b"via", b"from", b"call-id", b"cseq"))
    to = next(line for line in _head(request) if _name(line) == b"to")
    lines = (b"SIP/2.0 " + status_line, *copied, to + b";tag=gateway", *headers, b"Content-Length: 0")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def cancel(request: bytes) -> bytes:
    """The CANCEL of ``request`` (RFC 3261 section 9.1)."""
    return _like(request, b"CANCEL", next(line for line in _head(request) if _name(line) == b"to"))


def acknowledge(request: bytes, reply: bytes) -> bytes:
    """The ACK to a reply that refuses ``request`` (RFC 3261 section 17.1.1.3)."""
    return _like(request, b"ACK", next(line for line in _head(reply) if _name(line) == b"to"))


def method_of(reply: bytes) -> bytes:
    """The method that a reply is to."""
    return next(line for line in _head(reply) if _name(line) == b"cseq").split()[-1]


def _like(request: bytes, method: bytes, to: bytes) -> bytes:
    first, *rest = _head(request)
    kept = (line for line in rest if _name(line) in (b"via", b"from", b"call-id"))
    lines = (
        first.replace(b"INVITE", method, 1), *kept, to, b"CSeq: 1 " + method, b"Max-Forwards: 70", b"Content-Length: 0",
    )  # fmt: skip
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _head(message: bytes) -> list[bytes]:
    return message.partition(b"\r\n\r\n")[0].split(b"\r\n")


def _name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()
