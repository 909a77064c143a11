"""The parts of a media worker that need no switch: control socket, HTTP, watchdog, what is owed to calls."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from media import control, http, watchdog
from media.control import ControlError, ask
from media.http import HttpError, Request
from media.intents import Intents
from media.watchdog import Watchdog

# Control


def controlled(path: Path, talk: Callable[[], Any]) -> Any:
    """What ``talk`` returns, run beside a control socket at ``path``."""

    async def echo(request: dict[str, Any]) -> dict[str, Any]:
        return {"said": request["text"]}

    async def fail(_request: dict[str, Any]) -> dict[str, Any]:
        raise ControlError("cannot")

    async def main() -> Any:
        server = await control.serve(path, {"echo": echo, "fail": fail})
        async with server:
            return await asyncio.to_thread(talk)

    return asyncio.run(main())


def test_a_command_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "w.sock"
    assert controlled(path, lambda: ask(path, "echo", text="a\nb é")) == {"said": "a\nb é"}
    assert controlled(path, lambda: path.stat().st_mode & 0o777) == 0o660


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with pytest.raises(ControlError, match="^cannot$"):
        controlled(path, lambda: ask(path, "fail"))
    with pytest.raises(ControlError, match="not one of the commands echo, fail"):
        controlled(path, lambda: ask(path, "dance"))


@pytest.mark.parametrize("line", [b"\n", b"[]\n", b"{}\n", b"1\n", b'{"command": []}\n', b"\xff\n"])
def test_a_line_that_is_no_command_is_answered(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "w.sock"

    def talk() -> bytes:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(path))
            peer.sendall(line)
            return peer.recv(1000)

    assert json.loads(controlled(path, talk))["ok"] is False


def test_two_workers_do_not_share_a_socket_but_a_dead_one_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    with pytest.raises(ControlError, match="is running at .*w.sock already"):
        controlled(path, lambda: controlled(path, lambda: None))
    with socket.socket(socket.AF_UNIX) as dead:
        path.unlink(missing_ok=True)
        dead.bind(str(path))
    assert controlled(path, lambda: ask(path, "echo", text="x")) == {"said": "x"}


def test_a_worker_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="w.sock does not answer: No such file"):
        ask(tmp_path / "w.sock", "status")


# HTTP


async def say(request: Request) -> tuple[HTTPStatus, str]:
    match request.name:
        case "echo":
            return HTTPStatus.OK, json.dumps([request.method, dict(request.parameters)])
        case "page":
            return HTTPStatus.OK, "Content-Type: text/html\n\n<b>é</b>"
        case name:
            raise HttpError(HTTPStatus.NOT_FOUND, f"no script {name!r}")


def exchange(raw: bytes, run: http.Run = say, address: str = "127.0.0.1") -> tuple[int, dict[str, str], str]:
    """Status, headers and body of the answer to ``raw``, in which PORT is the server's."""

    async def main() -> bytes:
        server = await http.serve(address, 0, run)
        port = server.sockets[0].getsockname()[1]
        async with server:
            reader, writer = await asyncio.open_connection(address, port)
            writer.write(raw.replace(b"PORT", str(port).encode()))
            answer = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return answer

    head, _, body = asyncio.run(main()).decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body


def get(target: str, *headers: str, host: str = "127.0.0.1:PORT") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def test_a_script_is_run_with_its_parameters() -> None:
    status, headers, body = exchange(get("/scripts/echo?args=a%20b&x=%C3%A9&y="))
    assert (status, json.loads(body)) == (200, ["GET", {"args": "a b", "x": "é", "y": ""}])
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["connection"] == "close"


def test_a_form_is_read() -> None:
    form = b"command=show+channels&x=%26"
    head = f"POST /scripts/echo?y=1 HTTP/1.1\r\nHost: localhost:PORT\r\nContent-Length: {len(form)}\r\n"
    kind = "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    _, _, body = exchange((head + kind).encode() + form)
    assert json.loads(body) == ["POST", {"y": "1", "command": "show channels", "x": "&"}]


