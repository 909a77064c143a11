"""Bytes to messages however they are cut; commands that cannot become two."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.esl.errors import ArgumentError, LimitError, ProtocolError
from media.esl.message import Message
from media.esl.protocol import Decoder, command, execute, sendmsg, subscription, with_headers

AUTH = b"Content-Type: auth/request\n\n"


def frame(body: bytes, kind: str = "api/response") -> bytes:
    return b"Content-Type: %s\nContent-Length: %d\n\n" % (kind.encode(), len(body)) + body


def shape(messages: list[Message]) -> list[tuple[str, bytes, bytes]]:
    return [(one.content_type, one.raw, one.body) for one in messages]


def decode(data: bytes, cuts: list[int]) -> tuple[list[tuple[str, bytes, bytes]], str]:
    """Messages and the error, of the bytes cut at ``cuts``."""
    decoder, found = Decoder(limit_headers=300, limit_body=100), []
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in pairwise(edges):
            found += decoder.feed(data[start:end])
        decoder.eof()
    except ProtocolError as error:
        return shape(found), f"{type(error).__name__} {error}"
    return shape(found), ""


GOOD = st.one_of(
    st.just(AUTH),
    st.just(b"Content-Type: command/reply\nReply-Text: +OK\n\n"),
    st.binary(max_size=100).map(frame),
    st.binary(max_size=100).map(lambda body: frame(body, "text/event-plain")),
    st.just(b"\n"),
)
BAD = st.sampled_from(
    [
        b"", b"Content-Type: api/response\nContent-Length: -1\n\n", b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
        b"Content-Type: api/response\nContent-Length: many\n\n", frame(b"x" * 101), b"A: b\n\n", b"A: " + b"b" * 400,
        frame(b"half")[:-1], b"Content-Ty", b"\x16\x03\x01" + b"\0" * 300,
    ]
)  # fmt: skip


@given(st.lists(GOOD), BAD, st.lists(st.integers(0, 1000), max_size=20))
def test_any_split_gives_the_same(good, bad, cuts):
    data = b"".join(good) + bad
    whole = decode(data, [])
    assert decode(data, cuts) == whole
    assert len(whole[0]) == sum(one != b"\n" for one in good)
    assert bool(whole[1]) == bool(bad)


def test_byte_by_byte():
    data = AUTH + frame(b"one\n\ntwo") + AUTH
    assert [kind for kind, _, _ in decode(data, list(range(len(data))))[0]] == [
        "auth/request", "api/response", "auth/request",
    ]  # fmt: skip


def test_a_message_comes_with_its_last_byte():
    data = frame(b"body")
    for cut in range(1, len(data)):
        decoder = Decoder()
        assert decoder.feed(data[:cut]) == []
        assert [one.body for one in decoder.feed(data[cut:])] == [b"body"]


def test_messages_before_an_error_are_not_lost():
    decoder = Decoder()
    assert len(decoder.feed(AUTH + b"garbage\n\n")) == 1
    assert isinstance(decoder.error, ProtocolError)
    with pytest.raises(ProtocolError):
        decoder.feed(AUTH)


def test_length_before_type_and_any_case():
    (message,) = Decoder().feed(b"content-length: 2\nCONTENT-TYPE: text/event-plain\n\nab")
    assert (message.content_type, message.body) == ("text/event-plain", b"ab")


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"", b"0x10", b"9" * 30, b"1 2", "²".encode()])
def test_a_length_that_is_no_number(length):
    with pytest.raises(ProtocolError, match="Content-Length"):
        Decoder().feed(b"Content-Type: api/response\nContent-Length: " + length + b"\n\n")


def test_a_length_beyond_the_limit_is_refused_before_the_body():
    with pytest.raises(LimitError, match="17000000"):
        Decoder().feed(b"Content-Type: api/response\nContent-Length: 17000000\n\n")


def test_headers_without_end_are_refused_early():
    decoder = Decoder()
    for _ in range(decoder.limit_headers // 1000):
        decoder.feed(b"X: " + b"y" * 996 + b"\n")
    with pytest.raises(LimitError):
        decoder.feed(b"X: " + b"y" * 996 + b"\n")


def test_headers_at_the_limit_are_taken_however_they_come():
    block = b"Content-Type: auth/request\nX: " + b"y" * 270
    assert len(block) == 300
    for cuts in ([], [299, 300, 301], list(range(303))):
        assert len(decode(block + b"\n\n", cuts)[0]) == 1
        assert "LimitError" in decode(b"Content-Type: auth/request\nX: y" + b"y" * 270 + b"\n\n", cuts)[1]


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.2\r\n", b"220 mail ESMTP\r\n", b"\0" * 256, b"{" * 256])
def test_another_protocol_is_known_by_its_first_line(data):
    with pytest.raises(ProtocolError, match="does not speak"):
        Decoder().feed(data)


def test_eof_between_frames_is_no_error():
    decoder = Decoder()
    decoder.feed(AUTH)
    decoder.eof()


@pytest.mark.parametrize("cut", [1, len(AUTH) - 1])
def test_eof_within_a_frame(cut):
    decoder = Decoder()
    decoder.feed(AUTH[:cut])
    with pytest.raises(ProtocolError, match="within a frame"):
        decoder.eof()


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b", "\n", "a\n\nexit"])
def test_line_ends_are_refused_everywhere(bad):
    for build in (
        lambda: command("api", bad),
        lambda: command(bad),
        lambda: sendmsg(bad, {}),
        lambda: sendmsg(None, {"a": bad}),
        lambda: sendmsg(None, {bad: "a"}),
        lambda: execute(bad),
        lambda: execute("playback", bad),
        lambda: execute("playback", uuid=bad),
        lambda: execute("playback", event_uuid=bad),
        lambda: subscription([bad]),
        lambda: with_headers(f"sendevent {bad}", {}),
    ):
        with pytest.raises(ArgumentError) as caught:
            build()
        assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a: b", "ä"])
def test_names_of_headers(name):
    with pytest.raises(ArgumentError):
        sendmsg(None, {name: "x"})


@pytest.mark.parametrize("name", ["", " x"])
def test_a_command_has_a_name(name):
    with pytest.raises(ArgumentError):
        command(name)


def test_the_error_does_not_tell_arguments():
    with pytest.raises(ArgumentError) as caught:
        command("api", "uuid_setvar 4711\n")
    assert "4711" not in str(caught.value)


def test_sendmsg_with_a_body():
    data = sendmsg("abc", {"call-command": "execute"}, "größer\nmore")
    assert data == (
        "sendmsg abc\ncall-command:execute\nContent-Type:text/plain\nContent-Length:13\n\ngrößer\nmore".encode()
    )
    with pytest.raises(ArgumentError):
        sendmsg(None, {}, "a\0b")
    with pytest.raises(ArgumentError):
        sendmsg(None, {"content-length": "1"}, "ab")
    with pytest.raises(ArgumentError):
        sendmsg(None, {"content-length": "100"})


def test_execute():
    assert execute("answer") == b"sendmsg\ncall-command:execute\nexecute-app-name:answer\n\n"
    assert execute("playback", "a b.wav", uuid="u", event_uuid="e", loops=3, lock=True) == (
        b"sendmsg u\ncall-command:execute\nexecute-app-name:playback\nexecute-app-arg:a b.wav\n"
        b"Event-UUID:e\nloops:3\nevent-lock:true\n\n"
    )


def test_a_long_argument_is_a_body():
    path = "/var/lib/strowger/recordings/ä.wav"
    assert execute("record", path) == (
        b"sendmsg\ncall-command:execute\nexecute-app-name:record\n"
        b"Content-Type:text/plain\nContent-Length:35\n\n" + path.encode()
    )
    for broken in ("\r", "\n", "\0"):
        with pytest.raises(ArgumentError, match="execute-app-arg"):
            execute("record", path + broken)


def test_subscription_puts_subclasses_last():
    assert subscription(["CUSTOM", "DTMF"]) == b"event plain DTMF CUSTOM\n\n"
    assert subscription(["CUSTOM a::b", "DTMF", "CUSTOM c::d", "DTMF"]) == b"event plain DTMF CUSTOM a::b c::d\n\n"
    with pytest.raises(ArgumentError):
        subscription([])
