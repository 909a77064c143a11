"""What may leave the house: text and data without secrets, and with every number under another name.

A number becomes ``number-1a2b3c``, the same wherever it stands in one bundle, so that a call can still be followed; in
another bundle it is another. Addresses, dates and times stay.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from state.sentinels import Sentinels

HIDDEN = "(removed)"
SHORTEST = 8
"Characters that a secret has at least to be looked for: shorter ones would be found in words."
_SECRET_KEYS = re.compile(r"auth|ha1|password|secret|token|pin_hash|hash", re.IGNORECASE)
# What looks like a number and is none: IPv4 addresses with ports, dates with times, fractions, hexadecimal ids.
_NUMBER = re.compile(
    r"(?P<keep>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b|\b\d{4}-\d\d-\d\d(?!\d)(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?"
    r"|\b\d{8}T\d{6}Z\b|\b\d+\.\d+\b)"
    r"|(?P<number>\+?\d(?:[ ()/-]{0,2}\d){5,})"
)


class Redactor:
    """One bundle's."""

    def __init__(self, known: Iterable[str]) -> None:
        """``known``: secrets, which are removed wherever they stand."""
        self._salt = secrets.token_bytes(16)
        self._known = sorted({text for text in known if len(text) >= SHORTEST}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Without secrets, and with numbers under other names."""
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        return _NUMBER.sub(self._named, text)

    def data(self, value: Any) -> Any:
        """The same for what JSON knows, keys included; what stands under a name such as ``auth`` goes, and of a URL
        all but its host: a path or a query may be what lets somebody in.
        """
        if isinstance(value, dict):
            return {
                self.text(str(key)): HIDDEN if _SECRET_KEYS.search(str(key)) and item else self.data(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        if isinstance(value, str):
            return self.text(shown_url(value) if value.startswith(("http://", "https://")) else value)
        return value

    def _named(self, found: re.Match[str]) -> str:
        if found["keep"]:
            return found[0]
        digits = re.sub(r"\D", "", found[0])
        return f"number-{hashlib.sha256(self._salt + digits.encode()).hexdigest()[:6]}"


def shown_url(url: str) -> str:
    """A URL without user, password, query and path beyond a database's number."""
    if (sentinels := Sentinels.parse(url)) is not None:
        return str(sentinels)
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}" if parts.scheme else ""