def test_a_script_says_what_kind_of_text_it_writes() -> None:
    status, headers, body = exchange(get("/scripts/page"))
    assert (status, headers["content-type"], body) == (200, "text/html; charset=utf-8", "<b>é</b>")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (get("/scripts/nobody"), 404),
        (get("/"), 404),
        (get("/scripts/echo").replace(b"GET", b"PUT"), 404),
        (get("/scripts/echo").replace(b"GET", b"HEAD"), 404),
        (get("//["), 400),
        (get("//[::1/scripts/echo"), 400),
        (get("/scripts/echo", host="evil.example:PORT"), 403),
        (get("/scripts/echo", host="127.0.0.1"), 403),
        (get("/scripts/echo", host="127.0.0.2:PORT"), 403),
        (get("/scripts/echo", "Origin: http://evil.example"), 403),
        (get("/scripts/echo", "Origin: null"), 403),
        (get("/scripts/echo", "Sec-Fetch-Site: cross-site"), 403),
        (get("/scripts/echo", "Sec-Fetch-Site: same-origin", "Origin: http://127.0.0.1:PORT"), 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /scripts/echo HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_what_is_answered_otherwise(raw: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    assert exchange(raw)[0] == status
    assert caplog.text == ""


def test_another_address_of_this_machine_is_its_own_name() -> None:
    assert exchange(get("/scripts/echo", host="127.0.0.2:PORT"), address="127.0.0.2")[0] == 200


def test_too_much_is_refused() -> None:
    head = f"POST /scripts/echo HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: {http.FORM}\r\nContent-Length: 70000"
    assert exchange(f"{head}\r\n\r\n".encode() + b"a" * 70_000)[0] == 413
    assert exchange(get("/scripts/echo", "X: " + "y" * 200_000))[0] == 400


def test_a_script_is_told_when_its_client_goes() -> None:
    async def main() -> str:
        begun, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

        async def wait(_request: Request) -> tuple[HTTPStatus, str]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set_result("cancelled")
            raise AssertionError

        server = await http.serve("127.0.0.1", 0, wait)
        port = server.sockets[0].getsockname()[1]
        async with server:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get("/scripts/slow").replace(b"PORT", str(port).encode()))
            await asyncio.wait_for(begun.wait(), 20)
            writer.close()
            return str(await asyncio.wait_for(ended, 20))

    assert asyncio.run(main()) == "cancelled"


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "READ_LIMIT", 0.05)

    async def main() -> bytes:
        server = await http.serve("127.0.0.1", 0, say)
        async with server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            writer.write(b"GET /scr")
            try:
                return await asyncio.wait_for(reader.read(), 20)
            finally:
                writer.close()

    assert asyncio.run(main()) == b""


# Watchdog


def watched(folder: Path, work: Callable[[Watchdog], Awaitable[None]]) -> int:
    async def main() -> int:
        dog = Watchdog(folder)
        dog.start()
        await work(dog)
        dog.stop()
        return dog.blocks

    return asyncio.run(main())


def until(true: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_a_script_that_blocks_is_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "BLOCKED", 0.05)
    monkeypatch.setattr(watchdog, "PERIOD", 0.01)
    caplog.set_level(logging.WARNING)
    file = tmp_path / "slow.py"
    file.write_text("def work(until, told):\n    until(told)\n")
    space: dict[str, Any] = {}
    exec(compile(file.read_text(), str(file), "exec"), space)
    again = threading.Event()

    async def work(dog: Watchdog) -> None:
        for number in (1, 2):
            space["work"](until, lambda number=number: dog.blocks == number)
            space["work"](until, lambda: again.wait(0.2) or True)
            limit = time.monotonic() + 30
            while caplog.text.count("goes on after") < number and time.monotonic() < limit:
                await asyncio.sleep(0.005)

    assert watched(tmp_path, work) == 2
    assert caplog.text.count(f"a script blocks every call of this worker, for more than 0.1 s now: at {file}:2") == 2
    assert caplog.text.count("the event loop goes on after") == 2


def test_a_loop_that_turns_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watchdog, "BLOCKED", 30.0)
    monkeypatch.setattr(watchdog, "PERIOD", 0.001)

    async def work(_dog: Watchdog) -> None:
        await asyncio.sleep(0.1)

    assert watched(tmp_path, work) == 0
    assert not caplog.text


# What is owed


def test_a_hook_that_did_not_run_is_found_by_the_next_worker(tmp_path: Path) -> None:
    before = Intents(tmp_path / "hooks")
    assert before.recover() == ()
    for uuid in ("u1", "u2", "../u3"):
        before.owe(uuid, "welcome", "welcome.py:3")
    before.settle("u2")
    before.settle("never")
    (tmp_path / "hooks" / "torn.json").write_text("{")
    (tmp_path / "hooks" / "half.new").write_text("{")
    after = Intents(tmp_path / "hooks")
    assert sorted(intent.uuid for intent in after.recover()) == ["../u3", "u1"]
    assert {intent.place for intent in after.interrupted} == {"welcome.py:3"}
    assert Intents(tmp_path / "hooks").recover() == ()
    assert list(tmp_path.rglob("*")) == [tmp_path / "hooks"]


def test_a_hook_that_cannot_be_written_down_fails_no_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "hooks").touch()
    intents = Intents(tmp_path / "hooks")
    intents.owe("u1", "welcome", "welcome.py:3")
    intents.settle("u1")
    assert "call u1" in caplog.text
