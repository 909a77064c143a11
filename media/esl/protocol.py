"""The protocol of the event socket: bytes in, messages out; commands in, bytes out.

A frame is a block of ``Name: value`` lines, an empty line, and as many bytes of body as ``Content-Length`` says.
Written after mod_event_socket.c; see also switch_event.c for how events are serialised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from media.esl.errors import ArgumentError, LimitError, ProtocolError
from media.esl.message import Message

LIMIT_HEADERS = 256 * 1024
"The reply to ``connect`` has all variables of the channel in its headers."
LIMIT_BODY = 16 * 1024 * 1024
"``api show channels`` of a busy switch is megabytes."

LONG_ARGUMENT = 32
"Characters of an application's argument from which on a body is cheaper for the switch: see :func:`with_headers`."

_FIRST_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9_-]*:")
_UNSAFE = re.compile(r"[\r\n\0]")
_HEADER_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_OWN = {
    "call-command", "execute-app-name", "execute-app-arg", "Event-UUID", "loops", "event-lock", "hangup-cause",
    "Job-UUID",
}  # fmt: skip
"Headers that are named by this module and its neighbours."
_FIRST_LINE_LIMIT = 256
_FOREIGN = "the peer does not speak the protocol of the event socket"


class Decoder:
    """Bytes to messages, however the bytes were cut.

    An error comes after the messages before it: :attr:`error` has it, and the next :meth:`feed` raises it.
    """

    __slots__ = ("_chunks", "_have", "_need", "error", "limit_body", "limit_headers")

    def __init__(self, *, limit_headers: int = LIMIT_HEADERS, limit_body: int = LIMIT_BODY) -> None:
        self.limit_headers = limit_headers
        self.limit_body = limit_body
        self.error: ProtocolError | None = None
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 0  # bytes below which there is no point in looking again

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes.

        :raises ProtocolError: where the bytes are not of the protocol and no message came before that.
        """
        if self.error:
            raise self.error
        if self._chunks:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks = []
        found: list[Message] = []
        try:
            rest = self._frames(data, found)
        except ProtocolError as error:
            self.error = error
            if not found:
                raise
        else:
            self._have = len(rest)
            if rest:
                self._chunks.append(rest)
        return found

    def eof(self) -> None:
        """The peer sends no more.

        :raises ProtocolError: within a frame.
        """
        if self.error:
            raise self.error
        if self._chunks:
            raise ProtocolError(f"the connection ended within a frame, after {self._have} bytes of it")

    def _frames(self, data: bytes, found: list[Message]) -> bytes:
        start, size = 0, len(data)
        while start < size:
            if data[start] == 10:  # a line end that is too many between two frames
                start += 1
                continue
            end = data.find(b"\n\n", start, start + self.limit_headers + 2)
            if end < 0:
                self._unfinished(data, start)
                self._need = 0
                break
            if not _FIRST_LINE.match(data, start, min(end, start + _FIRST_LINE_LIMIT)):
                raise ProtocolError(_FOREIGN)
            block = data[start:end]
            content_type, length = self._read(block)
            stop = end + 2 + length
            if stop > size:
                self._need = stop - start
                break
            found.append(Message(content_type, block, data[end + 2 : stop]))
            start = stop
        return data[start:] if start else data

    def _read(self, block: bytes) -> tuple[str, int]:
        # Not by regular expressions without regard to case: those take longer than all else for the reply to connect.
        small = block.lower()
        found = _line_of(block, small, b"content-type:")
        if found is None:
            raise ProtocolError("a frame without Content-Type")
        length = _line_of(block, small, b"content-length:")
        return found.decode("latin-1"), 0 if length is None else self._length(length)

    def _length(self, text: bytes) -> int:
        if not text.isdigit() or len(text) > 18:
            raise ProtocolError("a Content-Length that is no number")
        length = int(text)
        if length > self.limit_body:
            raise LimitError(f"a body of {length} bytes was announced, more than {self.limit_body}")
        return length

    def _unfinished(self, data: bytes, start: int) -> None:
        stop = start + _FIRST_LINE_LIMIT
        line = data.find(b"\n", start, stop)
        if (line >= 0 or len(data) >= stop) and not _FIRST_LINE.match(data, start, stop if line < 0 else line):
            raise ProtocolError(_FOREIGN)
        if len(data) - start > self.limit_headers + 1:  # the last may be the first line end of the two
            raise LimitError(f"headers of more than {self.limit_headers} bytes")


def _line_of(block: bytes, small: bytes, name: bytes) -> bytes | None:
    """What stands behind ``name``, at the first line that begins so; ``small``: the block in small letters."""
    start = 0 if small.startswith(name) else small.find(b"\n" + name) + 1
    if not start and not small.startswith(name):
        return None
    end = block.find(b"\n", start)
    return block[start + len(name) : None if end < 0 else end].strip()


