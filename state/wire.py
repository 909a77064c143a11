"""A small client of Redis for SIP workers: one request, one deadline, and never a wait beyond it.

redis-py costs a worker more, waits for names, and has no deadline over a whole exchange. This module holds
connections, so it stays loaded through every reload of the routing code.

Exceptions::

    LinkError       Redis cannot be reached, closed the connection, or refuses what it was asked
    +-- LateError   no answer in time; whether it was done nobody knows

Source: the Redis protocol specification (RESP2).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from state.sentinels import Sentinels

SENTINEL_TIMEOUT = 0.5
"Seconds that a sentinel is waited for."
_BUFFER = 65536
_LINES = 4096
_TIMEVAL = struct.Struct("ll")


class LinkError(Exception):
    """Redis cannot be reached, closed the connection, or refuses what it was asked."""


class LateError(LinkError):
    """No answer in time."""


class ReplyError(Exception):
    """One command's error, as Redis says it."""


class _Incomplete(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Target:
    """Which Redis, and as whom."""

    host: str
    "Name or IP address; empty where there is a ``path``."
    port: int = 6379
    path: str = ""
    "Unix socket."
    database: int = 0
    username: str = ""
    password: str = ""
    run: str = ""
    "The run_id that it must have; empty: any."
    sentinels: Sentinels | None = None
    "Who knows where it is, instead of a host."

    @classmethod
    def parse(cls, url: str) -> Target:
        """From ``redis://[[USER]:PASSWORD@]HOST[:PORT][/N]``, ``unix://PATH``, or as :meth:`Sentinels.parse` has it.

        Raises ValueError.
        """
        if (sentinels := Sentinels.parse(url)) is not None:
            login = sentinels.database, sentinels.username, sentinels.password
            return cls("", 0, "", *login, sentinels=sentinels)
        parts = urlsplit(url)
        username, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix":
            return cls("", path=parts.path, username=username, password=password)
        if parts.scheme != "redis":
            raise ValueError("limits need a Redis at redis://, redis-sentinel:// or unix://")
        host, database = parts.hostname or "127.0.0.1", int(parts.path.strip("/") or 0)
        return cls(host, parts.port or 6379, database=database, username=username, password=password)

    def resolved(self) -> list[Target]:
        """The same by IP address, for each that its name has. May wait for DNS and for sentinels.

        Raises OSError and :class:`LinkError`.
        """
        if self.path:
            return [self]
        if self.sentinels is not None:
            host, port = _master(self.sentinels)
            return replace(self, host=host, port=port, sentinels=None).resolved()
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return [replace(self, host=str(address[0])) for *_, address in found]


def packed(*words: str | int) -> bytes:
    """One command as it is sent."""
    return b"*%d\r\n%b" % (len(words), b"".join([bulk(str(word)) for word in words]))


def bulk(word: str) -> bytes:
    """One word of a command."""
    data = word.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


def parsed(data: bytes, at: int = 0) -> tuple[Any, int]:
    """A reply that begins at ``at``, and where the next begins. Raises :class:`_Incomplete`, ValueError."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise _Incomplete
    kind, line, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"+":
        return line.decode(), at
    if kind == b"-":
        return ReplyError(line.decode("utf-8", "replace")), at
    number = int(line)
    if kind == b":":
        return number, at
    if kind == b"$":
        if number < 0:
            return None, at
        if len(data) < at + number + 2:
            raise _Incomplete
        return data[at : at + number].decode("utf-8", "replace"), at + number + 2
    if kind != b"*":
        raise ValueError(f"no reply begins with {kind!r}")
    items: list[Any] = []
    for _ in range(number):
        item, at = parsed(data, at)
        items.append(item)
    return items, at


class Link:
    """One connection, made at its first use and made anew when it is lost."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._socket: socket.socket | None = None
        self._timeout = 0.0
        self.run = ""
        "The run_id of the Redis that it leads to; another after a restart."

    def ask(self, commands: Sequence[bytes], timeout: float) -> list[Any]:
        """The replies to ``commands``, errors among them as :class:`ReplyError`; ``timeout`` in seconds is for all.

        Raises :class:`LinkError`.
        """
        deadline = time.monotonic() + timeout
        fresh = self._socket is None
        try:
            return self._asked(commands, deadline)
        except LateError:
            raise
        except LinkError:
            # A connection that Redis had closed while it was idle.
            if fresh:
                raise
            return self._asked(commands, deadline)

    def lines(self, data: bytes, count: int, timeout: float) -> list[bytes]:
        """The ``count`` replies to the commands in ``data``, each of which is one line; ``timeout`` as above.

        What a call waits for: two system calls and little else. Raises :class:`LinkError`.
        """
        fresh = self._socket is None
        while True:
            sock = self._socket or self._connected(time.monotonic() + timeout)
            try:
                if timeout != self._timeout:
                    self._wait_for(sock, timeout)
                sock.sendall(data)
                found = sock.recv(_LINES)
                if found.count(b"\r\n") < count:
                    found = self._rest(sock, found, count, time.monotonic() + timeout)
                return found.split(b"\r\n")[:count]
            except BlockingIOError:
                self._lose(sock)
                raise LateError("no answer in time") from None
            except OSError as error:
                self._lose(sock)
                if fresh:
                    raise LinkError(str(error)) from None
                # A connection that Redis had closed while it was idle.
                fresh = True

    def close(self) -> None:
        """Close the connection; the next use makes another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _asked(self, commands: Sequence[bytes], deadline: float) -> list[Any]:
        sock = self._connected(deadline)
        return self._exchanged(sock, commands, deadline)

    def _connected(self, deadline: float) -> socket.socket:
        if self._socket is None:
            self._socket = self._connect(deadline)
        return self._socket

    def _connect(self, deadline: float) -> socket.socket:
        target = self._target
        sock: socket.socket | None = None
        try:
            if target.path:
                sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            else:
                sock = socket.socket(socket.AF_INET6 if ":" in target.host else socket.AF_INET, socket.SOCK_STREAM)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            sock.connect(target.path or (target.host, target.port))
        except TimeoutError:
            _close(sock)
            raise LateError("no connection in time") from None
        except OSError as error:
            _close(sock)
            raise LinkError(str(error)) from None
        sock.settimeout(None)
        self._timeout = 0.0
        self._introduce(sock, deadline)
        return sock

    def _introduce(self, sock: socket.socket, deadline: float) -> None:
        target, commands = self._target, []
        if target.password:
            login = (target.username, target.password) if target.username else (target.password,)
            commands.append(packed("AUTH", *login))
        if target.database:
            commands.append(packed("SELECT", target.database))
        replies = self._exchanged(sock, [*commands, packed("INFO", "server")], deadline)
        wrong = next((reply for reply in replies if isinstance(reply, ReplyError)), None)
        if wrong is not None:
            sock.close()
            raise LinkError(str(wrong))
        found = (line.partition(":")[2] for line in replies[-1].splitlines() if line.startswith("run_id:"))
        self.run = next(found, "")
        if target.run not in ("", self.run):
            sock.close()
            raise LinkError("Redis was restarted")

    def _rest(self, sock: socket.socket, found: bytes, count: int, deadline: float) -> bytes:
        while found.count(b"\r\n") < count:
            found += self._more(sock, deadline) if found else _closed()
        return found

    def _exchanged(self, sock: socket.socket, commands: Sequence[bytes], deadline: float) -> list[Any]:
        data = b""
        try:
            self._wait_for(sock, max(0.001, deadline - time.monotonic()))
            sock.sendall(b"".join(commands))
            while (replies := _replies(data, len(commands))) is None:
                data += self._more(sock, deadline)
            return replies
        except BlockingIOError:
            self._lose(sock)
            raise LateError("no answer in time") from None
        except (OSError, ValueError) as error:
            self._lose(sock)
            raise LinkError(str(error)) from None

    def _more(self, sock: socket.socket, deadline: float) -> bytes:
        if (left := deadline - time.monotonic()) <= 0:
            raise BlockingIOError
        self._wait_for(sock, left)
        return sock.recv(_BUFFER) or _closed()

    def _wait_for(self, sock: socket.socket, timeout: float) -> None:
        # By the kernel: Python's own time-out is a system call more for each send and each receive.
        if timeout != self._timeout:
            value = _TIMEVAL.pack(int(timeout), max(1, int(timeout % 1 * 1_000_000)))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
            self._timeout = timeout

    def _lose(self, sock: socket.socket) -> None:
        # A reply that comes later would be taken for the next one's.
        sock.close()
        self._socket = None


def _closed() -> bytes:
    raise ConnectionResetError("Redis closed the connection")


def _close(sock: socket.socket | None) -> None:
    if sock is not None:
        sock.close()


def _replies(data: bytes, count: int) -> list[Any] | None:
    replies: list[Any] = []
    at = 0
    try:
        while len(replies) < count:
            reply, at = parsed(data, at)
            replies.append(reply)
    except _Incomplete:
        return None
    return replies


def _master(sentinels: Sentinels) -> tuple[str, int]:
    """Where the master is, by the first sentinel that knows. Raises :class:`LinkError`."""
    login = (sentinels.username, sentinels.password) if sentinels.ask_as else ("", "")
    for host, port in sentinels.hosts:
        try:
            for target in Target(host, port, "", 0, *login).resolved():
                if (found := _master_by(Link(target), sentinels.master)) is not None:
                    return found
        except OSError:
            # The next one knows, too.
            continue
    raise LinkError(f"none of {len(sentinels.hosts)} sentinels knows where {sentinels.master} is")


def _master_by(sentinel: Link, name: str) -> tuple[str, int] | None:
    try:
        (reply,) = sentinel.ask([packed("SENTINEL", "get-master-addr-by-name", name)], SENTINEL_TIMEOUT)
    except LinkError:
        return None
    finally:
        sentinel.close()
    return (reply[0], int(reply[1])) if isinstance(reply, list) else None


_shared: dict[str, tuple[int, Target, Link]] = {}


def shared_link(purpose: str, target: Target) -> Link:
    """The one link of this process for a ``purpose``, the same after a reload of the code that asks.

    One to another target, or of the process that this one was forked from, makes way.
    """
    pid, of, link = _shared.get(purpose, (0, None, None))
    if link is None or pid != os.getpid() or (of is not target and of != target):
        if link is not None and pid == os.getpid():
            link.close()
        link = Link(target)
        _shared[purpose] = (os.getpid(), target, link)
    return link
