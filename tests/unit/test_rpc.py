"""Kamailio's RPC bindings against small servers of our own, which misbehave on demand."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from kemi import rpc
from kemi.rpc import Kamcmd, parse_argument

SHORT = 0.05
"Seconds; for calls that are to time out."
AMPLE = 10.0
"Seconds; never waited for unless a test fails."

Answer = Callable[[dict[str, Any]], Iterable[bytes]]


def ok(request: dict[str, Any], result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "result": result, "id": request["id"]}).encode()


def fault(request: dict[str, Any], code: int, message: str) -> bytes:
    error = {"code": code, "message": message}
    return json.dumps({"jsonrpc": "2.0", "error": error, "id": request["id"]}).encode()


def echo(request: dict[str, Any]) -> list[bytes]:
    return [ok(request, [request["method"], *request.get("params", [])])]


@contextmanager
def serving(work: Callable[[], None], stop: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(AMPLE)
        assert not thread.is_alive()


@contextmanager
def datagram_server(directory: Path, answer: Answer) -> Iterator[str]:
    """Answers each request with the datagrams that ``answer`` makes of it."""
    path = str(directory / "kamailio.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(path)

        def work() -> None:
            while True:
                text, client = sock.recvfrom(1 << 17)
                if not text:
                    return
                # A client that gave up is no failure of the server's.
                with suppress(ConnectionError, FileNotFoundError):
                    for reply in answer(json.loads(text)):
                        sock.sendto(reply, client)

        def stop() -> None:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                end.sendto(b"", path)

        with serving(work, stop):
            yield f"unix:{path}"


@contextmanager
def http_server(answer: Callable[[bytes, socket.socket], None]) -> Iterator[str]:
    """Hands the body of each request to ``answer`` with the connection to answer on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()

        def work() -> None:
            while True:
                connection, _ = sock.accept()
                with connection, connection.makefile("rb") as stream:
                    head = {}
                    while line := stream.readline().strip():
                        name, _, value = line.partition(b": ")
                        head[name] = value
                    if not head:
                        return
                    with suppress(ConnectionError):
                        answer(stream.read(int(head[b"Content-Length"])), connection)

        with serving(work, lambda: socket.create_connection(address).close()):
            yield f"http://127.0.0.1:{address[1]}/RPC"


