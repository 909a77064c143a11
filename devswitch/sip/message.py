"""Requests and replies: bytes in, messages out (RFC 3261, 7). What RFC 4475 calls torture ends in MessageError."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from devswitch.sip.errors import MessageError
from devswitch.sip.headers import Headers
from devswitch.sip.uri import DEFAULT_PORT, Address, parameters

MANDATORY = ("Via", "From", "To", "Call-ID", "CSeq")
# RFC 3261, 8.1.1.5.
MAX_CSEQ = 2**31
MAGIC = "z9hG4bK"
ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS, MESSAGE, INFO, UPDATE, REFER, NOTIFY"
"The methods that we know (RFC 3261, 20.5)."
# The patterns below take time by the square of a run of spaces.
MAX_SPACE = 100
_REQUEST = re.compile(r"([A-Za-z0-9.!%*_+`'~-]{1,32}) (\S+) SIP/2\.0", re.IGNORECASE)
_RESPONSE = re.compile(r"SIP/2\.0 ([1-6]\d\d)(?: (.*))?", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z0-9.!%*_+`'~-]+")
_CSEQ = re.compile(r"(\d{1,10})\s+(\S+)")
_VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*(\w+)\s+(\[[0-9A-Fa-f:.]+\]|[^\s:;]+)\s*(?::\s*(\d{1,5}))?\s*(;.*)?", re.I | re.S
)

REASONS = {
    100: "Trying",
    180: "Ringing",
    183: "Session Progress",
    200: "OK",
    202: "Accepted",
    302: "Moved Temporarily",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    415: "Unsupported Media Type",
    420: "Bad Extension",
    480: "Temporarily Unavailable",
    481: "Call Does Not Exist",
    483: "Too Many Hops",
    484: "Address Incomplete",
    486: "Busy Here",
    487: "Request Terminated",
    488: "Not Acceptable Here",
    491: "Request Pending",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
    607: "Unwanted",
}


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value: where a reply goes (RFC 3261, 18.2.2; RFC 3581)."""

    host: str
    port: int
    params: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> Via:
        """Raise :class:`MessageError` for what is no Via."""
        match = _VIA.fullmatch(text)
        if not match or int(match[3] or 0) > 65535:
            raise MessageError(f"no Via: {text[:80]!r}")
        return cls(match[2], int(match[3] or DEFAULT_PORT), parameters(match[4] or ""))

    @property
    def branch(self) -> str:
        return self.params.get("branch", "")


@dataclass(kw_only=True)
class Message:
    """What requests and replies have in common."""

    headers: Headers = field(default_factory=Headers)
    body: bytes = b""

    @cached_property
    def from_(self) -> Address:
        return Address.parse(self.headers["From"])

    @cached_property
    def to(self) -> Address:
        return Address.parse(self.headers["To"])

    @cached_property
    def via(self) -> Via:
        """The topmost."""
        return Via.parse(self.headers.values_of("Via")[0])

    @property
    def call_id(self) -> str:
        return self.headers["Call-ID"]

    @cached_property
    def cseq(self) -> tuple[int, str]:
        """Number and method."""
        match = _CSEQ.fullmatch(self.headers["CSeq"])
        if not match or int(match[1]) >= MAX_CSEQ:
            raise MessageError("no CSeq")
        return int(match[1]), match[2]

    @property
    def first_line(self) -> str:
        raise NotImplementedError

    def __bytes__(self) -> bytes:
        fields = [f"{name}: {value}" for name, value in self.headers.fields() if name.lower() != "content-length"]
        head = "\r\n".join([self.first_line, *fields, f"Content-Length: {len(self.body)}", "", ""])
        return head.encode("utf-8", "surrogateescape") + self.body


@dataclass(kw_only=True)
class Request(Message):
    """A request."""

    method: str
    uri: str

    @property
    def first_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"

    def reply(self, status: int, reason: str = "", *, tag: str = "") -> Response:
        """A reply with the headers that RFC 3261, 8.2.6.2 asks for; ``tag`` goes to a To that has none."""
        headers = Headers([("Via", value) for value in self.headers.all("Via")])
        if status != 100:
            for value in self.headers.all("Record-Route"):
                headers.add("Record-Route", value)
        to = self.headers["To"]
        headers.add("From", self.headers["From"])
        headers.add("To", f"{to};tag={tag}" if tag and not self.to.tag and status != 100 else to)
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", self.headers["CSeq"])
        return Response(status=status, reason=reason or REASONS.get(status, "Unknown"), headers=headers)


@dataclass(kw_only=True)
class Response(Message):
    """A reply."""

    status: int
    reason: str

    @property
    def first_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"


def parse(data: bytes) -> Request | Response:
    """Read one datagram; raise :class:`MessageError`, and nothing else, for what cannot be understood or answered."""
    head, blank, body = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
    if not blank:
        raise MessageError("no empty line ends the headers")
    # Only CR LF ends a line; a lone one of them, or NUL, would be a header of its own at the next hop.
    text = re.sub(r"\r\n[ \t]+", " ", head.decode("utf-8", "surrogateescape"))
    lines = text.split("\r\n")
    if re.search(r"[\r\n\0]", "".join(lines)):
        raise MessageError("a lone CR, LF or NUL in the headers")
    if re.search(rf"\s{{{MAX_SPACE}}}", text):
        raise MessageError(f"{MAX_SPACE} spaces in the headers")
    headers = Headers(_fields(lines[1:]))
    message = _first_line(lines[0], headers)
    message.body = _body(headers, body)
    _check(message)
    return message


def _first_line(line: str, headers: Headers) -> Request | Response:
    if match := _RESPONSE.fullmatch(line):
        return Response(status=int(match[1]), reason=match[2] or "", headers=headers)
    if match := _REQUEST.fullmatch(line):
        return Request(method=match[1], uri=match[2], headers=headers)
    raise MessageError(f"neither a request nor a reply: {line[:80]!r}")


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or not _NAME.fullmatch(name):
            raise MessageError(f"no header: {line[:80]!r}")
        fields.append((name, value.strip()))
    return fields


def _body(headers: Headers, body: bytes) -> bytes:
    length = headers.get("Content-Length")
    if length is None:
        return body
    if not re.fullmatch(r"\d{1,6}", length, re.ASCII) or int(length) > len(body):
        raise MessageError("Content-Length and body disagree")
    return body[: int(length)]


def _check(message: Request | Response) -> None:
    for name in MANDATORY:
        found = message.headers.all(name)
        if not found or not found[0] or (name != "Via" and len(found) > 1):
            raise MessageError(f"{name} is missing, empty or there twice")
    # Parsed here, so that nobody later meets a header that cannot be.
    parsed = message.from_, message.to, message.via, message.cseq
    if isinstance(message, Request) and parsed[3][1] != message.method:
        raise MessageError("the method of CSeq is not that of the request")
