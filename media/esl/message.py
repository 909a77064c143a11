"""Messages of the event socket, read only as far as somebody looks.

Of an event with 120 headers a script asks for three; so a header is searched for in the bytes, and decoded, when it
is asked for.

In text/event-plain values are url-encoded, but what looks encoded already is left alone (switch_url_encode() of
switch_utils.c): ``%61`` in a value cannot be told from ``a``. text/event-json has no such doubt.
"""

from __future__ import annotations

import json
from collections.abc import ItemsView, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from media.esl.errors import ProtocolError


class Headers(Mapping[str, str]):
    """A block of ``Name: value`` lines.

    Names are found as they were sent, and where that fails without regard to case. Of a name that is sent twice the
    first counts.
    """

    __slots__ = ("_encoded", "_parsed", "_small", "raw")

    def __init__(self, raw: bytes, *, encoded: bool = False) -> None:
        self.raw = raw
        self._encoded = encoded  # events are, replies are not: switch_event_serialize() of switch_event.c
        self._parsed: dict[str, str] | None = None
        self._small: bytes | None = None
        "In small letters; of a channel, several names are looked for that are not there."

    @classmethod
    def of(cls, values: Mapping[str, str]) -> Headers:
        """Headers that are known already."""
        headers = cls(b"")
        headers._parsed = dict(values)
        return headers

    def find(self, name: str) -> str | None:
        """The value, or None. What `get` does, in fewer steps: of an event, several are looked for."""
        value = self._search(self.raw, name) if self._parsed is None else self._parsed.get(name)
        return self._any_case(name) if value is None else value

    def __getitem__(self, name: str) -> str:
        if (value := self.find(name)) is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def items(self) -> ItemsView[str, str]:
        """All of them, decoded."""
        return self._all().items()

    def beginning(self, prefix: str) -> dict[str, str]:
        """Those whose names begin so, by the rest of their names, in small letters; found without regard to case."""
        start = prefix.lower()
        if self._parsed is not None:
            known: dict[str, str] = {}
            for name, value in self._parsed.items():
                known.setdefault(name.lower(), value)
            return {name.removeprefix(start): value for name, value in known.items() if name.startswith(start)}
        values: dict[str, str] = {}
        small, key = self._lower(), b"\n" + start.encode()
        at = 0 if small.startswith(key[1:]) else small.find(key) + 1
        while at or small.startswith(key[1:]):
            colon, end = small.find(b": ", at), small.find(b"\n", at)
            end = len(small) if end < 0 else end
            if at < colon < end:
                name = small[at + len(key) - 1 : colon].decode("utf-8", "replace")
                values.setdefault(name, self._text(self.raw[colon + 2 : end]))
            if not (at := small.find(key, end) + 1):
                break
        return values

    def __repr__(self) -> str:
        return f"<Headers: {len(self.raw)} bytes>"  # values are callers' numbers and words

    def _lower(self) -> bytes:
        if self._small is None:
            self._small = self.raw.lower()
        return self._small

    def _search(self, block: bytes, name: str) -> str | None:
        key = name.encode() + b": "
        start = 0 if block.startswith(key) else block.find(b"\n" + key) + 1
        if not start and not block.startswith(key):
            return None
        start += len(key)
        end = self.raw.find(b"\n", start)
        value = self.raw[start:] if end < 0 else self.raw[start:end]
        if self._encoded and b"%" in value:
            value = unquote_to_bytes(value)
        return value.decode("utf-8", "replace")

    def _text(self, value: bytes) -> str:
        if self._encoded and b"%" in value:
            value = unquote_to_bytes(value)
        return value.decode("utf-8", "replace")

    def _all(self) -> dict[str, str]:
        if self._parsed is None:
            parsed: dict[str, str] = {}
            for line in self.raw.decode("utf-8", "replace").split("\n"):
                name, colon, value = line.partition(": ")
                if colon and name not in parsed:
                    parsed[name] = self._text(value.encode()) if "%" in value else value
            self._parsed = parsed
        return self._parsed

    def _any_case(self, name: str) -> str | None:
        lower = name.lower()
        if self._parsed is None:
            return self._search(self._lower(), lower)
        return next((value for known, value in self._parsed.items() if known.lower() == lower), None)


@dataclass(slots=True, eq=False)
class Message:
    """One frame."""

    content_type: str
    raw: bytes
    "The block of headers, without the empty line."
    body: bytes

    @property
    def headers(self) -> Headers:
        """The headers of the frame; those of an event are in its body."""
        return Headers(self.raw, encoded=self.raw.startswith(b"Event-Name: "))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the switch answered to a command."""

    text: str
    "``+OK ...``"
    headers: Headers

    @property
    def ok(self) -> bool:
        """Whether it is none of ``-ERR``."""
        return not self.text.startswith("-ERR")


class Event:
    """An event of the switch."""

    __slots__ = ("_body", "_raw", "headers")

    headers: Headers

    def __init__(self, headers: Headers, body: str = "") -> None:
        self.headers = headers
        self._raw = b""
        self._body: str | None = body

    @classmethod
    def plain(cls, raw: bytes) -> Event:
        """Of the body of a ``text/event-plain``: headers, an empty line and perhaps a body."""
        event = cls.__new__(cls)
        end = raw.find(b"\n\n")
        event.headers = Headers(raw if end < 0 else raw[:end], encoded=True)
        event._raw, event._body = raw, None
        return event

    @classmethod
    def json(cls, raw: bytes) -> Event:
        """Of the body of a ``text/event-json``; :class:`ProtocolError` where it is not an object."""
        try:
            found = json.loads(raw)
        except ValueError as error:
            raise ProtocolError(f"text/event-json that is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise ProtocolError("text/event-json that is no object")
        body = found.pop("_body", "")
        return cls(Headers.of({name: _flat(value) for name, value in found.items()}), str(body))

    @property
    def name(self) -> str:
        """``CHANNEL_ANSWER``"""
        return self.get("Event-Name") or ""

    @property
    def subclass(self) -> str:
        """Of a CUSTOM event; else empty."""
        return self.get("Event-Subclass") or ""

    @property
    def uuid(self) -> str:
        """The channel's, or empty."""
        return self.get("Unique-ID") or ""

    @property
    def body(self) -> str:
        """What follows the headers, or empty."""
        if self._body is None:
            start = len(self.headers.raw) + 2
            self._body = self._raw[start:].decode("utf-8", "replace")
        return self._body

    def __getitem__(self, name: str) -> str:
        return self.headers[name]

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def __repr__(self) -> str:
        return f"<Event {self.name}>"  # the rest may be a caller's

    def get(self, name: str, default: str | None = None) -> str | None:
        """A header, or ``default``."""
        found = self.headers.find(name)
        return default if found is None else found

    def variables(self, prefix: str) -> dict[str, str]:
        """Variables whose names begin so, by the rest of their names, in small letters."""
        return self.headers.beginning(f"variable_{prefix}")

    def variable(self, name: str, default: str | None = None) -> str | None:
        """A variable of the channel, as it was when the event was made."""
        return self.get(f"variable_{name}", default)


def _flat(value: Any) -> str:
    # Headers with many values are lists in JSON and ARRAY::a|:b in plain text (switch_event_serialize_json).
    return "ARRAY::" + "|:".join(map(str, value)) if isinstance(value, list) else str(value)
