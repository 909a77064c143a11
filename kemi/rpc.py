"""Kamailio's RPC from Python: what ``kamcmd`` does, in JSON-RPC 2.0.

Kamailio's jsonrpcs module answers on a Unix datagram socket (modparam ``dgram_socket``) and, through xhttp,
over HTTP (modparam ``transport``, whose default leaves HTTP out). jsonrpcclient builds requests and reads
replies.

All that goes wrong with a call is an :exc:`RpcError`::

    RpcError
    ├── RpcUnavailable      no socket, refused, not permitted, or the connection was lost
    ├── RpcTimeout          no answer in time
    ├── RpcTooLarge         the request was not sent, or the reply was cut
    ├── RpcProtocolError    an answer that is not one
    └── RpcFault            Kamailio said no

After RpcTimeout, and after a lost connection, Kamailio may yet have done what it was asked.

Sources: the README of Kamailio's jsonrpcs module; https://www.jsonrpc.org/specification.
"""

from __future__ import annotations

import errno
import http.client
import itertools
import json
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar
from urllib.parse import urlsplit

from jsonrpcclient import Error, Ok, parse, request

Param = str | int | float
"Kamailio takes parameters by position and heeds their types: the key 5 of an htable is a string, not an int."

T = TypeVar("T")

ALIASES = {
    "app_python3.reload": "app_python.reload",
    "app_python3.api_list": "app_python.api_list",
}
"Names that people try first: the RPCs of app_python3 bear the name of its predecessor, in every version."

DATAGRAM_REQUEST_LIMIT = 65_456
"In bytes: Kamailio's buffer (JSONRPC_DGRAM_BUF_SIZE). It cuts what is longer, and then does not answer."

HTTP_REQUEST_LIMIT = 16_383
"In bytes, headers included: the default ``tcp_rd_buf_size`` less one. Kamailio hangs up on what is longer."

# Eight times what Kamailio can send: its send buffer holds 131,040 bytes.
DATAGRAM_REPLY_LIMIT = 1 << 20

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_ids = itertools.count(1)


class RpcError(Exception):
    """A call that gave no result. The text names method and address."""

    def __init__(self, *, method: str, address: str, reason: str) -> None:
        super().__init__(f"{method} at {address}: {reason}")
        self.method = method
        self.address = address
        self.reason = reason


class RpcUnavailable(RpcError):
    """Nobody to talk to: no socket, refused, not permitted, or the connection was lost."""


class RpcTimeout(RpcError):
    """No answer in time.

    Over datagrams Kamailio is also silent where its reply exceeds 131,040 bytes: ask for that over HTTP.
    """


class RpcTooLarge(RpcError):
    """The request exceeds what Kamailio reads and was not sent, or the reply exceeds what we read."""


class RpcProtocolError(RpcError):
    """The answer is no JSON-RPC, or its result has not the expected shape."""


class RpcFault(RpcError):
    """Kamailio said no.

    Its codes are mostly 500, for an unknown method too; only ``message`` tells one refusal from another.
    """

    def __init__(self, *, method: str, address: str, code: int, message: str) -> None:
        super().__init__(method=method, address=address, reason=f"{message} ({code})")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Reload:
    """A reload that Kamailio has marked; each process follows at its next message."""

    old: int
    "Number of the script's version before."
    new: int
    "Number of the version from now on."


@dataclass(frozen=True, slots=True)
class ApiFunction:
    """A function that scripts can call as ``KSR.module.name``, or ``KSR.name`` where the module is empty."""

    module: str
    name: str
    returns: str
    "Kamailio's name of the type: ``none``, ``bool``, ``int``, ``str`` or ``xval``."
    params: tuple[str, ...]
    "Kamailio's names of the types."


@dataclass(frozen=True, slots=True)
class Destination:
    """One gateway in one of dispatcher's sets."""

    set_id: int
    uri: str
    flags: str
    "State (A active, I inactive, T trying, D disabled), then P if probed, N if never (6.x), X otherwise."
    priority: int
    attributes: str
    "As loaded, such as ``duid=a;weight=50``; empty if there are none."

    @property
    def in_service(self) -> bool:
        """Whether dispatcher selects it."""
        return self.flags[:1] in ("A", "T")


