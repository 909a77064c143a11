"""XML-RPC messages (http://xmlrpc.com/spec.md, with <nil/>), read as what a stranger sent: no DTD, no depth."""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from xml.parsers import expat

BODY_MAX = 16 << 20
DEPTH_MAX = 100
"Of elements; a value in a struct takes three."

# Codes of http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php; others are statuses of HTTP.
NOT_XML, NO_METHOD, BAD_PARAMETERS = -32700, -32601, -32602

_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class XmlError(ValueError):
    """A body is no call; the message says why."""


def parse(body: bytes) -> tuple[str, tuple[Any, ...]]:
    """Method and parameters of a call; base64 as text. Raises XmlError."""
    # xmlrpc.client's own parser takes entities that stand for gigabytes.
    reader, depth = xmlrpc.client.Unmarshaller(use_builtin_types=True), 0
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > DEPTH_MAX:
            raise XmlError(f"elements stand more than {DEPTH_MAX} deep in each other")
        reader.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        reader.end(name)

    def refuse(*_: Any) -> None:
        raise XmlError("a document type is not taken")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = reader.data
    parser.StartDoctypeDeclHandler = refuse
    reader.xml("", None)
    try:
        parser.Parse(body, True)
        found, method = reader.close(), reader.getmethodname()
    except XmlError:
        raise
    except Exception as error:
        # Whatever it may be: its reader takes for granted that what it reads is a call.
        raise XmlError(f"no XML-RPC call: {error}"[:300]) from None
    if not isinstance(method, str):
        raise XmlError("no XML-RPC call: it names no method")
    return method, tuple(map(_plain, found))


def _plain(value: Any) -> Any:
    """A value as JSON has it. Raises XmlError."""
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise XmlError("base64 that is no text in UTF-8") from None
    return value


def answer(value: Any) -> bytes:
    """A response."""
    return _written((_representable(value),), methodresponse=True)


def fault(code: int, text: str) -> bytes:
    """A fault."""
    return _written(xmlrpc.client.Fault(int(code), _NO_CHARACTER.sub("\ufffd", text)))


def _written(value: Any, **options: Any) -> bytes:
    return xmlrpc.client.dumps(value, allow_none=True, encoding="utf-8", **options).encode()


def _representable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_NO_CHARACTER.sub("\ufffd", str(name)): _representable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_representable(item) for item in value]
    if isinstance(value, str):
        return _NO_CHARACTER.sub("\ufffd", value)
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        # An int has 32 bits, and a double all that we count.
        return float(value)
    return value
