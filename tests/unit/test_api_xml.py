from __future__ import annotations

import contextlib
import xmlrpc.client
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import xml
from api.xml import XmlError
from api.xmlrpc_door import Fault, request_of

BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<methodCall><methodName>&b;</methodName></methodCall>"""
OUTSIDE = b"""<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><methodCall><methodName>&a;</methodName></methodCall>"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=8,
)
OPERATION: dict[str, Any] = {
    "operationId": "lists.remove",
    "method": "DELETE",
    "path": "/api/v1/lists/{action}/{value}",
    "parameters": [
        {"name": "action", "in": "path"},
        {"name": "value", "in": "path"},
        {"name": "search", "in": "query"},
        {"name": "Idempotency-Key", "in": "header"},
    ],
}
TAKES_JSON = {**OPERATION, "requestBody": {"content": {"application/json": {}}}}
TAKES_CSV = {**OPERATION, "requestBody": {"content": {"text/csv": {}}}}
NAMED = {"action": "block", "value": "1"}


def test_a_call_is_read() -> None:
    moment = datetime(2026, 1, 31, 18)
    body = xmlrpc.client.dumps(({"a": 1, "b": [True, None, "é"], "c": b"x,y\n", "d": moment},), "m.n", allow_none=True)
    assert xml.parse(body.encode()) == (
        "m.n", ({"a": 1, "b": [True, None, "é"], "c": "x,y\n", "d": "2026-01-31T18:00:00"},)
    )  # fmt: skip


@pytest.mark.parametrize("body", [BOMB, OUTSIDE], ids=["inner", "outer"])
def test_entities_are_refused(body: bytes) -> None:
    with pytest.raises(XmlError, match="document type"):
        xml.parse(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"<a/>", b"<methodCall/>", b"<methodCall><methodName>", b"\xff\xfe",
        b"<methodCall><methodName>a</methodName><params><param><value><int>x</int></value></param></params></methodCall>",
        b"<methodCall><methodName>a</methodName><params><param><value><x>x</x></value></param></params></methodCall>",
        b"<methodCall><methodName>a</methodName><params><param><value><base64>/w==</base64></value></param></params>"
        b"</methodCall>",
        b"<methodCall>" + b"<value><array><data>" * 1000,
        b"<methodResponse><params><param><value>a</value></param></params></methodResponse>",
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused(body: bytes) -> None:
    with pytest.raises(XmlError):
        xml.parse(body)


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(XmlError):
        xml.parse(body)


@given(VALUES)
def test_an_answer_is_what_clients_read(value: Any) -> None:
    (found,), _ = xmlrpc.client.loads(xml.answer(value), use_builtin_types=True)
    assert _comparable(found) == _comparable(value)


def _comparable(value: Any) -> Any:
    """Without what XML has no characters for, and with the line ends of XML."""
    if isinstance(value, dict):
        return {name: _comparable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return xml._NO_CHARACTER.sub("\ufffd", value).replace("\r\n", "\n").replace("\r", "\n") \
        if isinstance(value, str) else value  # fmt: skip


def test_large_numbers_and_bad_characters_are_told() -> None:
    (found,), _ = xmlrpc.client.loads(xml.answer({"n": 2**40, "t": "a\x00b"}))
    assert found == {"n": 2.0**40, "t": "a\ufffdb"}
    with pytest.raises(xmlrpc.client.Fault, match="a\ufffdb"):
        xmlrpc.client.loads(xml.fault(404, "a\x00b"))


def test_a_struct_becomes_a_request() -> None:
    given = {"action": "block", "value": "+44/20 7?", "search": "a&b", "idempotency_key": "k1"}
    assert request_of(OPERATION, given) == (
        "/api/v1/lists/block/%2B44%2F20%207%3F", "search=a%26b", {"Idempotency-Key": "k1"}, b""
    )  # fmt: skip
    path, query, headers, body = request_of(TAKES_JSON, {**NAMED, "ttl": None, "on": True})
    assert (path, query, body) == ("/api/v1/lists/block/1", "", b'{"ttl": null, "on": true}')
    assert headers == {"Content-Type": "application/json"}
    *_, headers, body = request_of(TAKES_CSV, {**NAMED, "file": "a,b\n"})
    assert (headers, body) == ({"Content-Type": "text/csv"}, b"a,b\n")


@pytest.mark.parametrize(
    "given",
    [{}, {"action": "block"}, {**NAMED, "more": 1}, {**NAMED, "search": {}}, {**NAMED, "idempotency_key": "\n"}],
)
def test_a_struct_that_fits_no_request_is_a_fault(given: dict[str, Any]) -> None:
    with pytest.raises(Fault):
        request_of(OPERATION, given)


def test_no_number_is_a_fault() -> None:
    with pytest.raises(Fault):
        request_of(TAKES_JSON, {**NAMED, "ttl": float("nan")})
