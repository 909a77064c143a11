"""SIP URIs and the name-addr form of From, To, Contact and Route (RFC 3261, 19.1 and 20.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from devswitch.sip.errors import MessageError

DEFAULT_PORT = 5060
_URI = re.compile(
    r"(?P<scheme>sips?):(?:(?P<user>[^@<>\s]*)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>\d{1,5}))?(?P<params>;[^?\s<>]*)?(?P<headers>\?[^\s<>]*)?",
    re.IGNORECASE,
)
_NAME_ADDR = re.compile(
    r'\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<token>[^<"]*?))\s*<(?P<uri>[^<>]*)>(?P<params>.*)', re.S
)


@dataclass(frozen=True, slots=True)
class Uri:
    """``sip:user@host:port;params``."""

    host: str
    user: str = ""
    port: int = 0
    "0: none is written."
    params: str = ""
    "As written, with the leading semicolon."
    scheme: str = "sip"

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a ``sip:`` or ``sips:`` URI; raise :class:`MessageError` for anything else."""
        match = _URI.fullmatch(text.strip())
        if not match:
            raise MessageError(f"no SIP URI: {text[:80]!r}")
        port = int(match["port"] or 0)
        if port > 65535:
            raise MessageError(f"port {port} in a SIP URI")
        user = (match["user"] or "").partition(":")[0]
        return cls(match["host"], unquote(user), port, match["params"] or "", match["scheme"].lower())

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to send to."""
        return self.host, self.port or DEFAULT_PORT

    @property
    def is_loose(self) -> bool:
        """Whether it says ``;lr``: a proxy that follows RFC 3261."""
        return "lr" in parameters(self.params)

    def __str__(self) -> str:
        user = re.sub(r"[^A-Za-z0-9\-_.!~*'()&=+$,;?/#]", lambda found: _escaped(found[0]), self.user)
        port = f":{self.port}" if self.port else ""
        return f"{self.scheme}:{user + '@' if user else ''}{self.host}{port}{self.params}"


@dataclass(frozen=True, slots=True)
class Address:
    """``"name" <uri>;params``."""

    uri: str
    name: str = ""
    params: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read a name-addr or addr-spec; raise :class:`MessageError`."""
        if match := _NAME_ADDR.fullmatch(text):
            name = re.sub(r"\\(.)", r"\1", match["quoted"]) if match["quoted"] is not None else match["token"].strip()
            return cls(match["uri"].strip(), name, parameters(match["params"]))
        if "<" in text or ">" in text:
            raise MessageError(f"unbalanced brackets: {text[:80]!r}")
        # RFC 3261, 20: without brackets the parameters are those of the header.
        uri, semicolon, params = text.strip().partition(";")
        return cls(uri, "", parameters(semicolon + params))

    @property
    def tag(self) -> str:
        return self.params.get("tag", "")

    def __str__(self) -> str:
        quoted = self.name.replace("\\", "\\\\").replace('"', '\\"')
        params = "".join(f";{name}={value}" if value else f";{name}" for name, value in self.params.items())
        return (f'"{quoted}" ' if quoted else "") + f"<{self.uri}>{params}"


def parameters(text: str) -> dict[str, str]:
    """``;a=1;b`` as a mapping; names in lower case, the value of a flag is empty."""
    found: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        if name.strip():
            found.setdefault(name.strip().lower(), value.strip())
    return found


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
