"""A phone for tests that registers and calls by raw UDP, and can be made to err in its answers to challenges."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from harness.dialog import headers
from harness.raw import Endpoint, acknowledge, method_of, status

_numbers = itertools.count(1)
FUNCTIONS = {"MD5": "md5", "SHA-256": "sha256"}


@dataclass(slots=True)
class DigestPhone:
    """A phone; a context manager."""

    server: tuple[str, int]
    name: str = "1001"
    password: str = "secret-of-1001"
    algorithm: str = "SHA-256"
    address: str = "127.0.0.1"
    port: int = 0
    user_agent: str = ""
    endpoint: Endpoint = field(init=False)
    cseq: int = 0

    def __post_init__(self) -> None:
        self.endpoint = Endpoint(self.address, self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.endpoint.socket.close()

    def request(
        self, method: str, user: str, *, to: str = "", sender: str = "", more: Sequence[str] = (), contact: str = ""
    ) -> bytes:
        """A request outside a dialog."""
        self.cseq += 1
        host, port = self.server
        own = f"{self.address}:{self.endpoint.port}"
        target = f"sip:{user}@{host}:{port}" if user else f"sip:{host}:{port}"
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: SIP/2.0/UDP {own};branch=z9hG4bK-digest-{self.endpoint.port}-{next(_numbers)}",
            f"From: <sip:{sender or self.name}@{host}>;tag=phone",
            f"To: <sip:{to or user or self.name}@{host}>",
            f"Call-ID: digest-{self.endpoint.port}",
            f"CSeq: {self.cseq} {method}",
            f"Contact: {contact or f'<sip:{self.name}@{own}>'}",
            "Max-Forwards: 70",
            *([f"User-Agent: {self.user_agent}"] if self.user_agent else []),
            *more,
            "Content-Length: 0",
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    def ask(self, request: bytes) -> bytes:
        """The final reply to a request, acknowledged if that is an INVITE."""
        self.endpoint.send(request, self.server)
        method = request.split(b" ", 1)[0]
        while True:
            reply = self.endpoint.receive(b"SIP/2.0")
            if status(reply) >= 200 and method_of(reply) == method:
                break
        if method == b"INVITE" and status(reply) >= 300:
            self.endpoint.send(acknowledge(request, reply), self.server)
        return reply

    def register(self, expires: int | None = 600, **more: str) -> bytes:
        """Register, answering the challenge; the last reply."""
        extra = [] if expires is None else [f"Expires: {expires}"]
        reply = self.ask(self.request("REGISTER", "", more=extra, **more))
        if status(reply) != 401:
            return reply
        return self.ask(self.request("REGISTER", "", more=[*extra, self.answer(reply, "REGISTER")], **more))

    def invite(self, callee: str, *, more: Sequence[str] = (), **parts: str) -> bytes:
        """Call, answering the challenge; the last reply."""
        reply = self.ask(self.request("INVITE", callee, more=more, **parts))
        if status(reply) != 407:
            return reply
        return self.ask(self.request("INVITE", callee, more=[*more, self.answer(reply, "INVITE", callee)], **parts))

    def answer(self, reply: bytes, method: str, user: str = "", *, nc: int = 1, qop: bool = True) -> str:
        """The header that answers a challenge."""
        host, port = self.server
        uri = f"sip:{user}@{host}:{port}" if user else f"sip:{host}:{port}"
        name = "WWW-Authenticate" if status(reply) == 401 else "Proxy-Authenticate"
        challenges = [value.decode() for value in headers(reply, name.encode())]
        challenge = next(value for value in challenges if value.endswith(f"algorithm={self.algorithm}")
                         or f"algorithm={self.algorithm}," in value)  # fmt: skip
        given = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        return answer_header(
            "Authorization" if name.startswith("WWW") else "Proxy-Authorization", self.name, self.password,
            realm=given["realm"], nonce=given["nonce"], uri=uri, method=method, algorithm=self.algorithm, nc=nc,
            qop=qop,
        )  # fmt: skip


def answer_header(
    header: str, name: str, password: str, *, realm: str, nonce: str, uri: str, method: str, algorithm: str, nc: int,
    qop: bool,
) -> str:  # fmt: skip
    """An answer to a challenge, as RFC 7616 section 3.4.1 has it."""

    def hashed(text: str) -> str:
        return hashlib.new(FUNCTIONS[algorithm], text.encode()).hexdigest()

    ha1, ha2 = hashed(f"{name}:{realm}:{password}"), hashed(f"{method}:{uri}")
    count = f"{nc:08x}"
    middle = f"{count}:chance:auth:" if qop else ""
    response = hashed(f"{ha1}:{nonce}:{middle}{ha2}")
    more = f', qop=auth, nc={count}, cnonce="chance"' if qop else ""
    return (
        f'{header}: Digest username="{name}", realm="{realm}", nonce="{nonce}", uri="{uri}", '
        f'response="{response}", algorithm={algorithm}{more}'
    )