def response(body: bytes, status: str = "200 OK", kind: str = "application/json", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n".encode() + body


def http_echo(body: bytes, connection: socket.socket) -> None:
    connection.sendall(response(b"".join(echo(json.loads(body)))))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Near the root: the address of a Unix socket has room for 107 bytes."""
    with TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture(params=["datagram", "http"])
def echo_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    server = datagram_server(tmp_path, echo) if request.param == "datagram" else http_server(http_echo)
    with server as address:
        yield address


class TestCall:
    def test_passes_method_and_params_with_their_types(self, echo_server: str) -> None:
        with Kamcmd(echo_server) as kamcmd:
            assert kamcmd.call("a.b", "5", 5, 1.5) == ["a.b", "5", 5, 1.5]
            assert kamcmd.call("a.b") == ["a.b"]

    @pytest.mark.parametrize("name", ["reload", "api_list"])
    def test_aliases(self, echo_server: str, name: str) -> None:
        with Kamcmd(echo_server) as kamcmd:
            assert kamcmd.call(f"app_python3.{name}") == [f"app_python.{name}"]

    def test_works_again_after_close(self, echo_server: str) -> None:
        kamcmd = Kamcmd(echo_server)
        for _ in range(2):
            assert kamcmd.call("a") == ["a"]
            kamcmd.close()
        kamcmd.close()

    @pytest.mark.parametrize("value", ["a\0b", "\udc80", float("inf"), float("nan")])
    def test_refuses_what_cannot_be_sent(self, echo_server: str, value: str | float) -> None:
        with Kamcmd(echo_server) as kamcmd, pytest.raises(ValueError):  # noqa: PT011
            kamcmd.call("a", value)

    def test_keeps_characters_beyond_the_first_planes(self, echo_server: str) -> None:
        with Kamcmd(echo_server) as kamcmd:
            assert kamcmd.call("a", "é😀\U00020001") == ["a", "é😀\U00020001"]

    def test_refuses_an_oversized_request_before_it_opens_anything(self, tmp_path: Path) -> None:
        # Nobody listens at either address, so to have connected would be another error.
        for address, limit in ((str(tmp_path / "none"), 65_456), ("http://127.0.0.1:1/RPC", 16_383)):
            with Kamcmd(address) as kamcmd, pytest.raises(rpc.RpcTooLarge, match=f"reads {limit}") as caught:
                kamcmd.call("htable.sets", "x" * limit)
            assert str(caught.value).startswith(f"htable.sets at {address}: the request has ")

    def test_unavailable_where_nobody_listens(self, tmp_path: Path) -> None:
        path = tmp_path / "kamailio.sock"
        with Kamcmd(str(path)) as kamcmd, pytest.raises(rpc.RpcUnavailable, match=r"^a at .*No such file"):
            kamcmd.call("a")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left_behind:
            left_behind.bind(str(path))
        with Kamcmd(str(path)) as kamcmd, pytest.raises(rpc.RpcUnavailable, match="refused"):
            kamcmd.call("a")
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        http = f"http://127.0.0.1:{port}/RPC"
        with Kamcmd(http) as kamcmd, pytest.raises(rpc.RpcUnavailable, match="refused"):
            kamcmd.call("a")


class TestDatagrams:
    def test_fault(self, tmp_path: Path) -> None:
        with (
            datagram_server(tmp_path, lambda request: [fault(request, 500, "No such htable")]) as address,
            Kamcmd(address) as kamcmd,
            pytest.raises(rpc.RpcFault) as caught,
        ):
            kamcmd.call("htable.dump", "x")
        assert (caught.value.code, caught.value.message) == (500, "No such htable")
        assert str(caught.value) == f"htable.dump at {address}: No such htable (500)"

    def test_fault_without_id_is_ours(self, tmp_path: Path) -> None:
        body = b'{"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse Error"}}'
        with (
            datagram_server(tmp_path, lambda request: [body]) as address,
            Kamcmd(address) as kamcmd,
            pytest.raises(rpc.RpcFault, match="Parse Error"),
        ):
            kamcmd.call("a")

    def test_timeout(self, tmp_path: Path) -> None:
        with (
            datagram_server(tmp_path, lambda request: []) as address,
            Kamcmd(address, timeout=AMPLE) as kamcmd,
            pytest.raises(rpc.RpcTimeout, match=r"^a at unix:.*: no answer in 0\.05 s$"),
        ):
            kamcmd.call("a", timeout=SHORT)

    def test_replies_to_others_do_not_prolong_a_call(self, tmp_path: Path) -> None:
        def flood(request: dict[str, Any]) -> Iterator[bytes]:
            while not done.is_set():
                yield ok({"id": -1}, "for another")

        done = threading.Event()
        with datagram_server(tmp_path, flood) as address, Kamcmd(address) as kamcmd:
            try:
                with pytest.raises(rpc.RpcTimeout):
                    kamcmd.call("a", timeout=SHORT)
            finally:
                done.set()

    def test_a_late_reply_answers_no_other_request(self, tmp_path: Path) -> None:
        late: list[bytes] = []

        def answer(request: dict[str, Any]) -> list[bytes]:
            if request["method"] == "slow":
                late.append(ok(request, "late"))
                return []
            return [*late, ok(request, "in time")]

        with datagram_server(tmp_path, answer) as address, Kamcmd(address) as kamcmd:
            with pytest.raises(rpc.RpcTimeout):
                kamcmd.call("slow", timeout=SHORT)
            assert kamcmd.call("quick") == "in time"

    def test_late_replies_leave_room_for_the_next(self, tmp_path: Path) -> None:
        came = threading.Event()

        def answer(request: dict[str, Any]) -> Iterator[bytes]:
            yield ok(request, "first")
            if request["method"] == "many":
                # Garbage, too: what came before a request has nothing to say about it.
                yield from [b"garbage"] * 5
                came.set()

        with datagram_server(tmp_path, answer) as address, Kamcmd(address) as kamcmd:
            assert kamcmd.call("many") == "first"
            assert came.wait(AMPLE)
            assert kamcmd.call("one") == "first"

    def test_truncated_reply(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rpc, "DATAGRAM_REPLY_LIMIT", 100)
        with datagram_server(tmp_path, echo) as address, Kamcmd(address) as kamcmd:
            with pytest.raises(rpc.RpcTooLarge, match=r"^a at unix:.*: the reply has more than 100 bytes$"):
                kamcmd.call("a", "x" * 100)
            assert kamcmd.call("b") == ["b"]

    def test_reply_as_large_as_the_system_lets_through(self, tmp_path: Path) -> None:
        large = "x" * 131_000
        with (
            datagram_server(tmp_path, lambda request: [ok(request, large)]) as address,
            Kamcmd(address) as kamcmd,
        ):
            assert kamcmd.call("a") == large

    @pytest.mark.parametrize(
        "reply",
        [
            b"",
            b"garbage",
            b"\xff",
            b"[]",
            b'"text"',
            b"{}",
            b'{"id": 1, "error": "text"}',
            b'{"id": 1, "error": {}}',
            b"[" * 100_000,
        ],
        ids=range(9),
    )
    def test_garbage(self, tmp_path: Path, reply: bytes) -> None:
        with (
            datagram_server(tmp_path, lambda request: [reply]) as address,
            Kamcmd(address) as kamcmd,
            pytest.raises(rpc.RpcProtocolError, match="no JSON-RPC"),
        ):
            kamcmd.call("a")

    def test_bytes_that_are_not_utf8(self, tmp_path: Path) -> None:
        def answer(request: dict[str, Any]) -> list[bytes]:
            return [ok(request, "?").replace(b"?", b"\xff")]

        with datagram_server(tmp_path, answer) as address, Kamcmd(address) as kamcmd:
            assert kamcmd.call("a") == "\ufffd"

    def test_socket_is_writable_to_all_yet_in_a_directory_that_cannot_be_listed(self, tmp_path: Path) -> None:
        replies = tmp_path / "replies"
        replies.mkdir()
        with datagram_server(tmp_path, echo) as address:
            with Kamcmd(address, reply_dir=replies) as kamcmd:
                kamcmd.call("a")
                [home] = replies.iterdir()
                [path] = home.iterdir()
                assert stat.S_IMODE(home.stat().st_mode) == 0o711
                assert stat.S_IMODE(path.stat().st_mode) == 0o666
            assert not list(replies.iterdir())

    def test_only_the_server_gets_through(self, tmp_path: Path) -> None:
        replies = tmp_path / "replies"
        replies.mkdir()
        with datagram_server(tmp_path, echo) as address, Kamcmd(address, reply_dir=replies) as kamcmd:
            kamcmd.call("a")
            [path] = replies.glob("*/*")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger, pytest.raises(PermissionError):
                stranger.sendto(b"injected", str(path))

    def test_unusable_reply_dir(self, tmp_path: Path) -> None:
        with (
            datagram_server(tmp_path, echo) as address,
            Kamcmd(address, reply_dir=tmp_path / "none") as kamcmd,
            pytest.raises(rpc.RpcUnavailable, match="No such file"),
        ):
            kamcmd.call("a")

    def test_server_that_came_back(self, tmp_path: Path) -> None:
        with Kamcmd(str(tmp_path / "kamailio.sock")) as kamcmd:
            for _ in range(2):
                with datagram_server(tmp_path, echo):
                    assert kamcmd.call("a") == ["a"]
                os.unlink(tmp_path / "kamailio.sock")


class TestHttp:
    def test_fault_comes_with_status_500(self) -> None:
        def answer(body: bytes, connection: socket.socket) -> None:
            reply = fault(json.loads(body), 500, "Method Not Found")
            connection.sendall(response(reply, status="500 Method Not Found"))

        with http_server(answer) as address, Kamcmd(address) as kamcmd:
            with pytest.raises(rpc.RpcFault) as caught:
                kamcmd.call("a")
            assert (caught.value.code, caught.value.message) == (500, "Method Not Found")

    @pytest.mark.parametrize(
        ("reply", "problem"),
        [
            (response(b"no", status="403 Forbidden", kind="text/html"), "HTTP 403 Forbidden, and no JSON"),
            (response(b"garbage"), "no JSON-RPC"),
            (response(b'{"id": -1, "result": 1}'), "to another request"),
            (response(b'{"id": 1', length=100), "IncompleteRead"),
            (b"SIP/2.0 200 OK\r\n\r\n", "SIP/2.0 200 OK"),
        ],
    )
    def test_no_answer_in_what_came(self, reply: bytes, problem: str) -> None:
        with (
            http_server(lambda body, connection: connection.sendall(reply)) as address,
            Kamcmd(address) as kamcmd,
            pytest.raises(rpc.RpcProtocolError, match=problem),
        ):
            kamcmd.call("a")

    def test_connection_lost(self) -> None:
        with (
            http_server(lambda body, connection: None) as address,
            Kamcmd(address) as kamcmd,
            pytest.raises(rpc.RpcUnavailable, match="closed connection"),
        ):
            kamcmd.call("a")

    def test_timeout_is_for_the_whole_call(self) -> None:
        gone = threading.Event()

        def drip(body: bytes, connection: socket.socket) -> None:
            connection.sendall(response(b"", length=1 << 20))
            while not gone.wait(SHORT / 10):
                connection.sendall(b" ")

        with http_server(drip) as address, Kamcmd(address, timeout=SHORT) as kamcmd:
            try:
                with pytest.raises(rpc.RpcTimeout, match=r"^a at http:.*: no answer in 0\.05 s$"):
                    kamcmd.call("a")
            finally:
                gone.set()


class TestHelpers:
    @pytest.mark.parametrize(
        "use",
        [
            lambda kamcmd: kamcmd.reload(),
            lambda kamcmd: kamcmd.api_list(),
            lambda kamcmd: kamcmd.version(),
            lambda kamcmd: kamcmd.uptime(),
            lambda kamcmd: kamcmd.statistics("shmem"),
            lambda kamcmd: kamcmd.htable_dump("t"),
            lambda kamcmd: kamcmd.htable_get("t", "k"),
            lambda kamcmd: kamcmd.dispatcher_list(),
        ],
    )
    def test_result_of_another_shape(self, tmp_path: Path, use: Callable[[Kamcmd], object]) -> None:
        with (
            datagram_server(tmp_path, lambda request: [ok(request, [7])]) as address,
            Kamcmd(address) as kamcmd,
            pytest.raises(rpc.RpcProtocolError, match=r"^\w+\.\w+ at unix:.*: unexpected shape"),
        ):
            use(kamcmd)

    def test_a_function_without_names_of_types(self, tmp_path: Path) -> None:
        # Kamailio 6.0 says null for pv.setl.
        function = {"ret": "int", "module": "pv", "name": "setl", "params": None}
        result = {"msize": 1, "methods": [{"func": function}]}
        with datagram_server(tmp_path, lambda request: [ok(request, result)]) as address, Kamcmd(address) as kamcmd:
            assert kamcmd.api_list() == (rpc.ApiFunction(module="pv", name="setl", returns="int", params=()),)

    @pytest.mark.parametrize(
        ("flags", "expected"), [("AP", True), ("TX", True), ("IP", False), ("DX", False), ("", False)]
    )
    def test_destination_in_service(self, flags: str, expected: bool) -> None:
        destination = rpc.Destination(set_id=1, uri="sip:a", flags=flags, priority=0, attributes="")
        assert destination.in_service is expected


@pytest.mark.parametrize(
    "address", ["", "unix:", "udp:127.0.0.1:8090", "https://127.0.0.1/RPC", "http:///RPC", "http://u:p@h/"]
)
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"^neither unix:PATH|^not http:"):
        Kamcmd(address)


@pytest.mark.parametrize("path", ["/a b", "/\x7f", "/é"])
def test_http_path_that_would_break_the_request_line(path: str) -> None:
    with pytest.raises(ValueError, match="not http"):
        Kamcmd(f"http://127.0.0.1:80{path}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123", 123),
        ("0", 0),
        ("-5", -5),
        ("i:5", 5),
        ("f:1.5", 1.5),
        ("s:123", "123"),
        ("s:", ""),
        ("s:i:5", "i:5"),
        ("", ""),
        ("abc", "abc"),
        ("1.5", "1.5"),
        ("+442079460000", "+442079460000"),
        ("00442079460000", "00442079460000"),
        ("٣", "٣"),
        ("sip:a@b", "sip:a@b"),
    ],
)
def test_parse_argument(text: str, expected: str | int | float) -> None:
    parsed = parse_argument(text)
    assert (type(parsed), parsed) == (type(expected), expected)


@pytest.mark.parametrize("text", ["i:x", "i:", "f:x"])
def test_parse_argument_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|could not convert"):
        parse_argument(text)
