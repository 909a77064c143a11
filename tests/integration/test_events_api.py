"""Live events over HTTP: who is let in, what a slow client is told, and how one that was away goes on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import redis as redis_client
from harness.api import PREFIX, Api, api_over
from harness.listening import listening, url
from harness.load import until
from harness.redis_server import RedisServer, redis_server
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from api import events as api_events
from state import keys, tokens
from state.tokens import Role

KNOWN = {"call": "x", "caller": "1001", "callee": "2002", "trunk": "office", "gateway": "g1"}
FEW = 50


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def api(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with api_over(redis, tmp_path_factory.mktemp("api")) as it:
        yield it


@pytest.fixture
def stream(redis: RedisServer) -> Iterator[Any]:
    with redis.client() as client:
        yield client


def tell(stream: redis_client.Redis, count: int = 1, kind: str = "call.started", **data: Any) -> list[str]:
    """Append events; their ids."""
    with stream.pipeline(transaction=False) as pipe:
        for number in range(count):
            fields = {"kind": kind, "at": f"{time.time():.3f}", "data": json.dumps({**KNOWN, "n": number, **data})}
            pipe.xadd(keys.EVENTS, fields)  # type: ignore[arg-type]
        return [id.decode() if isinstance(id, bytes) else id for id in pipe.execute()]


def all_into(found: list[dict[str, Any]], connection: ClientConnection) -> None:
    """Add messages until the connection ends. Raises ConnectionClosed."""
    while True:
        found.append(json.loads(connection.recv(20)))


def test_a_browser_says_its_token_in_a_subprotocol_or_in_the_first_message(api: Api, stream: Any) -> None:
    token = api.tokens[Role.READ]
    with connect(url(api, call="y1"), subprotocols=["strowger.v1", f"bearer.{token}"]) as connection:  # type: ignore[list-item]
        assert connection.subprotocol == "strowger.v1"
        assert json.loads(connection.recv(10))["type"] == "hello"
    with connect(url(api, call="y2")) as connection:
        connection.send(json.dumps({"type": "auth", "token": token}))
        assert json.loads(connection.recv(10))["type"] == "hello"
        [id] = tell(stream, call="y2")
        assert json.loads(connection.recv(10))["id"] == id


@pytest.mark.parametrize("bad", ["sw_", "x" * 3000])
def test_nobody_is_let_in_without_a_good_token(api: Api, bad: str) -> None:
    headers = {"Authorization": f"Bearer {bad}"}
    with pytest.raises(InvalidStatus) as refused, connect(url(api), additional_headers=headers):
        pass
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["status"] == 401
    for first in ({"type": "auth", "token": bad}, {"type": "subscribe", "filters": []}, [], "x"):
        with connect(url(api)) as connection:
            connection.send(json.dumps(first))
            with pytest.raises(ConnectionClosedError) as closed:
                connection.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize("query", [{"colour": "red"}, {"since": "yesterday"}, {"number": ["1"] * 201}])
def test_what_makes_no_sense_is_refused_before_the_handshake(api: Api, query: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatus) as refused, listening(api, **query):
        pass
    assert refused.value.response.status_code == 422


def test_a_binary_message_is_answered_as_any_that_makes_no_sense(api: Api) -> None:
    with listening(api) as listener:
        listener.connection.send(b"\x00\x01")
        assert listener.message() == {"type": "error", "detail": "a message is an object in JSON"}


@pytest.mark.parametrize("data", ["[]", "null", "no JSON", "7"])
def test_an_event_that_is_none_ends_nothing(api: Api, stream: Any, data: str) -> None:
    with listening(api) as listener:
        stream.xadd(keys.EVENTS, {"kind": "strange", "at": "now", "data": data})
        assert listener.event()["data"] == {}
        [id] = tell(stream)
        assert listener.event()["id"] == id


def test_a_token_that_is_revoked_ends_what_it_opened(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_events, "CHECK_EVERY", 0.05)
    token, text = tokens.make(api.store, "short", Role.READ)
    with connect(url(api), additional_headers={"Authorization": f"Bearer {text}"}) as connection:
        connection.recv(10)
        tokens.revoke(api.store, token.id)
        with pytest.raises(ConnectionClosedError) as closed:
            all_into([], connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


def test_a_client_that_reads_nothing_is_closed_and_told_what_it_lost(
    api: Api, stream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_events, "STALLED", 1.0)
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((api.client.base_url.host, api.client.base_url.port))
    headers = {"Authorization": f"Bearer {api.tokens[Role.READ]}"}
    with (
        listening(api, call="z") as other,
        connect(url(api), sock=peer, additional_headers=headers, compression=None, max_queue=1) as stalled,
    ):
        assert json.loads(stalled.recv(10))["type"] == "hello"
        for _ in range(20):
            tell(stream, 500, fill="x" * 2000)
        [id] = tell(stream, call="z")
        assert other.event()["id"] == id, "others get theirs meanwhile"
        until(lambda: api.app.state.hub.followers == 1, "the stalled one is given up", 30)
        got = list[dict[str, Any]]()
        with pytest.raises(ConnectionClosedError) as closed:
            all_into(got, stalled)
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "nothing was read for 1 s")
    numbers = [message["id"] for message in got if message["type"] == "event"]
    assert numbers == sorted(numbers, key=lambda id: tuple(map(int, id.split("-"))))


def test_a_client_that_reads_slowly_is_told_what_it_lost(api: Api, stream: Any) -> None:
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.connect((api.client.base_url.host, api.client.base_url.port))
    headers = {"Authorization": f"Bearer {api.tokens[Role.READ]}"}
    query = url(api, call="slow")
    with connect(query, sock=peer, additional_headers=headers, compression=None, max_queue=1) as slow:
        hello = json.loads(slow.recv(10))
        before = api.app.state.hub.read
        ids = [id for _ in range(20) for id in tell(stream, 500, call="slow", fill="x" * 2000)]
        until(lambda: api.app.state.hub.read >= before + len(ids), "all are given out", 30)
        got, lost = list[str](), 0
        while not got or got[-1] != ids[-1]:
            message = json.loads(slow.recv(20))
            if message["type"] == "lost":
                lost += message["count"]
                assert message["first"] == ids[len(got)], "what is lost comes behind what was sent"
            else:
                got.append(message["id"])
                ids = ids if got[-1] == ids[len(got) - 1] else ids[: len(got) - 1] + ids[ids.index(got[-1]) :]
    assert (hello["queue"], lost) == (1000, 10_000 - len(got))
    assert lost > 0
    assert got == ids


def test_server_sent_events_go_on_where_they_ended(api: Api, stream: Any) -> None:
    headers = {"Authorization": f"Bearer {api.tokens[Role.READ]}", "Accept": "text/event-stream"}
    address = f"{PREFIX}/events?call=sse"
    assert api.ask("GET", "/events").status_code == 406
    [first] = tell(stream, call="sse")
    ids = tell(stream, 3, call="sse")
    again = {**headers, "Last-Event-ID": first}
    with api.client.stream("GET", address, headers=again) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        found = _sent(response, 3)
    assert [id for id, _ in found] == ids
    assert [json.loads(text)["data"]["n"] for _, text in found] == [0, 1, 2]
    bad = api.client.get(address, headers={**headers, "Last-Event-ID": "x"})
    assert bad.status_code == 422


def stalled_stream(api: Api) -> socket.socket:
    """A client of Server-Sent Events that has read that they begin, and takes little more unasked."""
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.settimeout(30)
    peer.connect((api.client.base_url.host, api.client.base_url.port))
    head = f"GET {PREFIX}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.tokens[Role.READ]}\r\n"
    peer.sendall(f"{head}Accept: text/event-stream\r\n\r\n".encode())
    got = b""
    while b'"type": "hello"' not in got:
        got += peer.recv(4096)
    return peer


def rest_of(peer: socket.socket) -> bytes:
    """What comes until the connection ends, which it has to."""
    got = bytearray()
    with suppress(ConnectionResetError):
        while found := peer.recv(65_536):
            got += found
    return bytes(got)


def test_a_stream_that_nobody_reads_is_broken_off(
    api: Api, stream: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(api_events, "STALLED", 1.0)
    told = 20 * 500 * 2000
    with listening(api, call="z") as other, stalled_stream(api) as peer:
        for _ in range(20):
            tell(stream, 500, fill="x" * 2000)
        [id] = tell(stream, call="z")
        assert other.event()["id"] == id, "others get theirs meanwhile"
        until(lambda: api.app.state.hub.followers == 1, "the stalled one is given up", 30)
        rest = rest_of(peer)
    assert rest.endswith(b"\n\n\r\n"), "what was on its way is whole"
    assert not rest.endswith(b"0\r\n\r\n"), "and not the end of what there is to tell"
    assert len(rest) < told / 2
    assert not caplog.records, "who goes is no error"


def _sent(response: httpx.Response, count: int) -> list[tuple[str, str]]:
    """Ids and texts of so many messages that have an id."""
    found, id = list[tuple[str, str]](), ""
    for line in response.iter_lines():
        if line.startswith("id: "):
            id = line.removeprefix("id: ")
        elif line.startswith("data: ") and id:
            found.append((id, line.removeprefix("data: ")))
            id = ""
            if len(found) == count:
                break
    return found


def test_kept_events_come_page_by_page(api: Api, stream: Any) -> None:
    ids = tell(stream, 5, call="kept")
    tell(stream, 2, call="other")
    first = api.get("/events/kept", call="kept", limit=3)
    rest = api.get("/events/kept", call="kept", limit=3, since=first["after"])
    assert [event["id"] for event in (*first["events"], *rest["events"])] == ids
    assert rest["after"] is None
    assert api.ask("GET", "/events/kept", params={"since": "x"}).status_code == 422
    assert api.ask("GET", "/events/kept", params={"kind": ""}).status_code == 422
