"""A SIP message as text, as far as headers have to be taken out of it and put in; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# RFC 3261 section 7.3.3, and what later RFCs registered.
_COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding",
    "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact",
    "n": "identity-info", "o": "event", "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via",
    "x": "session-expires", "y": "identity",
}  # fmt: skip
# Kamailio takes a bare LF for the end of a line, too.
_END = re.compile(r"\r?\n\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Header:
    """One line, folded ones in one."""

    name: str
    "In lower case, and not compact."
    written: str
    "As it is written."
    value: str


@dataclass(frozen=True, slots=True)
class Message:
    """A request or reply."""

    first: str
    headers: tuple[Header, ...]
    body: str

    @classmethod
    def parse(cls, text: str) -> Message:
        """Never raises: a line that is no header is left out."""
        head, *body = _END.split(text, maxsplit=1)
        first, _, rest = head.partition("\n")
        return cls(first.rstrip("\r"), tuple(_headers(_FOLD.sub(" ", rest))), "".join(body))

    def value(self, name: str) -> str:
        """The value of the first header of this name, in lower case; empty where there is none."""
        return next((header.value for header in self.headers if header.name == name), "")

    def joined(self, name: str) -> str:
        """Values of all headers of this name."""
        return ", ".join(header.value for header in self.headers if header.name == name and header.value)


@dataclass(frozen=True, slots=True)
class Edits:
    """What becomes of a message."""

    remove: tuple[str, ...] = ()
    "Names of headers, as they are written."
    append: tuple[str, ...] = ()
    "Lines without their ends."
    body: tuple[str, str] | None = None
    "Another body, and its type."


def _headers(text: str) -> Iterator[Header]:
    for line in text.split("\n"):
        written, colon, value = line.partition(":")
        if colon and written.strip():
            name = written.strip().lower()
            yield Header(_COMPACT.get(name, name), written.strip(), value.strip())
