"""Gateways, mailboxes, guards against fraud and nodes over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from harness.api import Api, api_over
from harness.node import GB, TRUNK
from harness.redis_server import RedisServer, redis_server
from harness.voicemail import write_audio

from kemi.health import Health
from media.voicemail.store import Box, Store
from model.fraud import Guard, Threshold, Trip
from model.open_breaker import OpenBreaker
from model.policy import Gateway, Policy, Route
from state import audit, breakers, commands, fraud, keys, node_health
from state.node_health import NodeHealth
from state.store import NodeReport
from state.store import Store as Shared
from state.tokens import Role

GUARD = Guard("premium", "caller", {"calls": Threshold(1, 2)})


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def api(redis: RedisServer, root: Path) -> Iterator[Api]:
    """An API with a policy of two gateways and a guard; a live node reports as an agent does."""
    with api_over(redis, root) as it:
        gateways = {name: Gateway(name, "127.0.0.1", 5090, probe=name == "a") for name in ("a", "b")}
        it.store.apply(
            text="", policy=Policy((TRUNK,), gateways, GB, fraud=(GUARD,)),
            routes=(Route("all", ("",), ("a", "b")),), expected=1, author="test",
        )  # fmt: skip
        yield it


@pytest.fixture
def boxes(api: Api, root: Path) -> Store:
    return Store(root / "voicemail")


def leave(boxes: Store, box: str, caller: str = "+442079460123") -> str:
    """A message, as a media worker leaves it; its id."""
    recording = boxes.begin(box, caller=caller)
    write_audio(recording.audio)
    return recording.accept(urgent=False).id


def live(api: Api, name: str, **more: object) -> NodeReport:
    """Have a node report itself, with the last change in its snapshot."""
    generation, seq = api.store.position()
    report = NodeReport(name=name, generation=generation, seq=seq, version=2, pid=7, started=1.0, **more)  # type: ignore[arg-type]
    api.store.report(report)
    return report


def test_a_gateway_stands_on_each_node_as_that_node_says(api: Api) -> None:
    now = time.time()
    for name in ("edge-1", "edge-2"):
        live(api, name)
    broken = Health(wait=30.0, until=now + 30, failures={"time-out": 5}, last=now)
    node_health.put(api.store, "edge-1", NodeHealth(now, {"b": broken.dumps()}, {"sip:127.0.0.1:5090": int(now) - 5}))
    node_health.put(api.store, "edge-2", NodeHealth(now))
    breakers.opened(api.store, OpenBreaker("edge-2", "b", now, now + 60, now - 1, {"capacity": 9}), shared=True)
    first, second = api.get("/gateways")["gateways"]
    assert first["state"] == "probe-down"
    assert {node: one["state"] for node, one in first["standing"].items()} == {"edge-1": "probe-down", "edge-2": "up"}
    assert second["state"] == "open"
    assert second["standing"]["edge-1"]["breaker"]["failures"] == {"time-out": 5}
    # Told by Redis, before the node's agent has told all that it knows.
    assert second["standing"]["edge-2"]["breaker"]["open_until"] == pytest.approx(now + 60)
    assert second["standing"]["edge-2"]["breaker"]["told_by"] is None
    breakers.closed(api.store, "edge-2", "b")
    assert api.get("/gateways/one/b")["standing"]["edge-2"]["state"] == "up"
    assert api.ask("GET", "/gateways/one/c").status_code == 404
    for name in ("edge-1", "edge-2"):
        api.store.retire(name)


def test_a_drain_has_a_reason_an_end_and_an_author(api: Api) -> None:
    until = time.time() + 600
    assert api.ask("PUT", "/gateways/drains/a", json={"reason": ""}).status_code == 422
    assert api.ask("PUT", "/gateways/drains/a", json={"reason": "x", "until": 5}).status_code == 422
    assert api.ask("PUT", "/gateways/drains/nobody", json={"reason": "x"}).status_code == 404
    done = api.ask("PUT", "/gateways/drains/a", Role.OPERATE, json={"reason": "new SBC", "until": until})
    assert done.status_code == 200, done.text
    drained = {"reason": "new SBC", "author": "tester-operate", "until": until}
    row = api.get("/gateways")["gateways"][0]
    assert row["state"] == "drained"
    assert {name: row["drained"][name] for name in drained} == drained
    assert api.ask("DELETE", "/gateways/drains/a").status_code == 200
    assert api.ask("DELETE", "/gateways/drains/a").status_code == 409
    entries = audit.read(api.store, limit=2)
    assert [(entry.what, entry.who) for entry in entries] == [
        ("drain", "token:tester-admin"), ("drain", "token:tester-operate"),
    ]  # fmt: skip


def test_failures_of_a_gateway_are_forgotten_on_every_node_that_takes_commands(api: Api, redis: RedisServer) -> None:
    for name in ("edge-1", "edge-2"):
        live(api, name)
    took: list[commands.Command | None] = []

    def obey() -> None:
        with closing(Shared(redis.url)) as own:
            took.append(command := commands.take(own, commands.node("edge-1")))
            assert command is not None
            commands.answer(own, commands.node("edge-1"), command, {})

    with ThreadPoolExecutor(1) as agent:
        obeyed = agent.submit(obey)
        done = api.ask("POST", "/gateways/resets/a", Role.OPERATE, json={})
        obeyed.result()
    assert done.json() == {
        "name": "a", "nodes": ["edge-1"],
        "troubles": {"edge-2": "node edge-2 takes no commands: is it running? Nothing was done"},
    }  # fmt: skip
    assert took[0] is not None
    assert (took[0].name, took[0].arguments) == ("reset", {"gateway": "a"})
    entry = audit.read(api.store, limit=1)[0]
    assert (entry.what, entry.subject, entry.after) == ("gateway reset", "a", {"nodes": ["edge-1"]})
    assert api.ask("POST", "/gateways/resets/a", json={"node": "edge-3"}).status_code == 404
    assert api.ask("POST", "/gateways/resets/nobody", json={}).status_code == 404
    for name in ("edge-1", "edge-2"):
        api.store.retire(name)
    assert api.ask("POST", "/gateways/resets/a", json={}).status_code == 503


def test_a_call_that_may_have_been_placed_is_not_placed_again(api: Api, redis: RedisServer) -> None:
    report = {"draining": False, "calls": 0, "switch": {"connected": True}}
    with redis.client() as client:
        client.sadd(keys.MEDIA_WORKERS, "edge-1/1")
        client.set(keys.media_worker("edge-1/1"), json.dumps(report), ex=60)
    taken = list[commands.Command]()

    def silent() -> None:
        """A worker that takes a command, and says nothing of it."""
        deadline = time.monotonic() + 30
        while not taken and time.monotonic() < deadline:
            if (command := commands.take(api.store, commands.worker("edge-1/1"))) is not None:
                taken.append(command)

    def ask() -> httpx.Response:
        call = {"to": "02079460000", "script": "hello"}
        return api.ask("POST", "/calls", json=call, headers={"Idempotency-Key": "call-1"})

    with ThreadPoolExecutor(1) as pool:
        pool.submit(silent)
        first = ask()
    again = ask()
    assert (first.status_code, again.status_code) == (503, 503)
    assert "it may do it yet" in first.json()["detail"]
    assert first.json() == again.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    with redis.client() as client:
        client.srem(keys.MEDIA_WORKERS, "edge-1/1")


def test_figures_are_there_minute_by_minute(api: Api) -> None:
    slot = int(time.time() // 10)
    api.store._redis.hset(keys.quality(slot), mapping={"a:attempts": 4, "a:answered": 3, "a:rang": 4, "a:delay": 8000})
    assert {row["name"]: row["asr"] for row in api.get("/gateways/quality")["gateways"]} == {"a": 75.0, "b": None}
    minutes = api.get("/gateways/quality/a", window=600)["minutes"]
    assert sum(one["attempts"] for one in minutes) == 4
    assert 10 <= len(minutes) <= 11
    assert api.ask("GET", "/gateways/quality", params={"window": 5}).status_code == 422


def test_a_box_is_made_changed_and_removed(api: Api, boxes: Store) -> None:
    made = api.ask("POST", "/voicemail/boxes", json={"number": "1001", "name": "Anna", "webhook_secret": "s3cret"})
    assert made.status_code == 201, made.text
    assert made.json()["webhook_secret"] is True
    assert api.ask("POST", "/voicemail/boxes", json={"number": "1001"}).status_code == 409
    wrong = api.ask("PATCH", "/voicemail/boxes/1001", json={"email": "no address"})
    assert (wrong.status_code, "email" in wrong.json()["detail"]) == (422, True)
    assert api.ask("PATCH", "/voicemail/boxes/1001", json={"pin_hash": "x"}).status_code == 422
    assert api.ask("PATCH", "/voicemail/boxes/1001", json={"numbers": ["2001"]}).status_code == 200
    assert api.get("/voicemail/boxes/2001")["number"] == "1001"
    assert api.ask("PUT", "/voicemail/boxes/1001/pin", json={"pin": "1234"}).status_code == 422
    assert api.ask("PUT", "/voicemail/boxes/1001/pin", json={"pin": "7203"}).json()["pin"] is True
    assert boxes.check_pin("1001", "7203")
    leave(boxes, "1001")
    assert api.ask("DELETE", "/voicemail/boxes/1001").status_code == 409
    assert api.ask("DELETE", "/voicemail/boxes/1001?messages=true").json() == {"number": "1001", "messages": 1}
    assert api.ask("GET", "/voicemail/boxes/1001").status_code == 404
    told = audit.read(api.store, limit=4)
    assert [entry.what for entry in told] == [
        "mailbox removed", "mailbox PIN set", "mailbox changed", "mailbox added",
    ]  # fmt: skip
    assert not any(text in str(told) for text in ("s3cret", "7203", "scrypt"))


def test_messages_are_listed_heard_moved_and_removed(api: Api, boxes: Store) -> None:
    boxes.put_box(Box(number="1002", numbers=("+442079460000",), min_seconds=1))
    # Ids are as old as their second.
    ids = sorted((leave(boxes, "1002") for _ in range(3)), reverse=True)
    words = [{"word": "hello", "start": 0.5, "end": 0.9, "confidence": 1.0}]
    boxes.put_transcript("1002", ids[0], {"state": "done", "text": "hello", "words": words})
    first = api.get("/voicemail/boxes/+442079460000/messages", limit=2)
    assert [message["id"] for message in first["messages"]] == ids[:2]
    assert (first["total"], first["messages"][0]["transcript"]["words"]) == (3, words)
    rest = api.get("/voicemail/boxes/1002/messages", limit=2, after=first["after"])
    assert ([message["id"] for message in rest["messages"]], rest["after"]) == (ids[2:], None)
    at = f"/voicemail/boxes/1002/messages/{ids[0]}"
    whole = api.ask("GET", f"{at}/audio")
    assert (whole.status_code, whole.headers["Content-Type"]) == (200, "audio/wav")
    part = api.ask("GET", f"{at}/audio", headers={"Range": "bytes=44-143"})
    assert (part.status_code, part.content) == (206, whole.content[44:144])
    assert api.ask("GET", f"{at}/audio", headers={"Range": "bytes=99999999-"}).status_code == 416
    for path in (at, f"{at}/audio", "/voicemail/boxes/1002/messages"):
        assert api.ask("GET", path, Role.READ).status_code == 403
    moved = api.ask("POST", f"{at}/move", Role.OPERATE, json={"folder": "saved"}).json()
    assert (moved["folder"], boxes.where("1002", ids[0])) == ("saved", "saved")
    # The lamp, and whoever follows events, knows at once.
    assert api.store._redis.xrevrange(keys.EVENTS, count=2)
    assert api.ask("DELETE", at, Role.OPERATE).json() == {"box": "1002", "id": ids[0]}
    assert api.ask("GET", at).status_code == 404
    assert api.ask("DELETE", at).status_code == 404
    told = audit.read(api.store, limit=2)
    entries = [(entry.what, entry.who, entry.subject, entry.before, entry.after) for entry in told]
    who, subject = "token:tester-operate", f"1002/{ids[0]}"
    assert entries == [
        ("message removed", who, subject, {"folder": "saved"}, None),
        ("message moved", who, subject, {"folder": "new"}, {"folder": "saved"}),
    ]
    assert api.get("/voicemail/boxes", search="1002")["boxes"][0]["new"] == 2
    assert api.ask("GET", "/voicemail/boxes/1002/messages/..%2f..%2fbox.json").status_code == 404


def test_what_was_given_up_is_seen_and_tried_again(api: Api) -> None:
    letter = '{"box":"1002","reason":"the server refuses","tries":3,"at":5.0}'
    api.store._redis.hset(keys.VM_DEAD, "mail:20260131T180000Z-1a2b3c4d", letter)
    [job] = api.get("/voicemail/dead")["jobs"]
    assert (job["kind"], job["reason"]) == ("mail", "the server refuses")
    assert api.get("/voicemail/standing")["dead"] == 1
    done = api.ask("POST", "/voicemail/retry", Role.OPERATE, json={"messages": []}).json()["jobs"]
    assert [one["kind"] for one in done] == ["mail"]
    assert api.get("/voicemail/dead")["jobs"] == []
    assert audit.read(api.store, limit=1)[0].what == "job retried"
    assert api.get("/voicemail/aside") == {"recordings": []}


def test_somebody_is_released_by_whoever_may(api: Api) -> None:
    trip = Trip("premium", "", "1001", "calls", 2, 2, time.time(), calls=("c1",))
    api.store._redis.hset(keys.TRIPS, trip.field, trip_text(trip))
    assert [one["who"] for one in api.get("/fraud/trips")["trips"]] == ["1001"]
    wanted = {"who": "1001", "reason": "it was the owner"}
    assert api.ask("POST", "/fraud/release", Role.READ, json=wanted).status_code == 403
    assert api.ask("POST", "/fraud/release", Role.OPERATE, json=wanted).json()["released"] == ["premium//1001"]
    assert api.ask("POST", "/fraud/release", json=wanted).status_code == 404
    assert not fraud.trips(api.store)
    [past] = [one for one in api.get("/fraud/past")["trips"] if one["kind"] == "release"]
    assert (past["author"], past["reason"]) == ("tester-operate", "it was the owner")
    assert audit.read(api.store, limit=1)[0].subject == "premium//1001"
    assert api.get("/fraud/status", per="caller") == {"uses": []}


def trip_text(trip: Trip) -> str:


    return json.dumps(trip.as_dict())


def test_nodes_are_live_behind_or_gone(api: Api) -> None:
    report = live(api, "edge-1")
    node_health.put(api.store, "edge-1", NodeHealth(time.time()))
    api.store._redis.sadd(keys.NODES, "edge-9")
    api.store.resume("b")
    found = api.get("/nodes")
    assert found["seq"] == report.seq
    first, gone = found["nodes"]
    assert (first["name"], first["behind"], first["kamailio"], first["live"]) == ("edge-1", 0, True, True)
    assert (gone["name"], gone["live"]) == ("edge-9", False)
    api.ask("POST", "/lists/block", json={"kind": "caller", "value": "07700900123"})
    assert api.get("/nodes")["nodes"][0]["behind"] in (1, None)
    assert api.get("/workers") == {"workers": []}