class Kamcmd:
    """Calls the RPCs of one Kamailio; to be closed, or used as a context manager.

    ``address`` is ``unix:/path/kamailio.sock``, a bare path, or ``http://127.0.0.1:5060/RPC``. ``timeout``,
    in seconds, is for a whole call. Over datagrams Kamailio answers to a socket of ours, which is made in
    ``reply_dir``: a directory that Kamailio sees under the same path (from another container, or a unit with
    PrivateTmp, it does not see our ``/tmp``); by default the system's directory for temporary files.

    Raises ValueError for another kind of address. Nothing is opened before the first call. For one thread at
    a time, and not across a fork.
    """

    def __init__(self, address: str, timeout: float = 2.0, *, reply_dir: str | os.PathLike[str] | None = None) -> None:
        self.address = address
        self.timeout = timeout
        self._link = _link(address, reply_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the calls have left open. Another call opens it anew."""
        self._link.close()

    def call(self, method: str, *params: Param, timeout: float | None = None) -> Any:
        """The result of an RPC, as decoded from JSON. Bytes that are not UTF-8 become U+FFFD.

        ``timeout``, in seconds, stands in for that of this object. Kamailio reads most integers as 32 bits,
        and does not say so when one does not fit.

        Raises an :exc:`RpcError`, or ValueError for a parameter that cannot be sent: one with NUL or a lone
        surrogate, or infinity.
        """
        method = ALIASES.get(method, method)
        seconds = self.timeout if timeout is None else timeout
        ident = next(_ids)
        text = _encode(method, params, ident)
        try:
            answer = self._answer(text, ident, _Deadline.after(seconds))
        except TimeoutError as error:
            reason = f"no answer in {seconds:g} s"
            raise RpcTimeout(method=method, address=self.address, reason=reason) from error
        except OSError as error:
            kind = RpcTooLarge if error.errno == errno.EMSGSIZE else RpcUnavailable
            raise kind(method=method, address=self.address, reason=error.strerror or str(error)) from error
        except (http.client.HTTPException, _NoAnswerError) as error:
            raise RpcProtocolError(method=method, address=self.address, reason=str(error)) from error
        if isinstance(answer, Error):
            raise RpcFault(method=method, address=self.address, code=answer.code, message=answer.message)
        return answer.result

    def reload(self) -> Reload:
        """Have the script loaded again (``app_python.reload``). This call does not notice a broken script."""
        return self._typed(lambda result: Reload(old=result["old"], new=result["new"]), "app_python.reload")

    def api_list(self) -> tuple[ApiFunction, ...]:
        """The functions that scripts can call (``app_python.api_list``)."""
        return self._typed(_api_functions, "app_python.api_list")

    def version(self) -> str:
        """Kamailio's name and version (``core.version``)."""
        return self._typed(str.strip, "core.version")

    def uptime(self) -> int:
        """Seconds since Kamailio started (``core.uptime``)."""
        return self._typed(lambda result: int(result["uptime"]), "core.uptime")

    def statistics(self, group: str) -> dict[str, int]:
        """The counters of a group such as ``shmem`` (``stats.fetchn`` of the kex module).

        An unknown group has none: Kamailio tells no difference.
        """
        return self._typed(lambda result: _counters(group, result), "stats.fetchn", f"{group}:")

    def htable_dump(self, name: str) -> dict[str, str | int]:
        """All rows of an htable (``htable.dump``). Kamailio cuts integers to 32 bits here."""
        return self._typed(_rows, "htable.dump", name)

    def htable_get(self, table: str, key: str) -> str | int:
        """The value in one row of an htable (``htable.get``). Raises :exc:`RpcFault` where there is none."""
        return self._typed(lambda result: _value(result["item"]), "htable.get", table, key)

    def dispatcher_list(self) -> tuple[Destination, ...]:
        """The gateways in dispatcher's sets (``dispatcher.list``). Raises :exc:`RpcFault` where no set is."""
        return self._typed(_destinations, "dispatcher.list")

    def _answer(self, text: bytes, ident: int, deadline: _Deadline) -> Ok | Error:
        for reply in self._link.exchange(text, deadline):
            answer = _decode(reply)
            # JSON-RPC 2.0 section 5: a server that could not read the request knows no id.
            unread = isinstance(answer, Error) and answer.id is None
            if answer.id == ident or unread:
                return answer
        raise _NoAnswerError("the reply is to another request")

    def _typed(self, build: Callable[[Any], T], method: str, *params: Param) -> T:
        result = self.call(method, *params)
        try:
            return build(result)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            reason = f"unexpected shape of the result: {error!r}"
            raise RpcProtocolError(method=method, address=self.address, reason=reason) from error


def parse_argument(text: str) -> Param:
    """A parameter as typed on a command line.

    ``s:123`` is a string, ``i:5`` an integer, ``f:1.5`` a float; digits are an integer, all else is a string.
    Digits that an integer would not give back, as in ``0044`` or ``+44``, are a string: a telephone number.

    Raises ValueError where no number follows ``i:`` or ``f:``.
    """
    kind, colon, value = text.partition(":")
    if colon and kind in _CASTS:
        return _CASTS[kind](value)
    return int(text) if _INTEGER.fullmatch(text) else text


_CASTS: dict[str, Callable[[str], Param]] = {"s": str, "i": int, "f": float}


class _NoAnswerError(Exception):
    """What came is no answer to the request."""


@dataclass(frozen=True, slots=True)
class _Deadline:
    at: float
    "By the monotonic clock."

    @classmethod
    def after(cls, seconds: float) -> _Deadline:
        return cls(time.monotonic() + seconds)

    def left(self) -> float:
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Link(Protocol):
    """A way to Kamailio. It raises OSError (EMSGSIZE for what is too large), TimeoutError, HTTPException."""

    def exchange(self, text: bytes, deadline: _Deadline) -> Iterator[bytes]:
        """Send one request, then yield what comes."""

    def close(self) -> None:
        """Remove what is open."""


class _Datagrams:
    """Unix datagrams. Kamailio answers to the path of the sender, so the sender needs one."""

    def __init__(self, path: str, reply_dir: str | os.PathLike[str] | None) -> None:
        self._path = path
        self._reply_dir = reply_dir
        self._home: tempfile.TemporaryDirectory[str] | None = None
        self._socket: socket.socket | None = None

    def exchange(self, text: bytes, deadline: _Deadline) -> Iterator[bytes]:
        _check_size(text, DATAGRAM_REQUEST_LIMIT)
        sock = self._socket or self._open()
        # Anew for each request, as Kamailio may have restarted. Anyone can write to the path; once connected,
        # only Kamailio gets through.
        sock.connect(self._path)
        _drain(sock)
        sock.settimeout(deadline.left())
        sock.send(text)
        while True:
            sock.settimeout(deadline.left())
            yield _receive(sock)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._home is not None:
            self._home.cleanup()
            self._home = None

    def _open(self) -> socket.socket:
        self._home = tempfile.TemporaryDirectory(prefix="strowger-rpc-", dir=self._reply_dir)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            _bind_for_all(self._socket, Path(self._home.name))
        except OSError:
            self.close()
            raise
        return self._socket


class _Http:
    """HTTP. Each request has its own connection: so none is stale, and none carries a late reply."""

    def __init__(self, host: str, port: int, netloc: str, path: str) -> None:
        self._peer = (host, port)
        self._head = f"POST {path} HTTP/1.1\r\nHost: {netloc}\r\nContent-Type: application/json\r\n"

    def exchange(self, text: bytes, deadline: _Deadline) -> Iterator[bytes]:
        packet = f"{self._head}Content-Length: {len(text)}\r\n\r\n".encode() + text
        _check_size(packet, HTTP_REQUEST_LIMIT)
        with socket.create_connection(self._peer, timeout=deadline.left()) as plain:
            sock = _BoundedSocket(deadline, fileno=plain.detach())
        with sock:
            sock.settimeout(deadline.left())
            sock.sendall(packet)
            reply = _read_response(sock)
        yield reply

    def close(self) -> None:
        pass


class _BoundedSocket(socket.socket):
    """Bounds the sum of all waiting for input: a socket's own timeout begins anew with each byte."""

    def __init__(self, deadline: _Deadline, fileno: int) -> None:
        super().__init__(fileno=fileno)
        self._deadline = deadline

    def recv_into(self, *args: Any) -> int:
        self.settimeout(self._deadline.left())
        return super().recv_into(*args)


def _link(address: str, reply_dir: str | os.PathLike[str] | None) -> _Link:
    scheme, separator, rest = address.partition(":")
    if separator and scheme == "http":
        return _http(address)
    path = rest if separator and scheme == "unix" else address
    if not path or (separator and scheme != "unix" and "/" not in scheme):
        raise ValueError(f"neither unix:PATH, a path, nor http://HOST:PORT/PATH: {address!r}")
    return _Datagrams(path, reply_dir)


def _http(address: str) -> _Http:
    url = urlsplit(address)
    path = url.path or "/"
    if not url.hostname or not re.fullmatch(r"[!-~]+", url.netloc + path) or "@" in url.netloc:
        raise ValueError(f"not http://HOST:PORT/PATH: {address!r}")
    return _Http(url.hostname, url.port or 80, url.netloc, path)


def _encode(method: str, params: tuple[Param, ...], ident: int) -> bytes:
    if any(isinstance(param, str) and "\0" in param for param in params):
        # Kamailio would leave it out, and so act on another value.
        raise ValueError("a parameter holds NUL")
    body = request(method, params, id=ident)
    # Raw UTF-8, as Kamailio misreads the escapes of characters above U+1FFFF.
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def _decode(reply: bytes) -> Ok | Error:
    try:
        # Kamailio copies what it got from the network, which need not be UTF-8.
        body = json.loads(reply.decode("utf-8", "replace"))
        answer = parse({"id": None} | body)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise _NoAnswerError("the reply is no JSON-RPC") from error
    if not isinstance(answer, Ok | Error):
        raise _NoAnswerError("the reply is no JSON-RPC")
    return answer


def _check_size(packet: bytes, limit: int) -> None:
    if len(packet) > limit:
        raise OSError(errno.EMSGSIZE, f"the request has {len(packet)} bytes, Kamailio reads {limit}")


def _bind_for_all(sock: socket.socket, home: Path) -> None:
    # Kamailio may run as another user: it has to pass the directory and to write to the socket.
    path = home / "reply.sock"
    sock.bind(str(path))
    path.chmod(0o666)
    home.chmod(0o711)


def _drain(sock: socket.socket) -> None:
    # Late replies to calls that timed out fill the queue, and Kamailio drops a reply that finds it full.
    sock.setblocking(False)
    try:
        while True:
            sock.recv(1)
    except BlockingIOError:
        pass


def _receive(sock: socket.socket) -> bytes:
    reply, _, flags, _ = sock.recvmsg(DATAGRAM_REPLY_LIMIT)
    if flags & socket.MSG_TRUNC:
        raise OSError(errno.EMSGSIZE, f"the reply has more than {DATAGRAM_REPLY_LIMIT} bytes")
    return reply


def _read_response(sock: socket.socket) -> bytes:
    response = http.client.HTTPResponse(sock, method="POST")
    try:
        response.begin()
        # A fault comes with the status 500, so the status alone says nothing.
        if response.headers.get_content_type() != "application/json":
            raise http.client.HTTPException(f"HTTP {response.status} {response.reason}, and no JSON")
        return response.read()
    finally:
        response.close()


def _api_functions(result: Any) -> tuple[ApiFunction, ...]:
    return tuple(_api_function(method["func"]) for method in result["methods"])


def _api_function(func: dict[str, Any]) -> ApiFunction:
    params: str | None = func["params"]
    return ApiFunction(
        module=func["module"],
        name=func["name"],
        returns=func["ret"],
        # Kamailio 6 says null of functions that it has no name of types for.
        params=() if params is None or params == "none" else tuple(params.split(", ")),
    )


def _counters(group: str, result: dict[str, Any]) -> dict[str, int]:
    return {name.removeprefix(f"{group}."): int(value) for name, value in result.items()}


def _rows(result: Any) -> dict[str, str | int]:
    return {row["name"]: _value(row) for entry in result for row in entry["slot"]}


def _value(row: dict[str, Any]) -> str | int:
    value = row["value"]
    if not isinstance(value, str | int):
        raise TypeError("a value is neither a string nor an integer")
    return value


def _destinations(result: Any) -> tuple[Destination, ...]:
    sets = (record["SET"] for record in result["RECORDS"])
    return tuple(_destination(one["ID"], target["DEST"]) for one in sets for target in one["TARGETS"])


def _destination(set_id: int, dest: dict[str, Any]) -> Destination:
    return Destination(
        set_id=set_id,
        uri=dest["URI"],
        flags=dest["FLAGS"],
        priority=dest["PRIORITY"],
        attributes=dest.get("ATTRS", {}).get("BODY", ""),
    )
