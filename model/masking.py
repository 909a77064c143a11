"""Taking out of a message whatever names its caller (RFC 3323 section 4.1 and 5); pure.

What passes is listed, not what does not: a header that nobody knows may name anybody, and a signed one says the number
in a spelling that no search finds. What is listed goes as well, where the caller's number stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from model.message import Edits, Header, Message
from model.nameaddr import NameAddr, listed, parse

ANONYMOUS = NameAddr('"Anonymous"', "sip:anonymous@anonymous.invalid", "")
"RFC 3323 section 4.1.1.3."

# Of the hop and of the dialog, which end where they are wrong. From, To and Contact are made anew.
_KEPT = frozenset(("via", "route", "record-route", "max-forwards", "call-id", "cseq", "from", "to", "content-length"))
_PASSED = frozenset(
    (
        "accept", "accept-encoding", "accept-language", "allow", "allow-events", "answer-mode", "content-disposition",
        "content-encoding", "content-language", "content-type", "date", "event", "expires", "info-package", "join",
        "max-breadth", "mime-version", "min-expires", "min-se", "p-early-media", "priority", "proxy-authenticate",
        "proxy-require", "rack", "reason", "recv-info", "refer-sub", "refer-to", "replaces", "require",
        "resource-priority", "retry-after", "rseq", "session-expires", "subscription-state", "supported",
        "target-dialog", "timestamp", "unsupported", "warning", "www-authenticate",
    )
)  # fmt: skip
# Who may be the caller in a request or a reply of theirs.
_NAMING = ("p-asserted-identity", "p-preferred-identity", "remote-party-id", "contact")

# Digits from the end that make a number one's own: subscriber numbers without country and trunk code.
_SIGNIFICANT = 7
# Shorter names and extensions are looked for as a whole only, or each port and address could be one.
_WHOLE = 3
_SEPARATORS = re.compile(r"[-.() ]|%20")
_DIGITS = re.compile(r"\D")
# RFC 8866 section 5: who makes the session, and what it is called; where more of it can be read and who to ask.
_SESSION_LINES = {"s": "s=-", "i": "", "u": "", "e": "", "p": ""}
_SDP = "application/sdp"


@dataclass(frozen=True, slots=True)
class Traces:
    """The spellings of a caller's number and names, to be searched for."""

    digits: tuple[str, ...]
    "Ends of numbers."
    words: tuple[str, ...]
    "Extensions and names, in lower case."

    @classmethod
    def of(cls, users: Iterable[str]) -> Traces:
        """From user parts of any spelling."""
        digits, words = set[str](), set[str]()
        for user in users:
            plain = user.partition(";")[0].lower()
            number = _DIGITS.sub("", _SEPARATORS.sub("", plain))
            if len(number) >= _SIGNIFICANT:
                # The last nine: what comes before is written in many ways, as +44, 0044 and 0 are.
                digits.add(number[-9:] if len(number) > 9 else number)
            elif len(plain) >= _WHOLE and plain != "anonymous":
                words.add(plain)
        return cls(tuple(sorted(digits)), tuple(sorted(words)))

    def in_text(self, text: str) -> bool:
        """Whether one of them stands in ``text``."""
        lowered = text.lower()
        plain = _SEPARATORS.sub("", lowered)
        if any(number in lowered or number in plain for number in self.digits):
            return True
        return any(re.search(rf"(?<![0-9a-z]){re.escape(word)}(?![0-9a-z])", lowered) for word in self.words)

    def in_marks(self, text: str) -> bool:
        """The same for Call-ID, tag or Via: there an extension would be found in too many ports and addresses."""
        return Traces(self.digits, ()).in_text(text)


def users_of(message: Message) -> list[str]:
    """User parts that may be the caller's in a message of theirs: in From, Contact, and what they assert."""
    found = [one.user for name in _NAMING for one in listed(message.joined(name))]
    sender = parse(message.value("to" if message.first.startswith("SIP/2.0") else "from"))
    return [user for user in (*found, sender.user if sender else "") if user]


def cleaned(message: Message, traces: Traces) -> Edits:
    """A message of the caller without what names them; From, To and Contact are left to others.

    ``traces`` should hold :func:`users_of` at least.
    """
    remove = {header.written for header in message.headers if _names(header, traces)}
    body = _body(message, traces)
    if body is not None and not body[0]:
        remove |= {header.written for header in message.headers if header.name.startswith("content-")} - {
            header.written for header in message.headers if header.name == "content-length"
        }
    return Edits(remove=tuple(sorted(remove)), body=body)


def contact(message: Message) -> str:
    """A Contact that leads to the same phone, with nothing but its address and transport; empty where there is none."""
    found = parse(message.value("contact"))
    if found is None or not found.hostport:
        return ""
    transport = re.search(r";transport=[a-z]+", found.uri, re.IGNORECASE)
    scheme = "sips" if found.uri.lower().startswith("sips:") else "sip"
    return f"<{scheme}:anonymous@{found.hostport}{transport[0] if transport else ''}>"


def _names(header: Header, traces: Traces) -> bool:
    if header.name in _KEPT:
        return False
    return header.name == "contact" or header.name not in _PASSED or traces.in_text(header.value)


def _body(message: Message, traces: Traces) -> tuple[str, str] | None:
    """Another body where this one may name the caller, with its type; None: it may stay."""
    if not message.body:
        return None
    kind = message.value("content-type")
    name = kind.partition(";")[0].strip().lower()
    if name == _SDP:
        sdp = _session(message.body, traces)
        return (_SDP, sdp) if sdp != message.body else None
    # Among the parts of others there is the ISUP message with the number in a spelling of its own (RFC 3204).
    part = _part(message.body, kind) if name.startswith("multipart/") else ""
    return (_SDP, _session(part, traces)) if part else ("", "")


def _part(body: str, kind: str) -> str:
    """The session description in a multipart body (RFC 2046 section 5.1.1); empty where there is none."""
    boundary = re.search(r';\s*boundary="?([^";,]{1,70})"?', kind, re.IGNORECASE)
    if boundary is None:
        return ""
    for part in body.split(f"--{boundary[1]}"):
        head, _, text = part.lstrip("\r\n").partition("\r\n\r\n")
        if re.search(rf"^content-type:\s*{_SDP}", head, re.IGNORECASE | re.MULTILINE):
            return text if text.endswith("\r\n") else text + "\r\n"
    return ""


def _session(sdp: str, traces: Traces) -> str:
    lines = []
    for line in re.split("\r?\n", sdp.rstrip("\r\n")):
        kind, value = line[:1], line[2:]
        if kind == "o":
            # RFC 8866 section 5.2: a hyphen where the host knows no users.
            lines.append(f"o=- {value.partition(' ')[2]}")
        elif kind in _SESSION_LINES:
            lines += [_SESSION_LINES[kind]] if _SESSION_LINES[kind] else []
        elif kind in "vtmcbrzk" or not traces.in_text(line):
            lines.append(line)
    return "\r\n".join(lines) + "\r\n"