def command(name: str, *args: str) -> bytes:
    """A command of one line.

    :raises ArgumentError: where a line end or NUL would make it two, or it has no name.
    """
    line = " ".join((name, *args))
    return _line(line).encode() + b"\n\n"


def with_headers(line: str, headers: Mapping[str, str], body: str = "", content_type: str = "text/plain") -> bytes:
    """A command with headers, and with a body where there is one.

    FreeSWITCH reads Content-Length bytes behind the empty line (read_packet() of mod_event_socket.c), but what comes
    before that byte by byte, with a system call for each: so there is no blank behind the colons.
    """
    lines = [line, *[f"{name}:{value}" for name, value in headers.items()]]
    text = "\n".join(lines)
    # One look at all of it; which of them is wrong is asked only where something is.
    whole = text.count("\n") == len(headers) and "\r" not in text and "\0" not in text and line[:1] not in " "
    if not whole or not headers.keys() <= _OWN:
        _line(line)
        for name, value in headers.items():
            _value(_name(name), value)
    if not body:
        return text.encode() + b"\n\n"
    if "\0" in body:
        raise ArgumentError("NUL in a body: the switch would cut it there")
    if not any(name.lower() == "content-type" for name in headers):
        lines.append(f"Content-Type:{content_type}")
    data = body.encode()
    lines.append(f"Content-Length:{len(data)}")
    return "\n".join(lines).encode() + b"\n\n" + data


def sendmsg(uuid: str | None, headers: Mapping[str, str], body: str = "") -> bytes:
    """``sendmsg``; without ``uuid`` to the channel of an outbound connection."""
    return with_headers(f"sendmsg {uuid}" if uuid else "sendmsg", headers, body)


def execute(
    app: str, arg: str = "", *, uuid: str | None = None, event_uuid: str = "", loops: int = 1, lock: bool = False
) -> bytes:
    """``sendmsg`` that runs an application; ``event_uuid`` comes back as Application-UUID of its events.

    The names are those of switch_ivr_parse_event() in switch_ivr.c, which takes a body for the argument, too.
    """
    headers, body = {"call-command": "execute", "execute-app-name": app}, ""
    if len(arg) > LONG_ARGUMENT:
        body = _value("execute-app-arg", arg)
    elif arg:
        headers["execute-app-arg"] = arg
    if event_uuid:
        headers["Event-UUID"] = event_uuid
    if loops != 1:
        headers["loops"] = str(loops)
    if lock:
        headers["event-lock"] = "true"
    return sendmsg(uuid, headers, body)


def hangup(cause: str = "") -> bytes:
    """``sendmsg`` that hangs up the channel of an outbound connection; by default with NORMAL_CLEARING."""
    return sendmsg(None, {"call-command": "hangup"} | ({"hangup-cause": cause} if cause else {}))


def subscription(names: Iterable[str], kind: str = "plain") -> bytes:
    """``event``; a name is ``CHANNEL_ANSWER`` or ``CUSTOM sofia::register``.

    Everything behind CUSTOM is a subclass, so those come last.
    """
    return _subscription(tuple(names), kind)


@lru_cache(maxsize=64)  # most calls ask for the same
def _subscription(names: tuple[str, ...], kind: str) -> bytes:
    return command("event", kind, *_words(names))


def unsubscription(names: Iterable[str]) -> bytes:
    """``nixevent``; names as of :func:`subscription`."""
    return command("nixevent", *_words(names))


def _words(names: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(names))
    if not wanted:
        raise ArgumentError("no event was named")
    own = [name for name in wanted if name.split(" ")[0] != "CUSTOM"]
    custom = [name.removeprefix("CUSTOM ") for name in wanted if name.startswith("CUSTOM ")]
    return own + (["CUSTOM", *custom] if len(own) < len(wanted) else [])


def _line(line: str) -> str:
    # read_packet() drops what it has when the first byte is a line end.
    if not line or line[0] == " ":
        raise ArgumentError("a command without a name")
    if _UNSAFE.search(line):
        raise ArgumentError(f"{(line.split() or ['a command'])[0]}: a line end or NUL in an argument")
    return line


def _name(name: str) -> str:
    if name.lower() == "content-length":
        raise ArgumentError("Content-Length is ours to say")
    if not _HEADER_NAME.fullmatch(name):
        raise ArgumentError(f"{name!r} is no name of a header")
    return name


def _value(name: str, value: str) -> str:
    if _UNSAFE.search(value):
        raise ArgumentError(f"a line end or NUL in the header {name}")
    return value
