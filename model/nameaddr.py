"""A name and an address as From, P-Asserted-Identity and others have them (RFC 3261 section 25.1); pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Longer than any honest header, and more than a call has identities; what is beyond is not read.
MAX_LENGTH = 4096
_MAX_ENTRIES = 32
_MARKS = re.compile('["<>]')
_URI = re.compile(
    r"(?P<scheme>sips?|tel):(?:(?P<user>[^@<>\s]*)@)?(?P<rest>[^<>\s]*)", re.IGNORECASE | re.DOTALL
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NameAddr:
    """One of them, in its parts; each as written."""

    display: str
    "Quotes included; empty: none."
    uri: str
    params: str
    "Of the header, behind the address, with the first semicolon."

    @property
    def user(self) -> str:
        """User part of a SIP URI without password, or the number of a tel URI; parameters of the number included."""
        found = _URI.match(self.uri)
        if found is None:
            return ""
        if found["scheme"].lower() == "tel":
            return found["rest"].partition("?")[0]
        return (found["user"] or "").partition(":")[0]

    @property
    def hostport(self) -> str:
        """Host of a SIP URI, with its port where it has one; empty for a tel URI."""
        found = _URI.match(self.uri)
        if found is None or found["scheme"].lower() == "tel":
            return ""
        return re.split("[;?]", found["rest"], maxsplit=1)[0]

    @property
    def host(self) -> str:
        """The same without port."""
        return re.sub(r":[0-9]*$", "", self.hostport)

    def param(self, name: str) -> str:
        """Value of a parameter of the header; empty where there is none."""
        parts = (part.partition("=") for part in split(self.params, ";"))
        return next((value.strip() for key, _, value in parts if key.strip().lower() == name), "")

    def __str__(self) -> str:
        return f"{self.display} <{self.uri}>{self.params}".lstrip()


def parse(text: str) -> NameAddr | None:
    """The first name and address of a header; None where it has none."""
    return next(listed(text), None)


def listed(header: str) -> Iterator[NameAddr]:
    """Names and addresses of a header that may have several, but for those that cannot be read."""
    for number, value in enumerate(split(header[:MAX_LENGTH], ",")):
        if number >= _MAX_ENTRIES:
            return
        display, bracket, rest = unquoted_at(value, "<")
        if bracket:
            uri, closed, params = rest.partition(">")
        else:
            # RFC 3261 section 20: without brackets, what follows a semicolon is the header's.
            uri, semicolon, params = value.partition(";")
            display, closed, params = "", ">", semicolon + params
        if closed and _URI.match(uri.strip()):
            yield NameAddr(display.strip(), uri.strip(), params.strip())


def split(text: str, separator: str) -> Iterator[str]:
    """What lies between separators that are neither quoted nor between angle brackets."""
    while text:
        part, _, text = unquoted_at(text, separator)
        yield part


def unquoted_at(text: str, wanted: str) -> tuple[str, str, str]:
    """``text`` parted like :meth:`str.partition` at the first ``wanted`` outside quotes and angle brackets."""
    # As most are, and several times faster.
    head, found, tail = text.partition(wanted)
    if not found or not _MARKS.search(head):
        return head, found, tail
    quoted = bracketed = escaped = False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            quoted, escaped = char != '"', char == "\\"
        elif char == wanted and not bracketed:
            return text[:place], wanted, text[place + 1 :]
        elif char == '"' and not bracketed:
            quoted = True
        elif char in "<>":
            bracketed = char == "<"
    return text, "", ""
