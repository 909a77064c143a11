"""Headers are found and decoded when somebody looks."""

import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.esl.errors import ProtocolError
from media.esl.message import Event, Headers, Message, Reply

PLAIN = (
    b"Event-Name: CUSTOM\nUnique-ID: abc\nEvent-Subclass: sofia%3A%3Aregister\nvariable_name: J%C3%BCrgen%20%26%20B\n"
    b"Empty: \nplus: a%2Bb+c\nTwice: first\nTwice: second\nContent-Length: 23\n\nSecret: inner\n\n-ERR no\n"
)


def test_event_plain():
    event = Event.plain(PLAIN)
    assert (event.name, event.uuid, event.subclass) == ("CUSTOM", "abc", "sofia::register")
    assert event.variable("name") == "Jürgen & B"
    assert event["Empty"] == ""
    assert event["plus"] == "a+b+c"
    assert event["Twice"] == "first"
    assert event.body == "Secret: inner\n\n-ERR no\n"


@pytest.mark.parametrize("parsed", [False, True])
def test_headers_that_begin_alike(parsed: bool):
    """The first of a name counts; the prefix alone is no name, and a longer one that has it within is another."""
    raw = b"X-A-One: 1\nother: x-a-no: 2\nx-a-two: %41\nX-A-ONE: 3\nyX-A-Three: 4\nX-A-: 5\nX-A-broken\nX-A-Last: "
    headers = Headers(raw, encoded=True)
    if parsed:
        headers = Headers.of(dict(Headers(raw, encoded=True).items()))
    assert headers.beginning("x-A-") == {"one": "1", "two": "A", "": "5", "last": ""}
    assert headers.beginning("Z") == {}


def test_body_is_no_header():
    event = Event.plain(PLAIN)
    assert event.get("Secret") is None
    assert "Secret" not in event
    assert event.get("Secret", "x") == "x"


def test_any_case_is_the_fallback():
    headers = Headers(b"name: lower\nName: upper\nOther: x")
    assert (headers["Name"], headers["name"], headers["NAME"], headers["oTHER"]) == ("upper", "lower", "lower", "x")


def test_a_name_within_a_name_is_none():
    headers = Headers(b"Caller-Unique-ID: a\nUnique-ID: b")
    assert headers["Unique-ID"] == "b"
    with pytest.raises(KeyError, match="ID"):
        headers["ID"]


@given(
    st.dictionaries(
        st.text("abAB-", min_size=1, max_size=3),
        st.text(st.characters(blacklist_characters="\n", blacklist_categories=["Cs"]), max_size=5),
        max_size=8,
    ),
    st.booleans(),
    st.text("abAB-", min_size=1, max_size=3),
)
def test_searching_finds_what_parsing_does(values, encoded, name):
    lines = [f"{key}: {quote(value) if encoded else value}" for key, value in values.items()]
    raw = "\n".join(lines).encode()
    parsed = Headers(raw, encoded=encoded)
    assert dict(parsed.items()) == values
    found = Headers(raw, encoded=encoded).get(name)
    assert found == parsed.get(name) == Headers.of(values).get(name)
    if name in values:
        assert found == values[name]


def test_headers_as_mapping():
    headers = Headers(b"a: 1\nb: x: y\nno colon\nc: ")
    assert dict(headers) == {"a": "1", "b": "x: y", "c": ""}
    assert len(headers) == 3


def test_replies_are_not_encoded():
    reply = Message("command/reply", b"Content-Type: command/reply\nReply-Text: +OK 100%25", b"")
    assert reply.headers["Reply-Text"] == "+OK 100%25"


def test_connect_reply_is_encoded():
    reply = Message(
        "command/reply", b"Event-Name: CHANNEL_DATA\nReply-Text: %2BOK%0A\nContent-Type: command/reply", b""
    )
    assert reply.headers["Reply-Text"] == "+OK\n"


def test_event_json():
    raw = {"Event-Name": "BACKGROUND_JOB", "Many": ["a", "b"], "Content-Length": "4", "_body": "+OK\n"}
    event = Event.json(json.dumps(raw).encode())
    assert event.name == "BACKGROUND_JOB"
    assert event["Many"] == "ARRAY::a|:b"
    assert event["event-name"] == "BACKGROUND_JOB"
    assert event.body == "+OK\n"
    assert event.uuid == ""


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff"])
def test_broken_json(raw):
    with pytest.raises(ProtocolError, match="text/event-json"):
        Event.json(raw)


def test_broken_text_is_replaced():
    assert Headers(b"a: \xff")["a"] == "\N{REPLACEMENT CHARACTER}"
    assert Headers(b"a: %FF%zz", encoded=True)["a"] == "\N{REPLACEMENT CHARACTER}%zz"


def test_values_do_not_stand_in_repr():
    assert "Secret" not in repr(Event.plain(PLAIN)) + repr(Headers(PLAIN))


def test_reply_ok():
    assert Reply("+OK", Headers(b"")).ok
    assert not Reply("-ERR x", Headers(b"")).ok
